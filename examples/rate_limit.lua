-- So many requests for each user in a window of time, counted by all workers together.
--
--     lua_shared_dict rates 10m;
--     plugin rate_limit.lua limit=100 window=60 user=X-Api-Key;
--
-- `user` is the header that tells users apart; who has none is counted by address. The count slides: requests of the
-- window before weigh as much as of it is still within `window` seconds, so that nobody gets twice the limit at a
-- window's edge. Responses say what is left in RateLimit-Remaining.

return function(config)
    local limit = assert(tonumber(config.limit), "limit=NUMBER is missing")
    local window = tonumber(config.window) or 60
    local counts = assert(sy.shared[config.dict or "rates"], "there is no lua_shared_dict rates")

    return {
        request = function(flow)
            local user = config.user and flow.req.headers[config.user] or flow.client.address
            local number, gone = sy.now() // window, sy.now() % window
            local key = user .. "|"

            local before = counts:get(key .. number - 1) or 0
            -- Where there is no room for counts, nobody is kept out.
            local now = counts:incr(key .. number, 1, 0, 2 * window) or 0
            local used = math.ceil(now + before * (window - gone) / window)

            flow.ctx.remaining = math.max(limit - used, 0)
            if used > limit then
                counts:incr(key .. number, -1)
                return flow:respond{
                    status = 429,
                    headers = {
                        ["Retry-After"] = tostring(math.ceil(window - gone)),
                        ["RateLimit-Remaining"] = "0",
                    },
                    body = "too many requests\n",
                }
            end
        end,

        response = function(flow)
            flow.res.headers["RateLimit-Remaining"] = tostring(flow.ctx.remaining)
        end,
    }
end
