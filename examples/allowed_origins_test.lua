-- switchyard test examples/allowed_origins_test.lua

local sites = "https://app.example.com,https://*.example.org"

local function status(origin, others)
    local p = proxy{ plugin = "allowed_origins.lua", args = { sites = sites, others = others } }
    return p:websocket{ headers = { Origin = origin } }.response.status
end

test("our own pages open WebSockets", function()
    for _, origin in ipairs{ "https://app.example.com", "https://a.b.example.org", "HTTPS://APP.EXAMPLE.COM" } do
        expect(status(origin)):equals(101)
    end
end)

test("others do not", function()
    for _, origin in ipairs{ "https://evil.example", "http://app.example.com", "https://appxexample.com",
        "https://app.example.com.evil.example", "https://example.org", "null" } do
        expect(status(origin)):equals(403)
    end
end)

test("programs send no Origin, and get in where that is allowed", function()
    expect(status(nil)):equals(403)
    expect(status(nil, "allow")):equals(101)
end)
