-- Answers questions that were asked before, without asking the backend again.
--
--     lua_shared_dict answers 10m;
--     plugin auto_reply.lua ttl=30 methods=price,status;
--
-- Messages are JSON: { "id", "method", "params" } and { "id", "result" }. The answer to a question about one of `methods`
-- is kept for `ttl` seconds, for all clients of all workers; who asks the same again has it at once, under its own id.
-- What is kept for everybody has to be the answer to its question: where a client has two under way with one id, neither
-- answer is kept, and nothing more of a client that has said what cannot be read here. The backend is asked what was read
-- here, not in the client's own text: readers differ in numbers of many digits, and in members that are there twice.

return function(config)
    local ttl = tonumber(config.ttl) or 30
    local answers = assert(sy.shared[config.dict or "answers"], "there is no lua_shared_dict answers")
    local cached = {}
    for method in (config.methods or ""):gmatch("[^,]+") do cached[method] = true end

    local function decoded(msg)
        local ok, value = pcall(sy.json.decode, msg.data)
        return ok and type(value) == "table" and value or nil
    end

    -- One that comes out again as it went in, so that the client knows it in the answer.
    local function has_plain_id(call)
        return type(call.id) == "string" or math.type(call.id) == "integer"
    end

    local function question(flow, msg)
        local call = decoded(msg)
        if not call or type(call.method) ~= "string" then
            flow.ctx.is_unreadable = true
            return
        end
        if call.id == nil then return end
        local is_kept = cached[call.method] and has_plain_id(call)
        -- Together: "a" asked about 12 is not "a1" about 2. Without params there are none, which is not the same as false.
        local key = is_kept and sy.json.encode{ call.method, call.params }
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
        if key then return sy.json.encode(call) end
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
