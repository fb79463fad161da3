import Config
import ProxyCore
import Testing

@testable import LuaHooks

@Suite("The reference of the API, and the file of types")
struct ReferenceTests {
    @Test("the file of types is Lua that loads")
    func typesLoad() throws {
        let fixture = try ScriptFixture(.request, "print(sy ~= nil)\n" + LuaAPI.typesFile())
        #expect(fixture.printed() == ["true"])
    }

    @Test("both name every function and field of the table")
    func complete() {
        let types = LuaAPI.typesFile()
        let reference = LuaAPI.reference()
        for function in LuaAPI.functions + LuaAPI.testFunctions {
            let name = function.name
            switch function.place {
            case .method(let type):
                #expect(types.contains("function \(type.className):\(name)("))
                #expect(reference.contains("`:\(name)("))
            case .getter, .part, .ownTable:
                // What it can be set to may follow its type.
                let field = types.split(separator: "\n").first {
                    $0.hasPrefix("---@field \(name) \(function.returns.prefix(while: { $0 != "?" }))")
                        && $0.contains(" \(function.summary)")
                }
                #expect(field != nil, "\(name)")
                #expect(reference.contains("| `.\(name)`"), "\(name)")
            case .setter, .anySetter:
                #expect(types.contains("Set: \(function.summary)"), "\(name)")
                #expect(reference.contains(function.summary), "\(name)")
            case .anyGetter:
                let key = APIDocument.Parameter.list(function.parameters)[0].type.prefix { $0 != "|" }
                let field = types.split(separator: "\n").first {
                    $0.hasPrefix("---@field [\(key)] ") && $0.contains(" \(function.summary)")
                }
                #expect(field != nil, "\(type)")
            case .module(let module):
                #expect(types.contains("function \(module).\(name)("))
                #expect(reference.contains("`\(module).\(name)("))
            case .global:
                #expect(types.contains("function \(name)("))
                #expect(reference.contains("- **`\(name)("))
            case .library(let module):
                #expect(types.contains("\(module).\(name)"))
                #expect(reference.contains("`\(module).\(name)"))
            case .libraryValue:
                #expect(types.contains("---@field \(name) \(function.returns) \(function.summary)"))
                #expect(reference.contains("| `.\(name)`"))
            case .hidden, .metamethod: break
            }
        }
        for stage in HookStage.allCases {
            let hasTable = stage == .message || stage == .frame
            #expect(types.contains("---@field \(stage.name)? \(hasTable ? "(" : "")fun("))
            #expect(reference.contains("| `\(stage.name)("))
        }
    }

    /// The types of a field, as the file of types has them.
    private func type(of field: String, in owner: String) -> String? {
        let lines = LuaAPI.typesFile().split(separator: "\n", omittingEmptySubsequences: false)
        guard let start = lines.firstIndex(of: "---@class \(owner)") else { return nil }
        let prefix = "---@field \(field) "
        return lines[start...].prefix { $0.hasPrefix("---@") }.first { $0.hasPrefix(prefix) }
            .map { String($0.dropFirst(prefix.count)) }
    }

    @Test(
        "fields take what setting them does",
        arguments: [
            ("Headers", "[string]", "string|number|nil The first"),
            ("Arguments", "[string]", "string|number|nil The first"),
            ("Variables", "[string]", "string|number|nil The value"),
            ("Variables", "[integer]", "string? The value"),
            (
                "Request", "args",
                "Arguments|string|table<string, string|number|boolean|string[]> The arguments"
            ),
            ("Request", "method", "string The method"),
            ("Response", "status", "integer? The status"),
            ("switchyard", "shared", "table<string, Dictionary> The"),
            ("Leg", "http", "string Version"),
            ("Leg", "bytes_in", "integer Bytes"),
            ("FetchedResponse", "headers", "Headers A"),
            ("TestMessage", "headers", "Headers|table<string, string|string[]>|nil Names"),
            ("Offer", "origin", "string? The site"),
            ("Offer", "subprotocols", "string[]|string|nil The subprotocols"),
            ("Plugin", "migrate", "(fun(ctx: table, flow: Flow): table?)|nil After"),
            (
                "Plugin", "message?",
                "(fun(flow: Flow, msg: Message): string|string[]|false|nil)|MessageHook A whole"
            ),
            ("Plugin", "frame?", "(fun(flow: Flow, frame: Frame): string|string[]|false|nil)|FrameHook Each"),
            ("MessageHook", "run", "fun(flow: Flow, msg: Message): string|string[]|false|nil The"),
            ("MessageHook", "from", "\"client\"|\"upstream\"|\"both\"|nil Whose"),
            ("MessageHook", "type", "\"text\"|\"binary\"|nil The"),
            ("MessageHook", "max_size", "integer? It"),
            ("FrameHook", "run", "fun(flow: Flow, frame: Frame): string|string[]|false|nil The"),
            (
                "FrameHook", "type",
                "\"continuation\"|\"text\"|\"binary\"|\"close\"|\"ping\"|\"pong\"|nil The"
            ),
        ])
    func widths(_ owner: String, _ field: String, _ expected: String) {
        let found = type(of: field, in: owner)
        #expect(found?.hasPrefix(expected) == true, "\(found ?? "no field")")
    }

    @Test("another way to call a function is one that editors know")
    func overloads() {
        let answer = "fun(request: TestRequest): TestMessage?"
        #expect(
            LuaAPI.typesFile().contains(
                """
                ---@param address? string
                ---@param answer? \(answer)
                ---@return TestBackend
                ---@overload fun(self: TestProxy, answer: \(answer)): TestBackend
                function TestProxy:backend(address, answer) end
                """))
        #expect(
            LuaAPI.reference().contains("- **`:backend([address], [answer])`**, **`:backend(answer)`** → "))
    }

    @Test("no row has a parameter of no name, or a type for a name")
    func parameters() {
        for function in LuaAPI.functions + LuaAPI.testFunctions {
            for parameter in APIDocument.Parameter.list(function.parameters) {
                #expect(
                    !["string", "number", "integer", "table", "any", "nil"].contains(parameter.name),
                    "\(function.name)")
                #expect(!parameter.name.hasSuffix("?") && !parameter.name.contains(" "), "\(function.name)")
            }
        }
    }

    @Test("rows become annotations and paragraphs")
    func rows() {
        let functions = [
            LuaFunction(
                "ping", .method(.client), "payload?: string, done: fun(rtt: number, ok: boolean)",
                returns: "number?, string?", waits: true, "Asks for a pong."
            ) { _ in .none },
            LuaFunction("size", .getter(.client), "", returns: "integer|nil", "Bytes.") { _ in .none },
            LuaFunction("size", .setter(.client), "value: integer", "Cuts it.") { _ in .none },
            LuaFunction("now", .module("sy"), "", returns: "number", "The time.") { _ in .none },
            LuaFunction("info", .module("sy.log"), "...: any", "Writes a line.") { _ in .none },
        ]
        let types = LuaAPI.typesFile(of: functions)
        #expect(
            types.contains(
                """

                ---`flow.client`
                ---@class Leg
                ---@field size integer|nil Bytes. Set: Cuts it.
                local Leg = {}

                ---Asks for a pong.
                ---@param payload? string
                ---@param done fun(rtt: number, ok: boolean)
                ---@return number?, string?
                ---@async
                function Leg:ping(payload, done) end

                """))
        #expect(
            types.contains(
                "---@class switchyard\nsy = {}\n\n---The time.\n---@return number\nfunction sy.now() end\n"))
        #expect(
            types.contains(
                "---@class switchyard.log\nsy.log = {}\n\n---Writes a line.\n---@param ... "
                    + "any\nfunction sy.log.info(...) end\n"
            ))
        let reference = LuaAPI.reference(of: functions)
        #expect(reference.contains("\n## `flow.client`\n\n| field | type | |\n"))
        #expect(reference.contains("| `.size` | `integer\\|nil` | Bytes. Set: Cuts it. |\n"))
        #expect(
            reference.contains(
                """

                - **`:ping([payload], done)`** → `number?, string?` ⏸\u{20}\u{20}
                  Asks for a pong.
                  - `payload`: `string`
                  - `done`: `fun(rtt: number, ok: boolean)`

                """))
    }
}
