-- One policy for headers: what upstreams tell about themselves is stripped, security headers are added where the
-- upstream has none of its own, and every exchange has a request id that the client, the upstream and the logs share.
--
--     plugin header_policy.lua;

-- What only the proxy may say to upstreams, and what upstreams should keep to themselves.
local from_clients = { "X-Real-IP", "X-User", "X-Internal-Token" }
local from_upstreams = { "Server", "X-Powered-By", "X-AspNet-Version", "X-Runtime" }

local security = {
    ["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains",
    ["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'",
    ["X-Content-Type-Options"] = "nosniff",
    ["Referrer-Policy"] = "strict-origin-when-cross-origin",
}

return {
    variables = {
        -- A client's own id is taken over when it looks like one.
        correlation_id = function(flow)
            local id = flow.req.headers["X-Request-Id"]
            if id and #id <= 64 and id:find("^[%w%-]+$") then return id end
            return flow.id
        end,
    },

    request = function(flow)
        local headers = flow.req.headers
        headers["X-Request-Id"] = flow.var.correlation_id
        for _, name in ipairs(from_clients) do headers[name] = nil end
    end,

    response = function(flow)
        local headers = flow.res.headers
        headers["X-Request-Id"] = flow.var.correlation_id
        for _, name in ipairs(from_upstreams) do headers[name] = nil end
        for name, value in pairs(security) do
            headers[name] = headers[name] or value
        end
    end,
}
