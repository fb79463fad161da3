-- Lets clients of JSON-RPC 2.0 talk to a backend that knows only { "cmd", "seq", "args" } and { "seq", "ok", "data" }.
--
--     plugin json_rpc.lua;
--
-- Ids of any kind become numbers on the way there, and come back as they were. A batch becomes several messages, whose
-- answers come one by one. What the backend says unasked becomes a notification.

local function failure(id, code, message)
    return sy.json.encode{ jsonrpc = "2.0", id = id, error = { code = code, message = message } }
end

local function from_client(flow, msg)
    local ok, call = pcall(sy.json.decode, msg.data)
    if not ok then
        flow.client:send(failure(sy.json.null, -32700, "Parse error"))
        return false
    end
    local ctx = flow.ctx
    ctx.calls = ctx.calls or {}
    local out = {}
    local is_batch = type(call) == "table" and #call > 0
    for _, one in ipairs(is_batch and call or { call }) do
        if type(one) ~= "table" or one.jsonrpc ~= "2.0" or type(one.method) ~= "string" then
            local id = type(one) == "table" and one.id
            flow.client:send(failure(id or sy.json.null, -32600, "Invalid Request"))
        else
            ctx.seq = (ctx.seq or 0) + 1
            if one.id ~= nil then ctx.calls[ctx.seq] = one.id end
            out[#out + 1] = sy.json.encode{ cmd = one.method, seq = ctx.seq, args = one.params }
        end
    end
    return out
end

local function from_upstream(flow, msg)
    local ok, answer = pcall(sy.json.decode, msg.data)
    if not ok or type(answer) ~= "table" then return false end
    if answer.seq == nil then
        return sy.json.encode{ jsonrpc = "2.0", method = answer.event or "event", params = answer.data }
    end
    local calls = flow.ctx.calls or {}
    local id = calls[answer.seq]
    -- A notification wants no answer.
    if id == nil then return false end
    calls[answer.seq] = nil
    if answer.ok then
        -- JSON-RPC 2.0, 5: a success has a result, be there one or not.
        local result = answer.data
        if result == nil then result = sy.json.null end
        return sy.json.encode{ jsonrpc = "2.0", id = id, result = result }
    end
    return failure(id, -32000, tostring(answer.data))
end

return {
    message = {
        type = "text",
        run = function(flow, msg)
            if msg.from == "client" then return from_client(flow, msg) end
            return from_upstream(flow, msg)
        end,
    },
}
