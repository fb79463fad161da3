-- A WebSocket lives no longer than the token that opened it.
--
--     plugin token_deadline.lua key=SECRET;
--
-- The token is a JWT in the query (?token=…) or in Authorization. A client stays by sending {"type":"token","token":"…"}
-- before the old one expires, for the same subject; that message does not reach the backend.

return function(config)
    local key = assert(config.key, "key=SECRET is missing")

    local function claims(token)
        local found, reason = sy.jwt.verify(token, { key = key })
        if found and not found.exp then return nil, "no exp" end
        return found, reason
    end

    local function set_deadline(flow, time)
        if flow.ctx.timer then flow.ctx.timer:cancel() end
        flow.ctx.timer = flow:deadline(time, 4001, "token expired")
    end

    return {
        upgrade = function(flow)
            local bearer = (flow.req.headers["Authorization"] or ""):match("^Bearer (.+)$")
            local found, reason = claims(flow.req.args.token or bearer)
            if not found then
                sy.log.info("a token was refused: " .. tostring(reason))
                return flow:respond{ status = 401, body = "a valid token, please\n" }
            end
            flow.ctx.subject, flow.ctx.expires = found.sub, found.exp
        end,

        open = function(flow) set_deadline(flow, flow.ctx.expires) end,

        message = {
            from = "client", type = "text", max_size = 8192,
            run = function(flow, msg)
                if not msg.data:find('"token"', 1, true) then return end
                local ok, message = pcall(sy.json.decode, msg.data)
                if not ok or type(message) ~= "table" or message.type ~= "token" then return end
                local found = claims(message.token)
                if not found or found.sub ~= flow.ctx.subject then return flow:close(4003, "token refused") end
                set_deadline(flow, found.exp)
                return false
            end,
        },
    }
end
