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

test("what is kept is the answer to what the backend was asked", function()
    local open = setup()
    local ws, far = open()
    local function asks(said, heard)
        ws:send(said)
        local call = sy.json.decode((far:receive()))
        expect(sy.json.encode(call.params)):equals(heard)
        far:send(('{"id":%d,"result":%s}'):format(call.id, heard))
        ws:expect(('{"id":%d,"result":%s}'):format(call.id, heard))
    end
    local function knows(said, id, heard)
        ws:send(said)
        far:expect_none()
        ws:expect(('{"id":%d,"result":%s}'):format(id, heard))
    end
    asks('{"id":1,"method":"price"}', "null")
    asks('{"id":2,"method":"price","params":false}', "false")
    asks('{"id":3,"method":"price","params":{}}', "{}")
    knows('{"id":4,"method":"price"}', 4, "null")
    knows('{"id":5,"method":"price","params":false}', 5, "false")

    -- Whatever else the text may have meant to the backend.
    asks('{"id":6,"method":"price","params":[1,2],"params":[3]}', "[3]")
    knows('{"id":7,"method":"price","params":[3]}', 7, "[3]")
    asks('{"id":8,"method":"price","params":[0.10000000000000000001]}', "[0.1]")
    knows('{"id":9,"method":"price","params":[0.1]}', 9, "[0.1]")
end)

test("an id that is not written out as it was read is left to the backend", function()
    local open = setup()
    local ws, far = open()
    for _ = 1, 2 do
        ws:send('{"id":18446744073709551617,"method":"price"}')
        far:expect('{"id":18446744073709551617,"method":"price"}')
    end
end)
