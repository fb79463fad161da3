-- switchyard test examples/canary_test.lua

local function versions()
    local p = proxy{ file = "canary.conf" }
    p:backend("127.0.0.1:3000", function() return { body = "stable" } end)
    local canary = p:backend("127.0.0.1:3001", function() return { body = "canary" } end)
    return p, canary
end

test("a tenth of the visitors gets the canary, and each keeps what it got", function()
    local client = versions():connect()
    local count = { stable = 0, canary = 0 }
    for _ = 1, 300 do
        local res = client:request()
        count[res.body] = count[res.body] + 1
        local cookie = res.headers["Set-Cookie"]:match("^[^;]+")
        expect(client:request{ headers = { Cookie = cookie } }.body):equals(res.body)
    end
    expect(count.canary > 5 and count.canary < 65):is_true()
end)

test("the header decides", function()
    local p = versions()
    expect(p:request{ headers = { ["X-Canary"] = "always" } }.body):equals("canary")
    expect(p:request{ headers = { ["X-Canary"] = "never" } }.body):equals("stable")
end)

test("the stable version stands in for a canary that is down", function()
    local p, canary = versions()
    canary:refuse()
    expect(p:request{ headers = { ["X-Canary"] = "always" } }.body):equals("stable")
end)
