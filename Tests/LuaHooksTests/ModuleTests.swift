import Config
import Testing

@testable import LuaHooks

/// What a request hook with this text prints, and what goes to the log otherwise.
func lines(_ text: String, settings: LuaSettings = .patient) throws -> [String] {
    let fixture = try ScriptFixture(.request, text, settings: settings)
    _ = fixture.run()
    return fixture.host.lines.map { $0.hasPrefix("[notice] lua: ") ? String($0.dropFirst(14)) : $0 }
}

/// What the expression raises, without its place.
func failure(_ expression: String, settings: LuaSettings = .patient) throws -> String {
    let printed = try lines(
        "print(select(2, pcall(function() return \(expression) end)))", settings: settings)
    let line = try #require(printed.first)
    return line.hasPrefix("test.lua:1: ") ? String(line.dropFirst(12)) : line
}

@Suite("Module switchyard")
struct ModuleTests {
    @Test("require gives the global's own table")
    func require() throws {
        #expect(try lines("print(require 'switchyard' == sy)") == ["true"])
    }

    @Test("package has what libraries look for, each script its own")
    func package() throws {
        #expect(
            try lines(
                """
                print(package.loaded.string == string, package.loaded.switchyard == sy, package.loaded._G == _G)
                print(package.loaded.package == package, require 'package' == package, require 'debug' == debug)
                print(package.path, package.config:gsub('\\n', ' '))
                print(package.loadlib, package.cpath, package.searchers)
                package.loaded.mine = { n = 7 }
                print(require('mine').n, pcall(require, 'none.such'))
                """)
                == [
                    "true\ttrue\ttrue", "true\ttrue\ttrue", "./?.lua\t/ ; ? ! - \t5", "nil\tnil\tnil",
                    "7\tfalse\tmodule \"none.such\" not found: no field package.preload[\"none.such\"], "
                        + "no file \"./none/such.lua\"",
                ])
    }

    @Test("require calls what is in package.preload, once, and says when a module requires itself")
    func preload() throws {
        #expect(
            try lines(
                """
                package.preload.a = function(...) print(...) return { name = 'a' } end
                print(require('a').name, require('a') == package.loaded.a, select('#', require('a')))
                package.preload.b = function() package.loaded.b = 'own' end
                package.preload.c = function() end
                print((require 'b'), require 'c')
                package.preload.d = function() local v = require 'e' return v end
                package.preload.e = function() local v = require 'd' return v end
                print(pcall(require, 'd'))
                package.preload.e = function() return 'now' end
                print((require 'd'))
                package.preload.f = function() error('broken') end
                print(pcall(require, 'f'))
                print(pcall(require, 'f'))
                """)
                == [
                    "a\t:preload:", "a\ttrue\t1", "own\ttrue\t:preload:",
                    "false\ttest.lua:7: module \"d\" is being loaded already: it requires itself, perhaps by others",
                    "now", "false\ttest.lua:11: broken", "false\ttest.lua:11: broken",
                ])
    }

    @Test(
        "where modules are looked for is the configuration's to say in the sandbox, and the script's outside of it"
    )
    func packagePath() throws {
        #expect(
            try failure("package.searchpath('passwd', '/etc/?')").contains("looks in package.path only"))
        #expect(
            try lines("print(package.searchpath('no.such', package.path))") == [
                "nil\tno file \"./no/such.lua\""
            ])
        let change = "package.path = '/etc/?' print(pcall(require, 'passwd'))"
        #expect(try lines(change).first?.contains("package.path is not to be changed in the sandbox") == true)
        var settings = LuaSettings.patient
        settings.sandbox = false
        #expect(try lines(change, settings: settings).first?.contains("/etc/passwd:1:") == true)
        #expect(
            try lines("print(package.searchpath('passwd', '/etc/?'))", settings: settings) == ["/etc/passwd"])
        #expect(
            try lines("print(type(package.loadlib), package.loaded.io == io)", settings: settings)
                == ["function\ttrue"])
    }

    @Test(
        "a byte order mark and a line that begins with # are passed over, and lines are counted as in the file"
    )
    func firstLine() throws {
        #expect(try lines("\u{feff}print('mark')") == ["mark"])
        #expect(
            try lines("\u{feff}#!/usr/bin/env lua\nprint(select(2, pcall(error, 'x', 1)), debug.traceback())")
                .first?
                .contains("test.lua:2: in") == true)
        #expect(try lines("#") == [])
    }

    @Test("now and monotonic are the worker's clocks, in seconds")
    func time() throws {
        let fixture = try ScriptFixture(.request, "print(sy.now(), sy.monotonic())")
        #expect(fixture.printed() == ["1704067200.0\t1000.0"])
        fixture.advance(milliseconds: 250)
        #expect(fixture.printed().last == "1704067200.25\t1000.25")
    }

    @Test(
        "sleep takes seconds, and nothing else",
        arguments: [
            ("sy.sleep()", "sleep: found nothing, expected a number"),
            ("sy.sleep({})", "sleep: found table, expected a number"),
            ("sy.sleep(-1)", "sleep: found -1.0, expected 0 to 315360000 seconds"),
            ("sy.sleep(0/0)", "expected 0 to 315360000 seconds"),
            ("sy.sleep(math.huge)", "sleep: found inf, expected 0 to 315360000 seconds"),
        ])
    func sleepArguments(call: String, message: String) throws {
        #expect(try failure(call).contains(message))
    }

    @Test("a wait where none can be says why, and the script goes on")
    func nowhereToWait() throws {
        #expect(
            try failure("coroutine.wrap(function() sy.sleep(1) end)()")
                .contains("sleep cannot wait inside a coroutine that the script made"))
        #expect(
            try failure("table.sort({2, 1}, function(a, b) sy.sleep(1) return a < b end)")
                .contains("sleep cannot wait inside a callback of a library function"))
        #expect(
            try failure("string.gsub('a', 'a', function() sy.sleep(1) end)")
                .contains("sleep cannot wait inside a callback of a library function"))
    }

    @Test("a script that waits while it is loaded is a fault of the configuration")
    func waitingWhileLoaded() throws {
        for text in ["sy.sleep(1) return {}", "sy.spawn(function() end) return {}"] {
            let plugin = Script.test(
                .plugin(ScriptText(text: Array(text.utf8), file: "p.lua", line: 1), arguments: []))
            let fault = #expect(throws: ScriptFault.self) { try ScriptFixture([plugin]) }
            #expect(fault?.message.contains("while its script is being loaded") == true)
            #expect(fault?.line == 1)
        }
    }

    // MARK: spawn

    @Test("a spawned function runs at once until it waits, and outlives the exchange")
    func spawns() throws {
        let fixture = try ScriptFixture(
            .request,
            "sy.spawn(function() print('one') sy.sleep(1) print('three') end) print('two')")
        guard case .proceed = fixture.run() else { throw Unexpected() }
        #expect(fixture.interpreter.waitingCalls == 1)
        fixture.interpreter.end(fixture.flow)
        #expect(fixture.interpreter.waitingCalls == 1)
        fixture.advance(milliseconds: 1000)
        #expect(fixture.host.lines == ["[notice] lua: one", "[notice] lua: two", "[notice] lua: three"])
        #expect(fixture.interpreter.waitingCalls == 0 && fixture.interpreter.timerCount == 0)
    }

    @Test("what goes wrong in a spawned function is logged, and its caller goes on")
    func spawnedFault() throws {
        let fixture = try ScriptFixture(
            .request,
            "sy.spawn(function() error('early') end) sy.spawn(function() sy.sleep(1) error('late') end)")
        guard case .proceed = fixture.run() else { throw Unexpected() }
        fixture.advance(milliseconds: 1000)
        #expect(fixture.host.lines.count == 2)
        #expect(
            fixture.host.lines[0].contains("[error] lua: function of test.lua:1 failed: test.lua:1: early"))
        #expect(fixture.host.lines[1].contains("test.lua:1: late"))
        #expect(fixture.interpreter.shared.failures == 2)
    }

    @Test("spawned functions count against lua_max_waiting")
    func spawnedLimit() throws {
        var settings = LuaSettings.patient
        settings.maxWaiting = 3
        let fixture = try ScriptFixture(
            .request, "for i = 1, 5 do sy.spawn(function() sy.sleep(1) end) end", settings: settings)
        guard case .proceed = fixture.run() else { throw Unexpected() }
        #expect(fixture.interpreter.waitingCalls == 3)
        #expect(fixture.host.lines.count == 2)
        #expect(fixture.host.lines.allSatisfy { $0.contains("lua_max_waiting allows no more") })
    }

    @Test("a function that spawns itself for ever ends in an error, and leaves nothing")
    func spawnsForEver() throws {
        let fixture = try ScriptFixture(.request, "local function again() sy.spawn(again) end again()")
        _ = fixture.run()
        #expect(fixture.host.lines.contains { $0.contains("C stack overflow") })
        #expect(fixture.interpreter.waitingCalls == 0)
        guard case .proceed = fixture.run() else { throw Unexpected() }
    }

    @Test("spawn takes a function")
    func spawnArguments() throws {
        #expect(try failure("sy.spawn()") == "spawn: found nothing, expected a function")
        #expect(try failure("sy.spawn('x')") == "spawn: found string, expected a function")
    }

    // MARK: log

    @Test("lines of the log have their level, their place and what print would show")
    func logs() throws {
        let text = """
            sy.log.debug('a', 1, nil)
            sy.log.info(setmetatable({}, { __tostring = function() return 'made' end }))
            sy.log.warn()
            sy.log.error(true, 1.5)
            """
        #expect(
            try lines(text) == [
                "[debug] lua: test.lua:1: a\t1\tnil", "[info] lua: test.lua:2: made",
                "[warn] lua: test.lua:3: ",
                "[error] lua: test.lua:4: true\t1.5",
            ])
    }

    @Test("an error in __tostring is the script's own, and nothing is logged")
    func logFault() throws {
        let text =
            "print(pcall(sy.log.info, setmetatable({}, { __tostring = function() error('no', 0) end })))"
        #expect(try lines(text) == ["false\tno"])
    }

    // MARK: random

    @Test("random gives as many of the host's bytes as were asked for")
    func random() throws {
        #expect(
            try lines("print(#sy.random(5), sy.random(3) == '\\0\\1\\2', #sy.random(0))") == ["5\ttrue\t0"])
        #expect(try failure("sy.random(-1)") == "random: found -1, expected 0 to 65536 bytes")
        #expect(try failure("sy.random(1 << 40)") == "random: found 1099511627776, expected 0 to 65536 bytes")
        #expect(try failure("sy.random(1.5)") == "random: found number, expected an integer")
    }

    @Test("a UUID is of version 4, its other bits random")
    func uuid() throws {
        #expect(try lines("print(sy.uuid())") == ["00010203-0405-4607-8809-0a0b0c0d0e0f"])
    }

    @Test(
        "flows takes a tag and nothing else: a slip of the pen does not give every tunnel",
        arguments: [
            ("sy.flows{ tags = 'vip' }", "flows: found \"tags\", expected tag"),
            ("sy.flows{ 'vip' }", "flows: found a number, expected tag"),
            ("sy.flows{ tag = {} }", "flows: found table, expected a string"),
            ("sy.flows{ tag = false }", "flows: found boolean, expected a string"),
            ("sy.flows{ tag = '' }", "flows: tag: found 0 bytes, expected 1 to 255"),
            ("sy.flows('vip')", "flows: found string, expected a table"),
        ])
    func flowOptions(call: String, message: String) throws {
        #expect(try failure(call) == message)
    }

    struct Unexpected: Error {}
}
