internal import Patterns

/// What one run of the compiler has gathered so far, across all levels.
final class Compilation {
    let environment: CompilationEnvironment
    let files: ConfigurationFiles
    /// The directory under which the paths of `include` and of scripts are.
    let configurationDirectory: String
    var diagnostics: [ConfigDiagnostic] = []
    var process = ProcessSettings()
    /// Of the `http` block.
    var http = Settings.Values()
    /// There is an `events` block.
    var hasEvents = false
    var variables: VariableRegistry
    var logFormats: [String: LogFormat] = [:]
    var logBuffers: [AccessLog.Destination: LogBuffering] = [:]
    var upstreams = UpstreamDrafts()
    var maps: [MapTable] = []
    var servers: [CompiledServer] = []
    var lua = LuaSettings()
    var scripts = ScriptDrafts()
    /// Fields of a response that nginx keeps to itself unless `proxy_pass_header` says otherwise.
    // Of each compilation, so that configurations share nothing that requests count references to.
    let headersHiddenByDefault = Set(
        [
            "date", "server", "x-pad", "x-accel-expires", "x-accel-redirect", "x-accel-limit-rate",
            "x-accel-buffering", "x-accel-charset",
        ].map { Array($0.utf8) })
    /// Of `limit_req_zone` and `limit_conn_zone`.
    var limitZones: [LimitZoneSettings] = []
    /// What workers share of TLS, and to limit clients, by name.
    var sharedZones: [String: (what: String, size: Int)] = [:]

    init(environment: CompilationEnvironment, files: ConfigurationFiles, configurationDirectory: String) {
        self.environment = environment
        self.files = files
        self.configurationDirectory = configurationDirectory
        lua.packagePath = LuaSettings.packagePath(";;", under: configurationDirectory)
        variables = VariableRegistry(builtins: environment.builtinVariables)
    }

    func report(_ diagnostic: ConfigDiagnostic) {
        diagnostics.append(diagnostic)
    }

    /// A template of `word`, its variables entered in the registry.
    func template(_ word: Word, in directive: String) throws(ConfigDiagnostic) -> Template {
        let pieces: [TemplateParser.Piece]
        do {
            pieces = try TemplateParser.pieces(of: word.bytes)
        } catch {
            throw ConfigDiagnostic(position: word.position, directive: directive, message: error.message)
        }
        return Template(
            parts: pieces.map { piece in
                switch piece {
                case .literal(let bytes): .literal(bytes)
                case .capture(let group): .capture(group)
                case .variable(let name):
                    .variable(variables.reference(name, at: word.position, in: directive))
                }
            })
    }

    /// The slot of a variable that `word` (without `$`) names and the configuration assigns.
    func slot(
        assigning name: String, at position: SourcePosition, in directive: String
    ) throws(ConfigDiagnostic) -> Int {
        do {
            return try variables.slot(assigning: name)
        } catch {
            throw conflict(error, name: name, position: position, directive: directive)
        }
    }

    /// Yields the slot of the `map_by_lua_block` that it takes the place of.
    func defineMap(
        _ table: MapTable, in directive: String, at position: SourcePosition
    ) throws(ConfigDiagnostic) -> Int? {
        do {
            let replaced = try variables.define(map: maps.count, as: table.name)
            maps.append(table)
            return replaced
        } catch {
            throw conflict(error, name: table.name, position: position, directive: directive)
        }
    }

    /// The slot of a variable that scripts compute.
    func scriptSlot(
        of name: String, asMap: Bool, at position: SourcePosition, in directive: String
    ) throws(ConfigDiagnostic) -> Int {
        do {
            return try asMap ? variables.scriptSlot(mapping: name) : variables.scriptSlot(of: name)
        } catch {
            throw conflict(error, name: name, position: position, directive: directive)
        }
    }

    private func conflict(
        _ conflict: VariableRegistry.Conflict, name: String, position: SourcePosition, directive: String
    ) -> ConfigDiagnostic {
        let message =
            switch conflict {
            case .builtin: "the duplicate \"\(name)\" variable: it is built in and cannot be defined"
            case .foreign: "the \"\(name)\" variable is one of nginx that Switchyard does not support"
            case .map: "the duplicate \"\(name)\" variable: a map defines it"
            case .script: "the duplicate \"\(name)\" variable: a script defines it"
            }
        return ConfigDiagnostic(position: position, directive: directive, message: message)
    }

    /// The regular expression behind a `~`, or behind a `~*`, with which case makes no difference; `nil` for a word that
    /// begins with neither.
    func tildePattern(_ word: Word, in directive: String) throws(ConfigDiagnostic) -> GroupedPattern? {
        guard word.bytes.first == UInt8(ascii: "~") else { return nil }
        let ignoresCase = word.bytes.dropFirst().first == UInt8(ascii: "*")
        let (pattern, groups) = try pattern(
            word.replacing(Array(word.bytes.dropFirst(ignoresCase ? 2 : 1))), caseInsensitive: ignoresCase,
            in: directive)
        return GroupedPattern(pattern: pattern, namedGroups: groups)
    }

    /// A regular expression and the slots that its named groups assign.
    func pattern(
        _ word: Word, caseInsensitive: Bool, in directive: String
    ) throws(ConfigDiagnostic) -> (pattern: Pattern, namedGroups: [NamedGroup]) {
        let pattern: Pattern
        do {
            pattern = try Pattern(bytes: word.bytes, caseInsensitive: caseInsensitive)
        } catch {
            throw ConfigDiagnostic(
                position: word.position, directive: directive,
                message:
                    "found the regular expression \"\(word.text)\": \(error.message) at offset \(error.offset)"
            )
        }
        var groups: [NamedGroup] = []
        for (name, group) in pattern.groupNames {
            let slot = try slot(assigning: name, at: word.position, in: directive)
            groups.append(NamedGroup(group: group, slot: slot))
        }
        return (pattern, groups)
    }
}
