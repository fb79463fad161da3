import Config
import ProxyCore
import Testing

@testable import LuaHooks

@Suite("The flow family of the API")
struct FlowTests {
    @Test("every function and field does what the contract says", arguments: FlowCases.all.indices)
    func behaviour(_ index: Int) throws {
        let row = FlowCases.all[index]
        let outcome = try row.outcome()
        #expect(outcome == row.expected, "\(row.hooks.map(\.text))")
    }

    @Test("and does so where the exchange was frozen meanwhile", arguments: FlowCases.all.indices)
    func thaws(_ index: Int) throws {
        let row = FlowCases.all[index]
        #expect(try row.outcome(freezes: true) == row.expected, "\(row.hooks.map(\.text))")
    }

    /// Rows of the table that the cases are about.
    static let rows = Array(LuaAPI.functions.enumerated()).filter { _, function in
        switch function.place {
        case .method(let type), .getter(let type), .setter(let type), .anyGetter(let type),
            .anySetter(let type),
            .metamethod(let type), .part(let type, _, _), .ownTable(let type, _):
            flowTypes.contains(type)
        default: false
        }
    }

    static let flowTypes: Set<LuaType> = [
        .flow, .request, .response, .requestHeaders, .responseHeaders, .arguments, .cookies, .variables,
        .client,
        .upstream, .offer, .timer, .message, .frame,
    ]

    /// What a snippet has in it that is about the row.
    static func mention(of function: LuaFunction) -> (Substring) -> Bool {
        let name = function.name
        func has(_ text: String) -> (Substring) -> Bool { { $0.contains(text) } }
        switch function.place {
        case .method(let type): return has("\(type.name):\(name)(")
        case .getter(let type), .part(let type, _, _), .ownTable(let type, _):
            return has("\(type.name).\(name)")
        case .setter(let type): return has("\(type.name).\(name) = ")
        case .anyGetter(let type): return has("\(type.name)[")
        case .anySetter(let type):
            return { text in
                text.ranges(of: "\(type.name)[").contains { range in
                    text[range.upperBound...].drop { $0 != "]" }.hasPrefix("] = ")
                }
            }
        case .metamethod(let type): return has("pairs(\(type.name))")
        default: return { _ in false }
        }
    }

    @Test("every function and field has a case", arguments: rows.indices)
    func covered(_ index: Int) {
        let function = Self.rows[index].element
        let isMentioned = Self.mention(of: function)
        #expect(
            FlowCases.all.contains { $0.hooks.contains { isMentioned($0.text[...]) } },
            "\(function.name) at \(function.place)")
    }

    @Test("a function or field that did nothing would be noticed", arguments: rows.indices)
    func noticed(_ index: Int) throws {
        let (number, function) = Self.rows[index]
        switch function.place {
        // Kept by the interpreter itself, without a body.
        case .part, .ownTable: return
        default: break
        }
        var bodies = LuaAPI.functions.map(\.boxedBody)
        bodies[number] = LuaFunction.BoxedBody { _ in .none }
        let isMentioned = Self.mention(of: function)
        let isNoticed = try FlowCases.all.contains { row in
            guard row.hooks.contains(where: { isMentioned($0.text[...]) }) else { return false }
            return try row.outcome(bodies: bodies) != row.expected
        }
        #expect(isNoticed, "\(function.name) at \(function.place)")
    }
}
