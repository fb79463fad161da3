-- switchyard test examples/maintenance_test.lua

local switch = "/-/maintenance"

local function site()
    return proxy{ file = "maintenance.conf" }
end

-- The switch is for the machine itself.
local function flip(p, method, body)
    return p:connect("127.0.0.1"):request{ method = method, path = switch, body = body }
end

test("the switch closes the site and opens it again", function()
    local p = site()
    expect(p:request().status):equals(200)
    expect(flip(p, "PUT", "back at noon").body):equals("closed: back at noon\n")
    local res = p:request{ headers = { Accept = "*/*" } }
    expect(res.status):equals(503)
    expect(res.headers["Retry-After"]):equals("120")
    expect(sy.json.decode(res.body)):equals{ error = "back at noon" }
    flip(p, "DELETE")
    expect(p:request().status):equals(200)
end)

test("browsers get a page, in which the reason is text", function()
    local p = site()
    flip(p, "PUT", "<b>soon</b>")
    local res = p:request{ headers = { Accept = "text/html" } }
    expect(res.headers["Content-Type"]):equals("text/html; charset=utf-8")
    expect(res.body):contains("&lt;b&gt;soon&lt;/b&gt;")
end)

test("those who know the word see the site", function()
    local p = site()
    flip(p, "PUT", "")
    expect(p:request{ headers = { Cookie = "maintenance=let-me-in" } }.status):equals(200)
    expect(p:request{ headers = { Cookie = "maintenance=sesame" } }.status):equals(503)
end)

test("strangers cannot reach the switch", function()
    expect(site():connect("203.0.113.9"):request{ method = "PUT", path = switch }.status):equals(403)
end)
