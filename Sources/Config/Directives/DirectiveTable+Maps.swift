internal import Patterns

extension DirectiveTable {
    static let maps: [Directive] = [
        Directive(
            "map", "text $variable { key value; … }", in: .http, takes: .two,
            "Makes a variable whose value depends on the text: by exact key, wildcard host name (after "
                + "hostnames;), ~regex, or default. volatile; evaluates it at each use.",
            form: .block, repeats: true, phase: .tables
        ) { scope, call throws(ConfigDiagnostic) in
            let name = try variableName(call.arguments[1], call).lowercased()
            var map = MapReader(
                table: MapTable(
                    name: name, key: try scope.compilation.template(call.arguments[0], in: call.name)),
                call: call)
            for entry in call.body {
                do throws(ConfigDiagnostic) {
                    try map.read(entry, scope.compilation)
                } catch {
                    scope.compilation.report(error)
                }
            }
            let replaced = try scope.compilation.defineMap(map.table, at: call.arguments[1].position)
            scope.settings.scriptVariables.removeAll { $0.slot == replaced }
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
}

/// Reads the lines of a `map` block.
private struct MapReader {
    var table: MapTable
    let call: DirectiveUse
    private var hasDefault = false

    init(table: MapTable, call: DirectiveUse) {
        self.table = table
        self.call = call
    }

    mutating func read(_ entry: DirectiveNode, _ compilation: Compilation) throws(ConfigDiagnostic) {
        guard case .none = entry.body else { throw failure(entry, "found \"{\", expected \";\"") }
        let key = entry.name
        if entry.arguments.isEmpty, key.text == "hostnames" {
            table.hasHostnames = true
            return
        }
        if entry.arguments.isEmpty, key.text == "volatile" {
            table.isVolatile = true
            return
        }
        guard entry.arguments.count == 1 else {
            throw failure(
                entry, "found \(entry.arguments.count) values for the key \"\(key.text)\", expected 1")
        }
        let value = try compilation.template(entry.arguments[0], in: call.name)
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

    private func failure(_ entry: DirectiveNode, _ message: String) -> ConfigDiagnostic {
        ConfigDiagnostic(position: entry.position, directive: call.name, message: message)
    }
}
