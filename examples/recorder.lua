-- Records WebSockets to files, and plays a file back in place of the upstream.
--
--     lua_sandbox off;
--     plugin recorder.lua directory=/var/tmp/recordings;
--     plugin recorder.lua replay=/var/tmp/recordings/NAME.jsonl speed=2;
--
-- A line for each message: when, from where, its type and what it said. Played back, the upstream's messages reach the
-- client at the same distance from each other, `speed` times as fast; what client and upstream say then goes nowhere.
-- Files need lua_sandbox off, since io is no part of the sandbox.

local function line(flow, msg)
    return sy.json.encode{
        at = sy.monotonic() - flow.ctx.began, from = msg.from, type = msg.type,
        data = msg.type == "text" and msg.data or nil, base64 = msg.type == "binary" and sy.base64.encode(msg.data) or nil,
    } .. "\n"
end

local function recorder(directory)
    -- By the flow's id. A flow's context goes along with a reload, a file that is open does not: the next message opens it again.
    local files = {}
    local function file(flow, mode)
        if not files[flow.id] then
            files[flow.id] = assert(io.open(("%s/%s.jsonl"):format(directory, flow.id), mode or "a"))
            files[flow.id]:setvbuf("line")
        end
        return files[flow.id]
    end
    return {
        open = function(flow)
            flow.ctx.began = sy.monotonic()
            file(flow, "w")
        end,
        message = function(flow, msg) file(flow):write(line(flow, msg)) end,
        close = function(flow)
            if files[flow.id] then files[flow.id]:close() end
            files[flow.id] = nil
        end,
    }
end

local function player(path, speed)
    return {
        open = function(flow)
            for text in io.lines(path) do
                local message = sy.json.decode(text)
                if message.from == "upstream" then
                    flow:after(message.at / speed, function(flow)
                        if message.base64 then
                            flow.client:send_binary(sy.base64.decode(message.base64))
                        else
                            flow.client:send(message.data)
                        end
                    end)
                end
            end
        end,
        message = function(flow, msg) if not msg.injected then return false end end,
    }
end

return function(config)
    assert(io, "lua_sandbox off; is missing")
    if config.replay then return player(config.replay, tonumber(config.speed) or 1) end
    return recorder(assert(config.directory, "directory=PATH or replay=FILE is missing"))
end
