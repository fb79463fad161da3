-- switchyard test examples/rate_limit_test.lua

local function limited(limit, window)
    return proxy{
        plugin = "rate_limit.lua", args = { limit = limit, window = window, user = "X-Api-Key" },
        http = "lua_shared_dict rates 1m;",
    }
end

local function ask(p, user) return p:request{ headers = { ["X-Api-Key"] = user } } end

test("each user has so many requests in a window", function()
    local p = limited(3, 60)
    for left = 2, 0, -1 do
        expect(ask(p, "ann").headers["RateLimit-Remaining"]):equals(tostring(left))
    end
    local refused = ask(p, "ann")
    expect(refused.status):equals(429)
    expect(tonumber(refused.headers["Retry-After"]) <= 60):is_true()
    expect(ask(p, "bob").status):equals(200)
end)

test("the window slides: nobody gets twice the limit at its edge", function()
    local p = limited(10, 60)
    advance(60 - sy.now() % 60 + 55)
    for _ = 1, 10 do expect(ask(p, "ann").status):equals(200) end
    advance(6)
    expect(ask(p, "ann").status):equals(429)
    advance(60)
    expect(ask(p, "ann").status):equals(200)
end)
