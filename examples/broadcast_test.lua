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

test("what clients say does not reach the backend", function()
    local p = proxy{ plugin = "broadcast.lua" }
    local backend = p:backend("backend:80")
    local ann = p:websocket{ path = "/rooms/red?name=ann" }
    local far = backend:expect_request():accept_websocket()
    ann:expect("ann has come")
    ann:send_binary("\0\1")
    ann:send("hello")
    ann:expect("ann: hello")
    far:expect_none()
    far:send("from the house")
    ann:expect("from the house")
end)

test("there is no room without a name", function()
    expect(proxy{ plugin = "broadcast.lua" }:websocket{ path = "/rooms/" }.response.status):equals(404)
end)
