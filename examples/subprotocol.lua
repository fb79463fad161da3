-- Sends WebSockets to the backend that speaks their subprotocol.
--
--     plugin subprotocol.lua routes=mqtt:brokers,graphql-transport-ws:graph default=apps;
--
-- Of the subprotocols that a client offers, the first that has a backend is taken, and it alone is offered on: a backend
-- cannot choose what another speaks. Who offers none goes to `default`; who offers only unknown ones is refused.

return function(config)
    local fallback = config.default
    local routes = {}
    for name, upstream in (config.routes or ""):gmatch("([^,:]+):([^,:]+)") do routes[name] = upstream end
    assert(next(routes), "routes=SUBPROTOCOL:UPSTREAM,… is missing")

    return {
        upgrade = function(flow)
            local offered = flow.offer.subprotocols
            for _, name in ipairs(offered) do
                if routes[name] then
                    flow.offer.subprotocols = { name }
                    return flow:route(routes[name])
                end
            end
            if #offered == 0 and fallback then return flow:route(fallback) end
            return flow:respond{ status = 400, body = "no subprotocol that is spoken here\n" }
        end,
    }
end
