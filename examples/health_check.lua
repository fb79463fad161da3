-- Asks the servers of an upstream how they are, and leaves out those that do not say that they are well.
--
--     lua_shared_dict checks 1m;
--     upstream app { server 10.0.0.1:8000; server 10.0.0.2:8000; }
--     location / { plugin health_check.lua upstream=app path=/health; proxy_pass http://app; }
--
-- Each is asked every `interval` seconds (5), and has `timeout` seconds (2) to answer with a status below 400. One that
-- fails `fall` times (3) in a row gets no more requests until it does well `rise` times (2); its open WebSockets stay.
-- One worker asks for all of them. Another takes that over where it has gone.

return function(config)
    local upstream = assert(config.upstream, "which upstream? plugin health_check.lua upstream=NAME")
    local checks = assert(sy.shared[config.dict or "checks"], "there is no lua_shared_dict checks")
    local path = config.path or "/"
    local interval, timeout = tonumber(config.interval or 5), tonumber(config.timeout or 2)
    local fall, rise = tonumber(config.fall or 3), tonumber(config.rise or 2)

    local me = sy.uuid()
    -- Checks in a row, by the peer's name, that say something else than what the peer is taken for.
    local contradictions = {}
    local waits = {}

    local function is_in_charge()
        if checks:get(upstream) == me then return checks:set(upstream, me, 3 * interval) end
        return checks:add(upstream, me, 3 * interval)
    end

    local function check(peer)
        local name = peer.name
        local res, why = sy.fetch{ url = "http://" .. name .. path, timeout = timeout }
        local is_well = res ~= nil and res.status < 400
        if is_well ~= peer.down then
            contradictions[name] = nil
            return
        end
        contradictions[name] = (contradictions[name] or 0) + 1
        if contradictions[name] < (is_well and rise or fall) then return end
        contradictions[name] = nil
        sy.set_peer_down(upstream, name, not is_well)
        sy.log.warn(("%s of %s is %s"):format(name, upstream,
            is_well and "back" or "left out: " .. (why or "status " .. res.status)))
    end

    local function check_all()
        for _, peer in ipairs(assert(sy.peers(upstream))) do
            if not waits[peer.name] then
                waits[peer.name] = true
                sy.spawn(function()
                    local ok, fault = pcall(check, peer)
                    waits[peer.name] = nil
                    assert(ok, fault)
                end)
            end
        end
    end

    return {
        init = function()
            assert(sy.peers(upstream))
            sy.spawn(function()
                while true do
                    if is_in_charge() then check_all() end
                    sy.sleep(interval)
                end
            end)
        end,
    }
end
