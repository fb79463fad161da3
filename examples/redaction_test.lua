-- switchyard test examples/redaction_test.lua

local function told(text, args)
    local p = proxy{ plugin = "redaction.lua", args = args }
    local ws = p:websocket{}
    ws:send(text)
    return (ws:receive())
end

test("card numbers and addresses are left out", function()
    expect(told("paid with 4111 1111 1111 1111, thanks")):equals("paid with [card ending in 1111], thanks")
    expect(told("card 5500-0000-0000-0004")):equals("card [card ending in 0004]")
    expect(told("ask ann.b+c@mail.example.org!")):equals("ask [e-mail]!")
end)

test("other numbers stay", function()
    for _, text in ipairs{ "order 4111 1111 1111 1112", "1234", "2026-11-27 10:00", "" } do
        expect(told(text)):equals(text)
    end
end)

test("a message that comes compressed and in frames is looked at as a whole", function()
    local p = proxy{ plugin = "redaction.lua" }
    local backend = p:backend("backend:80")
    local ws = p:websocket{ deflate = true }
    local server = backend:expect_request():accept_websocket{ deflate = true }
    expect(ws.extensions):equals("permessage-deflate")
    server:send{ "card 5500-0000", "-0000-0004" }
    ws:expect("card [card ending in 0004]")
end)

test("binary messages are nobody's text", function()
    local ws = proxy{ plugin = "redaction.lua" }:websocket{}
    ws:send_binary("4111111111111111")
    ws:expect("4111111111111111", "binary")
end)
