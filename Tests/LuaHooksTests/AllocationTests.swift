import CAllocations
import Config
import ProxyCore
import Testing
import Wire

@testable import LuaHooks

/// A steady state allocates nothing: neither Swift nor Lua asks the system for memory.
@Suite("A request hook in the steady state", .enabled(if: allocations_are_counted()))
struct AllocationTests {
    private static let head = Array("GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n".utf8)

    /// How often `serve` allocates in so many requests, read one after the other into the same storage, as a
    /// connection does.
    private func allocations(
        _ fixture: ScriptFixture, requests: Int = 1000, _ serve: (Exchange) throws -> Void
    ) rethrows -> Int {
        var parser = RequestHeadParser()
        func next() throws {
            parser.reset()
            _ = parser.parse(
                RawSpan(_elements: Self.head.span), limits: .init(), into: &fixture.exchange.request)
            try serve(fixture.exchange)
        }
        for _ in 0..<2000 { try next() }
        let before = allocations_of_thread()
        for _ in 0..<requests { try next() }
        return Int(allocations_of_thread() - before)
    }

    /// What the hook's call costs, from the first look at the exchange to its end.
    private func allocations(_ text: String) throws -> Int {
        let fixture = try ScriptFixture(.request, text)
        let interpreter = fixture.interpreter
        var proceeded = 0
        let count = allocations(fixture) { exchange in
            let flow = interpreter.flow(of: exchange)
            flow.owner = fixture
            if case .proceed = interpreter.run(.request, of: flow) { proceeded += 1 }
            interpreter.end(flow)
        }
        #expect(proceeded == 3000)
        #expect(fixture.host.lines == [])
        return count
    }

    /// What setting a field costs by itself. Without optimisation, generic code puts its accesses to the head on the
    /// heap while they last; where it is optimised this is nothing, and so is all else.
    private func allocationsOfSetting() throws -> Int {
        let fixture = try ScriptFixture(.request, "")
        let name = Array("X-Seen".utf8)
        let value = Array("yes".utf8)
        return try allocations(fixture) { try $0.request.set(name.span, value.span) }
    }

    @Test("that does nothing allocates nothing")
    func nothing() throws {
        #expect(try allocations("") == 0)
    }

    @Test("that reads a header and sets one allocates nothing of its own")
    func readingAndSetting() throws {
        let text = "if flow.req.headers['Accept'] then flow.req.headers['X-Seen'] = 'yes' end"
        let count = try allocations(text)
        let setting = try allocationsOfSetting()
        #expect(count == setting)
        #if !DEBUG
            #expect(setting == 0)
        #endif
    }

    @Test("that waits in none of its API's calls allocates nothing, whatever it reads")
    func reading() throws {
        let text = "local a, b, c = flow.req.headers['accept'], flow.req.method, sy.monotonic()"
        #expect(try allocations(text) == 0)
    }

    @Test("an allocation would be noticed")
    func noticed() throws {
        let fixture = try ScriptFixture(.request, "")
        var kept: [[UInt8]] = []
        let count = allocations(fixture, requests: 10) { _ in kept.append([UInt8](repeating: 1, count: 64)) }
        #expect(count >= 10)
    }
}
