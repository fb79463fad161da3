import Config
import Patterns
import Testing

@testable import LuaHooks

@Suite("Regular expressions of scripts")
struct PatternFunctionTests {
    @Test("match gives the whole, groups by number and by name, and false for one without a part")
    func match() throws {
        #expect(
            try lines(
                """
                local m = sy.re.match('/users/42/x', '/(?<kind>\\\\w+)/(\\\\d+)(/y)?')
                print(m[0], m[1], m[2], m[3], m.kind, #m)
                print(sy.re.match('abc', '\\\\d'), sy.re.match('', '')[0] == '')
                """) == ["/users/42\tusers\t42\tfalse\tusers\t3", "nil\ttrue"])
    }

    @Test("a subject's bytes need not be text, and positions behind zero bytes count")
    func bytes() throws {
        #expect(try lines("print(#sy.re.match('\\0\\255\\0x', '\\\\x00\\\\xff(.*)')[1])") == ["2"])
    }

    @Test(
        "options do what their letters say",
        arguments: [
            ("'ABC', 'b', 'i'", "B"), ("'ABC', 'b'", "nil"),
            ("'a\\nb', '^b$', 'm'", "b"), ("'a\\nb', '^b$'", "nil"),
            ("'a\\nb', 'a.b', 's'", "a\nb"), ("'a\\nb', 'a.b'", "nil"),
            ("'ab', 'a b # both', 'x'", "ab"), ("'ab', 'a b'", "nil"),
            ("'é', '^.$', 'u'", "é"), ("'é', '^.$'", "nil"),
            ("'ba', 'a', 'a'", "nil"), ("'ab', 'a', 'a'", "a"),
            ("'b', '(?<n>a)|(?<n>b)', 'D'", "b"),
            ("'x', 'x', 'jo'", "x"), ("'x', 'x', ''", "x"),
        ])
    func options(arguments: String, result: String) throws {
        #expect(try lines("local m = sy.re.match(\(arguments)) print(m and m[0])") == [result])
    }

    @Test("groups that share a name give the one that took part")
    func sharedNames() throws {
        #expect(try lines("print(sy.re.match('b', '(?<n>a)|(?<n>b)', 'D').n)") == ["b"])
        #expect(
            try lines(
                """
                print(sy.re.gsub('bac', '(?<n>a)|(?<n>b)|c', '[${n}]', 'D'))
                print(sy.re.gsub('b', '(?J)(?<n>a)|(?<n>b)', '[${n}$1$2]'))
                print(sy.re.gsub('b', '(?<n>)(?<n>b)', '[${n}]', 'D'))
                """) == ["[b][a][]\t3", "[bb]\t1", "[]\t1"])
    }

    @Test("gmatch goes from match to match, over empty ones too, and several at once")
    func gmatch() throws {
        #expect(
            try lines(
                """
                local out = {}
                for m in sy.re.gmatch('a=1, b=2', '(\\\\w)=(?<v>\\\\d)') do out[#out + 1] = m[1] .. m.v end
                for m in sy.re.gmatch('abc', 'x*') do out[#out + 1] = '<' .. m[0] .. '>' end
                for m in sy.re.gmatch('aé', '', 'u') do out[#out + 1] = '.' end
                local one, two = sy.re.gmatch('12', '\\\\d'), sy.re.gmatch('34', '\\\\d')
                print(table.concat(out, ' '), one()[0], two()[0], one()[0], two()[0], one(), one())
                """) == ["a1 b2 <> <> <> <> . . .\t1\t3\t2\t4\tnil\tnil"])
    }

    @Test("anchored, each search matches where it begins")
    func anchored() throws {
        #expect(try lines("print(sy.re.gsub('aaab', 'a', 'x', 'a'))") == ["xxxb\t3"])
        #expect(try lines("print(sy.re.gsub('aaba', 'a', 'x', 'a'))") == ["xxba\t2"])
    }

    @Test("gsub replaces by a template, as often as allowed, and counts")
    func gsubText() throws {
        #expect(
            try lines(
                """
                print(sy.re.gsub('hello world', '(?<first>\\\\w)(\\\\w*)', '$2${first}-$0$$'))
                print(sy.re.gsub('aaa', 'a', 'b', '', 2))
                print(sy.re.gsub('aaa', 'a', 'b', nil, 0))
                print(sy.re.gsub('abc', 'x*', '-'))
                print(sy.re.gsub('abc', 'B', '', 'i'))
                print(sy.re.gsub('ab', '(x)?b', '[$1]'))
                print(sy.re.gsub('a1', '\\\\d', 7))
                """) == [
                    "elloh-hello$ orldw-world$\t2", "bba\t2", "aaa\t0", "-a-b-c-\t4", "ac\t1", "a[]\t1",
                    "a7\t1",
                ])
    }

    @Test("gsub asks a function about each match")
    func gsubFunction() throws {
        #expect(
            try lines(
                """
                print(sy.re.gsub('1 2 3 4', '\\\\d', function(m)
                    if m[0] == '2' then return nil end
                    if m[0] == '3' then return false end
                    return m[0] * 2
                end))
                print(sy.re.gsub('abc', 'x*', function(m) return '-' end, '', 3))
                print(sy.re.gsub('', 'x', error))
                """) == ["2 2 3 8\t4", "-a-b-c\t3", "\t0"])
    }

    @Test("the function may wait")
    func gsubWaits() throws {
        let fixture = try ScriptFixture(
            .request,
            "print(sy.re.gsub('1,2', '\\\\d', function(m) sy.sleep(1) return '<' .. m[0] .. '>' end))")
        guard case .waiting = fixture.run() else { throw Unexpected() }
        fixture.advance(milliseconds: 1000)
        fixture.advance(milliseconds: 1000)
        #expect(fixture.host.lines == ["[notice] lua: <1>,<2>\t2"])
        guard case .waiting = fixture.run() else { throw Unexpected() }
        fixture.interpreter.end(fixture.flow)
        #expect(fixture.interpreter.waitingCalls == 0 && fixture.interpreter.timerCount == 0)
    }

    @Test("an error in the function is gsub's, the error's own value")
    func gsubError() throws {
        #expect(
            try lines(
                "local e = {} print(select(2, pcall(sy.re.gsub, 'a', 'a', function() error(e) end)) == e)")
                == ["true"])
    }

    @Test(
        "what is wrong with a call is said",
        arguments: [
            ("sy.re.match()", "regex: found nothing, expected a string"),
            ("sy.re.match({}, 'a')", "subject: found table, expected a string"),
            ("sy.re.match('a', {})", "regex: found table, expected a string"),
            ("sy.re.match('a', 'a', {})", "options: found table, expected a string"),
            (
                "sy.re.match('a', 'a', 'z')",
                "re.match: options: found \"z\", expected letters of \"imsxuaDjo\""
            ),
            ("sy.re.match('a', '(')", "re.match: regex: missing closing parenthesis at offset 1"),
            (
                "sy.re.match('a', string.rep('a', 10000))",
                "re.match: regex: longer than 8192 bytes at offset 8192"
            ),
            ("sy.re.match('\\255', 'a', 'u')", "re.match: subject: found bytes that are not UTF-8"),
            ("sy.re.gmatch({}, 'a')", "subject: found table, expected a string"),
            ("sy.re.gmatch('a', '(')", "re.gmatch: regex: missing closing parenthesis at offset 1"),
            ("sy.re.gsub('a', 'a')", "replacement: found nil, expected a string or a function"),
            ("sy.re.gsub('a', 'a', {})", "replacement: found table, expected a string or a function"),
            ("sy.re.gsub({}, 'a', 'b')", "subject: found table, expected a string"),
            ("sy.re.gsub('a', 'a', 'b', '', -1)", "re.gsub: limit: found -1, expected 0 or more"),
            ("sy.re.gsub('a', 'a', 'b', '', {})", "limit: found table, expected an integer"),
            ("sy.re.gsub('a', 'a', '$1')", "found group \"1\", which the expression has not"),
            ("sy.re.gsub('a', 'a', '$99999999999999999999')", "found group \"99999999999999999999\""),
            ("sy.re.gsub('a', 'a', '${x}')", "found group \"x\", which the expression has not"),
            (
                "sy.re.gsub('a', 'a', '$x')",
                "found group \"\", which the expression has not; write \"$$\" for \"$\""
            ),
            ("sy.re.gsub('a', 'a', '${x')", "re.gsub: replacement: \"${\" without \"}\""),
            ("sy.re.gsub('a', 'a', '$')", "re.gsub: replacement: ends with a lone \"$\""),
            (
                "sy.re.gsub('a', 'a', function() return {} end)",
                "the function returned table, expected a string, false or nil"
            ),
        ])
    func faults(call: String, message: String) throws {
        #expect(try failure(call).contains(message))
    }

    @Test(
        "a search that backtracks without end is an error, not a miss",
        arguments: [
            "sy.re.match(('a'):rep(30) .. '!', '(a+)+$')",
            "sy.re.gmatch(('a'):rep(30) .. '!', '(a+)+$')()",
            "sy.re.gsub(('a'):rep(30) .. '!', '(a+)+$', '')",
            "sy.re.gsub(('a'):rep(30) .. '!', '(a+)+$', function() end)",
        ])
    func backtracking(call: String) throws {
        #expect(try failure(call).contains("given up: the search takes too many steps"))
    }

    @Test("a search ends with its hook's time, pcall or not, and what follows is not disturbed")
    func interrupted() throws {
        _ = Interpreter.watchThread()
        defer { Interpreter.unwatchThread() }
        var settings = LuaSettings()
        settings.hookTimeout = 20
        // No limit of steps ends these: they run over long stretches in each of few.
        for text in [
            "local s = ('a'):rep(200000) for i = 1, 1000 do sy.re.match(s, '(?:a*c|a)*[de]') end",
            "local s = ('a'):rep(200000) while true do pcall(sy.re.match, s, '(?:a*c|a)*[de]') end",
            "local s = ('a'):rep(200000) sy.re.gsub(s, '(?:a*c|a)*[de]', '') while true do end",
        ] {
            let fixture = try ScriptFixture(.request, text, settings: settings)
            for _ in 0..<3 {
                guard case .failed = fixture.run() else { throw Unexpected() }
            }
            #expect(
                fixture.host.lines.allSatisfy {
                    $0.contains("has used up its time") || $0.contains("lua_hook_timeout")
                })
            let next = try ScriptFixture(.request, "print(sy.re.match('abc', '(b)(c)')[2])")
            #expect(next.printed() == ["c"])
        }
    }

    @Test("an expression whose search could not be broken off is refused")
    func interpreted() throws {
        #expect(try failure("sy.re.match('a', '(*NO_JIT)a')").contains("cannot be compiled to machine code"))
    }

    @Test("a result that outgrows the interpreter's memory is an error")
    func hugeResult() throws {
        var settings = LuaSettings()
        settings.memoryLimit = 8 << 20
        let call = "#sy.re.gsub(('a'):rep(1 << 20), 'a', ('b'):rep(1 << 20))"
        #expect(try failure(call, settings: settings).contains("re.gsub: not enough memory"))
    }

    @Test("expressions are kept, those in use before others, and not without end")
    func cache() throws {
        var cache = PatternCache()
        let kept = try cache.pattern(Array("kept".utf8).span, [])
        for number in 0..<1000 {
            _ = try cache.pattern(Array("p\(number)".utf8).span, [])
            #expect(try cache.pattern(Array("kept".utf8).span, []) === kept)
        }
        #expect(cache.count <= 2 * PatternCache.half)
        #expect(try cache.pattern(Array("kept".utf8).span, .caseInsensitive) !== kept)
    }

    struct Unexpected: Error {}
}
