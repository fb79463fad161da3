-- Answers questions that were asked before, without asking the backend again.
--
--     lua_shared_dict answers 10m;
--     plugin auto_reply.lua ttl=30 methods=price,status;
--
-- Messages are JSON: { "id", "method", "params" } and { "id", "result" }. The answer to a question about one of `methods`
-- is kept for `ttl` seconds, for all clients of all workers; who asks the same again has it at once, under its own id.
-- What is kept for everybody has to be the answer to its question: where a client has two under way with one id, neither
-- answer is kept, and nothing more of a client that has said what cannot be read here.

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
        if not call or type(call.method) ~= "string" then
            flow.ctx.is_unreadable = true
            return
        end
        if call.id == nil then return end
        local key = cached[call.method] and call.method .. sy.json.encode(call.params or {})
        local known = key and answers:get(key)
        if known then
            flow.client:send(('{"id":%s,"result":%s}'):format(sy.json.encode(call.id), known))
            return false
        end
        -- Those that are under way, by id: how many, and of one alone what its answer is kept under.
        local asked = flow.ctx.asked or {}
        flow.ctx.asked = asked
        local id = sy.json.encode(call.id)
        if asked[id] then
            asked[id] = { count = asked[id].count + 1 }
        else
            asked[id] = { count = 1, key = key }
        end
    end

    local function answer(flow, msg)
        local reply = decoded(msg)
        if not reply or reply.id == nil then return end
        local asked = flow.ctx.asked or {}
        local id = sy.json.encode(reply.id)
        local call = asked[id]
        if not call then return end
        call.count = call.count - 1
        if call.count == 0 then asked[id] = nil end
        if call.key and reply.result ~= nil and not flow.ctx.is_unreadable then
            answers:set(call.key, sy.json.encode(reply.result), ttl)
        end
    end

    return {
        message = function(flow, msg)
            if msg.from == "client" then return question(flow, msg) end
            return answer(flow, msg)
        end,
    }
end
