-- Lets only such messages of clients through as the application understands.
--
--     plugin json_schema.lua strikes=3;
--
-- A message that is no JSON, or not as `schema` says, is answered with what is wrong and goes no further; after
-- `strikes` of them the client is sent away with 1008. One who sends a binary message is sent away at once, with 1003.

local schema = {
    type = "object", required = { "op" }, additional = false,
    properties = {
        op = { type = "string", enum = { "join", "say", "leave" } },
        room = { type = "string", max_length = 64 },
        text = { type = "string", max_length = 1000 },
        count = { type = "number", minimum = 0, maximum = 100 },
        tags = { type = "array", items = { type = "string" }, max_items = 10 },
    },
}

local function kind(value)
    if type(value) ~= "table" then return type(value) end
    return (#value > 0 or next(value) == nil) and "array" or "object"
end

local check

local function check_object(value, rule, path)
    for _, name in ipairs(rule.required or {}) do
        if value[name] == nil then return path .. "." .. name .. " is missing" end
    end
    for name, field in pairs(value) do
        local known = (rule.properties or {})[name]
        if known then
            local fault = check(field, known, path .. "." .. tostring(name))
            if fault then return fault end
        elseif rule.additional == false then
            return path .. "." .. tostring(name) .. " is unknown"
        end
    end
end

--- What is wrong with a value, or nil.
function check(value, rule, path)
    local found = kind(value)
    -- An empty table may be either.
    local fits = found == rule.type or (found == "array" and next(value) == nil and rule.type == "object")
    if not fits then return ("%s is %s, expected %s"):format(path, found, rule.type) end
    if rule.enum then
        for _, allowed in ipairs(rule.enum) do
            if value == allowed then return end
        end
        return path .. " is none of " .. table.concat(rule.enum, ", ")
    end
    if rule.max_length and #value > rule.max_length then return path .. " is too long" end
    if rule.minimum and value < rule.minimum then return path .. " is below " .. rule.minimum end
    if rule.maximum and value > rule.maximum then return path .. " is above " .. rule.maximum end
    if rule.type == "object" then return check_object(value, rule, path) end
    if rule.type == "array" then
        if rule.max_items and #value > rule.max_items then return path .. " has too many elements" end
        for index, element in ipairs(value) do
            local fault = rule.items and check(element, rule.items, ("%s[%d]"):format(path, index))
            if fault then return fault end
        end
    end
end

return function(config)
    local strikes = tonumber(config.strikes) or 3

    return {
        message = {
            from = "client",
            run = function(flow, msg)
                if msg.type == "binary" then return flow:close(1003, "no binary messages") end
                local ok, value = pcall(sy.json.decode, msg.data)
                local fault = not ok and "no JSON" or check(value, schema, "message")
                if not fault then return end
                flow.ctx.faults = (flow.ctx.faults or 0) + 1
                if flow.ctx.faults >= strikes then return flow:close(1008, fault) end
                flow.client:send(sy.json.encode{ error = fault })
                return false
            end,
        },
    }
end
