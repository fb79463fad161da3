-- A WebSocket relay for nginx's Lua module, as one would write it for OpenResty, to be measured beside a message hook:
-- content_by_lua_file, with the backend's port in $relay_port. Frames that the hook leaves alone go on as they came.

local ffi = require "ffi"
local bit = require "bit"
local band, bxor = bit.band, bit.bxor

local buffer = ffi.new("uint8_t[?]", 1024 * 1024)

local function unmasked(payload, key)
    local k0, k1, k2, k3 = key:byte(1, 4)
    local length = #payload
    ffi.copy(buffer, payload, length)
    for at = 0, length - 4, 4 do
        buffer[at] = bxor(buffer[at], k0)
        buffer[at + 1] = bxor(buffer[at + 1], k1)
        buffer[at + 2] = bxor(buffer[at + 2], k2)
        buffer[at + 3] = bxor(buffer[at + 3], k3)
    end
    for at = length - length % 4, length - 1 do buffer[at] = bxor(buffer[at], key:byte(at % 4 + 1)) end
    return ffi.string(buffer, length)
end

local seen = 0
local function hook(data)
    if #data == 0 then seen = seen + 1 end
end

local function relay(from, to)
    while true do
        local head = from:receive(2)
        if not head then return end
        local first, second = head:byte(1, 2)
        local length = band(second, 127)
        local parts = head
        if length == 126 then
            local more = from:receive(2)
            local a, b = more:byte(1, 2)
            length = a * 256 + b
            parts = parts .. more
        elseif length == 127 then
            local more = from:receive(8)
            length = 0
            for at = 1, 8 do length = length * 256 + more:byte(at) end
            parts = parts .. more
        end
        local key
        if second >= 128 then
            key = from:receive(4)
            parts = parts .. key
        end
        local payload = length > 0 and from:receive(length) or ""
        if band(first, 15) < 8 then hook(key and unmasked(payload, key) or payload) end
        if not to:send(parts .. payload) then return end
        if band(first, 15) == 8 then return end
    end
end

local up = ngx.socket.tcp()
up:settimeouts(5000, 3600000, 3600000)
assert(up:connect("127.0.0.1", tonumber(ngx.var.relay_port)))
local lines = { "GET " .. ngx.var.request_uri .. " HTTP/1.1" }
for name, value in pairs(ngx.req.get_headers()) do lines[#lines + 1] = name .. ": " .. value end
up:send(table.concat(lines, "\r\n") .. "\r\n\r\n")
local down = assert(ngx.req.socket(true))
down:settimeouts(5000, 3600000, 3600000)
local answer = {}
repeat
    local line = assert(up:receive("*l"))
    answer[#answer + 1] = line
until line == ""
down:send(table.concat(answer, "\r\n") .. "\r\n")
local there = ngx.thread.spawn(relay, down, up)
local back = ngx.thread.spawn(relay, up, down)
ngx.thread.wait(there)
ngx.thread.wait(back)
up:close()
