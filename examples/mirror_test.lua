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

test("each header is copied once, however its name is written", function()
    local p = mirrored()
    p:backend("backend:80", function() return { body = "first" } end)
    local other = p:backend("next:80")
    local client = p:connect()
    client:send("GET / HTTP/1.1\r\nHost: here\r\nX-A: 1\r\nx-a: 2\r\nx-mirrored: me\r\n\r\n")
    local copy = other:expect_request()
    expect(copy.headers:all("X-A")):equals{ "1", "2" }
    expect(#copy.headers:all("X-Mirrored")):equals(1)
    expect(copy.headers["X-Mirrored"]):matches("^%x+$")
    copy:respond{}
end)

test("one that is down disturbs nobody", function()
    local p = mirrored()
    p:backend("backend:80", function() return { body = "first" } end)
    p:backend("next:80"):refuse()
    expect(p:request().body):equals("first")
end)
