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
                #expect(
                    types.contains("---@field \(name) \(function.returns) \(function.summary)"), "\(name)")
                #expect(reference.contains("| `.\(name)`"), "\(name)")
            case .setter, .anySetter:
                #expect(types.contains("Set: \(function.summary)"), "\(name)")
                #expect(reference.contains(function.summary), "\(name)")
            case .anyGetter:
                #expect(types.contains("---@field [string] \(function.returns) \(function.summary)"))
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
            #expect(types.contains("---@field \(stage.name)? fun("))
            #expect(reference.contains("| `\(stage.name)("))
        }
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
