import Testing

@testable import ScriptTesting

@Suite("Frames of WebSockets in scripts' tests", .timeLimit(.minutes(1)))
struct WebSocketBenchTests {
    /// A WebSocket through `location` with both ends in the test's hands, `ws` and `server`.
    private func opened(_ location: String = "") -> String {
        """
        local p = proxy{ location = [[proxy_read_timeout 1h; \(location)]] }
        local backend = p:backend()
        local ws = p:websocket{}
        local server = backend:expect_request():accept_websocket{}

        """
    }

    @Test("a message goes in frames, each of which a frame hook sees, and arrives as one")
    func fragments() {
        scriptPasses(
            opened("frame_by_lua_block { if frame.data == 'l' then return 'L' end }") + """
                ws:send_frame{ type = "text", data = "he", fin = false }
                server:expect_none()
                ws:send_frame{ type = "continuation", data = "l", fin = false }
                ws:ping("between")
                ws:send_frame{ type = "continuation", data = "lo" }
                server:expect("heLlo")
                expect(server:expect_ping()):equals("between")
                ws:expect_pong("between")
                server:send{ "a", "l", "b" }
                ws:expect_frame{ type = "text", data = "a", fin = false }
                ws:expect_frame{ data = "L" }
                expect(ws:receive_frame()):equals{ type = "continuation", data = "b", fin = true }
                ws:expect_none()
                ws:send_binary{ "\\0", "" }
                server:expect("\\0", "binary")
                ws:send_frame{}
                server:expect("")
                """)
    }

    @Test("pings are answered unless the test does that, and both kinds can be taken")
    func pings() {
        scriptPasses(
            opened() + """
                server:ping("one")
                expect(ws:expect_ping()):equals("one")
                server:expect_pong("one")
                ws.answers_pings = false
                expect(ws.answers_pings):equals(false)
                expect(server.answers_pings):equals(true)
                server:ping("two")
                server:expect_none()
                expect(function() server:expect_pong() end):raises("expected a pong, found none")
                ws:send("data before the answer")
                ws:pong(ws:expect_ping("two"))
                server:expect_pong("two")
                server:expect("data before the answer")
                server:pong()
                expect(ws:receive_frame()):equals{ type = "pong", data = "", fin = true }
                expect(ws:receive_frame()):is_nil()
                """)
    }

    @Test("the proxy's own pings come when they are due, and its deadline for the answer passes")
    func pongDeadline() {
        scriptPasses(
            opened("websocket_ping_interval 20s; websocket_pong_timeout 5s; websocket_ping_to client;") + """
                -- The first comes after half an interval to a whole one.
                advance(9.9)
                repeat advance(0.1) until ws:receive_frame()
                for _ = 1, 3 do
                    advance(19.9)
                    expect(ws:receive_frame()):is_nil()
                    advance(0.1)
                    ws:expect_ping()
                end
                ws.answers_pings = false
                advance(20)
                local data = ws:expect_ping()
                advance(4.9)
                ws:pong(data)
                advance(15.1)
                ws:expect_ping()
                advance(4.9)
                server:expect_none()
                advance(0.1)
                ws:expect_close(1011)
                server:expect_close(1011, "client: ping timeout")
                """)
    }

    @Test("frames that may not stand where they do are sent all the same")
    func invalidFrames() {
        scriptPasses(
            """
            local p = proxy{ location = "message_by_lua_block { }" }
            for _, frame in ipairs{ { type = "continuation" }, { type = "ping", fin = false },
                { type = "ping", data = ("x"):rep(126) }, { type = "close", data = "x" } } do
                local ws = p:websocket{}
                ws:send_frame(frame)
                ws:expect_close(1002)
            end
            local ws = p:websocket{}
            ws:send_frame{ type = "close", data = "\\x03\\xe8bye" }
            ws:expect_frame{ type = "close", data = "\\x03\\xe8bye" }
            expect(ws:receive()):is_nil()
            expect(function() ws:send_frame{} end):raises("is closed")
            """)
    }

    @Test("what is wrong with a frame, or with what was found, is said by its fields")
    func messages() {
        scriptPasses(
            opened() + """
                expect(function() ws:send_frame{ opcode = "text" } end)
                    :raises('send_frame: found "opcode", expected type, data, fin')
                expect(function() ws:send_frame{ type = "txt" } end)
                    :raises('send_frame: type: found "txt", expected one of continuation, text, binary, close, ping, pong')
                expect(function() ws:send_frame{ fin = 1 } end):raises("fin: found number, expected a boolean")
                expect(function() ws:send{} end):raises("send: found an empty list")
                expect(function() ws.answers_pings = 1 end):raises("answers_pings: found number, expected a boolean")
                expect(function() ws:expect_frame{ data = "a" } end)
                    :raises('expected a frame { data = "a" }, found nothing')
                server:send("b")
                expect(function() ws:expect_frame{ data = "a" } end)
                    :raises('expected a frame { data = "a" }, found a frame { type = "text", data = "b", fin = true }')
                ws:ping("x")
                expect(function() server:expect_ping("y") end):raises('expected a ping with "y", found a ping with "x"')
                """)
    }
}

@Suite("Compressed messages of WebSockets in scripts' tests", .timeLimit(.minutes(1)))
struct WebSocketDeflateBenchTests {
    @Test("what the ends agree on goes through, and messages arrive inflated, in both directions")
    func passed() {
        scriptPasses(
            """
            local p = proxy{}
            local backend = p:backend()
            local ws = p:websocket{ deflate = true }
            local server = backend:expect_request():accept_websocket{ deflate = true }
            expect(ws.extensions):equals("permessage-deflate")
            expect(server.extensions):equals("permessage-deflate")
            local text = ("tell me three times "):rep(50)
            for _, way in ipairs{ { ws, server }, { server, ws } } do
                local from, to = way[1], way[2]
                from:send(text)
                local first = to:receive_frame()
                expect(#first.data < 100):is_true()
                -- It refers to the message before.
                from:send(text)
                from:send{ "in ", "fragments ", "" }
                from:send_binary("")
                local second = to:receive_frame()
                expect(#second.data < #first.data):is_true()
                to:expect("in fragments ")
                to:expect("", "binary")
            end
            -- A frame by itself is as it is.
            ws:send_frame{ data = "plain" }
            server:expect_frame{ data = "plain" }
            """)
    }

    @Test("without context takeover no message refers to another; each direction is by itself")
    func contextTakeover() {
        scriptPasses(
            """
            local p = proxy{}
            local backend = p:backend()
            local ws = p:websocket{ deflate = true }
            local agreed = "permessage-deflate; server_no_context_takeover; client_max_window_bits=9"
            local server = backend:expect_request():accept_websocket{ headers = { ["Sec-WebSocket-Extensions"] = agreed } }
            expect(ws.extensions):equals(agreed)
            local text = ("x y z "):rep(100)
            local function size(from, to)
                from:send(text)
                return #to:receive_frame().data
            end
            expect(size(server, ws)):equals(size(server, ws))
            expect(size(ws, server) > size(ws, server)):is_true()
            """)
    }

    @Test("message hooks see and change what is compressed; frame hooks see it compressed")
    func hooks() {
        scriptPasses(
            """
            local p = proxy{ location = [[
                message_by_lua_block { if msg.from == "client" then return msg.data:upper() end }
                frame_by_lua_block { if frame.from == "upstream" then sy.log.error(#frame.data) end }]] }
            local backend = p:backend()
            local ws = p:websocket{ deflate = true }
            local server = backend:expect_request():accept_websocket{ deflate = true }
            ws:send{ "hel", "lo" }
            server:expect("HELLO")
            server:send(("a"):rep(1000))
            ws:expect(("a"):rep(1000))
            local size = tonumber(p:log()[1]:match("(%d+)"))
            expect(size < 50):is_true()
            """)
    }

    @Test("the echo takes what it is offered; a leg of the proxy's own is compressed where the other is not")
    func legs() {
        scriptPasses(
            """
            local ws = proxy{}:websocket{ deflate = true }
            expect(ws.extensions):equals("permessage-deflate")
            ws:send("echo")
            expect(ws:receive_frame().data ~= "echo"):is_true()
            expect(proxy{}:websocket{}.extensions):is_nil()

            local p = proxy{ location = "websocket_deflate on client;" }
            local backend = p:backend()
            ws = p:websocket{ deflate = true }
            local request = backend:expect_request()
            expect(request.headers["Sec-WebSocket-Extensions"]):is_nil()
            expect(function() request:accept_websocket{ deflate = true } end):raises("the request does not offer it")
            local server = request:accept_websocket()
            expect(server.extensions):is_nil()
            expect(ws.extensions):contains("permessage-deflate")
            ws:send("compressed, and then not")
            server:expect_frame{ data = "compressed, and then not" }

            p = proxy{ location = "upgrade_by_lua_block { flow.offer.deflate = false }" }
            ws = p:websocket{ deflate = true }
            expect(ws.extensions):is_nil()
            ws:send("plain")
            ws:expect_frame{ data = "plain" }
            expect(function() p:websocket{ deflate = 1 } end):raises("deflate: found number, expected a boolean")
            """)
    }

    @Test("a frame hook that spoils a compressed message has its receiver say so")
    func spoilt() {
        scriptPasses(
            """
            local p = proxy{ location = [[frame_by_lua_block { if frame.type == "text" then return "spoilt" end }]] }
            local backend = p:backend()
            local ws = p:websocket{ deflate = true }
            local server = backend:expect_request():accept_websocket{ deflate = true }
            ws:send("hello")
            expect(function() server:expect("hello") end):raises("a compressed message cannot be inflated")
            server:expect_frame{ type = "text", data = "spoilt" }
            expect(server.open):equals(false)
            """)
    }

    @Test("an answer that was not offered is refused by the proxy")
    func invalid() {
        scriptPasses(
            """
            local p = proxy{}
            local backend = p:backend()
            local ws = p:websocket{ headers = { ["Sec-WebSocket-Extensions"] = "permessage-deflate; server_no_context_takeover" } }
            local headers = { ["Sec-WebSocket-Extensions"] = "permessage-deflate" }
            local server = backend:expect_request():accept_websocket{ headers = headers }
            expect(ws.response.status):equals(502)
            """)
    }
}
