-- switchyard test examples/header_policy_test.lua

test("upstreams' headers are stripped, security headers added where there are none", function()
    local p = proxy{ plugin = "header_policy.lua" }
    p:backend(function()
        return { headers = { ["X-Powered-By"] = "magic", ["Referrer-Policy"] = "no-referrer" }, body = "ok" }
    end)
    local headers = p:request().headers
    expect(headers["X-Powered-By"]):is_nil()
    expect(headers["Referrer-Policy"]):equals("no-referrer")
    expect(headers["X-Content-Type-Options"]):equals("nosniff")
end)

test("clients cannot say who they are", function()
    local p = proxy{ plugin = "header_policy.lua" }
    p:backend(function(request) return { body = request.headers["X-User"] or "nobody" } end)
    expect(p:request{ headers = { ["X-User"] = "root" } }.body):equals("nobody")
end)

test("client and upstream have the same request id, the client's own where it is one", function()
    local p = proxy{ plugin = "header_policy.lua" }
    p:backend(function(request) return { body = request.headers["X-Request-Id"] } end)
    for given, is_taken in pairs{ ["abc-1"] = true, ["a b"] = false, [("x"):rep(65)] = false } do
        local res = p:request{ headers = { ["X-Request-Id"] = given } }
        expect(res.headers["X-Request-Id"]):equals(res.body)
        expect(res.body == given):equals(is_taken)
    end
end)
