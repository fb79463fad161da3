-- switchyard test examples/token_deadline_test.lua

local function part(text) return (sy.base64.encode_url(text):gsub("=", "")) end

local function token(subject, seconds, key)
    local signed = part('{"alg":"HS256","typ":"JWT"}') .. "."
        .. part(sy.json.encode{ sub = subject, exp = math.floor(sy.now()) + seconds })
    return signed .. "." .. part(sy.hmac(key or "secret", signed))
end

local function open(value)
    return proxy{ plugin = "token_deadline.lua", args = { key = "secret" } }:websocket{ path = "/?token=" .. value }
end

test("the WebSocket ends when its token does", function()
    local ws = open(token("ann", 30))
    ws:send("hello")
    ws:expect("hello")
    advance(28)
    expect(ws.open):is_true()
    advance(3)
    ws:expect_close(4001, "token expired")
end)

test("a new token gives it more time, and is nobody else's business", function()
    local ws = open(token("ann", 30))
    advance(20)
    ws:send(sy.json.encode{ type = "token", token = token("ann", 40) })
    advance(30)
    expect(ws.open):is_true()
    ws:expect_none()
    advance(11)
    ws:expect_close(4001, "token expired")
end)

test("of another user, or another's making, it ends it", function()
    for _, value in ipairs{ token("bob", 40), token("ann", 40, "guess"), token("ann", -5) } do
        local ws = open(token("ann", 30))
        ws:send(sy.json.encode{ type = "token", token = value })
        ws:expect_close(4003, "token refused")
    end
end)

test("without a good token nothing opens", function()
    for _, value in ipairs{ "", "x.y.z", token("ann", -5), token("ann", 30, "guess") } do
        expect(open(value).response.status):equals(401)
    end
end)
