-- switchyard test examples/forward_auth_test.lua

local function guarded(answer, args)
    args = args or {}
    args.url = "http://auth/api/authz/forward-auth"
    args.login = args.login or "https://auth.example.com/"
    local p = proxy{ plugin = "forward_auth.lua", args = args }
    p:on_fetch(answer)
    return p
end

test("who is logged in gets through, with the cookies of both servers", function()
    local p = guarded(function(request)
        expect(request.headers["Cookie"]):equals("session=1")
        expect(request.headers["X-Original-URL"]):equals("http://app.example/a?b=c")
        expect(request.headers["X-Forwarded-Method"]):equals("POST")
        expect(request.headers["X-Forwarded-Uri"]):equals("/a?b=c")
        expect(request.headers["X-Forwarded-For"]):equals("203.0.113.9")
        return { status = 202, headers = { ["Remote-User"] = "ann", ["Set-Cookie"] = { "a=1", "b=2" } } }
    end)
    p:backend("backend:80", function(request)
        expect(request.headers["Cookie"]):equals("session=1")
        return { body = request.headers["Remote-User"], headers = { ["Set-Cookie"] = "c=3" } }
    end)
    local res = p:request{
        method = "POST", path = "/a?b=c", body = "x", address = "203.0.113.9",
        headers = { Host = "app.example", Cookie = "session=1", ["X-Forwarded-For"] = "127.0.0.1" },
    }
    expect(res.body):equals("ann")
    expect(res.headers:all("Set-Cookie")):equals{ "c=3", "a=1", "b=2" }
end)

test("nobody says who they are but the login server", function()
    local p = guarded(function() return { status = 200, headers = { ["Remote-User"] = "ann" } } end)
    local backend = p:backend("backend:80")
    p:send{ headers = { ["remote-user"] = { "root", "admin" }, ["Remote-Groups"] = "admins" } }
    local request = backend:expect_request()
    expect(request.headers:all("Remote-User")):equals{ "ann" }
    expect(request.headers["Remote-Groups"]):is_nil()
    request:respond{}
end)

test("the login server is asked about the host that is served, with its port", function()
    local p = guarded(function(request)
        expect(request.headers["X-Original-URL"]):equals("http://" .. request.headers["X-Forwarded-Host"] .. "/x")
        return { status = 200, headers = { ["Remote-User"] = request.headers["X-Forwarded-Host"] } }
    end)
    p:backend("backend:80", function(request) return { body = request.headers["Remote-User"] } end)
    for _, case in ipairs{
        { "http://admin.example/x", "public.example", "admin.example" },
        { "http://admin.example/x", "public.example:81", "admin.example" },
        { "http://Admin.example:81/x", "admin.example:81", "admin.example:81" },
        { "/x", "App.example:81", "app.example:81" },
        { "/x", "app.example.:81", "app.example:81" },
        { "/x", "[::1]:81", "[::1]:81" },
        { "/x", "[::1]", "[::1]" },
    } do
        expect(p:request{ path = case[1], headers = { Host = case[2] } }.body):equals(case[3])
    end
end)

test("the headers may have other names", function()
    local p = guarded(function()
        return { status = 202, headers = { ["X-Auth-Request-User"] = "ann", ["X-Auth-Request-Email"] = "a@b" } }
    end, { headers = "X-Auth-Request-User, X-Auth-Request-Email" })
    p:backend("backend:80", function(request)
        return { body = request.headers["X-Auth-Request-User"] .. " " .. request.headers["X-Auth-Request-Email"] }
    end)
    expect(p:request{}.body):equals("ann a@b")
end)

test("others are sent to the login page, which learns the whole URL", function()
    local p = guarded(function() return { status = 401, headers = { ["Set-Cookie"] = "csrf=1" }, body = "no" } end)
    local backend = p:backend("backend:80")
    local res = p:request{ path = "/a%20x?b=c&d=e", headers = { Host = "app.example" } }
    expect(res.status):equals(302)
    expect(res.headers["Location"]):equals(
        "https://auth.example.com/?rd=http%3A%2F%2Fapp.example%2Fa%2520x%3Fb%3Dc%26d%3De")
    expect(res.headers["Set-Cookie"]):equals("csrf=1")
    expect(res.headers["Cache-Control"]):equals("no-store")
    expect(p:request{ method = "POST", body = "x" }.status):equals(303)
    backend:expect_none()
end)

test("the login page may be of the site itself, and have arguments", function()
    local p = guarded(function() return { status = 401 } end, { login = "/oauth2/start?lang=en", parameter = "to" })
    expect(p:request{ headers = { Host = "h" } }.headers["Location"]):matches("/oauth2/start%?lang=en&to=http%%3A%%2F%%2Fh%%2F$")
end)

test("a WebSocket follows no redirect, and opens for who is logged in", function()
    local status = 401
    local p = guarded(function() return { status = status, headers = { ["Set-Cookie"] = "a=1" } } end)
    expect(p:websocket{}.response.status):equals(401)
    status = 200
    local ws = p:websocket{}
    expect(ws.response.status):equals(101)
    expect(ws.response.headers["Set-Cookie"]):equals("a=1")
end)

test("who may not is told so", function()
    local p = guarded(function() return { status = 403 } end)
    local backend = p:backend("backend:80")
    expect(p:request{}.status):equals(403)
    backend:expect_none()
end)

test("without word from the login server the door stays closed", function()
    for _, answer in ipairs{ { nil, "timeout" }, { { status = 500 } }, { { status = 302, headers = { Location = "/" } } } } do
        local p = guarded(function() return answer[1], answer[2] end)
        local backend = p:backend("backend:80")
        expect(p:request{}.status):equals(503)
        expect(p:log()):matches("no word about a request: ")
        backend:expect_none()
    end
end)
