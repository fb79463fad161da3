import Testing

@testable import LuaHooks

/// Every row of the API that is not one of `flow`, for which `FlowTests` does the same.
@Suite("The module's family of the API")
struct ModuleCaseTests {
    private static let flowRows = Set(FlowTests.rows.map { $0.offset })
    /// The first row stands for no function.
    static let rows = LuaAPI.functions.indices.dropFirst().filter { !flowRows.contains($0) }

    @Test("every function does what the contract says", arguments: ModuleCases.all.indices)
    func behaviour(_ index: Int) throws {
        let row = ModuleCases.all[index]
        let outcome = try row.outcome()
        #expect(outcome == row.expected, "\(row.text)")
    }

    @Test("every function has a case, and every case its function")
    func covered() {
        let names = Self.rows.map { ModuleCases.name(of: LuaAPI.functions[$0]) }
        let cases = ModuleCases.all.map(\.row)
        #expect(Set(names).subtracting(cases) == [])
        #expect(Set(cases).subtracting(names) == [])
        #expect(Set(names).count == names.count)
    }

    @Test("a function that did nothing would be noticed", arguments: rows)
    func noticed(_ number: Int) throws {
        let function = LuaAPI.functions[number]
        switch function.place {
        // Another library's own, or kept by the interpreter itself: without a body here.
        case .library, .libraryValue, .part: return
        default: break
        }
        var bodies = LuaAPI.functions.map(\.boxedBody)
        bodies[number] = LuaFunction.BoxedBody { _ in .none }
        let name = ModuleCases.name(of: function)
        let isNoticed = try ModuleCases.all.contains { row in
            guard row.row == name else { return false }
            return try row.outcome(bodies: bodies) != row.expected
        }
        #expect(isNoticed, "\(name)")
    }
}
