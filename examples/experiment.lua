-- An experiment: every visitor sees one of several variants, and keeps it by a cookie.
--
--     plugin experiment.lua name=checkout variants=classic:80,express:20;
--     proxy_pass http://$variant;                           # or a header, a root, a log format
--
-- A variant's number is its weight. $variant is chosen when something first asks for it.

return function(config)
    local cookie = "ab_" .. (config.name or "test")
    local variants, weights, total = {}, {}, 0
    for name, weight in (config.variants or ""):gmatch("([%w_%-]+):(%d+)") do
        variants[#variants + 1] = name
        weights[name] = tonumber(weight)
        total = total + weights[name]
    end
    assert(total > 0, "variants=NAME:WEIGHT,… is missing")

    local function draw()
        local ticket = string.unpack("<I4", sy.random(4)) % total
        for _, name in ipairs(variants) do
            ticket = ticket - weights[name]
            if ticket < 0 then return name end
        end
    end

    return {
        variables = {
            variant = function(flow)
                local known = flow.req.cookies[cookie]
                return weights[known] and known or draw()
            end,
        },

        response = function(flow)
            local variant = flow.var.variant
            if flow.req.cookies[cookie] ~= variant then
                flow.res.headers:add("Set-Cookie",
                    cookie .. "=" .. variant .. "; Path=/; Max-Age=2592000; SameSite=Lax")
            end
        end,
    }
end
