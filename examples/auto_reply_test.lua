-- switchyard test examples/auto_reply_test.lua

local function setup()
    local p = proxy{
        plugin = "auto_reply.lua", args = { ttl = 30, methods = "price,status" },
        http = "lua_shared_dict answers 1m;",
    }
    local backend = p:backend()
    return function()
        local ws = p:websocket{}
        return ws, backend:expect_request():accept_websocket()
    end
end

local function ask(ws, id, method, params)
    ws:send(sy.json.encode{ id = id, method = method, params = params })
end

test("a question is asked once, and answered to all", function()
    local open = setup()
    local ann, far = open()
    ask(ann, 1, "price", { of = "tea" })
    local call = sy.json.decode((far:receive()))
    far:send(sy.json.encode{ id = call.id, result = { 3, "EUR" } })
    expect(sy.json.decode((ann:receive())).result[1]):equals(3)

    local bob, other = open()
    ask(bob, "b", "price", { of = "tea" })
    other:expect_none()
    local reply = sy.json.decode((bob:receive()))
    expect(reply.id):equals("b")
    expect(reply.result[2]):equals("EUR")

    ask(bob, 2, "price", { of = "coffee" })
    expect(sy.json.decode((other:receive())).params.of):equals("coffee")
end)

test("answers age, and other questions are none of its business", function()
    local open = setup()
    local ws, far = open()
    ask(ws, 1, "status")
    far:receive()
    far:send('{"id":1,"result":"fine"}')
    ws:expect('{"id":1,"result":"fine"}')
    ask(ws, 2, "status")
    ws:expect('{"id":2,"result":"fine"}')
    advance(31)
    ask(ws, 3, "status")
    expect(sy.json.decode((far:receive())).id):equals(3)
    for _ = 1, 2 do
        ask(ws, 4, "order")
        expect(sy.json.decode((far:receive())).method):equals("order")
    end
    ws:send("no JSON")
    far:expect("no JSON")
end)

test("who has two questions under way with one id teaches nobody wrong answers", function()
    for _, other in ipairs{
        '{"id":1,"method":"price","params":{"of":"coffee"}}', '{"id":1.0,"method":"order"}', '[{"id":1,"method":"order"}]',
    } do
        local open = setup()
        local ws, far = open()
        ask(ws, 1, "price", { of = "tea" })
        ws:send(other)
        far:receive()
        far:expect(other)
        far:send('{"id":1,"result":"of the other"}')
        far:send('{"id":1,"result":"of tea"}')
        ws:expect('{"id":1,"result":"of the other"}')
        ws:expect('{"id":1,"result":"of tea"}')

        local bob, beyond = open()
        ask(bob, 2, "price", { of = "tea" })
        expect(sy.json.decode((beyond:receive())).id):equals(2)
        beyond:send('{"id":2,"result":"fine"}')
        bob:expect('{"id":2,"result":"fine"}')
        ask(ws, 3, "price", { of = "tea" })
        ws:expect('{"id":3,"result":"fine"}')
    end
end)
