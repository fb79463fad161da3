-- switchyard test examples/subprotocol_test.lua

local function setup()
    local p = proxy{
        plugin = "subprotocol.lua", args = { routes = "mqtt:brokers,graphql-ws:graph", default = "apps" },
        http = "upstream brokers { server brokers.test; } upstream graph { server graph.test; }"
            .. " upstream apps { server apps.test; }",
    }
    return p, p:backend("brokers.test"), p:backend("graph.test"), p:backend("apps.test")
end

test("each subprotocol has its backend, and no other is offered there", function()
    local p, brokers, graph = setup()
    local ws = p:websocket{ protocols = { "unknown", "mqtt", "graphql-ws" } }
    local request = brokers:expect_request()
    expect(request.headers["Sec-WebSocket-Protocol"]):equals("mqtt")
    request:accept_websocket{ protocol = "mqtt" }
    expect(ws.response.headers["Sec-WebSocket-Protocol"]):equals("mqtt")
    graph:expect_none()
    p:websocket{ protocols = "graphql-ws" }
    expect(graph:expect_request().headers["Sec-WebSocket-Protocol"]):equals("graphql-ws")
end)

test("who offers none is an application's, who offers unknown ones nobody's", function()
    local p, _, _, apps = setup()
    p:websocket{}
    expect(apps:expect_request().headers["Sec-WebSocket-Protocol"]):is_nil()
    expect(p:websocket{ protocols = { "a", "b" } }.response.status):equals(400)
end)
