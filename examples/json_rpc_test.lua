-- switchyard test examples/json_rpc_test.lua

--- A client before a backend that the test plays.
local function both()
    local p = proxy{ plugin = "json_rpc.lua" }
    local backend = p:backend()
    local ws = p:websocket{}
    local request = backend:expect_request()
    return ws, request:accept_websocket()
end

test("calls get their answers, whatever their ids", function()
    local ws, far = both()
    ws:send('{"jsonrpc":"2.0","id":"first","method":"add","params":[1,2]}')
    local call = sy.json.decode((far:receive()))
    expect(call.cmd):equals("add")
    expect(call.args[2]):equals(2)
    far:send(sy.json.encode{ seq = call.seq, ok = true, data = 3 })
    local answer = sy.json.decode((ws:receive()))
    expect(answer.id):equals("first")
    expect(answer.result):equals(3)
end)

test("a success without data has a result all the same", function()
    local ws, far = both()
    for data, result in pairs{ [""] = "null", [',"data":null'] = "null", [',"data":false'] = "false" } do
        ws:send('{"jsonrpc":"2.0","id":1,"method":"do"}')
        far:send(('{"seq":%d,"ok":true%s}'):format(sy.json.decode((far:receive())).seq, data))
        local answer = ws:receive()
        expect(answer):matches('"result":' .. result)
    end
end)

test("a batch becomes several calls; failures and notifications are told apart", function()
    local ws, far = both()
    ws:send('[{"jsonrpc":"2.0","id":7,"method":"a"},{"jsonrpc":"2.0","method":"b"}]')
    local a, b = sy.json.decode((far:receive())), sy.json.decode((far:receive()))
    expect(a.cmd .. b.cmd):equals("ab")
    far:send(sy.json.encode{ seq = b.seq, ok = true })
    far:send(sy.json.encode{ seq = a.seq, ok = false, data = "no" })
    local answer = sy.json.decode((ws:receive()))
    expect(answer.id):equals(7)
    expect(answer.error.message):equals("no")
    ws:expect_none()
end)

test("what comes unasked is a notification, and what is no call is refused here", function()
    local ws, far = both()
    far:send('{"event":"tick","data":5}')
    local told = sy.json.decode((ws:receive()))
    expect(told.method):equals("tick")
    expect(told.params):equals(5)
    ws:send("what?")
    expect(sy.json.decode((ws:receive())).error.code):equals(-32700)
    ws:send('{"id":1,"method":"old"}')
    expect(sy.json.decode((ws:receive())).error.code):equals(-32600)
    for _, none in ipairs{ "[1]", "[]", "3", "null" } do
        ws:send(none)
        local answer = sy.json.decode((ws:receive()))
        expect(answer.error.code):equals(-32600)
        expect(answer.id):equals(sy.json.null)
    end
    far:expect_none()
end)
