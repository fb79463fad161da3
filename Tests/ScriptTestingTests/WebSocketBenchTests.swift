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
