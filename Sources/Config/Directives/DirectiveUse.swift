/// One use of a directive, with readers of its arguments that say what is wrong with them.
struct DirectiveUse {
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

    /// A directive's own `on` or `off`, in any case.
    func flag(_ word: Word) throws(ConfigDiagnostic) -> Bool {
        try value(of: word, ConfigValue.flag, expected: "\"on\" or \"off\"")
    }

    /// The `on` or `off` of a parameter such as `ipv6=off`, which nginx takes in lower case only.
    func parameterFlag(_ word: Word) throws(ConfigDiagnostic) -> Bool {
        try value(of: word, ConfigValue.parameterFlag, expected: "\"on\" or \"off\"")
    }

    /// Milliseconds.
    func time(_ word: Word) throws(ConfigDiagnostic) -> Int {
        try value(of: word, ConfigValue.milliseconds, expected: "a time such as 60s, 500ms or 1h30m")
    }

    func seconds(_ word: Word) throws(ConfigDiagnostic) -> Int {
        try value(of: word, ConfigValue.seconds, expected: "a time such as 60s, 30d or 1h30m")
    }

    /// Bytes.
    func size(_ word: Word) throws(ConfigDiagnostic) -> Int {
        try value(of: word, ConfigValue.size, expected: "a size such as 1024, 8k or 1m")
    }

    /// Bytes of a buffer, which is never empty.
    func bufferSize(_ word: Word) throws(ConfigDiagnostic) -> Int {
        let size = try size(word)
        guard size > 0 else { throw failure(found: word, expected: "a size above 0") }
        return size
    }

    /// `size` bytes of a request's head, as `word` has it: few enough for so many buffers as there may be to come to a number.
    func headSize(_ size: Int, _ word: Word) throws(ConfigDiagnostic) -> Int {
        guard size <= 1 << 30 else { throw failure(found: word, expected: "a size of at most 1024m") }
        return size
    }

    /// What stands behind `unix:` in `word`.
    func socketPath(_ path: Word, of word: Word) throws(ConfigDiagnostic) -> String {
        guard ConfigValue.isSocketPath(path.bytes) else {
            throw failure(found: word, expected: "\"unix:\" and a path of 1 to 107 bytes")
        }
        return path.text
    }

    func largeSize(_ word: Word) throws(ConfigDiagnostic) -> Int {
        try value(of: word, ConfigValue.largeSize, expected: "a size such as 8k, 1m or 2g")
    }

    private func value<Value>(
        of word: Word, _ read: ([UInt8]) -> Value?, expected: String
    ) throws(ConfigDiagnostic) -> Value {
        guard let value = read(word.bytes) else { throw failure(found: word, expected: expected) }
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

    /// An address, or `network/bits`; `nil` for what begins with no address.
    func network(
        _ word: Word, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> AccessRule.Network? {
        let parts = word.bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = NetworkAddress.ipv4(parts[0]) ?? NetworkAddress.ipv6(parts[0])
        else { return nil }
        var bits = address.count * 8
        if parts.count == 2 { bits = try number(word.replacing(Array(parts[1])), in: 0...bits) }
        let masked = NetworkAddress.masked(address, bits: bits)
        if masked != address {
            compilation.report(
                warning("found \"\(word.text)\": bits behind the first \(bits) mean nothing", at: word))
        }
        return .cidr(masked, bits: bits)
    }

    /// One of a few words. Where nginx has a table of them, which is searched by its own kind of slot, case does not matter;
    /// where the directive compares them itself, it does.
    func choice<Value>(
        _ word: Word, ignoringCase: Bool = false, _ choices: KeyValuePairs<StaticString, Value>
    ) throws(ConfigDiagnostic) -> Value {
        let text = ignoringCase ? word.text.lowercased() : word.text
        for (name, value) in choices {
            let name = name.description
            if (ignoringCase ? name.lowercased() : name) == text { return value }
        }
        let names = choices.map { "\"\($0.key)\"" }
        throw failure(found: word, expected: DirectiveUse.listing(names))
    }

    /// `a`, `a or b`, `a, b or c`.
    static func listing(_ words: [String]) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " or " + last
    }
}
