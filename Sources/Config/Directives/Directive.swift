/// A row of the directive table: all there is to know about one directive.
package struct Directive: Sendable {
    typealias Apply = @Sendable (inout Scope, Call) throws(ConfigDiagnostic) -> Void

    /// What the product does with it.
    package enum Kind: Sendable, Equatable {
        case applied
        /// Checked for place and number of arguments only, with the reason why nothing more is needed.
        case accepted(String)
        /// Accepted when its value is `off`, as what it would turn on is not supported.
        case onlyOff
    }

    /// What ends it.
    package enum Form: Sendable, Equatable {
        /// `;`
        case simple
        /// Directives in braces.
        case block
        /// Lua in braces.
        case script
    }

    /// A level's directives are applied phase by phase, so that what a phase needs of its level is complete
    /// whatever the order in which it was written.
    enum Phase: Int, CaseIterable {
        /// What other directives of the level refer to by name.
        case names
        /// Values that blocks inside the level inherit.
        case settings
        /// The rewrite module's, `if` included: in the order written.
        case rewrites
        /// Blocks that `server` blocks refer to.
        case tables
        /// Blocks that inherit.
        case blocks
    }

    package let name: String
    package let contexts: Contexts
    package let arity: Arity
    /// The arguments as documentation writes them.
    package let syntax: String
    /// As it would be written; empty where there is none.
    package let defaultValue: String
    /// One sentence.
    package let note: String
    package let kind: Kind
    package let form: Form
    /// May stand more than once at a level.
    package let isRepeatable: Bool
    let phase: Phase
    let apply: Apply

    init(
        _ name: String, _ syntax: String, in contexts: Contexts, takes arity: Arity,
        default defaultValue: String = "",
        _ note: String, kind: Kind = .applied, block isBlock: Bool = false, script isScript: Bool = false,
        repeats isRepeatable: Bool = false,
        phase: Phase = .settings, apply: @escaping Apply
    ) {
        self.name = name
        self.syntax = syntax
        self.contexts = contexts
        self.arity = arity
        self.defaultValue = defaultValue
        self.note = note
        self.kind = kind
        form = isScript ? .script : isBlock ? .block : .simple
        self.isRepeatable = isRepeatable
        self.phase = phase
        self.apply = apply
    }
}

/// How many arguments a directive takes.
package struct Arity: Sendable, Equatable {
    package let range: ClosedRange<Int>

    static let none = Arity(range: 0...0)
    static let one = Arity(range: 1...1)
    static let two = Arity(range: 2...2)
    static func exactly(_ count: Int) -> Arity { Arity(range: count...count) }
    static func between(_ least: Int, _ most: Int) -> Arity { Arity(range: least...most) }
    static func atLeast(_ least: Int) -> Arity { Arity(range: least...Int.max) }

    /// `1`, `1 or 2`, `2 to 4`, `at least 1`.
    package var description: String {
        if range.upperBound == Int.max { return "at least \(range.lowerBound)" }
        if range.count == 1 { return "\(range.lowerBound)" }
        return "\(range.lowerBound) \(range.count == 2 ? "or" : "to") \(range.upperBound)"
    }
}

/// The kinds of block in which a directive may stand.
package struct Contexts: OptionSet, Sendable, Hashable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let main = Contexts(rawValue: 1 << 0)
    package static let events = Contexts(rawValue: 1 << 1)
    package static let http = Contexts(rawValue: 1 << 2)
    package static let server = Contexts(rawValue: 1 << 3)
    package static let location = Contexts(rawValue: 1 << 4)
    package static let ifInServer = Contexts(rawValue: 1 << 5)
    package static let ifInLocation = Contexts(rawValue: 1 << 6)
    package static let limitExcept = Contexts(rawValue: 1 << 7)
    package static let upstream = Contexts(rawValue: 1 << 8)

    static let all: Contexts = [
        .main, .events, .http, .server, .location, .ifInServer, .ifInLocation, .limitExcept, .upstream,
    ]
    /// Where most of the settings may stand.
    static let levels: Contexts = [.http, .server, .location]
    static let httpAndServer: Contexts = [.http, .server]

    private static let names: [(context: Contexts, name: String)] = [
        (.main, "main"), (.events, "events"), (.http, "http"), (.server, "server"), (.location, "location"),
        (.ifInServer, "if in server"), (.ifInLocation, "if in location"), (.limitExcept, "limit_except"),
        (.upstream, "upstream"),
    ]

    /// `http, server, location`
    package var description: String {
        self == .all
            ? "anywhere" : Contexts.names.filter { contains($0.context) }.map(\.name).joined(separator: ", ")
    }
}

/// One use of a directive, with readers of its arguments that say what is wrong with them.
struct Call {
    let node: DirectiveNode
    let directive: Directive
    /// Whether it is the first of its name at its level: then it replaces what the level inherited.
    let isFirst: Bool

    var name: String { node.name.text }
    var arguments: [Word] { node.arguments }
    var position: SourcePosition { node.position }
    var body: [DirectiveNode] {
        if case .block(let nodes) = node.body { nodes } else { [] }
    }

    /// The Lua in its braces.
    var script: ScriptText? {
        if case .script(let text) = node.body { text } else { nil }
    }

    func failure(_ message: String, at word: Word? = nil) -> ConfigDiagnostic {
        ConfigDiagnostic(position: word?.position ?? position, directive: name, message: message)
    }

    func failure(found word: Word, expected: String) -> ConfigDiagnostic {
        failure("found \"\(word.text)\", expected \(expected)", at: word)
    }

    func warning(_ message: String, at word: Word? = nil) -> ConfigDiagnostic {
        ConfigDiagnostic(
            severity: .warning, position: word?.position ?? position, directive: name, message: message)
    }

    // MARK: Values

    func flag(_ word: Word) throws(ConfigDiagnostic) -> Bool {
        guard let value = ConfigValue.flag(word.bytes) else {
            throw failure(found: word, expected: "\"on\" or \"off\"")
        }
        return value
    }

    /// Milliseconds.
    func time(_ word: Word) throws(ConfigDiagnostic) -> Int {
        guard let value = ConfigValue.milliseconds(word.bytes) else {
            throw failure(found: word, expected: "a time such as 60s, 500ms or 1h30m")
        }
        return value
    }

    func seconds(_ word: Word) throws(ConfigDiagnostic) -> Int {
        guard let value = ConfigValue.seconds(word.bytes) else {
            throw failure(found: word, expected: "a time such as 60s, 30d or 1h30m")
        }
        return value
    }

    /// Bytes.
    func size(_ word: Word) throws(ConfigDiagnostic) -> Int {
        guard let value = ConfigValue.size(word.bytes) else {
            throw failure(found: word, expected: "a size such as 1024, 8k or 1m")
        }
        return value
    }

    func largeSize(_ word: Word) throws(ConfigDiagnostic) -> Int {
        guard let value = ConfigValue.largeSize(word.bytes) else {
            throw failure(found: word, expected: "a size such as 8k, 1m or 2g")
        }
        return value
    }

    func number(_ word: Word, in range: ClosedRange<Int> = 0...Int.max) throws(ConfigDiagnostic) -> Int {
        guard let value = ConfigValue.number(word.bytes), range.contains(value) else {
            let expected =
                switch (range.lowerBound, range.upperBound) {
                case (0, Int.max): "a number"
                case (_, Int.max): "a number of at least \(range.lowerBound)"
                default: "a number from \(range.lowerBound) to \(range.upperBound)"
                }
            throw failure(found: word, expected: expected)
        }
        return value
    }

    /// One of a few words.
    func choice<Value>(
        _ word: Word, _ choices: KeyValuePairs<StaticString, Value>
    ) throws(ConfigDiagnostic) -> Value {
        let text = word.text
        for (name, value) in choices where name.description == text { return value }
        let names = choices.map { "\"\($0.key)\"" }
        throw failure(found: word, expected: Call.listing(names))
    }

    /// `a`, `a or b`, `a, b or c`.
    static func listing(_ words: [String]) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " or " + last
    }
}
