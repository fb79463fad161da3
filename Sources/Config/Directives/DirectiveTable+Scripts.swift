extension DirectiveTable {
    /// Plugins, and variables that scripts compute; `map_by_lua_block` is beside `map`.
    static let scripts: [Directive] = [
        Directive(
            "plugin", "file [key=value …]", in: .levelsAndIf, takes: .atLeast(1),
            "Runs the hooks of a Lua file here and further in, after those of outer levels; it is given the "
                + "arguments.",
            repeats: true, apply: applyPlugin),
        Directive(
            "set_by_lua_block", "$variable [default=value] { … }", in: .levelsAndIf, takes: .between(1, 2),
            "Makes a variable of what the Lua returns, run when the variable is first needed; default stands "
                + "in for it where it fails.",
            form: .script, repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            guard let text = call.script else { return }
            try defineVariable(call.arguments[0], as: text, &scope, call)
        },
        Directive(
            "set_by_lua_file", "$variable file [default=value]", in: .levelsAndIf, takes: .between(2, 3),
            "As set_by_lua_block, with the Lua in a file.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let text = try scope.compilation.scriptFile(call.arguments[1], call)
            try defineVariable(call.arguments[0], as: text, &scope, call)
        },
    ]

    /// Two rows for each hook that exists.
    static let hooks: [Directive] = HookStage.allCases.flatMap { stage in
        let contexts: Contexts =
            switch stage {
            case .initialise: [.main, .http]
            case .certificate: .httpAndServer
            default: .levelsAndIf
            }
        return [
            Directive(
                "\(stage.name)_by_lua_block", "{ … }", in: contexts, takes: .none, stage.note, form: .script,
                repeats: true
            ) { scope, call in
                guard let text = call.script else { return }
                addHook(stage, text, &scope, call)
            },
            Directive(
                "\(stage.name)_by_lua_file", "file", in: contexts, takes: .one,
                "As \(stage.name)_by_lua_block, with the Lua in a file.", repeats: true
            ) { scope, call throws(ConfigDiagnostic) in
                addHook(stage, try scope.compilation.scriptFile(call.arguments[0], call), &scope, call)
            },
        ]
    }

    private static func addHook(
        _ stage: HookStage, _ text: ScriptText, _ scope: inout Scope, _ call: DirectiveUse
    ) {
        let script = scope.compilation.scripts.add(.hook(stage, text), by: call)
        // It runs once for a worker, not for exchanges.
        if stage != .initialise { scope.scripts.append(script) }
    }

    // MARK: plugin

    private static func applyPlugin(_ scope: inout Scope, _ call: DirectiveUse) throws(ConfigDiagnostic) {
        let compilation = scope.compilation
        let arguments = try pluginArguments(call)
        let text = try compilation.scriptFile(call.arguments[0], call)
        let script = compilation.scripts.add(.plugin(text, arguments: arguments), by: call)
        scope.scripts.append(script)
        let outline = try compilation.outline(ofScript: script)
        for name in outline.variables.sorted() {
            guard !name.isEmpty, name.utf8.allSatisfy(TemplateParser.isNameByte) else {
                compilation.report(
                    call.failure(
                        "defines the variable \"\(name)\", expected a name of letters, digits and \"_\"",
                        at: call.arguments[0]))
                continue
            }
            do throws(ConfigDiagnostic) {
                let slot = try freeSlot(of: name, asMap: false, at: call.arguments[0].position, &scope, call)
                let label = Array(name.utf8)
                scope.settings.set(ScriptVariable(slot: slot, script: script, name: label, label: label))
            } catch {
                compilation.report(error)
            }
        }
    }

    private static func pluginArguments(_ call: DirectiveUse) throws(ConfigDiagnostic) -> [ScriptArgument] {
        var arguments: [ScriptArgument] = []
        for word in call.arguments.dropFirst() {
            let key = word.bytes.prefix { $0 != UInt8(ascii: "=") }
            guard key.count < word.bytes.count, isLuaName(key) else {
                throw call.failure(
                    found: word,
                    expected: "key=value, the key being a name in Lua; with spaces it is \"key=a value\"")
            }
            let name = String(decoding: key, as: UTF8.self)
            guard !arguments.contains(where: { $0.name == name }) else {
                throw call.failure("found the argument \"\(name)\" a second time", at: word)
            }
            arguments.append(ScriptArgument(name: name, value: Array(word.bytes[(key.endIndex + 1)...])))
        }
        return arguments
    }

    /// Lua 5.4 §3.1: letters, digits and `_`, not beginning with a digit.
    static func isLuaName(_ bytes: some Collection<UInt8>) -> Bool {
        guard let first = bytes.first, !ConfigValue.isDigit(first) else { return false }
        return bytes.allSatisfy(TemplateParser.isNameByte)
    }

    // MARK: Variables

    /// A variable that `text` computes; `key` is the text of a `map_by_lua_block`.
    static func defineVariable(
        _ variable: Word, as text: ScriptText, key: Template? = nil, _ scope: inout Scope,
        _ call: DirectiveUse
    ) throws(ConfigDiagnostic) {
        let name = try variableName(variable, call)
        let fallback = try fallback(call)
        let slot = try freeSlot(of: name, asMap: key != nil, at: variable.position, &scope, call)
        let script = scope.compilation.scripts.add(.variable(text), by: call)
        scope.settings.set(
            ScriptVariable(
                slot: slot, script: script, label: Array(name.utf8), key: key, fallback: fallback))
    }

    /// What follows `default=` in the last argument, which may be the variable or the file of a directive without.
    private static func fallback(_ call: DirectiveUse) throws(ConfigDiagnostic) -> [UInt8] {
        guard let word = call.arguments.last, call.arguments.count == call.directive.arity.range.upperBound
        else { return [] }
        guard let value = word.value(after: "default=") else {
            throw call.failure(found: word, expected: "\"default=\" and a value")
        }
        guard !TemplateParser.hasVariables(value.bytes) else {
            throw call.failure(found: word, expected: "a default without variables")
        }
        return value.bytes
    }

    /// The slot of a variable that no other script of this level defines. A second `map_by_lua_block` of a name
    /// replaces the first, as with `map`.
    private static func freeSlot(
        of name: String, asMap: Bool, at position: SourcePosition, _ scope: inout Scope, _ call: DirectiveUse
    ) throws(ConfigDiagnostic) -> Int {
        let slot = try scope.compilation.scriptSlot(of: name, asMap: asMap, at: position, in: call.name)
        if let former = scope.scriptVariablesSetAt[slot] {
            throw ConfigDiagnostic(
                position: position, directive: call.name,
                message: "the duplicate \"\(name)\" variable, first found at \(former.file):\(former.line)")
        }
        if !asMap { scope.scriptVariablesSetAt[slot] = position }
        return slot
    }
}

extension Settings.Values {
    /// Takes the place of what the slot inherited.
    fileprivate mutating func set(_ variable: ScriptVariable) {
        if let index = scriptVariables.firstIndex(where: { $0.slot == variable.slot }) {
            scriptVariables[index] = variable
        } else {
            scriptVariables.append(variable)
        }
    }
}

extension Compilation {
    /// The Lua of a file that an argument names, under the configuration's directory when relative.
    func scriptFile(_ word: Word, _ call: DirectiveUse) throws(ConfigDiagnostic) -> ScriptText {
        let path = Paths.path(word.text, under: configurationDirectory)
        switch files.read(path) {
        case .success(let bytes): return ScriptText(text: bytes, file: path, line: 1)
        case .failure(let failure):
            throw call.failure("cannot read \"\(path)\": \(failure.reason)", at: word)
        }
    }
}

extension HookStage {
    /// When it runs, for the documentation.
    fileprivate var note: String {
        switch self {
        case .initialise: "Runs Lua once for each worker, before it accepts connections."
        case .certificate:
            "Runs Lua in a handshake of TLS, with what the client said; it may give a certificate, or reject."
        case .request: "Runs Lua when the location is chosen, before an upstream is; it may answer."
        case .upgrade: "Runs Lua for a valid upgrade request, before connecting; it may deny it."
        case .response: "Runs Lua when the upstream's response head is there, before it is sent on."
        case .requestBody: "Runs Lua for each piece of a request's body; it may replace or drop the piece."
        case .responseBody: "Runs Lua for each piece of a response's body; it may replace or drop the piece."
        case .open: "Runs Lua when a tunnel is ready, before the client sees its first byte."
        case .message: "Runs Lua for each message of a tunnel."
        case .frame: "Runs Lua for each frame of a tunnel."
        case .close: "Runs Lua when a tunnel has ended."
        case .drain: "Runs Lua when a reload or shutdown asks a tunnel to end; it returns seconds of grace."
        case .log: "Runs Lua when an exchange is over."
        }
    }
}
