import Config
import ProxyCore
import Testing
import Wire

@testable import LuaHooks

@Suite("Endurance")
struct EnduranceTests {
    /// Hooks that wait in all the ways there are without a network, and keep some of what they make.
    private static let script = """
        local n = 0
        flow.ctx.values = {flow.id, n}
        flow:after(5, function() n = n + 1 end)
        local ok = pcall(function()
          local guard <close> = setmetatable({}, {__close = function() n = n + 1 end})
          sy.sleep(0.010)
        end)
        sy.sleep(0.005)
        """

    @Test("100 000 exchanges whose hooks wait, a third of them cancelled midway, leave nothing behind")
    func exchanges() throws {
        let fixture = try ScriptFixture(.request, Self.script)
        let interpreter = fixture.interpreter
        let exchanges = (0..<100).map { _ in fixture.copy() }
        func round() {
            var flows: [ScriptFlow] = []
            for exchange in exchanges {
                let flow = interpreter.flow(of: exchange)
                flow.owner = fixture
                guard case .waiting = interpreter.run(.request, of: flow) else { continue }
                flows.append(flow)
            }
            #expect(interpreter.waitingCalls == flows.count)
            for (index, flow) in flows.enumerated() where index % 3 == 0 { interpreter.end(flow) }
            fixture.advance(milliseconds: 10)
            for (index, flow) in flows.enumerated() where index % 6 == 1 { interpreter.end(flow) }
            fixture.advance(milliseconds: 5)
            for flow in flows where flow.exchange != nil { interpreter.end(flow) }
            fixture.ended.removeAll(keepingCapacity: true)
        }
        for _ in 0..<20 { round() }
        interpreter.collectGarbage()
        let memory = interpreter.memory
        let coroutines = interpreter.coroutines
        for _ in 0..<1000 { round() }
        interpreter.collectGarbage()
        #expect(interpreter.waitingCalls == 0)
        #expect(interpreter.timerCount == 0)
        #expect(interpreter.openFlows == 0)
        #expect(interpreter.coroutines <= coroutines)
        // What differs is where tables that grew once have their room.
        #expect(interpreter.memory <= memory + 4096, "\(memory) bytes before, \(interpreter.memory) after")
        #expect(fixture.host.lines.first == nil)
    }

    @Test("a hook that is quick uses the coroutine of the one before it, however many others wait")
    func manyWait() throws {
        let fixture = try ScriptFixture(.request, "if flow.req.headers['X-Waits'] then sy.sleep(60) end")
        let interpreter = fixture.interpreter
        let (name, value) = (Array("X-Waits".utf8), Array("1".utf8))
        let waiting = (0..<200).map { _ in fixture.copy() }
        for exchange in waiting {
            try exchange.request.set(name.span, value.span)
            let flow = interpreter.flow(of: exchange)
            flow.owner = fixture
            guard case .waiting = interpreter.run(.request, of: flow) else {
                Issue.record("the hook does not wait")
                return
            }
        }
        let quick = fixture.copy()
        for _ in 0..<3 {
            let flow = interpreter.flow(of: quick)
            flow.owner = fixture
            guard case .proceed = interpreter.run(.request, of: flow) else {
                Issue.record("the hook waits")
                return
            }
            interpreter.end(flow)
            #expect(interpreter.coroutines == waiting.count + 1)
        }
        fixture.advance(milliseconds: 60_000)
        #expect(interpreter.waitingCalls == 0)
        // What waited is kept for later in part only.
        #expect(interpreter.coroutines == 64)
        for exchange in waiting { interpreter.end(interpreter.flow(of: exchange)) }
    }
}
