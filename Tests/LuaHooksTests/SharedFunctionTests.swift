import Config
import Testing

@testable import LuaHooks

@Suite("Shared dictionaries of scripts")
struct SharedFunctionTests {
    private func settings(_ bytes: Int = 100_000) -> LuaSettings {
        var settings = LuaSettings.patient
        settings.sharedDictionaries = [
            SharedDictionarySettings(name: "rates", bytes: bytes),
            SharedDictionarySettings(name: "other", bytes: bytes),
        ]
        return settings
    }

    @Test("values of each kind come back as they were, and dictionaries are apart")
    func values() throws {
        let text = """
            local d = sy.shared.rates
            print(d:set('s', 'a\\0b'), d:set('i', 1 << 60), d:set('n', 1.5), d:set('t', true), d:set('f', false))
            print(#d:get('s'), d:get('i'), d:get('n'), d:get('t'), d:get('f'), d:get('none'))
            print(d:set('s', nil), d:get('s'), sy.shared.other:get('i'))
            print(d:set(5, 'five'), d:get('5'), d:delete('5'), d:delete('5'), d:get('5'))
            """
        #expect(
            try lines(text, settings: settings()) == [
                "true\ttrue\ttrue\ttrue\ttrue", "3\t1152921504606846976\t1.5\ttrue\tfalse\tnil",
                "true\tnil\tnil", "true\tfive\ttrue\tfalse\tnil",
            ])
    }

    @Test("add, incr and cas do one thing or the other")
    func decisions() throws {
        let text = """
            local d = sy.shared.rates
            print(d:add('a', 1), d:add('a', 2))
            print(d:incr('a'), d:incr('a', 10), d:incr('a', 0.5))
            print(d:incr('b'))
            print(d:incr('b', 2, 40), d:incr('b', -2, 100))
            print(d:set('s', 'x'), d:incr('s'))
            print(d:cas('a', 1, 2), d:cas('a', 12.5, 'new'), d:get('a'))
            print(d:cas('none', nil, 'made'), d:get('none'), d:cas('none', 'made', nil), d:get('none'))
            """
        #expect(
            try lines(text, settings: settings()) == [
                "true\tfalse\texists", "2\t12\t12.5", "nil\tnot found", "42\t40", "true\tnil\tnot a number",
                "false\ttrue\tnew", "true\tmade\ttrue\tnil",
            ])
    }

    @Test("a value ends when its time is over")
    func time() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            local d = sy.shared.rates
            if d:add('begun', 1, 10) then
                d:set('a', 1, 0.5) d:add('b', 1, 1) d:incr('c', 1, 0, 2) d:set('d', 1) d:set('e', 1, 0)
                d:cas('f', nil, 1, 2)
            end
            print(d:get('a'), d:get('b'), d:get('c'), d:get('d'), d:get('e'), d:get('f'))
            print(d:ttl('a'), d:ttl('b'), d:ttl('c'), d:ttl('d'), d:ttl('e'), d:ttl('f'))
            """, settings: settings())
        _ = fixture.run()
        fixture.advance(milliseconds: 600)
        _ = fixture.run()
        fixture.advance(milliseconds: 1400)
        _ = fixture.run()
        #expect(
            fixture.host.lines.map { $0.dropFirst(14) } == [
                "1\t1\t1\t1\t1\t1", "0.5\t1.0\t2.0\t0\t0\t2.0", "nil\t1\t1\t1\t1\t1",
                "nil\t0.4\t1.4\t0\t0\t1.4",
                "nil\tnil\tnil\t1\t1\tnil", "nil\tnil\tnil\t0\t0\tnil",
            ])
    }

    @Test("cas keeps a value's time, or gives it another")
    func timeOfChanged() throws {
        let text = """
            local d = sy.shared.rates
            for _, key in ipairs { 'a', 'b', 'c' } do d:set(key, 1, 5) end
            d:cas('a', 1, 2) d:cas('b', 1, 2, 0) d:cas('c', 1, 2, 7)
            print(d:ttl('a'), d:ttl('b'), d:ttl('c'))
            """
        #expect(try lines(text, settings: settings()) == ["5.0\t0\t7.0"])
    }

    @Test("keys come newest first, as many as were asked for; size is in bytes")
    func keys() throws {
        let text = """
            local d = sy.shared.rates
            for i = 1, 5 do d:set('k' .. i, i) end
            print(table.concat(d:keys(), ' '), table.concat(d:keys(2), ' '), #d:keys(0), #sy.shared.other:keys())
            local used, all = d:size()
            print(used > 0 and used < all, all)
            """
        #expect(try lines(text, settings: settings()) == ["k5 k4 k3 k2 k1\tk5 k4\t0\t0", "true\t100000"])
    }

    @Test("what is used least gives way, and what never fits is refused")
    func full() throws {
        let text = """
            local d = sy.shared.rates
            print(d:set('large', ('x'):rep(200000)))
            print(d:add('large', ('x'):rep(200000)))
            print(d:cas('large', nil, ('x'):rep(200000)))
            for i = 1, 10000 do d:set('k' .. i, i) end
            local used, all = d:size()
            print(used <= all, d:get('k1'), d:get('k10000'))
            """
        #expect(
            try lines(text, settings: settings())
                == ["nil\tno memory", "nil\tno memory", "nil\tno memory", "true\tnil\t10000"])
    }

    @Test(
        "what is wrong with a call is said",
        arguments: [
            ("d.get('k')", "found string, expected a shared dictionary: call it with a colon"),
            ("d:get()", "key: found nothing, expected a string"),
            ("d:get({})", "key: found table, expected a string"),
            ("d:set({}, 1)", "key: found table, expected a string"),
            ("d:set('k', {})", "value: found table, expected a string, a number, a boolean or nil"),
            ("d:set('k', print)", "value: found function, expected"),
            ("d:set('k', 1, 'x')", "ttl: found string, expected a number"),
            ("d:set('k', 1, -1)", "ttl: found -1.0, expected 0 to"),
            ("d:add('k')", "value: found nothing, expected a string, a number or a boolean"),
            ("d:add({}, 1)", "key: found table"), ("d:add('k', 1, {})", "ttl: found table"),
            ("d:incr({})", "key: found table"), ("d:incr('k', {})", "by: found table, expected a number"),
            ("d:incr('k', 1, 'x')", "init: found string, expected a number"),
            ("d:incr('k', 1, 1, {})", "ttl: found table"),
            ("d:cas({})", "key: found table"), ("d:cas('k', {})", "value: found table"),
            ("d:cas('k', 1, {})", "value: found table"), ("d:cas('k', 1, 1, {})", "ttl: found table"),
            ("d:delete()", "key: found nothing"), ("d:ttl({})", "key: found table"),
            ("d:keys({})", "max: found table, expected an integer"),
            ("d:keys(-1)", "max: found -1, expected 0 or more"),
            ("d.size(flow)", "found flow, expected a shared dictionary"),
            ("(function() d.x = 1 end)()", "the field \"x\" cannot be set"),
        ])
    func faults(call: String, message: String) throws {
        let text = "(function() local d = sy.shared.rates return \(call) end)()"
        #expect(try failure(text, settings: settings()).contains(message))
    }

    @Test("interpreters of one generation share what was prepared for them")
    func shared() throws {
        let script = Script.test(
            .hook(
                .initialise,
                ScriptText(text: Array("print(sy.shared.rates:incr('n', 1, 0))".utf8), file: "i.lua", line: 1)
            ))
        let first = try ScriptFixture([script], settings: settings())
        var set = first.interpreter.set
        set.dictionaries = SharedDictionaries().prepare(settings().sharedDictionaries)
        var printed: [String] = []
        for _ in 0..<3 {
            let host = FakeHost()
            let interpreter = try Interpreter(set, host: host, shared: ScriptCommons())
            interpreter.runInitHooks()
            printed += host.lines
        }
        #expect(printed == (1...3).map { "[notice] lua: \($0)" })
    }
}
