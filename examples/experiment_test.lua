-- switchyard test examples/experiment_test.lua

local function shop()
    local p = proxy{ file = "experiment.conf" }
    p:backend("127.0.0.1:3000", function() return { body = "classic" } end)
    p:backend("127.0.0.1:3001", function() return { body = "express" } end)
    return p
end

test("a fifth sees the other variant, and everybody the same again", function()
    local client = shop():connect()
    local count = { classic = 0, express = 0 }
    for _ = 1, 300 do
        local res = client:request()
        count[res.body] = count[res.body] + 1
        local cookie = res.headers["Set-Cookie"]:match("^[^;]+")
        local again = client:request{ headers = { Cookie = cookie } }
        expect(again.body):equals(res.body)
        expect(again.headers["Set-Cookie"]):is_nil()
    end
    expect(count.express > 25 and count.express < 100):is_true()
end)

test("a variant that is no more is drawn again", function()
    local res = shop():request{ headers = { Cookie = "ab_checkout=gone" } }
    expect(res.headers["Set-Cookie"]):contains("ab_checkout=" .. res.body)
end)
