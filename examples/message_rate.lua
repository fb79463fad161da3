-- So many messages a second for each client, with some in reserve.
--
--     plugin message_rate.lua rate=5 burst=10 over=close;
--
-- A bucket of `burst` messages fills up at `rate` a second. `over` says what becomes of a message for which there is
-- nothing left: `close` ends the WebSocket with 1008, `drop` leaves it out, and `wait` holds it back, and with it
-- whatever the client sends behind it, which is how a client learns by its own full buffers.

return function(config)
    local rate = tonumber(config.rate) or 5
    local burst = tonumber(config.burst) or 2 * rate
    local over = config.over or "close"
    assert(over == "close" or over == "drop" or over == "wait", "over=close, drop or wait")

    --- Takes a message out of the bucket; returns for how many seconds there is none.
    local function take(ctx)
        local now = sy.monotonic()
        local left = math.min(burst, (ctx.left or burst) + (now - (ctx.at or now)) * rate)
        ctx.at = now
        if left >= 1 or over == "wait" then
            ctx.left = left - 1
            return math.max(0, -ctx.left / rate)
        end
        ctx.left = left
        return (1 - left) / rate
    end

    return {
        message = {
            from = "client",
            run = function(flow)
                local lack = take(flow.ctx)
                if lack == 0 then return end
                if over == "wait" then return sy.sleep(lack) end
                if over == "drop" then return false end
                return flow:close(1008, ("more than %g messages a second"):format(rate))
            end,
        },
    }
end
