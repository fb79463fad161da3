-- Asks another server whether a WebSocket may be opened, before its upstream hears of it.
--
--     plugin upgrade_auth.lua url=http://accounts/check;
--
-- The server is asked with the client's cookies and credentials. 200 lets the upgrade through, and its X-User goes
-- upstream; 401 and 403 go back to the client; anything else, or no answer in time, is a 503. Requests for pages are
-- not asked about.

return function(config)
    local url = assert(config.url, "url=URL is missing")
    local timeout = tonumber(config.timeout) or 2

    return {
        upgrade = function(flow)
            local headers = flow.req.headers
            local res, reason = sy.fetch{
                url = url,
                timeout = timeout,
                headers = {
                    ["Cookie"] = headers["Cookie"],
                    ["Authorization"] = headers["Authorization"],
                    ["X-Original-URI"] = flow.req.uri,
                    ["X-Original-Address"] = flow.client.address,
                },
            }

            if res and res.status == 200 then
                headers["X-User"] = res.headers["X-User"]
            elseif res and (res.status == 401 or res.status == 403) then
                return flow:respond{ status = res.status, body = res.body }
            else
                sy.log.error("no word about an upgrade: " .. (reason or res.status))
                return flow:respond{ status = 503, headers = { ["Retry-After"] = "5" } }
            end
        end,
    }
end
