-- A bad day on the network, to see what an application makes of it.
--
--     plugin chaos.lua delay=0.2 jitter=0.3 drop=0.05 duplicate=0.02 corrupt=0.01 from=both seed=7;
--
-- Shares of messages are given from 0 to 1. A message that waits holds up those behind it, as on a slow line; order is
-- kept. `corrupt` turns over one bit in a binary message, and a letter in a text. With `seed`, the same happens each
-- time.

return function(config)
    local function share(name)
        local value = tonumber(config[name] or 0)
        assert(value and value >= 0 and value <= 1, name .. "=0 to 1")
        return value
    end
    local drop, duplicate, corrupt = share("drop"), share("duplicate"), share("corrupt")
    local delay, jitter = tonumber(config.delay) or 0, tonumber(config.jitter) or 0
    if config.seed then math.randomseed(tonumber(config.seed)) end

    local function spoil(data, type)
        if #data == 0 then return data end
        local at = math.random(#data)
        local byte = data:byte(at)
        if type == "binary" then
            byte = byte ~ 1 << math.random(0, 7)
        elseif byte < 128 then
            byte = 97 + math.random(0, 25)
        end
        return data:sub(1, at - 1) .. string.char(byte) .. data:sub(at + 1)
    end

    return {
        message = {
            from = config.from or "both",
            run = function(flow, msg)
                local wait = delay + jitter * math.random()
                if wait > 0 then sy.sleep(wait) end
                if math.random() < drop then return false end
                if math.random() < corrupt then return spoil(msg.data, msg.type) end
                if math.random() < duplicate then return { msg.data, msg.data } end
            end,
        },
    }
end
