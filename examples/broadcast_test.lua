-- switchyard test examples/broadcast_test.lua

test("a room's members hear each other, and nobody else does", function()
    local p = proxy{ plugin = "broadcast.lua" }
    local ann = p:websocket{ path = "/rooms/red?name=ann" }
    ann:expect("ann has come")
    local bob = p:websocket{ path = "/rooms/red?name=bob" }
    local eve = p:websocket{ path = "/rooms/blue?name=eve" }
    ann:expect("bob has come")
    bob:expect("bob has come")
    eve:expect("eve has come")
    bob:send("hello")
    ann:expect("bob: hello")
    bob:expect("bob: hello")
    eve:expect_none()
    bob:close()
    ann:expect("bob has left")
    eve:expect_none()
end)

test("there is no room without a name", function()
    expect(proxy{ plugin = "broadcast.lua" }:websocket{ path = "/rooms/" }.response.status):equals(404)
end)
