-- Sends a copy of requests to another server, whose answers nobody waits for.
--
--     plugin mirror.lua to=http://next share=25;
--
-- `share` is in percent. The copy has the request's method, URI, headers and body, and X-Mirrored, by which the other
-- server can leave out what must not happen twice. How it does is in the metrics: mirrored_requests by status.

local mirrored = sy.metrics.counter("mirrored_requests", "Copies of requests by the status of their answers.")

-- What belongs to the client's connection, or is computed anew.
local own = { ["connection"] = true, ["content-length"] = true, ["transfer-encoding"] = true, ["host"] = true,
    ["keep-alive"] = true, ["te"] = true, ["upgrade"] = true, ["expect"] = true }

return function(config)
    local target = assert(config.to, "to=URL is missing")
    local share = tonumber(config.share) or 100

    return {
        request = function(flow)
            if math.random() * 100 >= share then return end

            -- The exchange may be over before the copy is: what is needed of it is read now.
            local headers, seen = { ["X-Mirrored"] = flow.id }, { ["x-mirrored"] = true }
            for name in flow.req.headers:each() do
                local id = name:lower()
                if not own[id] and not seen[id] then
                    seen[id] = true
                    headers[name] = flow.req.headers:all(name)
                end
            end
            local request = {
                url = target .. flow.req.uri, method = flow.req.method, headers = headers,
                body = flow.req:body(), timeout = 5,
            }

            sy.spawn(function()
                local res = sy.fetch(request)
                mirrored:inc(1, { status = res and res.status or "none" })
            end)
        end,
    }
end
