import Testing

@testable import ScriptTesting

@Suite("Servers of scripts' tests that speak something else than HTTP", .timeLimit(.minutes(1)))
struct ServerBenchTests {
    /// A hook that answers with what it is told by a server, or with why it is told nothing.
    private let asking = """
        local p = proxy{ location = [[
            request_by_lua_block {
                local socket, why = sy.tcp.connect("redis.test", 6379, 2)
                if not socket then return flow:respond{ status = 502, body = why } end
                socket:send("PING\\r\\n")
                local line, why = socket:receive("*l")
                local rest = line and line:find("+", 1, true) == 1 and socket:receive("*a")
                socket:close()
                return flow:respond{ body = (line or why) .. " " .. tostring(rest) }
            }]] }

        """

    @Test("a test takes the connection, and says what is sent and when it ends")
    func conversation() {
        scriptPasses(
            asking + """
                local redis = p:server("redis.test:6379")
                expect(redis.connections):equals(0)
                expect(function() redis:expect_connection() end):raises("no connection has come")
                redis:expect_none()
                local client = p:send{}
                local connection = redis:expect_connection()
                connection:expect("PI")
                expect(connection:receive()):equals("NG\\r\\n")
                expect(connection:receive()):is_nil()
                connection:expect_none()
                connection:send("+PO")
                expect(client:response()):is_nil()
                connection:send("NG\\r\\nrest")
                expect(client:response()):is_nil()
                expect(connection.closed):equals(false)
                connection:close()
                expect(client:response().body):equals("+PONG rest")
                expect(function() connection:send("more") end):raises("the connection is closed")
                expect(redis.connections):equals(1)
                redis:expect_none()
                expect(p:log()):equals{}
                """)
    }

    @Test("a script that closes, and a server that vanishes, are seen by the other side")
    func ends() {
        scriptPasses(
            asking + """
                local redis = p:server("redis.test:6379")
                local client = p:send{}
                local connection = redis:expect_connection()
                connection:send("-ERR\\r\\n")
                expect(client:response().body):equals("-ERR false")
                expect(connection.closed):equals(true)
                expect(connection:receive()):equals("PING\\r\\n")
                expect(function() connection:send("more") end):raises("the connection is closed")
                client = p:send{}
                redis:expect_connection():vanish()
                expect(client:response().body):matches("reset by peer")
                client = p:send{}
                connection = redis:expect_connection()
                client:vanish()
                expect(connection.closed):equals(true)
                client = p:send{}
                advance(2)
                expect(client:response().body):equals("timeout nil")
                """)
    }

    @Test("a function answers what has come, once it is enough")
    func answering() {
        scriptPasses(
            """
            local p = proxy{ location = [[
                request_by_lua_block {
                    local socket = sy.tcp.connect("unix:/run/redis")
                    local function ask(text) socket:send(text) return socket:receive("*l") end
                    socket:send("PI")
                    sy.sleep(1)
                    return flow:respond{ body = ask("NG\\r\\n") .. ask("QUIT\\r\\n") }
                }]] }
            local seen = {}
            local redis = p:server("unix:/run/redis", function(data)
                seen[#seen + 1] = data
                if data:find("\\r\\n") then return "+" .. data end
            end)
            local client = p:send{}
            advance(1)
            expect(client:response().body):equals("+PING+QUIT")
            expect(seen):equals{ "PI", "PING\\r\\n", "QUIT\\r\\n" }
            redis:expect_connection():expect_none()
            """)
    }

    @Test("what refuses, is silent or is nowhere is what sy.tcp makes of it; mistakes are told")
    func mistakes() {
        scriptPasses(
            asking + """
                local redis = p:server("redis.test:6379")
                redis:refuse()
                expect(p:request().body):matches("Connection refused")
                redis:stay_silent()
                local client = p:send{}
                advance(2)
                expect(client:response().body):equals("timeout")
                redis = p:server("redis.test:6379")
                p:send{}
                expect(function() redis:expect_none() end):raises("found a connection, expected none")
                p:send{}
                local connection = redis:expect_connection()
                expect(function() connection:expect("PONG") end):raises('expected "PONG", found "PING\\\\r\\\\n"')
                expect(function() connection:expect_none() end):raises('expected nothing, found "PING\\\\r\\\\n"')
                connection:expect("PING\\r\\n")
                expect(function() connection:expect("PONG") end):raises('expected "PONG", found nothing')
                expect(function() p:server("redis.test") end)
                    :raises('found "redis.test", expected an address: name:port or unix:/path')
                expect(function() p:server("a:1", 5) end):raises("server: found number, expected a function")
                """)
        var lines: [String] = []
        var run = ScriptTestRun { lines.append($0) }
        run.run(
            Array(
                "test('it', function()\n\(asking)\np:server('redis.test:6379', function() return {} end) p:send{} end)"
                    .utf8), name: "t.lua", directory: "/nowhere")
        #expect(run.totals == ScriptTestRun.Totals(failed: 1))
        #expect(lines.contains { $0.contains("server: found table, expected a string") }, "\(lines)")
    }
}
