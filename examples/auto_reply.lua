-- Answers questions that were asked before, without asking the backend again.
--
--     lua_shared_dict answers 10m;
--     plugin auto_reply.lua ttl=30 methods=price,status;
--
-- Messages are JSON: { "id", "method", "params" } and { "id", "result" }. The answer to a question about one of `methods`
-- is kept for `ttl` seconds, for all clients of all workers; who asks the same again has it at once, under its own id.

return function(config)
    local ttl = tonumber(config.ttl) or 30
    local answers = assert(sy.shared[config.dict or "answers"], "there is no lua_shared_dict answers")
    local cached = {}
    for method in (config.methods or ""):gmatch("[^,]+") do cached[method] = true end

    local function decoded(msg)
        local ok, value = pcall(sy.json.decode, msg.data)
        return ok and type(value) == "table" and value or nil
    end

    local function question(flow, msg)
        local call = decoded(msg)
        if not call or call.id == nil or not cached[call.method] then return end
        local key = call.method .. sy.json.encode(call.params or {})
        local known = answers:get(key)
        if known then
            flow.client:send(('{"id":%s,"result":%s}'):format(sy.json.encode(call.id), known))
            return false
        end
        flow.ctx.asked = flow.ctx.asked or {}
        flow.ctx.asked[call.id] = key
    end

    local function answer(flow, msg)
        local reply = decoded(msg)
        local key = reply and reply.id ~= nil and (flow.ctx.asked or {})[reply.id]
        if not key then return end
        flow.ctx.asked[reply.id] = nil
        if reply.result ~= nil then answers:set(key, sy.json.encode(reply.result), ttl) end
    end

    return {
        message = {
            type = "text", max_size = 65536,
            run = function(flow, msg)
                if msg.from == "client" then return question(flow, msg) end
                return answer(flow, msg)
            end,
        },
    }
end
