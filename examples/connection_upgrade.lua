-- The recipe's `map $http_upgrade $connection_upgrade`, as code that goes on where `map` ends.
--
--     plugin connection_upgrade.lua protocols=websocket;
--     proxy_set_header Upgrade $upgrade;
--     proxy_set_header Connection $connection_upgrade;
--
-- $upgrade is the protocol that the client asks to switch to, if it is one of `protocols`. $connection_upgrade goes
-- with it; it is empty for all other requests, so that their upstream connections are kept, where the recipe's map
-- says "close".

return function(config)
    local allowed = {}
    for name in (config.protocols or "websocket"):gmatch("[^,]+") do allowed[name:lower()] = name end

    return {
        variables = {
            upgrade = function(flow)
                for name in (flow.req.headers["Upgrade"] or ""):gmatch("[^,%s]+") do
                    if allowed[name:lower()] then return name end
                end
            end,

            connection_upgrade = function(flow)
                return flow.var.upgrade ~= "" and "upgrade" or ""
            end,
        },
    }
end
