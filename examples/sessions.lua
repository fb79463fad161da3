-- Looks up in Redis whose session a cookie names, and tells the upstream.
--
--     plugin sessions.lua redis=redis://127.0.0.1:6379/0 cookie=session prefix=session: lifetime=1800;
--
-- Whoever logs users in keeps their names there, by `SET session:ID ann EX 1800`; with `lifetime`, in seconds, each request
-- has the session live for that long again (GETEX, of Redis 6.2). The upstream reads from X-User who it is, which clients cannot
-- forge. Without a session there is 401, and 503 while nobody can tell. A URL with a password is best in the environment, as
-- REDIS_URL.
--
-- Each worker has one connection, which all of its requests use at once.

return function(config)
    local url = config.redis or os.getenv("REDIS_URL") or "redis://127.0.0.1:6379"
    local cookie = config.cookie or "session"
    local prefix = config.prefix or "session:"
    local lifetime = math.tointeger(tonumber(config.lifetime))
    local timeout = tonumber(config.timeout) or 2

    local redis, reason, connecting

    -- A connection that a request opens ends with it: this one is opened by a function of its own.
    local function connection()
        if redis and not redis.closed then return redis end
        if not connecting then
            connecting = true
            sy.spawn(function()
                local fine, made, why = pcall(sy.redis.connect, url, timeout)
                redis, reason, connecting = fine and made, why or made, false
            end)
        end
        while connecting do sy.sleep(0.001) end
        return redis, reason
    end

    local function user_of(id)
        local user, why
        for _ = 1, 2 do
            local redis, none = connection()
            if not redis then return nil, none end
            if lifetime then
                user, why = redis:call("GETEX", prefix .. id, "EX", lifetime)
            else
                user, why = redis:call("GET", prefix .. id)
            end
            -- Redis may have gone and come back while nobody asked: that shows only now.
            if not redis.closed or why == "timeout" then break end
        end
        return user, why
    end

    return {
        request = function(flow)
            local id, user, why = flow.req.cookies[cookie], nil, nil
            if id then user, why = user_of(id) end
            if why then
                sy.log.error("no word about a session: " .. why)
                return flow:respond{ status = 503, headers = { ["Retry-After"] = "5" } }
            end
            if not user then return flow:respond{ status = 401, body = "not logged in\n" } end
            flow.req.headers["X-User"] = user
        end,
    }
end
