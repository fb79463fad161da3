-- switchyard test examples/chaos_test.lua

local function open(args)
    args.from = args.from or "client"
    return proxy{ plugin = "chaos.lua", args = args }:websocket{}
end

test("messages wait, in order", function()
    local ws = open{ delay = 1 }
    ws:send("one")
    ws:send("two")
    advance(0.9)
    ws:expect_none()
    advance(0.1)
    ws:expect("one")
    advance(1)
    ws:expect("two")
end)

test("all are dropped, or sent twice", function()
    local ws = open{ drop = 1 }
    ws:send("gone")
    ws:expect_none()
    ws = open{ duplicate = 1 }
    ws:send("twice")
    ws:expect("twice")
    ws:expect("twice")
    ws:expect_none()
end)

test("a corrupt message is as long as before, a text still UTF-8", function()
    local ws = open{ corrupt = 1, seed = 3 }
    local spoilt = 0
    for _ = 1, 50 do
        ws:send("grüße, grüße")
        local text, type = ws:receive()
        expect(type):equals("text")
        expect(#text):equals(#"grüße, grüße")
        if text ~= "grüße, grüße" then spoilt = spoilt + 1 end
    end
    expect(spoilt > 10):is_true()
    ws:send_binary("\0")
    expect((ws:receive())):differs("\0")
end)

test("a share is a share", function()
    local ws = open{ drop = 0.3, seed = 11 }
    local arrived = 0
    for _ = 1, 200 do
        ws:send("x")
        if ws:receive() then arrived = arrived + 1 end
    end
    expect(arrived > 110 and arrived < 170):is_true()
end)
