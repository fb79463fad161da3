-- switchyard test examples/json_schema_test.lua

local function open(strikes)
    return proxy{ plugin = "json_schema.lua", args = { strikes = strikes } }:websocket{}
end

--- Both ends.
local function connected()
    local p = proxy{ plugin = "json_schema.lua" }
    local backend = p:backend("backend:80")
    local ws = p:websocket{}
    return ws, backend:expect_request():accept_websocket()
end

test("what fits goes through as it is", function()
    local ws = open()
    for _, text in ipairs{
        '{"op":"join","room":"a"}', '{"op": "say", "text": "hi", "tags": ["x", "y"], "count": 3}', '{"op":"leave","tags":[]}',
    } do
        ws:send(text)
        ws:expect(text)
    end
end)

test("what does not is answered with the reason", function()
    local ws = open(100)
    for text, fault in pairs{
        ["hello"] = "no JSON", ["[1]"] = "message is array, expected object", ["{}"] = "message.op is missing",
        ['{"op":"fly"}'] = "message.op is none of join, say, leave", ['{"op":"say","x":1}'] = "message.x is unknown",
        ['{"op":"say","count":101}'] = "message.count is above 100",
        ['{"op":"say","tags":[1]}'] = "message.tags[1] is number, expected string",
        ['{"op":"say","text":"' .. ("x"):rep(1001) .. '"}'] = "message.text is too long",
    } do
        ws:send(text)
        expect(sy.json.decode((ws:receive())).error):equals(fault)
    end
    ws:expect_none()
end)

test("who does not learn is sent away", function()
    local ws = open(2)
    ws:send("one")
    expect(sy.json.decode((ws:receive())).error):equals("no JSON")
    ws:send("two")
    ws:expect_close(1008, "no JSON")
end)

test("binary messages do not get past it", function()
    local ws, far = connected()
    ws:send_binary('{"op":"fly"}')
    ws:expect_close(1003, "no binary messages")
    far:expect_close(1003, "no binary messages")
end)

test("what the upstream says is not looked at", function()
    local ws, far = connected()
    far:send("hello")
    ws:expect("hello")
    far:send_binary("\0\1")
    ws:expect("\0\1", "binary")
end)
