import Config
import Foundation
import ProxyCore
import Testing

@testable import LuaHooks

/// The libraries in C: what they return, and what they do to a script that means harm.
@Suite("Libraries")
struct LibraryTests {
    @Test("what chance brings differs from interpreter to interpreter, in tests of scripts alone it does not")
    func chance() throws {
        func drawn() throws -> [String] {
            let fixture = try ScriptFixture(
                .request,
                """
                print(math.random(0))
                local names, seen = {}, {}
                for i = 1, 50 do names['name' .. i] = i end
                for name in pairs(names) do seen[#seen + 1] = name end
                print(table.concat(seen, ' '))
                """)
            return fixture.printed()
        }
        let (one, two) = (try drawn(), try drawn())
        #expect(one[0] != two[0] && one[1] != two[1])
    }

    @Test("a script of assertions passes", arguments: ["patterns", "libraries"])
    func assertions(name: String) throws {
        let directory = try #require(Bundle.module.url(forResource: "Fixtures", withExtension: nil))
        let text = try String(contentsOf: directory.appending(path: "\(name).lua"), encoding: .utf8)
        // Other tests have their threads watched, and these may run on one of them.
        var settings = LuaSettings()
        settings.hookTimeout = 60_000
        let fixture = try ScriptFixture(.request, text, settings: settings)
        guard case .proceed = fixture.run() else {
            Issue.record("\(fixture.host.lines.first ?? "no message")")
            return
        }
        #expect(fixture.host.lines.isEmpty)
    }

    /// Each of these keeps Lua's own libraries busy for far longer than its hook may run, most of them for ever.
    static let endless = [
        "('a'):rep(3000):find(('.-'):rep(20) .. 'b')",
        "('a'):rep(40):match(('a?'):rep(40) .. ('a'):rep(39) .. 'b')",
        "while true do pcall(string.find, ('a'):rep(3000), ('.-'):rep(20) .. 'b') end",
        "('a'):rep(1e6):find('[' .. ('b'):rep(1e6) .. ']*c')",
        "('('):rep(1e6):gsub('%b()', '')",
        "('a'):rep(1e6):find('%f[' .. ('b'):rep(1e5) .. ']')",
        "for word in ('a'):rep(3000):gmatch(('.-'):rep(20) .. 'b') do end",
        "while true do ('a'):rep(1e5):gsub('.', rawlen) end",
        "local s, t = ('a'):rep(8e6), {} for i = 1, 1000 do t[i] = s end table.sort(t)",
        "table.insert(setmetatable({}, {__len = function() return 2^53 end}), 1, 1)",
        "table.remove(setmetatable({}, {__len = function() return 2^53 end}), 1)",
        "table.move({}, 1, 2^53, 2)",
        "table.move({1}, 1, 2^53, 2, {})",
        "table.concat(setmetatable({}, {__index = function() return '' end}), '', 1, 2^53)",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "local function f(n) while n == 0 do end return coroutine.wrap(f)(n - 1) end f(30)",
        "xpcall(function() while true do end end, function() while true do end end)",
        "xpcall(function() while true do end end, coroutine.wrap(function() while true do end end))",
        "while true do xpcall(error, function() while true do end end) end",
        "local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end",
        "local s = 'if a then ' .. ('elseif a then '):rep(70000) .. 'end' while true do load(s) end",
        "while true do load(function() return ' ' end) end",
    ]

    @Test("what would not end is interrupted", arguments: endless)
    func interrupts(text: String) throws {
        _ = Interpreter.watchThread()
        defer { Interpreter.unwatchThread() }
        var settings = LuaSettings()
        settings.hookTimeout = 20
        let fixture = try ScriptFixture(.request, text, settings: settings)
        guard case .failed = fixture.run() else {
            Issue.record("not interrupted")
            return
        }
        #expect(fixture.host.lines.first?.contains("lua_hook_timeout, 20 ms") == true)
    }

    @Test(
        "what fails while a cancelled hook's variables are closed is logged",
        arguments: [
            ("error('no')", "no"), ("error({})", "table"), ("while true do end", "interrupted: on the CPU"),
            ("sy.sleep(1)", "cannot wait"),
        ])
    func closesCancelled(_ body: String, _ said: String) throws {
        _ = Interpreter.watchThread()
        defer { Interpreter.unwatchThread() }
        var settings = LuaSettings()
        settings.hookTimeout = 20
        let text = "local x <close> = setmetatable({}, {__close = function() \(body) end}) sy.sleep(5)"
        let fixture = try ScriptFixture(.request, text, settings: settings)
        guard case .waiting = fixture.run() else {
            Issue.record("does not wait")
            return
        }
        fixture.interpreter.end(fixture.flow)
        let line = fixture.host.lines.first ?? "nothing"
        #expect(line.contains("<close> of a cancelled call") && line.contains(said), "\(line)")
    }

    @Test("what closes a cancelled call's variables logs with its exchange, or where it was spawned")
    func closesInPlace() throws {
        let text = """
            local function wait()
                local x <close> = setmetatable({}, {__close = function() print('closed') error('no') end})
                sy.sleep(5)
            end
            sy.spawn(wait)
            wait()
            """
        let fixture = try ScriptFixture(.request, text)
        guard case .waiting = fixture.run() else {
            Issue.record("does not wait")
            return
        }
        let place = fixture.exchange.location.settings
        fixture.interpreter.end(fixture.flow)
        #expect(fixture.host.lines.count == 2)
        #expect(fixture.host.logExchanges.allSatisfy { $0 == fixture.exchange.requestIDText })
        fixture.interpreter.shutDown()
        #expect(fixture.host.lines.count == 4)
        #expect(fixture.host.logExchanges.suffix(2) == [nil, nil])
        #expect(fixture.host.logSettings.allSatisfy { $0 === place })
    }

    @Test("a coroutine that was interrupted can be closed: what closes its variables is interrupted too")
    func closesInterrupted() throws {
        _ = Interpreter.watchThread()
        defer { Interpreter.unwatchThread() }
        var settings = LuaSettings()
        settings.hookTimeout = 20
        let text = """
            if kept then print(coroutine.status(kept), coroutine.close(kept)) return end
            kept = coroutine.create(function()
                local x <close> = setmetatable({}, {__close = function() while true do end end})
                while true do end
            end)
            coroutine.resume(kept)
            """
        let fixture = try ScriptFixture(.request, text, settings: settings)
        guard case .failed = fixture.run() else {
            Issue.record("not interrupted")
            return
        }
        fixture.host.lines = []
        guard case .proceed = fixture.run() else {
            Issue.record("\(fixture.host.lines.first ?? "no message")")
            return
        }
        let line = fixture.host.lines.first ?? "nothing"
        #expect(line.contains("lua: dead\tfalse\t") && line.contains("interrupted: on the CPU"), "\(line)")
    }

    @Test(
        "what would take all memory, or too much time for its result, is refused",
        arguments: [
            ("('x'):rep(1e9)", "not enough memory"),
            ("('x'):rep(2^40, 'yy')", "not enough memory"),
            (
                "('%.3s'):rep(1e5):format(table.unpack((function() local s, t = ('a'):rep(1e7), {} "
                    + "for i = 1, 1e5 do t[i] = s end return t end)()))", "texts too long to be formatted"
            ),
            ("local function f(s) return s:gsub('.', f) end f('x')", "C stack overflow"),
            ("table.unpack({}, 1, 1e8)", "too many results to unpack"),
            ("string.pack('c2000000000', 'x')", "not enough memory"),
        ])
    func refuses(text: String, message: String) throws {
        let fixture = try ScriptFixture(.request, text)
        guard case .failed = fixture.run() else {
            Issue.record("not refused")
            return
        }
        #expect(fixture.host.lines.first?.contains(message) == true)
    }

    /// Each makes 4 MB or more.
    static let large = [
        "('y'):rep(4 << 20)", "('y'):rep(2 << 20, ',')", "('%s%s'):format(s, s)", "s:upper()", "s:lower()",
        "s:reverse()",
        "s:gsub('y', 'zz')", "s:gsub('yy', { yy = 'z' })", "table.concat({ s, s }, s)",
        "string.pack('s4s4', s, s)",
        "string.pack('c4000000', 'y')", "('%q'):format(s)", "('%-5s'):format(s)", "print(s)",
    ]

    @Test("garbage of others does not stand in the way of a large text", arguments: large)
    func makesRoom(text: String) throws {
        let fixture = try ScriptFixture(
            .request,
            """
            kept = kept or ('y'):rep(4 << 20)
            local s, t = kept, {}
            for i = 1, 55500 do t[i] = i .. ('x'):rep(1000) end
            t = nil
            local before = collectgarbage('count')
            assert(before > 58 << 10, before)
            local made = \(text)
            """)
        for _ in 1...2 {
            guard case .proceed = fixture.run() else {
                Issue.record("\(fixture.host.lines.first?.prefix(300) ?? "no message")")
                return
            }
        }
    }
}
