import Glibc
import LuaHooks
import Testing

@testable import ScriptTesting

/// Runs a text as a file of tests; plugins are blocks of its configurations, so no file is read.
private func run(
    _ text: String, filter: String? = nil, timeout: Int = TestScript.timeout
) -> (lines: [String], run: ScriptTestRun) {
    final class Lines { var all: [String] = [] }
    let lines = Lines()
    var run = ScriptTestRun(filter: filter) { lines.all += $0.split(separator: "\n").map(String.init) }
    run.timeout = timeout
    run.run(Array(text.utf8), name: "some_test.lua", directory: "/nowhere")
    return (lines.all, run)
}

/// What a test with this body is reported as, beside its file.
private func report(_ body: String) -> [String] {
    Array(run("test(\"it\", function()\n\(body)\nend)").lines.dropFirst())
}

private func passes(_ body: String, _ location: SourceLocation = #_sourceLocation) {
    let lines = report(body)
    #expect(lines == ["  ok      it"], "\(lines.joined(separator: "\n"))", sourceLocation: location)
}

/// The first line of what is said about a test that fails.
private func fault(_ body: String) -> String? {
    let lines = report(body)
    guard lines.first == "  FAILED  it", lines.count > 1 else { return nil }
    return String(lines[1].drop { $0 == " " })
}

@Suite("The runner of scripts' tests", .timeLimit(.minutes(1)))
struct ScriptTestRunTests {
    @Test("tests run in their order, and are counted by how they came out")
    func totals() {
        let (lines, run) = run(
            """
            test("one", function() end)
            test("two", function() error("oh") end)
            test("three", function() end)
            """)
        #expect(
            lines == [
                "some_test.lua", "  ok      one", "  FAILED  two", "          some_test.lua:2: oh",
                "  ok      three",
            ])
        #expect(run.totals == ScriptTestRun.Totals(passed: 2, failed: 1))
        #expect(run.summary == "2 passed, 1 failed")
        #expect(run.exitCode == 1)
    }

    @Test("a filter chooses among names, the file's included")
    func filter() {
        let text = "test(\"a first\", function() end) test(\"another\", function() error(\"no\") end)"
        #expect(run(text, filter: "first").run.summary == "1 passed, 0 failed, 1 left out")
        #expect(run(text, filter: "some_test.lua: a f").run.totals.passed == 1)
        #expect(run(text, filter: "first").run.exitCode == 0)
    }

    @Test("a run without a test is no success")
    func nothingToRun() {
        let text = "test(\"a first\", function() end)"
        let filtered = run(text, filter: "frist").run
        #expect(filtered.exitCode == 1)
        #expect(filtered.summary == "0 passed, 0 failed, 1 left out, the filter \"frist\" fits no test")
        let empty = run("local x = 1")
        #expect(empty.run.exitCode == 1)
        #expect(empty.lines.last == "    there is no test in this file")
        #expect(empty.run.summary == "0 passed, 0 failed, 1 file without a test")
    }

    @Test("the clocks of os are those of the test, in its own functions and in the proxy's scripts")
    func clocks() {
        let lines = report(
            """
            local hook = "request_by_lua_block { return flow:respond{ body = os.time() .. ' ' .. os.date('!%H:%M:%S') "
              .. ".. ' ' .. os.clock() } }"
            local p = proxy{ location = hook }
            local before = { p:request().body, os.time(), os.clock() }
            expect(os.time()):equals(sy.now() // 1 | 0)
            expect(os.date("!%H:%M:%S", os.time())):equals(os.date("!%H:%M:%S"))
            advance(3600)
            expect(os.time() - before[2]):equals(3600)
            expect(os.clock() - before[3]):equals(3600.0)
            local time, shown, clock = p:request().body:match("^(%d+) (%S+) (%S+)$")
            expect(tonumber(time)):equals(os.time())
            expect(shown):equals(os.date("!%H:%M:%S"))
            expect(before[1] ~= p:request().body):equals(true)
            expect(os.time{ year = 2000, month = 1, day = 2, hour = 12 } - os.time{ year = 2000, month = 1, day = 1, hour = 12 }):equals(86400)
            """)
        #expect(lines == ["  ok      it"])
    }

    @Test("a file that does not load is told from tests that fail")
    func unusable() {
        let syntax = run("test(\"a\", function() end)\nlocal = 1")
        #expect(syntax.lines.last?.contains("some_test.lua:2: ") == true)
        #expect(syntax.run.totals == ScriptTestRun.Totals(unusable: 1))
        #expect(syntax.run.exitCode == 2)
        let raised = run("\nlocal function f() error(\"early\") end f()")
        #expect(raised.lines[1] == "    some_test.lua:2: early")
        #expect(raised.run.exitCode == 2)
        #expect(run("sy.sleep(1)").lines[1].contains("cannot wait"))
        #expect(run("proxy{}").lines[1].contains("proxy: can be used in tests only"))
        #expect(run("test(\"a\", print) test(\"a\", print)").lines[1].contains("another test called \"a\""))
        var missing = ScriptTestRun { _ in }
        missing.run(file: "/nowhere/at_all_test.lua")
        #expect(missing.exitCode == 2)
        #expect(missing.summary == "0 passed, 0 failed, 1 file could not be used")
    }

    @Test("an error in a function that a test calls is shown with the way to it")
    func traceback() {
        let lines = run(
            """
            local function helper()
                error("deep")
            end
            test("it", function()
                helper()
            end)
            """
        ).lines
        #expect(lines[2] == "          some_test.lua:2: deep")
        #expect(lines[3] == "          called from:")
        #expect(lines.contains("            some_test.lua:5: in function <some_test.lua:4>"))
        #expect(!lines.contains { $0.contains("[C]") })
    }

    @Test("a test that never ends is interrupted, also after the proxy's scripts have run within it")
    func endless() {
        let (lines, run) = run(
            """
            test("loops", function() while true do end end)
            test("loops later", function()
                proxy{ location = "request_by_lua_block { return flow:respond{ body = '' } }" }:request()
                while true do pcall(function() end) end
            end)
            test("goes on", function() end)
            """, timeout: 50)
        #expect(run.totals == ScriptTestRun.Totals(passed: 1, failed: 2))
        #expect(lines.filter { $0.contains("interrupted: on the CPU for longer") }.count == 2)
    }

    @Test("a test's time is up whoever spends it: what answers a fetch, however often, or time that passes")
    func endlessWithin() {
        let (lines, run) = run(
            """
            local function fetching()
                local p = proxy{ location = [[request_by_lua_block {
                    for i = 1, 3 do sy.fetch{ url = "http://a/" } end
                }]] }
                p:on_fetch(function() while true do end end)
                p:request()
            end
            test("answers", fetching)
            test("answers, caught", function() pcall(fetching) end)
            test("time", function()
                local client = proxy{ location = [[request_by_lua_block {
                    flow:every(0.001, function() end)
                    sy.sleep(1e7)
                }]] }:send()
                advance(1e6)
            end)
            """, timeout: 200)
        #expect(run.totals == ScriptTestRun.Totals(failed: 3))
        #expect(lines.filter { $0.contains("_test.lua:5: interrupted: on the CPU for longer") }.count == 2)
        let place = "          some_test.lua:15: "
        #expect(lines.contains(place + "advance: the test has used up its time on the CPU"))
    }

    @Test("a run is the same each time, chance included")
    func repeatable() {
        let text = """
            local function order()
                local names, seen = {}, {}
                for i = 1, 20 do names["name" .. i] = i end
                for name in pairs(names) do seen[#seen + 1] = name end
                return table.concat(seen, " ")
            end
            local body = [[
                local names, seen = {}, {}
                for i = 1, 20 do names["name" .. i] = i end
                for name in pairs(names) do seen[#seen + 1] = name end
                return flow:respond{ body = table.concat({ sy.uuid(), sy.hex.encode(sy.random(4)), math.random(1e9),
                    flow.id, table.concat(seen, " ") }, " ") }
            ]]
            local function proxied() return proxy{ location = "request_by_lua_block {" .. body .. "}" }:request().body end
            test("it", function()
                print(order(), sy.uuid(), math.random(1e9))
                local one, two = proxied(), proxied()
                print(one, two)
                expect(one):differs(two)
            end)
            """
        let first = run(text)
        #expect(first.run.totals.passed == 1)
        #expect(run(text).lines == first.lines)
    }

    @Test(
        "an answer that no server can give is a fault of the test, and where the function is",
        arguments: [
            ("status = 103", "on_fetch: status: found 103, which other responses follow"),
            ("status = 5", "on_fetch: status: found 5, expected 100 to 999"),
            (
                "headers = { ['X y'] = 1 }",
                "on_fetch: header \"X y\": no server can send"
            ),
            (
                "headers = { X = 'a\\r\\nb' }",
                "on_fetch: header \"X\": no server can send"
            ),
            (
                "headers = { ['Content-Length'] = 9 }, body = 'a'",
                "on_fetch: no server can send that: connection closed while reading the response"
            ),
            ("boddy = 1", "on_fetch: found \"boddy\", expected status, headers, body"),
        ])
    func impossibleAnswers(answer: String, message: String) {
        #expect(
            fault(
                """
                local p = proxy{ location = [[request_by_lua_block { sy.fetch{ url = "http://a/" } }]] }
                p:on_fetch(function()
                    return { \(answer) }
                end)
                p:request()
                """)?.hasPrefix("some_test.lua:3: " + message) == true)
    }

    @Test("each test has proxies, clock and objects of its own")
    func isolation() {
        let (lines, run) = run(
            """
            local kept, time
            test("one", function()
                time = sy.now()
                kept = proxy{ http = "lua_shared_dict d 1m;", location = "request_by_lua_block { sy.shared.d:incr('n', 1, 0) }" }
                kept:request()
                advance(10)
            end)
            test("two", function()
                expect(sy.now()):equals(time)
                expect(function() kept:request() end):raises("its test is over")
                local p = proxy{
                    http = "lua_shared_dict d 1m;",
                    location = "request_by_lua_block { return flow:respond{ body = tostring(sy.shared.d:get('n')) } }"
                }
                expect(p:request().body):equals("nil")
            end)
            """)
        #expect(run.totals == ScriptTestRun.Totals(passed: 2), "\(lines.joined(separator: "\n"))")
    }

    @Test("a test that fails shows what its proxies' error logs say")
    func errorLog() {
        let lines = report(
            """
            local p = proxy{ location = "request_by_lua_block { error('in the hook') }" }
            expect(p:request().status):equals(200)
            """)
        #expect(lines[1] == "          some_test.lua:3: expected 200, found 500")
        #expect(lines[2] == "          error log:")
        #expect(lines[3].hasPrefix("            [error] lua: request hook of "))
        #expect(lines[3].contains("in the hook"))
    }

    @Test("what scripts log at info and above is shown, and what they print, unless the test says otherwise")
    func errorLogLevel() {
        let hook =
            "request_by_lua_block { print('printed') sy.log.info('told') sy.log.warn('warned') sy.log.debug('hidden') }"
        func lines(_ fields: String) -> [String] {
            report("proxy{ location = [[\(hook)]], \(fields) }:request() error('no')").filter {
                $0.contains("] lua: ")
            }
        }
        let shown = lines("")
        #expect(shown.count == 3)
        for (line, end) in zip(shown, ["printed", "told", "warned"]) {
            #expect(line.contains(": \(end), client: "), "\(line)")
        }
        #expect(lines("server = 'error_log logs/error.log warn;'").count == 1)
        #expect(lines("http = 'error_log logs/error.log debug;'").count == 4)
    }

    @Test("the error log is shown whichever file the configuration has it go to, and no file is written")
    func errorLogFiles() throws {
        let path = "/tmp/switchyard-\(UInt64.random(in: 0 ... .max)).log"
        let log = "error_log \(path);"
        for (main, http, server, location) in [
            (log, "", "", ""), ("", log, "", ""), ("", "", log, ""), ("", "", "", log),
            // Each line once.
            ("", "", "", "\(log) error_log \(path).2 info; error_log stderr;"),
        ] {
            let lines = report(
                """
                local p = proxy{ config = [[\(main) events {} http { \(http) server { listen 80; \(server)
                    location / { \(location) request_by_lua_block { error('in the hook') } } } }]] }
                p:request()
                local log = p:log()
                expect(#log):equals(1)
                expect(log[1]):matches("in the hook")
                expect(#p:log()):equals(0)
                expect(p:request().status):equals(200)
                """)
            try #require(lines.count > 3, "\(lines)")
            #expect(lines[1].hasSuffix("expected 200, found 500"))
            #expect(lines[2] == "          error log:")
            #expect(lines[3].contains("in the hook"))
        }
        // The paths are passed as C strings for the length of the call.
        let written = [path, path + ".2"].filter { (name: String) in unsafe access(name, F_OK) == 0 }
        #expect(written == [])
    }

    @Test("print and sy.log write into the report")
    func printing() {
        #expect(report("print(\"seen\", 1)") == ["    lua: seen\t1", "  ok      it"])
    }
}

@Suite("Expectations of scripts' tests")
struct ExpectationTests {
    @Test("equal values pass, tables by what is in them")
    func equal() {
        passes(
            """
            expect(1):equals(1.0)
            expect("a"):equals("a")
            expect(nil):equals(nil)
            expect(false):equals(false)
            expect({ 1, { x = "y" }, [false] = 2 }):equals{ 1, { x = "y" }, [false] = 2 }
            expect("1"):differs(1)
            expect({}):differs{ 1 }
            expect({ 1, 2 }):differs{ 1 }
            expect(print):equals(print)
            expect(print):differs(type)
            expect(sy.json.decode("null")):equals(sy.json.null)
            expect(2^53):differs(9007199254740993)
            local itself = { print, more = { [2.5] = true } }
            itself.itself = itself
            expect(itself):equals(itself)
            expect({ f = print, [2.5] = itself }):equals{ f = print, [2.5] = itself }
            """)
    }

    @Test("a difference names what was found and what was expected")
    func differences() {
        #expect(fault("expect(404):equals(200)") == "some_test.lua:2: expected 200, found 404")
        #expect(fault("expect(nil):equals(\"a\\n\")") == "some_test.lua:2: expected \"a\\n\", found nil")
        #expect(fault("expect(1):equals(\"1\")") == "some_test.lua:2: expected \"1\", found 1")
        #expect(
            fault("expect(print):equals(type)") == "some_test.lua:2: expected a function, found another one")
        #expect(fault("expect(2):differs(2)") == "some_test.lua:2: found 2, expected something else")
        #expect(fault("expect(0):is_nil()") == "some_test.lua:2: expected nil, found 0")
        #expect(
            fault("expect(false):is_true()") == "some_test.lua:2: expected a value that is true, found false")
        let long = report("expect((\"a\"):rep(50) .. \"x\"):equals((\"a\"):rep(50) .. \"y\")")
        #expect(long.last?.contains("which differs from byte 51 on") == true)
    }

    @Test("tables that differ are compared part by part")
    func tables() {
        #expect(
            report("expect{ a = 1, b = { 1, 2 }, d = true }:equals{ a = 2, b = { 1, 3 }, [\"c d\"] = {} }")
                == [
                    "  FAILED  it",
                    "          some_test.lua:2: the table is not as expected:",
                    "            .a: expected 2, found 1",
                    "            .b[2]: expected 3, found 2",
                    "            [\"c d\"]: expected {}, found nil",
                    "            .d: expected nil, found true",
                ])
    }

    @Test("tables within themselves are the same where their parts are", .timeLimit(.minutes(1)))
    func cycles() {
        passes(
            """
            local function pair() local t = {} t.x = t t.y = { t, t } return t end
            expect(pair()):equals(pair())
            local t, u = {}, {}
            t[t], u[u] = 1, 1
            expect(t):equals(u)
            local shared, single = { 1 }, { 1 }
            for i = 1, 60 do shared, single = { shared, shared }, { single, single } end
            expect(shared):equals(single)
            local a, b = {}, {}
            local x, y = a, b
            for i = 1, 100000 do x.n, y.n = {}, {} x, y = x.n, y.n end
            expect(a):equals(b)
            y.n = 1
            expect(a):differs(b)
            """)
        #expect(
            report("local t, u = { 1 }, { 2 } t.t, u.t, u.u = t, t, u expect(t):equals(u)").dropFirst(2)
                == [
                    "            [1]: expected 2, found 1",
                    "            .u: expected { 2, t = { 1, t = { … } }, u = { … } }, found nil",
                ])
        let wide = "local t = {} for i = 1, 9 do t[i] = t t[{ t }] = i end expect(t):equals(1)"
        #expect((fault(wide)?.utf8.count ?? .max) < 1200)
        let long = fault(
            "local t, u = {}, {} for i = 1, 9999 do t, u = { n = t }, { n = u, m = 1 } end expect(t):equals(u)"
        )
        #expect((long?.utf8.count ?? .max) < 12_000)
    }

    @Test("texts and lists are searched by Lua's patterns, or as they are")
    func searching() {
        passes(
            """
            expect("abc 42"):matches("^a.c %d+$")
            expect({ "x", "y-1" }):matches("^y%-%d")
            expect("a.b"):contains(".")
            expect({ 1, "two" }):contains("wo")
            """)
        #expect(
            fault("expect(\"abc\"):contains(\".\")")
                == "some_test.lua:2: expected a text with \".\", found \"abc\"")
        #expect(
            fault("expect({ \"a\" }):matches(\"b\")")
                == "some_test.lua:2: expected a match of \"b\", found { \"a\" }")
        #expect(fault("expect(\"a\"):matches(\"%\")")?.contains("malformed pattern") == true)
    }

    @Test("of a log in which something is not found, the last lines are shown, each by itself")
    func searchedLists() {
        func failure(_ count: Int) -> [String] {
            Array(
                report(
                    "local t = {} for i = 1, \(count) do t[i] = \"line \" .. i end expect(t):contains(\"x\")"
                )
                .dropFirst().map { String($0.drop { $0 == " " }) })
        }
        let expected = "some_test.lua:2: expected a text with \"x\", found "
        #expect(failure(0) == [expected + "{}"])
        #expect(failure(2) == [expected + "2 strings:", "\"line 1\"", "\"line 2\""])
        let last = (6...25).map { "\"line \($0)\"" }
        #expect(failure(25) == [expected + "25 strings:", "5 left out here"] + last)
    }

    @Test("an error can be what is expected")
    func raising() {
        passes("expect(function() error(\"so it is\") end):raises(\"so %a+ is\")")
        passes("expect(error):raises()")
        #expect(fault("expect(function() end):raises()") == "some_test.lua:2: expected an error, found none")
        #expect(
            fault("expect(function() error(\"a\", 0) end):raises(\"b\")")
                == "some_test.lua:2: expected an error that matches \"b\", found \"a\"")
        #expect(fault("expect(1):raises()") == "some_test.lua:2: found a number, expected a function")
    }
}
