internal import Patterns

extension DirectiveTable {
    static let maps: [Directive] = [
        Directive(
            "map", "text $variable { key value; … }", in: .http, takes: .two,
            "Makes a variable whose value depends on the text: by exact key, wildcard host name (after "
                + "hostnames;), ~regex, or default. volatile; evaluates it at each use.",
            form: .block, repeats: true, phase: .tables
        ) { scope, call throws(ConfigDiagnostic) in
            let table = try table(named: call.arguments[1], of: call.arguments[0], call, scope.compilation)
            try define(MapReader(table: table, call: call), &scope)
        },
        Directive(
            "map_by_lua_block", "text $variable [default=value] { … }", in: .http, takes: .between(2, 3),
            "Makes a variable of what the Lua returns: it finds the text as value, the exchange as flow.",
            form: .script, repeats: true, phase: .tables
        ) { scope, call throws(ConfigDiagnostic) in
            guard let text = call.script else { return }
            let key = try scope.compilation.template(call.arguments[0], in: call.name)
            try defineVariable(call.arguments[1], as: text, key: key, &scope, call)
        },
    ]

    /// An empty one, whose key is `key`.
    static func table(
        named name: Word, of key: Word, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> MapTable {
        let name = try variableName(name, call).lowercased()
        return MapTable(name: name, key: try compilation.template(key, in: call.name))
    }

    /// Reads a block of lines into the variable that it makes.
    static func define(_ reader: some MapBlockReader, _ scope: inout Scope) throws(ConfigDiagnostic) {
        var reader = reader
        let call = reader.call
        for entry in call.body {
            do throws(ConfigDiagnostic) {
                try reader.read(entry, scope.compilation)
            } catch {
                scope.compilation.report(error)
            }
        }
        let name = call.arguments[call.arguments.count - 1]
        let replaced = try scope.compilation.defineMap(reader.finished, in: call.name, at: name.position)
        scope.settings.scriptVariables.removeAll { $0.slot == replaced }
    }
}

/// Reads the lines of a block that makes a variable.
protocol MapBlockReader {
    var call: DirectiveUse { get }
    /// What all lines come to.
    var finished: MapTable { get }
    mutating func read(_ entry: DirectiveNode, _ compilation: Compilation) throws(ConfigDiagnostic)
}

extension MapBlockReader {
    func failure(_ entry: DirectiveNode, _ message: String) -> ConfigDiagnostic {
        ConfigDiagnostic(position: entry.position, directive: call.name, message: message)
    }

    /// A line is no block, and has one value behind its key.
    func value(of entry: DirectiveNode) throws(ConfigDiagnostic) -> Word {
        guard case .none = entry.body else { throw failure(entry, "found \"{\", expected \";\"") }
        guard entry.arguments.count == 1 else {
            let fault = failure(
                entry, "found \(entry.arguments.count) values for the key \"\(entry.name.text)\", expected 1")
            throw entry.argumentsAtLineStarts.first.map { fault.asking(at: $0) } ?? fault
        }
        return entry.arguments[0]
    }
}

/// Reads the lines of a `map` block.
private struct MapReader: MapBlockReader {
    private var table: MapTable
    let call: DirectiveUse
    var finished: MapTable { table }
    private var hasDefault = false

    init(table: MapTable, call: DirectiveUse) {
        self.table = table
        self.call = call
    }

    mutating func read(_ entry: DirectiveNode, _ compilation: Compilation) throws(ConfigDiagnostic) {
        let key = entry.name
        if entry.isWord("hostnames") {
            table.hasHostnames = true
            return
        }
        if entry.isWord("volatile") {
            table.isVolatile = true
            return
        }
        let value = try compilation.template(value(of: entry), in: call.name)
        if key.text == "default" {
            guard !hasDefault else { throw failure(entry, "found a duplicate \"default\"") }
            hasDefault = true
            table.defaultValue = value
        } else if let found = try compilation.tildePattern(key, in: call.name) {
            table.entries.regexes.append(
                .init(pattern: found.pattern, namedGroups: found.namedGroups, value: value))
        } else {
            // A backslash lets a key begin with ~ or be one of the words above.
            let isEscaped = key.bytes.first == UInt8(ascii: "\\")
            try enter(key.replacing(Array(key.bytes.dropFirst(isEscaped ? 1 : 0))), value, entry)
        }
    }

    private mutating func enter(
        _ key: Word, _ value: Template, _ entry: DirectiveNode
    ) throws(ConfigDiagnostic) {
        let exact = HostPattern.exact(key.bytes.lowercased())
        guard let names = table.hasHostnames ? HostPattern.forms(of: key.bytes) : [exact] else {
            throw failure(
                entry, "found \"\(key.text)\", expected a host name, \"*.name\", \".name\" or \"name.*\"")
        }
        for name in names where !table.entries.enter(value, at: name) {
            throw failure(entry, "found the key \"\(key.text)\" a second time")
        }
    }
}

extension DirectiveNode {
    /// Nothing but `word` and a semicolon.
    func isWord(_ word: String) -> Bool {
        guard case .none = body else { return false }
        return arguments.isEmpty && name.text == word
    }
}
