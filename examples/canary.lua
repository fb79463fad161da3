-- Sends a share of the visitors to a new version, and each of them to the same version every time.
--
--     plugin canary.lua share=10 stable=stable canary=canary;
--
-- `share` is in percent. A visitor is known by a cookie, whose hash decides: nothing is stored anywhere, and a larger
-- share keeps those who were in the smaller one. Where the canary does not answer, the stable version does.
-- `X-Canary: always` or `never` decides for one request, for those who test.

return function(config)
    local share = tonumber(config.share) or 5
    local stable = assert(config.stable, "stable=UPSTREAM is missing")
    local canary = assert(config.canary, "canary=UPSTREAM is missing")

    local function is_chosen(visitor)
        return string.unpack(">I4", sy.sha256(visitor)) % 10000 < share * 100
    end

    return {
        request = function(flow)
            local visitor = flow.req.cookies.visitor
            if not visitor then
                visitor = sy.uuid()
                flow.ctx.new_visitor = visitor
            end

            local wish = flow.req.headers["X-Canary"]
            if wish == "always" or (wish ~= "never" and is_chosen(visitor)) then
                flow:route{ canary, stable }
            else
                flow:route(stable)
            end
        end,

        response = function(flow)
            local visitor = flow.ctx.new_visitor
            if visitor then
                flow.res.headers:add("Set-Cookie", "visitor=" .. visitor
                    .. "; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax")
            end
        end,
    }
end
