import Config
import ProxyCore
import Testing

@testable import LuaHooks

@Suite("Interpreter")
struct InterpreterTests {
    @Test("a hook runs, and its print goes to the log")
    func runs() throws {
        let fixture = try ScriptFixture(.request, "print('hello', flow.id)")
        #expect(fixture.printed() == ["hello\t00000000000000010000000000000002"])
    }

    @Test("an error has file, line and traceback, and ends the exchange")
    func fault() throws {
        let fixture = try ScriptFixture(.request, "local function inner() error('bad thing') end\n\ninner()")
        guard case .failed = fixture.run() else { throw Unexpected() }
        let line = try #require(fixture.host.lines.first)
        #expect(line.contains("[error] lua: request hook of test.lua:1 failed: test.lua:1: bad thing"))
        #expect(line.contains("stack traceback:"))
        #expect(line.contains("test.lua:3:"))
        #expect(line.contains("exchange 00000000000000010000000000000002"))
    }

    @Test(
        "whoever uses a table of another product's is told where to read on",
        arguments: [
            ("ngx.say('x')", "(global 'ngx')", "From OpenResty"),
            ("local ngx = ngx; (function() ngx.exit(403) end)()", "(upvalue 'ngx')", "From OpenResty"),
            ("core.log(core.info, 'x')", "(global 'core')", "From HAProxy"),
        ])
    func otherProducts(text: String, fault: String, chapter: String) throws {
        let fixture = try ScriptFixture(.request, text)
        guard case .failed = fixture.run() else { throw Unexpected() }
        let line = try #require(fixture.host.lines.first)
        #expect(
            line.contains(
                "attempt to index a nil value \(fault): there is no such table here, see \"\(chapter)\" in "
                    + "docs/scripting.md\nstack traceback:"))
        // A script may find out where it runs.
        let asking = try ScriptFixture(.request, "print(ngx, ngx and ngx.say, core)")
        #expect(asking.printed() == ["nil\tnil\tnil"])
    }

    @Test(
        "whoever uses what another Lua has, or what the sandbox leaves out, is told what there is",
        arguments: [
            ("unpack({})", "Lua 5.4 has table.unpack"), ("table.getn({})", "Lua 5.4 has the operator #"),
            ("print(bit.band(1, 2))", "Lua 5.4 has the operators & | ~ << >>"),
            ("sy.log.notice('x')", "the levels of sy.log are debug, info, warn and error"),
            ("io.open('/etc/passwd')", "not for scripts, unless lua_sandbox is off"),
            ("os.execute('true')", "not for scripts, unless lua_sandbox is off"),
            ("print(debug.getinfo(1))", "not for scripts, unless lua_sandbox is off"),
            ("require 'cjson'", "module \"cjson\" not found, sy.json is here instead: no field"),
            (
                "require 'resty.redis'",
                "module \"resty.redis\" not found, which is OpenResty's: see \"From OpenResty\" in docs/scripting.md: no field"
            ),
        ])
    func otherNames(text: String, advice: String) throws {
        let fixture = try ScriptFixture(.request, text)
        guard case .failed = fixture.run() else { throw Unexpected() }
        #expect(try #require(fixture.host.lines.first).contains(advice))
    }

    @Test("a hook whose name is misspelt in a plugin is refused with the name that was meant")
    func misspeltHook() {
        let text = ScriptText(text: Array("return { requst = function() end }".utf8), file: "p.lua", line: 1)
        let fault = #expect(throws: ScriptFault.self) {
            try ScriptFixture([Script.test(.plugin(text, arguments: []))])
        }
        #expect(fault?.message == "found \"requst\", did you mean \"request\"?")
    }

    @Test("an error that is very long leaves room for its traceback")
    func longError() throws {
        let fixture = try ScriptFixture(
            .request, "local function f()\nerror(string.rep('é', 10000), 0)\nend\nf()")
        guard case .failed = fixture.run() else { throw Unexpected() }
        let line = try #require(fixture.host.lines.first)
        #expect(line.contains("é... (cut, 20000 bytes in all)\nstack traceback:"))
        #expect(line.contains("test.lua:2:") && line.utf8.count < 10_000)
    }

    @Test("an error is told whole, whatever bytes it has")
    func faultWithNull() throws {
        let fixture = try ScriptFixture(
            .request, "local t = debug.traceback('x\\0y') error('bad\\0thing\\n' .. t, 0)")
        guard case .failed = fixture.run() else { throw Unexpected() }
        let line = try #require(fixture.host.lines.first)
        #expect(line.contains("failed: bad\0thing\nx\0y\nstack traceback:"))
    }

    @Test(
        "a result that a stage has no use for is an error: what was to be refused does not pass",
        arguments: [
            (
                HookStage.request, "return 403",
                "found 403, expected nothing, or the result of flow:respond, flow:redirect"
            ),
            (.request, "return false", "found false, expected nothing, or the result of"),
            (.request, "return { status = 403 }", "found table, expected nothing, or the result of"),
            (.request, "sy.sleep(0.01) return 'no'", "found string, expected nothing, or the result of"),
            (
                .upgrade, "return true",
                "found true, expected nothing, or the result of flow:respond, flow:redirect"
            ),
            (
                .response, "return 502",
                "found 502, expected nothing, or the result of flow:respond or flow:redirect"
            ),
            (.open, "return false", "found false, expected nothing, or the result of flow:close"),
        ])
    func results(stage: HookStage, text: String, message: String) throws {
        let fixture = try ScriptFixture(stage, text)
        var result = fixture.run(stage)
        if case .waiting = result {
            fixture.advance(milliseconds: 10)
            result = try #require(fixture.ended.first?.result)
        }
        guard case .failed = result else { throw Unexpected() }
        let line = try #require(fixture.host.lines.first)
        #expect(line.contains("[error] lua: \(stage.name) hook of test.lua:1 failed: \(message)"), "\(line)")
        #expect(line.contains(", from the function at test.lua:1, exchange "), "\(line)")

        let lenient = try ScriptFixture(stage, "print('ran') " + text, failure: .open)
        if case .waiting = lenient.run(stage) { lenient.advance(milliseconds: 10) }
        #expect(lenient.host.lines.last?.contains(message) == true)
    }

    @Test(
        "nothing, nil, and what decides an exchange are results of hooks",
        arguments: [
            "", "return", "return nil", "return nil, 'why'", "return flow:route('http://127.0.0.1:1')",
        ])
    func noResults(text: String) throws {
        let fixture = try ScriptFixture(.request, text)
        guard case .proceed = fixture.run() else { throw Unexpected() }
        #expect(fixture.host.lines.isEmpty)
        for stage in [HookStage.request, .upgrade, .response] {
            let answering = try ScriptFixture(stage, "return flow:respond{ status = 403 }, 'as well'")
            guard case .answered = answering.run(stage) else { throw Unexpected() }
        }
    }

    @Test(
        "a drain hook gives seconds, or nothing", arguments: ["return false", "return -1", "return 'soon'"])
    func graces(text: String) throws {
        let fixture = try ScriptFixture(.drain, text)
        guard case .failed = fixture.run(.drain) else { throw Unexpected() }
        #expect(fixture.host.lines.first?.contains("expected nothing, or seconds of grace") == true)
        let open = try ScriptFixture(.drain, text, failure: .open)
        guard case .proceed = open.run(.drain) else { throw Unexpected() }
        guard case .grace(1500) = try ScriptFixture(.drain, "return 1.5").run(.drain) else {
            throw Unexpected()
        }
    }

    @Test("with lua_on_error open, the exchange goes on after an error")
    func open() throws {
        let fixture = try ScriptFixture(.request, "error({})", failure: .open)
        guard case .proceed = fixture.run() else { throw Unexpected() }
        #expect(fixture.host.lines.first?.contains("error object is a table value") == true)
    }

    @Test(
        "whatever is raised is shown, as far as it can be",
        arguments: [
            ("error('text', 0)", "text"), ("error(42)", "42"), ("error(1.5)", "1.5"),
            ("error({})", "error object is a table value"), ("error()", "error object is a nil value"),
            ("error(setmetatable({}, { __tostring = function() return 'shown' end }))", "shown"),
        ])
    func errorObjects(text: String, shown: String) throws {
        let fixture = try ScriptFixture(.request, text)
        guard case .failed = fixture.run() else { throw Unexpected() }
        #expect(fixture.host.lines.first?.contains(shown) == true)
    }

    @Test("a hook that sleeps goes on when its time has come")
    func sleeps() throws {
        let fixture = try ScriptFixture(.request, "sy.sleep(1.5) print('awake')")
        guard case .waiting = fixture.run() else { throw Unexpected() }
        #expect(fixture.interpreter.waitingCalls == 1)
        fixture.advance(milliseconds: 1499)
        #expect(fixture.ended.isEmpty)
        fixture.advance(milliseconds: 1)
        #expect(fixture.ended.count == 1)
        #expect(fixture.host.lines == ["[notice] lua: awake"])
        #expect(fixture.interpreter.waitingCalls == 0)
    }

    @Test("a hook that is cancelled never goes on, and its timer is gone")
    func cancels() throws {
        let fixture = try ScriptFixture(.request, "sy.sleep(1) print('awake')")
        _ = fixture.run()
        fixture.interpreter.end(fixture.flow)
        #expect(fixture.interpreter.timerCount == 0)
        fixture.advance(milliseconds: 2000)
        #expect(fixture.host.lines.isEmpty && fixture.ended.isEmpty)
    }

    @Test("an endless loop is interrupted, pcall or not")
    func endless() throws {
        _ = Interpreter.watchThread()
        defer { Interpreter.unwatchThread() }
        var settings = LuaSettings()
        settings.hookTimeout = 20
        for text in ["while true do end", "while true do pcall(function() while true do end end) end"] {
            let fixture = try ScriptFixture(.request, text, settings: settings)
            guard case .failed = fixture.run() else { throw Unexpected() }
            #expect(fixture.host.lines.first?.contains("lua_hook_timeout, 20 ms") == true)
            // What runs next is not disturbed.
            guard case .failed = fixture.run() else { throw Unexpected() }
        }
    }

    @Test("memory is limited, and the interpreter goes on afterwards")
    func memory() throws {
        var settings = LuaSettings.patient
        settings.memoryLimit = 4 << 20
        for text in ["local s = ('x'):rep(1 << 30)", "local t = {} while true do t[#t + 1] = {} end"] {
            let fixture = try ScriptFixture(.request, text, settings: settings)
            guard case .failed = fixture.run() else { throw Unexpected() }
            #expect(fixture.host.lines.first?.contains("not enough memory") == true)
            fixture.interpreter.collectGarbage()
            #expect(fixture.interpreter.memory < 1 << 20)
        }
    }

    @Test("where memory runs out, the message has the place, the directive and a traceback")
    func memoryMessage() throws {
        var settings = LuaSettings.patient
        settings.memoryLimit = 4 << 20
        let text = """
            local function fill(list)
                while true do
                    list[#list + 1] = { #list }
                end
            end
            local kept = {}
            local ok, plain = pcall(fill, {})
            kept[1] = plain
            fill(kept)
            """
        let fixture = try ScriptFixture(.request, text, settings: settings)
        guard case .failed = fixture.run() else { throw Unexpected() }
        let line = try #require(fixture.host.lines.first)
        let start =
            "[error] lua: request hook of test.lua:1 failed: test.lua:3: not enough memory: lua_memory_limit "
            + "allows 4194304 bytes\nstack traceback:\n\ttest.lua:3: in function <test.lua:1>\n\t"
        #expect(line.hasPrefix(start + "test.lua:9: in function <test.lua:1>, exchange "), "\(line)")
        let large = try ScriptFixture(.request, "\nlocal s = ('x'):rep(1 << 30)", settings: settings)
        guard case .failed = large.run() else { throw Unexpected() }
        #expect(
            large.host.lines.first?.contains(
                "failed: test.lua:2: not enough memory: lua_memory_limit allows 4194304 bytes\nstack traceback:"
            )
                == true)
    }

    @Test("a script that raises Lua's message for want of memory has no place of what ran before")
    func memoryMessageOfItsOwn() throws {
        var settings = LuaSettings.patient
        settings.memoryLimit = 4 << 20
        let text = """
            count = (count or 0) + 1
            if count == 1 then
                pcall(string.rep, 'x', 1 << 30)
            else
                error('not enough memory', 0)
            end
            """
        let fixture = try ScriptFixture(.request, text, settings: settings)
        _ = fixture.run()
        #expect(fixture.host.lines.isEmpty)
        guard case .failed = fixture.run() else { throw Unexpected() }
        let line = try #require(fixture.host.lines.first)
        let start =
            "[error] lua: request hook of test.lua:1 failed: not enough memory: lua_memory_limit allows "
            + "4194304 bytes"
        #expect(line.hasPrefix(start + ", exchange "), "\(line)")
    }

    @Test("a line of print says where it is from, as those of sy.log do")
    func printing() throws {
        let fixture = try ScriptFixture(.request, "sy.log.warn('a', 1)\nprint('b', nil)\nprint()")
        fixture.host.keepsPlaces = true
        _ = fixture.run()
        #expect(
            fixture.host.lines == [
                "[warn] lua: test.lua:1: a\t1", "[notice] lua: test.lua:2: b\tnil",
                "[notice] lua: test.lua:3: ",
            ])
    }

    @Test("what is spawned writes to the log of who spawned it, and what is of no place to that of http")
    func logSettings() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            sy.log.info('hook')
            sy.spawn(function() sy.log.info('at once') sy.sleep(1) sy.log.info('later') error('no') end)
            """)
        _ = fixture.run()
        let place = fixture.exchange.location.settings
        fixture.advance(milliseconds: 1000)
        #expect(fixture.host.lines.count == 4)
        #expect(fixture.host.logSettings.allSatisfy { $0 === place })
        let starting = try ScriptFixture(
            .initialise, "sy.log.info('init') sy.spawn(function() sy.log.info('spawned') error('no') end)")
        starting.interpreter.runInitHooks()
        #expect(starting.host.lines.count == 3)
        #expect(starting.host.logSettings.allSatisfy { $0 == nil })
    }

    @Test("calls within calls go deep, but not without end; the script goes on behind a pcall")
    func depth() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            local function f(n) return n == 0 and 0 or 1 + f(n - 1) end
            print(f(20000))
            for i = 1, 3 do print(pcall(f, 1e7)) end
            print(f(20000))
            f(-1)
            """)
        guard case .failed = fixture.run() else { throw Unexpected() }
        let lines = fixture.host.lines
        let overflow = "test.lua:1: stack overflow: calls within calls are nested too deeply"
        #expect(lines.count == 6)
        #expect(
            lines.dropLast()
                == (["20000"] + Array(repeating: "false\t" + overflow, count: 3) + ["20000"])
                .map { "[notice] lua: " + $0 })
        #expect(lines.last?.contains("failed: " + overflow) == true)
        guard case .failed = fixture.run() else { throw Unexpected() }
        fixture.interpreter.collectGarbage()
        fixture.interpreter.collectGarbage()
        #expect(fixture.interpreter.memory < 4 << 20)
    }

    @Test("garbage is collected once no hook has run for a while")
    func cleaning() throws {
        let fixture = try ScriptFixture(
            .request, "local t = {} for i = 1, 2000 do t[i] = { tostring(i) } end")
        guard case .proceed = fixture.run() else { throw Unexpected() }
        fixture.interpreter.collectGarbage()
        let least = fixture.interpreter.memory
        guard case .proceed = fixture.run() else { throw Unexpected() }
        #expect(fixture.interpreter.memory > least + 50_000)
        // Not while hooks run.
        for _ in 0..<10 {
            fixture.advance(milliseconds: 100)
            guard case .proceed = fixture.run() else { throw Unexpected() }
        }
        #expect(fixture.interpreter.memory > least + 50_000)
        for _ in 0..<2000 where fixture.interpreter.cleaning.time != .max { fixture.advance(milliseconds: 1) }
        #expect(fixture.interpreter.memory < least + 5000)
        #expect(fixture.interpreter.cleaning.time == .max)
        #expect(fixture.interpreter.spareMemory == 0)
    }

    @Test("an object that outlives its exchange says so")
    func stale() throws {
        let fixture = try ScriptFixture(
            .request, "if kept then print(pcall(function() return kept.id end)) end kept = flow")
        _ = fixture.run()
        fixture.interpreter.end(fixture.flow)
        _ = fixture.run()
        #expect(
            fixture.host.lines.first?.contains("flow cannot be used any more: its exchange is over") == true)
    }

    @Test("a call that outlives its exchange waits no more, and is not of the one that comes next")
    func outlivedExchange() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            if not begun then
                begun = true
                flow:after(0.1, function()
                    print('closes')
                    print(pcall(sy.sleep, 1))
                    print(pcall(next.close, next))
                    error('late')
                end)
            else
                next = flow
                sy.sleep(2)
                print('next goes on')
            end
            """)
        let (interpreter, host) = (fixture.interpreter, fixture.host)
        guard case .proceed = fixture.run() else { throw Unexpected() }
        let next = fixture.copy()
        host.printed = { [unowned fixture] text in
            guard text == "lua: closes" else { return }
            interpreter.end(fixture.flow)
            // As of a client that has sent its next request already.
            _ = interpreter.run(.request, of: interpreter.flow(of: next))
        }
        fixture.advance(milliseconds: 100)
        #expect(
            host.lines.map { $0.split(separator: "\n")[0] } == [
                "[notice] lua: closes",
                "[notice] lua: false\tsleep cannot wait: its exchange is over",
                "[notice] lua: false\tclose: there is nothing to close any more",
                "[error] lua: function of test.lua:1 failed: test.lua:7: late",
            ])
        #expect(host.logExchanges.dropFirst() == [nil, nil, nil])
        fixture.advance(milliseconds: 2000)
        #expect(host.lines.last == "[notice] lua: next goes on")
        #expect(host.logExchanges.last == next.requestIDText)
        interpreter.endAllFlows()
    }

    @Test("a timer's object names it, whatever its number is", arguments: [1, 1 << 31, 1 << 32 - 1, 1 << 40])
    func numbersOfTimers(id: ScriptTimers.ID) throws {
        let fixtures = try [ScriptFixture(.request, ""), ScriptFixture(.request, "")]
        let (stack, other) = (fixtures[0].interpreter.mainStack, fixtures[1].interpreter.mainStack)
        stack.push(.timer, ObjectHandle(timer: id))
        #expect(stack.object(-1, .timer)?.timer == id)
        // As a reload takes it along.
        stack.pushTable()
        stack.push(.timer, ObjectHandle(timer: id))
        stack.setField("timer", of: -2)
        #expect(stack.copyPlain(-1, to: other, timers: [(7, 8), (id, id + 1)]))
        other.pushField("timer", of: -1)
        #expect(other.object(-1, .timer)?.timer == id + 1)
    }

    @Test("whatever fails is counted: an init hook, and a variable with a value of a wrong type")
    func counts() throws {
        for text in ["error('no')", "sy.sleep(1) error('no')"] {
            let fixture = try ScriptFixture(.initialise, text)
            fixture.interpreter.runInitHooks()
            fixture.advance(milliseconds: 1000)
            #expect(fixture.host.lines.count == 1)
            #expect(fixture.interpreter.shared.failures == 1, "\(text)")
        }
        for text in ["return {}", "error('no')"] {
            let variable = ScriptVariable(slot: 0, script: 0, label: Array("mine".utf8))
            let body = ScriptText(text: Array(text.utf8), file: "test.lua", line: 1)
            let fixture = try ScriptFixture([.test(.variable(body))], variables: [variable])
            var value: [UInt8] = []
            #expect(fixture.interpreter.append(0, of: fixture.exchange, to: &value))
            #expect(fixture.host.lines.count == 1, "\(fixture.host.lines)")
            #expect(fixture.interpreter.shared.failures == 1, "\(text)")
        }
    }

    @Test("what a script says wrong is found when it is loaded, with its line")
    func syntax() {
        #expect(throws: ScriptFault.self) { try ScriptFixture(.request, "local x = = 1") }
        do {
            _ = try ScriptFixture(.request, "\n\nif then")
        } catch let fault as ScriptFault {
            #expect(fault.file == "test.lua" && fault.line == 3)
        } catch {}
    }

    struct Unexpected: Error {}
}
