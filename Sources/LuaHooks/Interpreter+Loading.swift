package import Config

/// A script as the interpreter holds it.
struct LoadedScript {
    /// As messages name it: the file, or file and line of a block.
    var name: String
    var hooks: [HookStage: LuaReference] = [:]
    /// What hooks for messages and frames are to see.
    var filters: [HookStage: HookFilter] = [:]
    /// The `variables` of a plugin.
    var variables: [[UInt8]: LuaReference] = [:]
    /// The body of a `set_by_lua_…` or `map_by_lua_block`.
    var body: LuaReference?
    /// `migrate`.
    var migration: LuaReference?

    func function(of variable: ScriptVariable) -> LuaReference? {
        variable.name.isEmpty ? body : variables[variable.name]
    }
}

extension Interpreter {
    /// Loads every script and sees which hooks there are.
    func load() throws(ScriptFault) {
        for (index, script) in set.scripts.enumerated() {
            scripts.append(LoadedScript(name: Self.name(of: script)))
            try load(script, index)
        }
        for list in set.plans {
            var lists: [HookStage: [HookEntry]] = [:]
            for script in list where scripts.indices.contains(script) {
                for (stage, function) in scripts[script].hooks {
                    lists[stage, default: []].append(
                        HookEntry(
                            function: function, script: script,
                            filter: scripts[script].filters[stage] ?? HookFilter(stage)))
                }
            }
            add(lists)
        }
    }

    private static func name(of script: Script) -> String {
        switch script.body {
        case .plugin(let text, _): text.file
        case .hook(_, let text), .variable(let text): "\(text.file):\(text.line)"
        }
    }

    private func load(_ script: Script, _ index: Int) throws(ScriptFault) {
        let stack = mainStack
        let top = stack.top
        defer { stack.top = top }
        stack.pushEnvironment()
        let environment = stack.top
        switch script.body {
        case .hook(let stage, let text):
            try compile(text, environment, parameters: stage.parameters.joined(separator: ", "))
            scripts[index].hooks[stage] = stack.keep()
        case .variable(let text):
            try compile(text, environment, parameters: "value, flow")
            scripts[index].body = stack.keep()
        case .plugin(let text, let arguments):
            try compile(text, environment, parameters: nil)
            try loadPlugin(text, arguments, index)
        }
    }

    private func compile(
        _ text: ScriptText, _ environment: Int, parameters: String?
    ) throws(ScriptFault) {
        let stack = mainStack
        let names = parameters?.isEmpty == true ? nil : parameters
        guard
            stack.load(
                text.text, environment: environment, name: text.file, line: text.line, parameters: names)
        else { throw Self.failure(stack.text(-1) ?? "", file: text.file) }
    }

    /// Runs a plugin's text and takes the hooks out of the table that it returns.
    private func loadPlugin(
        _ text: ScriptText, _ arguments: [ScriptArgument], _ index: Int
    ) throws(ScriptFault) {
        var outcome = callTop(.load, script: index) { _ in 0 }
        var call = try finished(outcome, text)
        if stack(of: call.index).kind(-max(call.results, 1)) == .function, call.results > 0 {
            let made = stack(of: call.index)
            made.pushCopy(-call.results)
            made.move(1, to: mainStack)
            giveBack(call.index)
            outcome = callTop(.load, script: index) { stack in
                stack.pushTable(fields: arguments.count)
                for argument in arguments {
                    stack.push(argument.value)
                    stack.setField(argument.name, of: -2)
                }
                return 1
            }
            call = try finished(outcome, text)
        }
        defer { giveBack(call.index) }
        let stack = stack(of: call.index)
        guard call.results > 0, stack.kind(-call.results) == .table else {
            let found = call.results > 0 ? stack.typeName(-call.results) : "nothing"
            throw ScriptFault(
                message: "found \(found), expected the plugin to return a table of hooks", file: text.file)
        }
        try takeHooks(stack, stack.top - call.results + 1, text, index)
    }

    private func finished(
        _ outcome: CallOutcome, _ text: ScriptText
    ) throws(ScriptFault) -> (index: Int, results: Int) {
        switch outcome {
        case .returned(let index, let results): return (index, results)
        case .failed(let message): throw Self.failure(message, file: text.file)
        case .waiting(let index):
            cancel(index)
            throw ScriptFault(message: "a plugin cannot wait while it is being loaded", file: text.file)
        }
    }

    private func takeHooks(
        _ stack: LuaStack, _ table: Int, _ text: ScriptText, _ index: Int
    ) throws(ScriptFault) {
        stack.pushNil()
        while stack.next(inTable: table) {
            guard stack.kind(-2) == .string, let key = stack.text(-2) else {
                throw ScriptFault(
                    message: "found a \(stack.typeName(-2)) as a key, expected the name of a hook",
                    file: text.file)
            }
            if key == "variables" {
                try takeVariables(stack, text, index)
            } else if let stage = HookStage(name: key) {
                scripts[index].hooks[stage] = try takeHook(stack, stage, text, index)
            } else if key == "migrate" {
                guard stack.kind(-1) == .function else { throw wrongKind(stack, key, text) }
                stack.pushCopy(-1)
                scripts[index].migration = stack.keep()
            } else {
                let known = HookStage.allCases.map(\.name) + ["variables", "migrate"]
                let hint = Spelling.hint(for: key, among: known)
                throw ScriptFault(
                    message: "found \"\(key)\""
                        + (hint.isEmpty
                            ? ", expected the name of a hook: \(known.joined(separator: ", "))" : hint),
                    file: text.file)
            }
            stack.pop()
        }
    }

    /// A function, or a table with one as `run`, and with what the hook is to see.
    private func takeHook(
        _ stack: LuaStack, _ stage: HookStage, _ text: ScriptText, _ index: Int
    ) throws(ScriptFault) -> LuaReference {
        let name = stage.name
        switch stack.kind(-1) {
        case .function:
            stack.pushCopy(-1)
            return stack.keep()
        case .table:
            scripts[index].filters[stage] = try takeFilter(stack, stage, text)
            guard stack.pushField("run", of: -1) == .function else {
                throw ScriptFault(
                    message: "\(name): found a table without \"run\", expected a function in it",
                    file: text.file)
            }
            return stack.keep()
        default: throw wrongKind(stack, name, text)
        }
    }

    private func takeVariables(_ stack: LuaStack, _ text: ScriptText, _ index: Int) throws(ScriptFault) {
        guard stack.kind(-1) == .table else {
            throw ScriptFault(
                message: "variables: found a \(stack.typeName(-1)), expected a table of functions",
                file: text.file)
        }
        let table = stack.top
        stack.pushNil()
        while stack.next(inTable: table) {
            guard stack.kind(-2) == .string, let name = stack.bytes(-2) else {
                throw ScriptFault(
                    message: "variables: found a \(stack.typeName(-2)) as a key, expected a variable's name",
                    file: text.file)
            }
            guard stack.kind(-1) == .function else {
                throw wrongKind(stack, "variables." + String(decoding: name, as: UTF8.self), text)
            }
            scripts[index].variables[name] = stack.keep()
        }
    }

    private func wrongKind(_ stack: LuaStack, _ name: String, _ text: ScriptText) -> ScriptFault {
        ScriptFault(
            message: "\(name): found a \(stack.typeName(-1)), expected a function", file: text.file)
    }

    /// Takes file and line out of a message of Lua's, `file:line: text` and perhaps a traceback.
    private static func failure(_ message: String, file: String) -> ScriptFault {
        let text = message.split(separator: "\n", maxSplits: 1).first.map(String.init) ?? message
        // The file's name is Lua's, shortened where it is long; the line is between the first two colons after it.
        let parts = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let line = Int(parts[1]) else {
            return ScriptFault(message: text, file: file)
        }
        let isOwn = parts[0] == file || parts[0].hasPrefix("...") && file.hasSuffix(parts[0].dropFirst(3))
        let rest = String(parts[2].drop { $0 == " " })
        return ScriptFault(message: rest, file: isOwn ? file : String(parts[0]), line: line)
    }

    /// What a script defines, for the compiler of configurations.
    package func outline(of index: Int) -> ScriptOutline {
        guard scripts.indices.contains(index) else { return ScriptOutline() }
        let script = scripts[index]
        var outline = ScriptOutline()
        outline.hooks = Set(script.hooks.keys)
        outline.variables = script.variables.keys.map { String(decoding: $0, as: UTF8.self) }.sorted()
        let text = set.scripts[index].text
        if script.body != nil { outline.references[""] = VariableReferences.names(in: text.text) }
        for (name, function) in script.variables {
            mainStack.push(function)
            let lines = mainStack.lines(ofFunction: -1)
            mainStack.pop()
            guard let lines else { continue }
            let key = String(decoding: name, as: UTF8.self)
            outline.references[key] = VariableReferences.names(in: text.text, ofFunctionOn: lines)
        }
        return outline
    }
}
