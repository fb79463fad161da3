-- Asks a login server (Authelia, oauth2-proxy and their like) about each request, as auth_request of nginx and forward_auth of
-- others do, and sends browsers that are not logged in to its page.
--
--     plugin forward_auth.lua url=http://auth/api/authz/forward-auth login=https://auth.example.com/
--            headers=Remote-User,Remote-Groups;
--     plugin forward_auth.lua url=http://auth/oauth2/auth login=/oauth2/start headers=X-Auth-Request-User;
--
-- Any 2xx lets the request through. `headers` of that answer go upstream, and never the client's own of these names; its cookies
-- go to the client. 401 leads to `login`, with the URL that was asked for as `parameter` (rd); WebSockets, which can follow no
-- redirect, are told 401. 403 goes back to the client; anything else, or no answer in time, is a 503.

return function(config)
    local url = assert(config.url, "url=URL is missing")
    local login = assert(config.login, "login=URL is missing")
    local timeout = tonumber(config.timeout) or 5
    local target = login .. (login:find("?", 1, true) and "&" or "?") .. (config.parameter or "rd") .. "="
    local identity = {}
    for name in (config.headers or "Remote-User,Remote-Groups"):gmatch("[^,%s]+") do identity[#identity + 1] = name end

    local function refuse(flow, status, cookies, location)
        return flow:respond{
            status = status,
            headers = { ["Location"] = location, ["Set-Cookie"] = cookies, ["Cache-Control"] = "no-store" },
        }
    end

    return {
        request = function(flow)
            local headers, scheme = flow.req.headers, flow.var.scheme
            -- A target that names a host is served as that one's, whatever Host says (RFC 9112, 3.2.2): only the port is Host's.
            local host = flow.var.host
            local name, port = (headers["Host"] or ""):lower():match("^(.-)%.?(:%d+)$")
            if name == host then host = host .. port end
            local original = scheme .. "://" .. host .. flow.req.uri

            local res, reason = sy.fetch{
                url = url,
                timeout = timeout,
                headers = {
                    ["Cookie"] = headers:all("Cookie"),
                    ["Authorization"] = headers["Authorization"],
                    ["Accept"] = headers["Accept"],
                    ["X-Original-URL"] = original,
                    ["X-Original-Method"] = flow.req.method,
                    ["X-Forwarded-Method"] = flow.req.method,
                    ["X-Forwarded-Proto"] = scheme,
                    ["X-Forwarded-Host"] = host,
                    ["X-Forwarded-Uri"] = flow.req.uri,
                    ["X-Forwarded-For"] = flow.var.remote_addr,
                },
            }
            local status = res and res.status or 0
            local cookies = res and res.headers:all("Set-Cookie") or {}

            if status >= 200 and status < 300 then
                -- Nil removes what the client has sent by that name.
                for _, name in ipairs(identity) do headers[name] = res.headers[name] end
                flow.ctx.cookies = cookies
            elseif status == 401 and headers["Upgrade"] then
                return refuse(flow, 401, cookies)
            elseif status == 401 then
                -- 303 has a browser ask for the page by GET, whatever it has asked for here.
                local isRead = flow.req.method == "GET" or flow.req.method == "HEAD"
                return refuse(flow, isRead and 302 or 303, cookies, target .. sy.uri.escape(original))
            elseif status == 403 then
                return refuse(flow, 403, cookies)
            else
                sy.log.error("no word about a request: " .. (reason or status))
                return refuse(flow, 503, {})
            end
        end,

        response = function(flow)
            for _, cookie in ipairs(flow.ctx.cookies or {}) do flow.res.headers:add("Set-Cookie", cookie) end
        end,
    }
end
