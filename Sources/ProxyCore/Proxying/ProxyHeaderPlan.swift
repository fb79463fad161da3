package import Config
internal import Wire

/// What a location's settings make of the fields sent upstream, worked out once.
///
/// nginx's order: the configured fields as written, then its own defaults where the configuration does not
/// name them, then the client's that nothing above replaces. Fixed text of neighbouring rows is one piece.
package final class ProxyHeaderPlan: Sendable {
    /// One step of writing the head. Texts are ranges of `text`, values positions in `templates`: so that reading a row
    /// counts no reference.
    enum Row: Sendable {
        /// Whole lines, the same for every request.
        case fixed(Range<Int>)
        /// `name: ` and a value made for the request; nothing when that is empty.
        case template(prefix: Range<Int>, Int)
        /// The proxy_pass's host: `Host: $proxy_host`, nginx's default.
        case proxyHost
        case connection(prefix: Range<Int>, Int)
        /// nginx's default `Connection: close`, where no script wrote another.
        case defaultConnection
        case upgrade(prefix: Range<Int>, Int)
        /// Framing is the proxy's own affair: the configuration decides where the line stands and, with an
        /// empty value, that a length of a body that is not sent is left out.
        case contentLength(prefix: Range<Int>, omitsEmpty: Bool)
        case transferEncoding(prefix: Range<Int>)
    }

    let rows: [Row]
    let text: [UInt8]
    let templates: [Template]
    /// The client's fields that the plan has its own for, or leaves out.
    let replaced: FieldNameSet
    /// The configuration has a field `Upgrade` that may come out non-empty.
    package let mayUpgrade: Bool
    /// Nothing is configured for `Upgrade`, so that what a script wrote is sent.
    let passesEditedUpgrade: Bool
    /// `Connection` as sent, where that is the same for every request that no script has edited.
    let fixedConnection: ConnectionIntent?

    package init(_ settings: Settings.Values) {
        var compiler = Compiler()
        for header in settings.proxySetHeaders { compiler.add(header) }
        compiler.addDefaults()
        compiler.flush()
        rows = compiler.rows
        text = compiler.text
        templates = compiler.templates
        mayUpgrade = compiler.mayUpgrade
        passesEditedUpgrade = compiler.passesEditedUpgrade
        fixedConnection = compiler.fixedConnection
        replaced = FieldNameSet(compiler.names)
    }
}

/// What `Connection` in the head sent upstream says about the connection after this exchange.
package enum ConnectionIntent: Sendable, Equatable {
    /// `close`: the upstream will close, so the connection is not to be reused.
    case close
    /// Anything else, or no such field: reusable when the answer agrees.
    case keepAlive
    /// Holds `upgrade`.
    case upgrade
}

/// Turns `proxy_set_header` lines into rows.
private struct Compiler {
    var rows: [ProxyHeaderPlan.Row] = []
    var text: [UInt8] = []
    var templates: [Template] = []
    /// Names that the rows replace, lower case, each once.
    var names: [[UInt8]] = []
    var mayUpgrade = false
    var passesEditedUpgrade = false
    var fixedConnection: ConnectionIntent? = .keepAlive
    /// Where the lines begin, at the end of `text`, that are not in a row yet.
    private var pendingStart = 0

    mutating func add(_ header: ProxyHeader) {
        let name = header.name.map(ASCII.lowercased)
        let isRepeated = names.contains(name)
        if !isRepeated { names.append(name) }
        let prefix = header.name + Array(": ".utf8)
        let constant = header.value.constant
        switch FieldID(name.span, 0..<name.count) {
        // Once is enough for what the proxy fills in: a second length would be taken for an attack.
        case .contentLength where isRepeated, .transferEncoding where isRepeated: break
        case .contentLength:
            append(.contentLength(prefix: place(prefix), omitsEmpty: constant?.isEmpty ?? false))
        case .transferEncoding:
            append(.transferEncoding(prefix: place(prefix)))
        case .upgrade:
            guard constant?.isEmpty != true else { return }
            mayUpgrade = true
            append(.upgrade(prefix: place(prefix), place(header.value)))
        case .connection:
            if let constant {
                appendFixed(prefix, constant)
                if !constant.isEmpty { fixedConnection = ConnectionIntent(constant, 0..<constant.count) }
            } else {
                fixedConnection = nil
                append(.connection(prefix: place(prefix), place(header.value)))
            }
        default:
            if let constant {
                appendFixed(prefix, constant)
            } else {
                append(.template(prefix: place(prefix), place(header.value)))
            }
        }
    }

    /// nginx's own, for names that the configuration does not have.
    mutating func addDefaults() {
        for name in ["Host", "Connection", "Content-Length", "Transfer-Encoding"] {
            let lowercase = Array(name.lowercased().utf8)
            guard !names.contains(lowercase) else { continue }
            names.append(lowercase)
            let prefix = Array("\(name): ".utf8)
            switch name {
            case "Host": append(.proxyHost)
            case "Connection":
                append(.defaultConnection)
                fixedConnection = .close
            case "Content-Length": append(.contentLength(prefix: place(prefix), omitsEmpty: false))
            default: append(.transferEncoding(prefix: place(prefix)))
            }
        }
        passesEditedUpgrade = !names.contains(Array("upgrade".utf8))
        // `TE`, which nginx has here, too, ends at the proxy in any case, and is left to who writes the request.
        for name in ["keep-alive", "expect", "upgrade"] {
            let lowercase = Array(name.utf8)
            if !names.contains(lowercase) { names.append(lowercase) }
        }
    }

    private mutating func appendFixed(_ prefix: [UInt8], _ value: [UInt8]) {
        if value.isEmpty { return }
        text += prefix
        let start = text.count
        text += value
        // A word in quotes may go over lines.
        ByteText.neutraliseLineEnds(in: &text, from: start)
        text += ASCII.lineEnd
    }

    private mutating func place(_ prefix: [UInt8]) -> Range<Int> {
        flush()
        text += prefix
        pendingStart = text.count
        return text.count - prefix.count..<text.count
    }

    private mutating func place(_ template: Template) -> Int {
        templates.append(template)
        return templates.count - 1
    }

    private mutating func append(_ row: ProxyHeaderPlan.Row) {
        flush()
        rows.append(row)
    }

    /// Makes a row of the lines that are waiting for one.
    mutating func flush() {
        guard pendingStart < text.count else { return }
        rows.append(.fixed(pendingStart..<text.count))
        pendingStart = text.count
    }
}

extension ConnectionIntent {
    init(_ value: [UInt8], _ range: Range<Int>) {
        if ByteText.list(value, range, holds: Self.closeOption) {
            self = .close
        } else {
            self = ByteText.list(value, range, holds: Self.upgradeOption) ? .upgrade : .keepAlive
        }
    }

    private static let closeOption: Keyword = "close"
    private static let upgradeOption: Keyword = "upgrade"
}
