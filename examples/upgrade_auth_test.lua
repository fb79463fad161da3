-- switchyard test examples/upgrade_auth_test.lua

local function guarded(answer)
    local p = proxy{ plugin = "upgrade_auth.lua", args = { url = "http://accounts/check" } }
    p:on_fetch(answer)
    return p
end

test("a good session opens a WebSocket, and the upstream knows whose", function()
    local p = guarded(function(request)
        expect(request.headers["Cookie"]):equals("session=1")
        return { status = 200, headers = { ["X-User"] = "ann" } }
    end)
    local backend = p:backend("backend:80")
    local ws = p:websocket{ headers = { Cookie = "session=1", ["X-User"] = "root" } }
    local request = backend:expect_request()
    expect(request.headers:all("X-User")):equals{ "ann" }
    request:accept_websocket()
    expect(ws.response.status):equals(101)
end)

test("a bad one does not, and the upstream hears nothing", function()
    for _, status in ipairs{ 401, 403 } do
        local p = guarded(function() return { status = status, body = "no" } end)
        local backend = p:backend("backend:80")
        expect(p:websocket().response.status):equals(status)
        backend:expect_none()
    end
end)

test("without word from the accounts the door stays closed", function()
    local p = guarded(function() return nil, "timeout" end)
    expect(p:websocket().response.status):equals(503)
    expect(p:log()):matches("no word about an upgrade: timeout")
end)

test("pages are not asked about", function()
    local p = guarded(function() error("asked") end)
    expect(p:request().status):equals(200)
end)
