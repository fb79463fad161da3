internal import Config

extension LuaAPI {
    /// Annotations of the whole API for the Lua language server: a file that editors read and nothing runs.
    package static func typesFile() -> String { typesFile(of: functions) }

    static func typesFile(of functions: [LuaFunction]) -> String {
        let document = APIDocument(functions)
        var file = TypesFile()
        file.line("---@meta")
        file.line("-- What Switchyard offers to scripts. Made by `switchyard lua-types`.")
        for section in document.sections where !section.isModule { file.append(object: section) }
        file.append(record: "Answer", HookDocument.answer)
        file.append(record: "CloseInfo", HookDocument.closeInfo)
        file.append(record: "ClientHello", HookDocument.hello)
        file.append(hooks: HookDocument.hooks)
        file.append(modules: document.sections.filter(\.isModule))
        file.append(record: "FetchedResponse", HookDocument.fetched)
        file.append(record: "Peer", HookDocument.peer)
        return file.text + testTypes()
    }

    /// What files of tests can use besides.
    private static func testTypes() -> String {
        let document = APIDocument(testFunctions)
        var file = TypesFile()
        file.line()
        file.line("-- In files of tests, for `switchyard test`.")
        file.append(record: "TestSetup", HookDocument.testSetup)
        file.append(record: "TestMessage", HookDocument.testMessage)
        file.append(record: "TestConnection", HookDocument.testConnection)
        file.append(record: "TestTLS", HookDocument.testTLS)
        file.append(record: "TestOpening: TestMessage, TestConnection", [])
        file.append(record: "TestHandshake: TestConnection", HookDocument.testHandshake)
        file.append(record: "TestFrame", HookDocument.testFrame)
        for section in document.sections where !section.isModule { file.append(object: section) }
        for section in document.sections where section.isModule {
            for method in section.methods { file.append(method, of: "", separator: "") }
        }
        return file.text
    }
}

private struct TypesFile {
    var text = ""

    mutating func line(_ content: String = "") { text += content + "\n" }

    private mutating func comment(_ content: String) {
        if !content.isEmpty { line("---" + content) }
    }

    mutating func append(object section: APIDocument.Section) {
        line()
        comment(section.paths.map { "`\($0)`" }.joined(separator: ", "))
        line("---@class \(section.name)")
        for field in section.fields {
            if !field.isDynamic { line("---@field \(field.name) \(field.fullType) \(field.note)") }
            for key in field.keys {
                let isSettable = field.settableKeys.contains(key)
                line(
                    "---@field [\(key)] \(isSettable ? field.fullType : field.type) "
                        + (isSettable ? field.note : field.summary))
            }
        }
        line("local \(section.name) = {}")
        for method in section.methods { append(method, of: section.name, separator: ":") }
    }

    mutating func append(_ method: APIDocument.Method, of owner: String, separator: String) {
        line()
        comment(method.summary)
        for parameter in method.parameters {
            line("---@param \(parameter.name)\(parameter.isOptional ? "?" : "") \(parameter.type)")
        }
        if !method.returns.isEmpty { line("---@return \(method.returns)") }
        if method.waits { line("---@async") }
        if let overload = method.overload {
            let this = separator == ":" ? ["self: \(owner)"] : []
            let parameters = this + overload.map { "\($0.name)\($0.isOptional ? "?" : ""): \($0.type)" }
            let returns = method.returns.isEmpty ? "" : ": \(method.returns)"
            line("---@overload fun(\(parameters.joined(separator: ", ")))\(returns)")
        }
        let names = method.parameters.map(\.name).joined(separator: ", ")
        line("function \(owner)\(separator)\(method.name)(\(names)) end")
    }

    mutating func append(record name: String, _ fields: [(name: String, type: String, summary: String)]) {
        line()
        line("---@class \(name)")
        for field in fields { line("---@field \(field.name) \(field.type) \(field.summary)") }
    }

    mutating func append(hooks: [HookDocument.Hook]) {
        for hook in hooks {
            guard let name = hook.filterName else { continue }
            append(record: name, HookDocument.filter(hook.stage, run: hook.functionType))
        }
        line()
        comment("What a plugin returns, or the function that it returns.")
        line("---@class Plugin")
        for hook in hooks {
            let type = hook.filterName.map { "(\(hook.functionType))|\($0)" } ?? hook.functionType
            line("---@field \(hook.stage.name)? \(type) \(hook.note)")
        }
        for field in HookDocument.plugin { line("---@field \(field.name) \(field.type) \(field.summary)") }
    }

    mutating func append(modules: [APIDocument.Section]) {
        for module in modules {
            line()
            let isRoot = !module.name.contains(".")
            if isRoot { comment("Also `require \"switchyard\"`.") }
            line("---@class \(isRoot ? "switchyard" : "switchyard" + module.name.drop { $0 != "." })")
            for field in module.fields { line("---@field \(field.name) \(field.type) \(field.note)") }
            line("\(module.name) = {}")
            for method in module.methods { append(method, of: module.name, separator: ".") }
        }
    }
}

extension APIDocument.Field {
    /// Summary and what setting it does, in one line.
    var note: String { setting.isEmpty ? summary : "\(summary) Set: \(setting)" }
}

extension HookDocument.Hook {
    var note: String { meaning.isEmpty ? summary : "\(summary) \(meaning)" }

    /// What its table is called, where it may be one.
    var filterName: String? { HookDocument.filters.first { $0.stage == stage }?.name }

    /// The type of its function.
    var functionType: String {
        let arguments = stage.parameters.map { "\($0): \(HookDocument.types[$0] ?? "any")" }
        return "fun(\(arguments.joined(separator: ", ")))" + (returns.isEmpty ? "" : ": \(returns)")
    }
}
