-- switchyard test examples/message_rate_test.lua

local function open(over)
    return proxy{ plugin = "message_rate.lua", args = { rate = 2, burst = 3, over = over } }:websocket{}
end

local function send(ws, count)
    for number = 1, count do ws:send(tostring(number)) end
end

test("a burst passes, and one message too many ends it", function()
    local ws = open("close")
    send(ws, 3)
    for number = 1, 3 do ws:expect(tostring(number)) end
    advance(0.5)
    ws:send("again")
    ws:expect("again")
    ws:send("too soon")
    ws:expect_close(1008, "more than 2 messages a second")
end)

test("messages too many are left out", function()
    local ws = open("drop")
    send(ws, 5)
    for number = 1, 3 do ws:expect(tostring(number)) end
    ws:expect_none()
    advance(10)
    send(ws, 3)
    for number = 1, 3 do ws:expect(tostring(number)) end
end)

test("or wait for their turn, in order", function()
    local ws = open("wait")
    send(ws, 6)
    for number = 1, 3 do ws:expect(tostring(number)) end
    ws:expect_none()
    for number = 4, 6 do
        advance(0.5)
        ws:expect(tostring(number))
    end
end)
