-- switchyard test examples/keepalive_test.lua

test("clients are pinged, and those that answer stay", function()
    local p = proxy{ plugin = "keepalive.lua", args = { interval = 5 }, location = "proxy_read_timeout 1h;" }
    local ws = p:websocket{}
    for _ = 1, 10 do
        advance(5)
        expect(ws.open):is_true()
    end
    ws:send("still here")
    ws:expect("still here")
end)

test("a client that leaves two pings in a row without an answer is given up", function()
    local p = proxy{
        plugin = "keepalive.lua",
        args = { interval = 20, misses = 2 },
        location = "proxy_read_timeout 1h; websocket_pong_timeout 5s;",
    }
    local backend = p:backend("backend:80")
    local ws = p:websocket{}
    local server = backend:expect_request():accept_websocket()
    ws.answers_pings = false

    advance(20)
    ws:expect_ping()
    advance(20)
    local late = ws:expect_ping()
    advance(4)
    ws:pong(late)
    for _ = 1, 2 do
        expect(ws.open):is_true()
        advance(20)
        ws:expect_ping()
    end
    advance(5)

    ws:expect_close(1001, "no answer to pings")
    server:expect_close(1001, "no answer to pings")
end)
