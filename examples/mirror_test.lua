-- switchyard test examples/mirror_test.lua

local function mirrored()
    return proxy{ plugin = "mirror.lua", args = { to = "http://next" } }
end

test("the other server gets a copy, whose answer nobody waits for", function()
    local p = mirrored()
    p:backend("backend:80", function() return { body = "first" } end)
    local other = p:backend("next:80")
    local res = p:request{ method = "POST", path = "/a?b=c", body = "a body", headers = { ["X-Twice"] = { "1", "2" } } }
    expect(res.body):equals("first")

    local copy = other:expect_request()
    expect(copy.method .. " " .. copy.uri .. " " .. copy.body):equals("POST /a?b=c a body")
    expect(copy.headers:all("X-Twice")):equals{ "1", "2" }
    expect(copy.headers["X-Mirrored"]):matches("^%x+$")
    copy:respond{ status = 500 }
end)

test("one that is down disturbs nobody", function()
    local p = mirrored()
    p:backend("backend:80", function() return { body = "first" } end)
    p:backend("next:80"):refuse()
    expect(p:request().body):equals("first")
end)
