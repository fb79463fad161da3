-- switchyard test examples/connection_upgrade_test.lua

test("a WebSocket is passed on", function()
    local p = proxy{ file = "connection_upgrade.conf" }
    local ws = p:websocket{ path = "/chat" }
    expect(ws.response.status):equals(101)
    ws:send("hello")
    ws:expect("hello")
end)

test("other protocols are not asked for, and a page's connection is kept", function()
    local p = proxy{ file = "connection_upgrade.conf" }
    local backend = p:backend(function(request)
        expect(request.headers["Upgrade"]):is_nil()
        expect(request.headers["Connection"]):is_nil()
        return { body = "a page" }
    end)
    for _, protocol in ipairs{ "h2c", "tus/1.0" } do
        local res = p:request{ headers = { Upgrade = protocol, Connection = "upgrade" } }
        expect(res.body):equals("a page")
    end
    expect(backend.connections):equals(1)
end)
