-- JWT_KEY=secret switchyard test examples/tenants_test.lua

local function token(claims, key)
    local encode = sy.base64.encode_url
    local text = encode(sy.json.encode{ alg = "HS256" }) .. "." .. encode(sy.json.encode(claims))
    return text .. "." .. encode(sy.hmac(key or os.getenv("JWT_KEY"), text))
end

local function ask(p, bearer)
    return p:request{ headers = { Authorization = bearer and "Bearer " .. bearer, ["X-Tenant"] = "forged" } }
end

test("each tenant has servers of its own, and is named to them", function()
    local p = proxy{ file = "tenants.conf" }
    local function name(request) return { body = request.headers["X-Tenant"] .. " " .. request.headers["X-User"] } end
    p:backend("127.0.0.1:3000", name)
    p:backend("127.0.0.1:3001", function() return { body = "globex" } end)
    expect(ask(p, token{ tenant = "acme", sub = "ann" }).body):equals("acme ann")
    expect(ask(p, token{ tenant = "globex", sub = "bob" }).body):equals("globex")
end)

test("a token is needed, a good one, of a tenant that is known", function()
    local p = proxy{ file = "tenants.conf" }
    expect(ask(p).status):equals(401)
    expect(ask(p, "nonsense").status):equals(401)
    expect(ask(p, token({ tenant = "acme" }, "another key")).status):equals(401)
    expect(ask(p, token{ tenant = "initech" }).status):equals(403)
end)

test("a token ends", function()
    local p = proxy{ file = "tenants.conf" }
    local bearer = token{ tenant = "acme", sub = "ann", exp = sy.now() + 60 }
    expect(ask(p, bearer).status):equals(200)
    advance(61)
    expect(ask(p, bearer).status):equals(401)
end)
