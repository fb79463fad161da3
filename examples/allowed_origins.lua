-- Lets only pages of our own sites open WebSockets.
--
--     plugin allowed_origins.lua sites=https://app.example.com,https://*.example.org;
--
-- Browsers do not keep a foreign page from opening a WebSocket, and send our cookies with it: the Origin is all that
-- tells (cross-site WebSocket hijacking). `*` stands for one or several labels of a host's name. Clients that are no
-- browsers send no Origin; `others=allow` lets them in.

return function(config)
    local patterns = {}
    for site in (config.sites or ""):gmatch("[^,]+") do
        local escaped = site:lower():gsub("[%-%.%+%?%(%)%[%]%%%^%$]", "%%%0"):gsub("%*", "[%%w%%-%%.]+")
        patterns[#patterns + 1] = "^" .. escaped .. "$"
    end
    assert(#patterns > 0, "sites=ORIGIN,… is missing")

    local function is_allowed(origin)
        if not origin then return config.others == "allow" end
        for _, pattern in ipairs(patterns) do
            if origin:lower():find(pattern) then return true end
        end
        return false
    end

    return {
        upgrade = function(flow)
            local origin = flow.offer.origin
            if is_allowed(origin) then return end
            sy.log.warn("an upgrade from a foreign site: " .. tostring(origin))
            return flow:respond{ status = 403, body = "not from here\n" }
        end,
    }
end
