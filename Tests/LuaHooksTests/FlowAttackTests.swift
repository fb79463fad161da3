import Config
import ProxyCore
import Testing

@testable import LuaHooks

/// Scripts that mean harm, or know no better: each row of the table is called with everything that it is not
/// for.
@Suite("Attacks on the flow family")
struct FlowAttackTests {
    /// How a script reaches an object of each type.
    static let objects: [(type: LuaType, text: String)] = [
        (.flow, "flow"), (.request, "flow.req"), (.response, "flow.res"),
        (.requestHeaders, "flow.req.headers"), (.responseHeaders, "flow.res.headers"),
        (.arguments, "flow.req.args"), (.cookies, "flow.req.cookies"), (.variables, "flow.var"),
        (.client, "flow.client"), (.upstream, "flow.upstream"), (.offer, "flow.offer"),
        (.timer, "flow:after(3600, print)"),
    ]

    /// A statement that uses the row on `object`, `value` being each argument.
    static func use(_ function: LuaFunction, of object: String, _ value: String) -> String? {
        switch function.place {
        case .method: "return \(object).\(function.name)(\(object), \(value), \(value), \(value))"
        case .getter, .part, .ownTable: "return \(object).\(function.name)"
        case .setter: "\(object).\(function.name) = \(value)"
        case .anyGetter: "return \(object)[\(value)]"
        case .anySetter: "\(object)[\(value)] = \(value)"
        case .metamethod: "for a, b in pairs(\(object)) do end"
        case .module, .global, .library, .libraryValue, .hidden: nil
        }
    }

    static let rows = FlowTests.rows.map(\.element)

    @Test(
        "an object that outlives its exchange refers to nothing, whatever is asked of it",
        arguments: objects.indices)
    func stale(_ index: Int) throws {
        let (type, text) = Self.objects[index]
        var script = "if kept then\n"
        var count = 0
        for function in Self.rows where function.place.type == type {
            // Parts are objects of the same exchange, which say so themselves; a table of the script's own
            // is its own.
            switch function.place {
            case .part, .ownTable: continue
            default: break
            }
            guard let use = Self.use(function, of: "kept", "'x'") else { continue }
            script += "print(select(2, pcall(function() \(use) end)))\n"
            count += 1
        }
        script += "else kept = \(text) end"
        let fixture = try ScriptFixture(.request, script)
        _ = fixture.run()
        #expect(fixture.host.lines.isEmpty)
        fixture.interpreter.end(fixture.flow)
        // The flow is used again, by an exchange that the kept object must not reach.
        _ = fixture.run()
        #expect(fixture.host.lines.count == count)
        for line in fixture.host.lines {
            #expect(
                line.hasSuffix("\(type.name) cannot be used any more: its exchange is over")
                    || type == .timer && line == "[notice] lua: false", "\(line)")
        }
    }

    @Test("a method called on another object is an error, never that object's memory")
    func wrongSelf() throws {
        let others =
            Self.objects.map(\.text) + [
                "nil", "true", "42", "'text'", "{}", "print", "io", "coroutine.create(print)",
            ]
        var script = ""
        var expected = 0
        for function in Self.rows {
            guard case .method(let type) = function.place,
                let object = Self.objects.first(where: { $0.type == type })
            else { continue }
            for other in others where other != object.text {
                script += "print(pcall(\(object.text).\(function.name), \(other), 'x', 'y'))\n"
                expected += 1
            }
        }
        let fixture = try ScriptFixture(.request, "local t = {}\n" + script)
        #expect(Self.completes(fixture))
        #expect(fixture.host.lines.count == expected)
        for line in fixture.host.lines {
            #expect(line.hasPrefix("[notice] lua: false\t"), "\(line)")
            #expect(line.contains("call it with a colon"), "\(line)")
        }
    }

    static func completes(_ fixture: ScriptFixture, _ stage: HookStage = .request) -> Bool {
        if case .failed = fixture.run(stage) { false } else { true }
    }

    /// What no function expects, or not there.
    static let junk = [
        "nil", "true", "0", "-1", "1e308", "-0.0", "0/0", "1/0", "math.mininteger", "math.maxinteger",
        "''",
        "'\\0'", "'\\r\\n'", "'\\xff\\xfe'", "('x'):rep(100000)", "('%'):rep(1000)", "('&'):rep(5000)", "{}",
        "{ {} }", "{ 1, nil, 3 }", "setmetatable({}, { __index = error, __len = error })",
        "{ [1] = 'a', [1 << 40] = 'b' }", "{ status = {}, headers = { {} } }", "print", "flow", "flow.req",
        "flow.req.headers", "coroutine.create(print)",
    ]

    @Test(
        "whatever is handed to a function, it is an error or a result",
        arguments: [HookStage.request, .upgrade, .response, .open, .log])
    func junk(_ stage: HookStage) throws {
        var script = ""
        var count = 0
        for function in Self.rows {
            guard let type = function.place.type, let object = Self.objects.first(where: { $0.type == type })
            else { continue }
            let isField =
                switch function.place {
                case .getter, .part, .ownTable, .metamethod: true
                default: false
                }
            for value in isField ? ["x"] : Self.junk {
                guard let use = Self.use(function, of: "object", value) else { continue }
                script += "attempt(function() local object = \(object.text) \(use) end)\n"
                count += 1
            }
        }
        // Each in a function of its own: one chunk holds no more than so many constants and jumps.
        let text = """
            local count = 0
            local function attempt(f)
                -- What waits must not wait here: the next one is to be tried.
                local ok, message = pcall(coroutine.wrap(f))
                if not ok and type(message) ~= "string" then error("raised a " .. type(message)) end
                count = count + 1
            end
            \(script)
            print(count)
            """
        let fixture = try ScriptFixture(stage, text, request: FlowCases.handshake)
        #expect(Self.completes(fixture, stage))
        #expect(fixture.host.lines.last == "[notice] lua: \(count)", "\(fixture.host.lines.suffix(2))")
        fixture.interpreter.end(fixture.flow)
        #expect(fixture.interpreter.timerCount == 0 && fixture.interpreter.waitingCalls == 0)
    }

    @Test("a hook cannot change an exchange that is not its own, but can end its tunnel")
    func otherExchange() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            if kept then
                print(pcall(function() kept.req.headers.X = 'y' end))
                print(pcall(kept.respond, kept, {}))
                print(kept.req.headers.Host)
                kept:close(4000, 'replaced')
            end
            kept = flow
            """)
        _ = fixture.run()
        let other = Exchange(runtime: fixture.exchange.runtime, clock: fixture.host.clock)
        other.request = fixture.exchange.request
        other.begin(listener: 0, client: ClientFacts(), startedAt: fixture.host.clock.now, random: (3, 4))
        other.location = fixture.exchange.location
        other.scripts = fixture.interpreter
        let flow = fixture.interpreter.flow(of: other)
        _ = fixture.interpreter.run(.request, of: flow)
        #expect(
            fixture.host.lines == [
                "[notice] lua: false\ttest.lua:2: flow.req.headers cannot be used by a hook of "
                    + "another exchange",
                "[notice] lua: false\tflow:respond cannot be used by a hook of another exchange",
                "[notice] lua: example.test",
            ])
        #expect(fixture.closings.map(\.reason) == ["replaced"])
        #expect(!fixture.flow.hasAnswer && !flow.hasAnswer)
        fixture.interpreter.end(flow)
    }

    @Test("timers and tags of an exchange are bounded, however often they are asked for")
    func bounded() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            for i = 1, 5000 do pcall(flow.after, flow, 3600, print) end
            for i = 1, 5000 do pcall(flow.deadline, flow, 4e9) end
            for i = 1, 5000 do pcall(flow.tag, flow, 'tag' .. i) end
            """)
        #expect(Self.completes(fixture))
        #expect(fixture.interpreter.timerCount == 1000)
        #expect(fixture.flow.tags.count == 64)
        fixture.interpreter.end(fixture.flow)
        #expect(fixture.interpreter.timerCount == 0)
    }

    @Test("an iterator that a script breaks says so")
    func iterators() throws {
        let fixture = try ScriptFixture(
            .request,
            "local nextPair = flow.req.headers:each() print(nextPair()) print(nextPair()) "
                + "print(nextPair(1, 2, 3))"
        )
        #expect(fixture.printed() == ["Host\texample.test", "nil", "nil"])
    }
}

extension ScriptFlow {
    fileprivate var hasAnswer: Bool { answer != nil }
}
