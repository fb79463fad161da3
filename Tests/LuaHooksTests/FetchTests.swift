import Config
import ProxyCore
import Testing

@testable import LuaHooks

@Suite("fetch")
struct FetchTests {
    private func response(_ status: Int = 200, _ headers: [(String, String)] = [], body: String = "")
        -> Result<FetchResponse, FetchFailure>
    {
        var response = FetchResponse()
        response.status = status
        response.reason = Array("Fine".utf8)
        response.headers = headers.map { FetchHeader(Array($0.0.utf8), Array($0.1.utf8)) }
        response.body = Array(body.utf8)
        return .success(response)
    }

    @Test("a hook waits for the response and reads it")
    func reads() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            local res, err = sy.fetch{ url = 'http://auth/check' }
            print(res.status, res.reason, res.body, err)
            print(res.headers['content-TYPE'], res.headers['X-None'], #res.headers:all('set-cookie'))
            print(table.concat(res.headers:all('Set-Cookie'), ' '))
            for name, value in res.headers:each() do print(name, value) end
            local count = 0
            for name in pairs(res.headers) do count = count + 1 end
            print(count, getmetatable(res.headers))
            """)
        guard case .waiting = fixture.run() else { throw Unexpected() }
        let request = try #require(fixture.host.requests.first)
        #expect(request == FetchRequest(url: Array("http://auth/check".utf8)))
        fixture.host.fetches[0].finish(
            response(
                201, [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2")],
                body: "yes"))
        #expect(fixture.ended.count == 1)
        #expect(
            fixture.host.lines.map { $0.dropFirst(14) } == [
                "201\tFine\tyes\tnil", "text/plain\tnil\t2", "a=1 b=2", "Content-Type\ttext/plain",
                "Set-Cookie\ta=1", "set-cookie\tb=2", "3\tfalse",
            ])
    }

    @Test("the headers of a response are changed as those of an exchange are")
    func changesHeaders() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            local h = sy.fetch{ url = 'http://a/' }.headers
            local function show()
                local all = {}
                for name, value in h:each() do all[#all + 1] = name .. '=' .. value end
                print(table.concat(all, ' '), h['x-a'])
            end
            h['X-A'] = 'new' show()
            h:add('x-b', 5) show()
            h['X-C'] = 7 show()
            h['x-B'] = nil show()
            for name in pairs(h) do h[name] = nil end show()
            for _, bad in ipairs{
                function() h['X Y'] = 'a' end, function() h.a = 'b\\r\\nc' end, function() h.a = {} end,
                function() h[1] = 'a' end, function() h:add('a') end, function() h.add(5, 'a', 'b') end,
            } do print(select(2, pcall(bad))) end
            """)
        _ = fixture.run()
        fixture.host.fetches[0].finish(
            response(200, [("X-A", "1"), ("X-B", "2"), ("x-a", "3"), ("X-Last", "4")]))
        #expect(
            fixture.host.lines.map { $0.dropFirst(14) } == [
                "X-A=new X-B=2 X-Last=4\tnew", "X-A=new X-B=2 X-Last=4 x-b=5\tnew",
                "X-A=new X-B=2 X-Last=4 x-b=5 X-C=7\tnew", "X-A=new X-Last=4 X-C=7\tnew", "\tnil",
                "test.lua:13: found \"X Y\" as a header's name, expected a token",
                "test.lua:13: header \"a\": its value has a control character",
                "test.lua:13: headers: found table, expected a string, a number or nil",
                "test.lua:14: headers: found number, expected a header's name",
                "test.lua:14: headers: found nothing, expected a string, a number or nil",
                "test.lua:14: add: found number, expected a table",
            ])
    }

    @Test("headers of a message are passed on in their order, without those that are its alone")
    func passesHeaders() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            local res = sy.fetch{ url = 'http://a/', headers = flow.req.headers }
            res.headers['X-Mine'] = 'yes'
            flow:respond{ headers = res.headers }
            """, request: "GET / HTTP/1.1\nHost: example.test\nX-Own: 1\nx-own: 2\n\n")
        _ = fixture.run()
        func shown(_ headers: [FetchHeader]) -> [String] {
            headers.map { String(decoding: $0.name + [58] + $0.value, as: UTF8.self) }
        }
        let request = try #require(fixture.host.requests.first)
        #expect(shown(request.headers) == ["X-Own:1", "x-own:2"])
        fixture.host.fetches[0].finish(
            response(
                200,
                [
                    ("Z", "1"), ("Content-Length", "9"), ("Set-Cookie", "a"), ("Connection", "close, x-hop"),
                    ("A", "2"), ("X-Hop", "1"), ("Expect", "100-continue"),
                    ("set-cookie", "b"), ("Transfer-Encoding", "chunked"), ("Keep-Alive", "timeout=5"),
                ]))
        guard case .answered(.respond(let answer))? = fixture.ended.first?.result else { throw Unexpected() }
        #expect(
            shown(answer.fields.map { FetchHeader($0.name, $0.value) })
                == ["Z:1", "Set-Cookie:a", "A:2", "set-cookie:b", "X-Mine:yes"])
    }

    private static let asking = "sy.fetch{ url = 'http://a/' } sy.tcp.connect('a', 80)"

    /// What was asked of the network, after each answer to what was asked before; whose settings they went by.
    private func settings(_ fixture: ScriptFixture) -> [Settings?] {
        fixture.host.fetches.first?.finish(response())
        return fixture.host.networkSettings
    }

    @Test("what a hook asks of the network goes by the settings of its location, its tunnel too")
    func settingsOfLocation() throws {
        for isFrozen in [false, true] {
            let fixture = try ScriptFixture(.request, Self.asking)
            let location = fixture.exchange.location.settings
            if isFrozen { fixture.freeze() }
            _ = fixture.run()
            let asked = settings(fixture)
            #expect(asked.count == 2)
            #expect(asked.allSatisfy { $0 === location })
        }
    }

    @Test("what is spawned goes by the settings of where it was, however deep")
    func settingsOfSpawned() throws {
        let spawning = "sy.spawn(function() sy.sleep(1) sy.spawn(function() \(Self.asking) end) end)"
        let hook = try ScriptFixture(.request, spawning)
        _ = hook.run()
        hook.interpreter.endFlow(of: hook.exchange)
        hook.advance(milliseconds: 1000)
        #expect(settings(hook).count == 2)
        #expect(hook.host.networkSettings.allSatisfy { $0 === hook.exchange.location.settings })
        let first = try ScriptFixture(.initialise, spawning)
        first.interpreter.runInitHooks()
        first.advance(milliseconds: 1000)
        #expect(settings(first).count == 2)
        #expect(first.host.networkSettings.allSatisfy { $0 == nil })
    }

    @Test("certificate hooks go by the settings of the server, those of init by none of a server")
    func settingsOutsideExchanges() throws {
        let text = ScriptText(text: Array(Self.asking.utf8), file: "test.lua", line: 1)
        for isCancelled in [false, true] {
            let fixture = try ScriptFixture([
                .test(.hook(.certificate, text)), .test(.hook(.initialise, text)),
            ])
            let server = Settings(fixture.exchange.location.settings.values)
            let request = CertificateRequest(CertificateRequest.Hello(), server) { _ in }
            fixture.interpreter.choose(request)
            #expect(settings(fixture).count == 2)
            #expect(fixture.host.networkSettings.allSatisfy { $0 === server })
            // Afterwards its place is that of a call which is of no server.
            if isCancelled {
                fixture.interpreter.cancel(request)
            } else {
                fixture.host.connects[0].finish(.failure(.timedOut))
            }
            fixture.interpreter.runInitHooks()
            fixture.host.fetches[1].finish(response())
            #expect(fixture.host.networkSettings.count == 4)
            #expect(fixture.host.networkSettings.suffix(2).allSatisfy { $0 == nil })
        }
    }

    @Test("the request is what the script asks for")
    func asks() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            sy.fetch{ url = 'http://a/', method = 'POST', body = 'b\\0', timeout = 2.5, max_size = 10, verify = false,
                      headers = { ['X-One'] = 1, ['X-Many'] = { 'a', 'b' }, A = 'z' } }
            """)
        _ = fixture.run()
        let request = try #require(fixture.host.requests.first)
        #expect(request.method == Array("POST".utf8))
        #expect(request.body == [98, 0])
        #expect(request.timeoutMilliseconds == 2500)
        #expect(request.maxBodyBytes == 10)
        #expect(!request.verifiesCertificate)
        #expect(
            request.headers.map { String(decoding: $0.name + [58] + $0.value, as: UTF8.self) }
                == ["A:z", "X-Many:a", "X-Many:b", "X-One:1"])
    }

    @Test("what fails is nil and why")
    func fails() throws {
        let fixture = try ScriptFixture(.request, "print(sy.fetch{ url = 'http://a/' })")
        _ = fixture.run()
        fixture.host.fetches[0].finish(.failure(.timedOut(.connecting)))
        #expect(fixture.host.lines == ["[notice] lua: nil\ttimeout while connecting"])
    }

    @Test(
        "what is wrong with a request is said",
        arguments: [
            ("sy.fetch()", "fetch: found nothing, expected a table"),
            ("sy.fetch('http://a/')", "fetch: found string, expected a table"),
            ("sy.fetch{}", "url: found nil, expected a string"),
            ("sy.fetch{ url = {} }", "url: found table, expected a string"),
            (
                "sy.fetch{ url = 'u', uri = 'x' }",
                "fetch: found \"uri\", expected url, method, headers, body, timeout, max_size, verify"
            ),
            ("sy.fetch{ 'u' }", "fetch: found a number, expected url"),
            ("sy.fetch{ url = 'u', method = {} }", "method: found table, expected a string"),
            ("sy.fetch{ url = 'u', body = {} }", "body: found table, expected a string"),
            ("sy.fetch{ url = 'u', headers = 'x' }", "fetch: found string as headers, expected a table"),
            (
                "sy.fetch{ url = 'u', headers = { 'x' } }",
                "fetch: found a number as a header's name, expected a string"
            ),
            (
                "sy.fetch{ url = 'u', headers = { a = true } }",
                "fetch: found boolean, expected a string or a list as a header's value"
            ),
            (
                "sy.fetch{ url = 'u', headers = { a = { {} } } }",
                "fetch: found table in the list, expected strings"
            ),
            ("sy.fetch{ url = 'u', timeout = 'soon' }", "timeout: found string, expected a number"),
            ("sy.fetch{ url = 'u', verify = 'no' }", "verify: found string, expected a boolean"),
            ("sy.fetch{ url = 'u', timeout = -1 }", "timeout: found -1.0, expected 0 to"),
            (
                "sy.fetch{ url = 'u', max_size = 1 << 60 }",
                "max_size: found 1152921504606846976, expected 0 to 67108864 bytes"
            ),
            (
                "coroutine.wrap(function() sy.fetch{ url = 'u' } end)()",
                "fetch cannot wait inside a coroutine"
            ),
        ])
    func faults(call: String, message: String) throws {
        let fixture = try ScriptFixture(
            .request, "print(select(2, pcall(function() return \(call) end)))")
        _ = fixture.run()
        #expect(try #require(fixture.host.lines.first).contains(message))
        #expect(fixture.host.requests.isEmpty)
        #expect(fixture.interpreter.waitingCalls == 0)
    }

    @Test("a hook that is cancelled cancels its fetch, and a late answer is nobody's")
    func cancels() throws {
        let fixture = try ScriptFixture(.request, "sy.fetch{ url = 'u' } print('never')")
        _ = fixture.run()
        fixture.interpreter.end(fixture.flow)
        #expect(fixture.host.cancelled == 1)
        #expect(fixture.interpreter.waitingCalls == 0)
        fixture.host.fetches[0].finish(response())
        #expect(fixture.host.lines.isEmpty && fixture.ended.isEmpty)
    }

    @Test("an interpreter that is shut down has cancelled everything, and is let go")
    func shutsDown() throws {
        weak var interpreter: Interpreter?
        var host: FakeHost?
        do {
            let fixture = try ScriptFixture(
                .request,
                "sy.spawn(function() sy.fetch{ url = 'u' } end) sy.spawn(function() sy.sleep(9) end) sy.sleep(5)"
            )
            _ = fixture.run()
            #expect(fixture.interpreter.waitingCalls == 3)
            interpreter = fixture.interpreter
            host = fixture.host
            fixture.interpreter.shutDown()
            #expect(fixture.interpreter.waitingCalls == 0 && fixture.interpreter.timerCount == 0)
            #expect(fixture.interpreter.openFlows == 0)
        }
        #expect(host?.cancelled == 1)
        #expect(interpreter == nil)
        host?.fetches[0].finish(response())
    }

    @Test("headers cannot be read through something else")
    func strangers() throws {
        let fixture = try ScriptFixture(
            .request,
            """
            local h = sy.fetch{ url = 'u' }.headers
            print(select(2, pcall(h.all, 5, 'x')))
            print(select(2, pcall(h.each)))
            print(select(2, pcall(h.all, h)))
            print(#h.all({}, 'x'), h[5], h[{}])
            """)
        _ = fixture.run()
        fixture.host.fetches[0].finish(response())
        #expect(
            fixture.host.lines.map { $0.dropFirst(14) } == [
                "all: found number, expected a table", "each: found nothing, expected a table",
                "name: found nothing, expected a string", "0\tnil\tnil",
            ])
    }

    struct Unexpected: Error {}
}
