-- Sends each tenant to servers of its own, as a signed token says.
--
--     plugin tenants.lua claim=tenant acme=acme_servers globex=globex_servers;
--
-- The token is a JWT in `Authorization: Bearer …`; JWT_KEY in the environment is the secret that it is signed with,
-- or the public key in PEM. A request without a valid token gets 401, one of an unknown tenant 403. Upstreams read
-- from X-Tenant and X-User who it is, which clients cannot forge.

return function(config)
    local key = assert(os.getenv("JWT_KEY"), "JWT_KEY is not in the environment")
    local claim = config.claim or "tenant"

    local tenants = {}
    for name, value in pairs(config) do
        if name ~= "claim" then tenants[name] = value end
    end

    local function refuse(flow, status, reason)
        local headers = { ["Content-Type"] = "text/plain" }
        if status == 401 then headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' end
        return flow:respond{ status = status, headers = headers, body = reason .. "\n" }
    end

    return {
        request = function(flow)
            local token = (flow.req.headers["Authorization"] or ""):match("^[Bb]earer%s+(%S+)$")
            if not token then return refuse(flow, 401, "expected a bearer token") end

            local claims, reason = sy.jwt.verify(token, { key = key })
            if not claims then return refuse(flow, 401, reason) end

            local tenant = claims[claim]
            local upstream = tenants[tenant]
            if not upstream then return refuse(flow, 403, "unknown tenant") end

            flow.req.headers["X-Tenant"] = tenant
            flow.req.headers["X-User"] = claims.sub
            flow:route(upstream)
        end,
    }
end
