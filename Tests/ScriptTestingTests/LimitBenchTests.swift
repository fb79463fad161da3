import LuaHooks
import Testing

@testable import ScriptTesting

@Suite("Limits in the tests of scripts", .timeLimit(.minutes(1)))
struct LimitBenchTests {
    @Test("a request waits for its turn by the test's clock")
    func delays() {
        scriptPasses(
            """
            local p = proxy{
                http = "limit_req_zone $binary_remote_addr zone=r:1m rate=1r/s;", location = "limit_req zone=r burst=2;" }
            local asked = 0
            p:backend(function() asked = asked + 1; return { status = 200 } end)
            expect(p:request().status):equals(200)
            local second, third = p:send(), p:send{ method = "POST", body = "body" }
            expect(p:request().status):equals(503)
            expect(p:request{ address = "203.0.113.9" }.status):equals(200)
            expect(asked):equals(2)
            advance(0.999)
            expect(second:response()):is_nil()
            advance(0.001)
            expect(second:response().status):equals(200)
            expect(third:response()):is_nil()
            advance(1)
            expect(third:response().status):equals(200)
            expect(asked):equals(4)
            expect(p:log()):matches('warn. delaying request, excess: 2.000, by zone "r"')
            """)
    }

    @Test("a client that leaves waits no more, and nothing is asked for it")
    func leaves() {
        scriptPasses(
            """
            local p = proxy{
                http = "limit_req_zone $uri zone=r:1m rate=1r/s; log_format l '$status $limit_req_status';",
                server = "access_log logs/l.log l;", location = "limit_req zone=r burst=2;" }
            local asked = 0
            p:backend(function() asked = asked + 1; return { status = 200 } end)
            expect(p:request().status):equals(200)
            p:send():close()
            advance(5)
            expect(asked):equals(1)
            expect(p:access_log("logs/l.log")):equals{ "200 PASSED", "499 DELAYED" }
            """)
    }

    @Test("a WebSocket is counted until it closes, with scripts and without")
    func webSockets() {
        for hook in ["", "message_by_lua_block { return true }"] {
            scriptPasses(
                """
                local p = proxy{
                    http = "limit_conn_zone $binary_remote_addr zone=c:1m;",
                    location = [[limit_conn c 1; \(hook)]] }
                local backend = p:backend()
                local ws = p:websocket{ address = "203.0.113.9" }
                local server = backend:expect_request():accept_websocket()
                expect(ws.response.status):equals(101)
                expect(p:request{ address = "203.0.113.9" }.status):equals(503)
                advance(30)
                expect(p:request{ address = "203.0.113.9" }.status):equals(503)
                ws:vanish()
                advance(1)
                local client = p:send{ address = "203.0.113.9" }
                backend:expect_request():respond()
                expect(client:response().status):equals(200)
                """)
        }
    }

    @Test("a key that a script computes is waited for, before and in each location")
    func scriptedKeys() {
        scriptPasses(
            """
            local p = proxy{
                http = "limit_req_zone $scripted zone=r:1m rate=1r/m; limit_conn_zone $scripted zone=c:1m;",
                server = "set_by_lua_block $scripted { sy.sleep(1) return flow.var.arg_k }",
                location = "limit_req zone=r; limit_conn c 1;" }
            p:backend(function() return { status = 200 } end)
            local first, second = p:send{ path = "/?k=a" }, p:send{ path = "/?k=b" }
            local again = p:send{ path = "/?k=a" }
            local gone = p:send{ path = "/?k=c" }
            advance(0.5)
            gone:close()
            expect(first:response()):is_nil()
            advance(0.5)
            expect(first:response().status):equals(200)
            expect(second:response().status):equals(200)
            expect(again:response().status):equals(503)
            -- Nothing was counted for whoever left before its key was known.
            local late = p:send{ path = "/?k=c" }
            advance(1)
            expect(late:response().status):equals(200)
            """)
    }
}
