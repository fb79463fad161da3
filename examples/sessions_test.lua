-- switchyard test examples/sessions_test.lua

local function site(args)
    args = args or {}
    args.redis = args.redis or "redis://redis.test"
    return proxy{ plugin = "sessions.lua", args = args }
end

local function command(...)
    local text = "*" .. select("#", ...) .. "\r\n"
    for _, word in ipairs{ ... } do text = text .. "$" .. #word .. "\r\n" .. word .. "\r\n" end
    return text
end

-- Sends a request in a session. The first looks every millisecond whether there is a connection.
local function visit(p, cookie)
    local client = p:send{ headers = { Cookie = cookie, ["X-User"] = "root" } }
    advance(0.002)
    return client
end

test("a request in a session goes upstream with the user's name", function()
    local p = site()
    local backend = p:backend("backend:80")
    p:server("redis.test:6379", function(data)
        return data == command("GET", "session:x1") and "$3\r\nann\r\n" or "-ERR unknown\r\n"
    end)
    visit(p, "a=b; session=x1")
    local request = backend:expect_request()
    expect(request.headers:all("X-User")):equals{ "ann" }
    request:respond{}
end)

test("others are told to log in", function()
    local p = site()
    local backend = p:backend("backend:80")
    local redis = p:server("redis.test:6379", function() return "$-1\r\n" end)
    expect(p:request{ headers = { ["X-User"] = "root" } }.status):equals(401)
    expect(redis.connections):equals(0)
    expect(visit(p, "a=b; session=x1"):response().status):equals(401)
    backend:expect_none()
end)

test("all requests have one connection, and each its own session", function()
    local p = site{ cookie = "id", prefix = "s/", lifetime = 60 }
    p:backend("backend:80", function(request) return { body = request.headers["X-User"] } end)
    local redis = p:server("redis.test:6379")
    local first, second, third = visit(p, "id=1"), visit(p, "id=2"), visit(p, "id=3")
    local connection = redis:expect_connection()
    for id = 1, 3 do connection:expect(command("GETEX", "s/" .. id, "EX", "60")) end
    connection:send("+ann\r\n$-1\r\n+bob\r\n")
    expect(first:response().body):equals("ann")
    expect(second:response().status):equals(401)
    expect(third:response().body):equals("bob")
    expect(redis.connections):equals(1)
end)

test("Redis may go and come back", function()
    local p = site()
    p:backend("backend:80", function(request) return { body = request.headers["X-User"] } end)
    local redis = p:server("redis.test:6379")
    local client = visit(p, "a=b; session=x1")
    local connection = redis:expect_connection()
    connection:send("+ann\r\n")
    expect(client:response().body):equals("ann")
    connection:vanish()
    client = visit(p, "a=b; session=x1")
    redis:expect_connection():send("+ann\r\n")
    expect(client:response().body):equals("ann")
end)

test("while nobody can tell whose session it is, nobody gets in", function()
    local p = site()
    local backend = p:backend("backend:80")
    local redis = p:server("redis.test:6379")
    local client = visit(p, "a=b; session=x1")
    advance(2)
    expect(client:response().status):equals(503)
    expect(p:log()):matches("no word about a session: timeout")
    redis:refuse()
    expect(visit(p, "a=b; session=x1"):response().status):equals(503)
    expect(p:log()):matches("no word about a session: connect%(%) failed")

    p = site()
    p:server("redis.test:6379", function() return "-WRONGTYPE Operation against a key\r\n" end)
    expect(visit(p, "a=b; session=x1"):response().status):equals(503)
    expect(p:log()):matches("no word about a session: WRONGTYPE")

    p = site{ redis = "http://redis.test" }
    expect(visit(p, "a=b; session=x1"):response().status):equals(503)
    expect(p:log()):matches("expected redis://")
    backend:expect_none()
end)
