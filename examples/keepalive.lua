-- Finds dead clients within seconds, and tells how far away the others are.
--
--     plugin keepalive.lua interval=20 misses=2;
--
-- websocket_ping_interval does this without a script, and costs nothing; here `misses` pings in a row may stay without
-- an answer, each for websocket_pong_timeout, before the client is given up. Round trips come to the metrics page as
-- websocket_client_rtt_seconds.

return function(config)
    local interval = tonumber(config.interval) or 20
    local allowed = tonumber(config.misses) or 2
    local rtts = sy.metrics.histogram(
        "websocket_client_rtt_seconds", "Round trips to clients of WebSockets.", { 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2 })

    return {
        open = function(flow)
            local missed = 0
            flow:every(interval, function(flow)
                local rtt = flow.client:ping()
                if rtt then
                    missed = 0
                    rtts:observe(rtt)
                    return
                end
                missed = missed + 1
                if missed >= allowed then flow:close(1001, "no answer to pings") end
            end)
        end,
    }
end
