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
