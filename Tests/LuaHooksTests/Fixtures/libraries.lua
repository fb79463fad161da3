-- The standard libraries as a script in the sandbox has them.
local function fails(message, called, ...)
    local ok, text = pcall(called, ...)
    assert(not ok and tostring(text):find(message, 1, true), tostring(text) .. " instead of " .. message)
end

-- What is missing.
assert(io == nil and dofile == nil and loadfile == nil and warn == nil and string.dump == nil)
for name in pairs(os) do assert(("time clock date difftime getenv"):find(name, 1, true), name) end
for name in pairs(debug) do assert(name == "traceback", name) end
fails("not allowed in the sandbox", setmetatable, {}, {__gc = function() end})
fails("not allowed in the sandbox", collectgarbage)
fails("not allowed in the sandbox", collectgarbage, "stop")
assert(collectgarbage("count") > 0)
fails("format too long", os.date, ("%c"):rep(1000))
fails("invalid conversion", os.date, "%Ez")

-- Globals are the script's own, and so are the libraries.
assert(_G._G == _G and _G.string == string)
string.own = 1
assert(("").own == nil and getmetatable("") == false)
local chunk = load("loaded = 5 return _ENV")
assert(chunk() == _G and loaded == 5)
assert(load("return y", "name", "t", {y = 7})() == 7 and load("return y", "name", "t", nil))
assert(select(2, load("\27Lua", "name", "b")):find("attempt to load a binary chunk", 1, true))
assert(select(2, load("x =", "=name")) == "name:1: unexpected symbol near <eof>")
assert(select(2, load(("x=1 "):rep(300000))):find("text too long", 1, true))
local pieces = {"return ", "4", "2"}
assert(load(function() return table.remove(pieces, 1) end)() == 42)
assert(select(2, load(function() return {} end)):find("reader function must return a string", 1, true))
assert(select(2, load(function() error("mine", 0) end)):find("mine", 1, true))

-- A hook is Lua's main program to its script.
local main, is_main = coroutine.running()
assert(is_main and coroutine.status(main) == "running" and not coroutine.isyieldable())
fails("attempt to yield from outside a coroutine", coroutine.yield)
fails("cannot close a running coroutine", coroutine.close, main)
assert(select(2, coroutine.resume(main)) == "cannot resume non-suspended coroutine")
coroutine.wrap(function()
    local own, own_is_main = coroutine.running()
    assert(not own_is_main and coroutine.isyieldable() and coroutine.status(own) == "running")
    assert(coroutine.status(main) == "normal" and not coroutine.resume(main) and not coroutine.resume(own))
    fails("cannot close a normal coroutine", coroutine.close, main)
    fails("cannot close a running coroutine", coroutine.close, own)
end)()

-- Coroutines.
local sums = coroutine.create(function(a, b)
    local c = coroutine.yield(a + b)
    error({c})
end)
assert(coroutine.status(sums) == "suspended" and select(2, coroutine.resume(sums, 1, 2)) == 3)
local ok, raised = coroutine.resume(sums, 9)
assert(not ok and raised[1] == 9 and coroutine.status(sums) == "dead")
assert(select(2, coroutine.resume(sums)) == "cannot resume dead coroutine")
local seen = {}
for value in coroutine.wrap(function() for value = 1, 3 do coroutine.yield(value) end end) do
    seen[#seen + 1] = value
end
assert(table.concat(seen, ",") == "1,2,3")
assert(select("#", coroutine.resume(coroutine.create(function() end))) == 1)
assert(select("#", coroutine.resume(coroutine.create(function(...) return ... end), nil, nil)) == 3)
fails("boo", coroutine.wrap(function() error("boo") end))
local through = coroutine.wrap(function() return pcall(function() return coroutine.yield(1) end) end)
assert(through() == 1 and select(2, through(2)) == 2)
fails("C stack overflow", (function() local function nest() return coroutine.wrap(nest)() end return nest end)())

-- Variables to be closed.
local closed = {}
local function closing(name, raises)
    return coroutine.create(function()
        local held <close> = setmetatable({}, {__close = function()
            closed[#closed + 1] = name
            if raises then error(name, 0) end
        end})
        coroutine.yield()
        error("ended", 0)
    end)
end
local first, second, third = closing("first"), closing("second", true), closing("third")
coroutine.resume(first) coroutine.resume(second) coroutine.resume(third)
assert(coroutine.close(first) and coroutine.status(first) == "dead")
ok, raised = coroutine.close(second)
assert(not ok and raised == "second")
assert(select(2, coroutine.resume(third)) == "ended" and table.concat(closed, " ") == "first second third")
assert(coroutine.close(coroutine.create(print)))
local chain
for _ = 1, 1000 do
    local former = chain
    chain = coroutine.create(function()
        local held <close> = setmetatable({}, {__close = function()
            if former then assert(coroutine.close(former)) end
        end})
        coroutine.yield()
    end)
    coroutine.resume(chain)
end
ok, raised = coroutine.close(chain)
assert(not ok and raised:find("C stack overflow", 1, true))

-- A metamethod during which the stack moves: concatenation goes on with the new one. In Debian's Lua it does not.
local function deep(levels) return levels == 0 and 0 or 1 + deep(levels - 1) end
local joined = setmetatable({}, {__concat = function(left, right)
    return type(left) == "string" and left .. deep(100) or deep(100) .. right
end})
for _ = 1, 100 do
    assert(coroutine.wrap(function() return "[" .. joined .. "]" .. "!" end)() == "[100]!")
end

-- xpcall.
assert(select(2, xpcall(error, function(text) return text .. "!" end, "x", 0)) == "x!")
assert(select(2, xpcall(function(...) return ... end, print, 4)) == 4)
assert(select(2, xpcall(error, debug.traceback, "x", 0)):find("x\nstack traceback:", 1, true))
fails("bad argument #2 to 'xpcall' (function expected, got nil)", function() xpcall(print, nil) end)

-- Tables.
local list = {1, 2, 3}
table.insert(list, 4) table.insert(list, 1, 0) table.insert(list, 6, 5)
assert(table.concat(list, ",") == "0,1,2,3,4,5")
assert(table.remove(list) == 5 and table.remove(list, 1) == 0 and table.concat(list) == "1234")
assert(table.remove({}) == nil and table.remove({}, 0) == nil and table.remove({[0] = "z"}, 0) == "z")
assert(table.remove({1}, 2) == nil)
fails("position out of bounds", table.insert, list, 6, 1)
fails("position out of bounds", table.insert, list, 0, 1)
fails("position out of bounds", table.remove, list, 6)
fails("wrong number of arguments to 'insert'", table.insert, list)
fails("wrong number of arguments to 'insert'", table.insert, list, 1, 2, 3)
fails("table expected, got nil", table.insert, nil, 1)
assert(table.concat(table.move({1, 2, 3}, 2, 3, 1)) == "233" and table.concat(table.move({1, 2, 3}, 1, 3, 2)) == "1123")
assert(table.concat(table.move({1, 2, 3}, 1, 3, 2, {9})) == "9123" and #table.move({1}, 1, 0, 5) == 1)
fails("too many elements to move", table.move, {}, -1, math.maxinteger, 2)
fails("destination wrap around", table.move, {}, 1, 2, math.maxinteger)
assert(table.concat({1, 2.5, "x"}, "-", 2, 3) == "2.5-x" and table.concat({}) == "" and table.concat({"a"}, "-", 2) == "")
fails("invalid value (table) at index 2 in table for 'concat'", table.concat, {"a", {}, "c"})
fails("number expected, got string", table.concat, {}, "", "x")
local proxy = setmetatable({}, {__index = list, __newindex = list, __len = function() return #list end})
table.insert(proxy, 5)
assert(list[5] == 5 and table.remove(proxy) == 5 and #list == 4 and table.concat(proxy) == "1234")
local numbers = {}
for index = 1, 3000 do numbers[index] = (index * 7919) % 3001 end
table.sort(numbers)
for index = 2, 3000 do assert(numbers[index - 1] <= numbers[index]) end
table.sort(numbers, function(a, b) return a > b end)
for index = 2, 3000 do assert(numbers[index - 1] >= numbers[index]) end
local names = {"b", "c", "a"}
table.sort(names)
assert(table.concat(names) == "abc")
fails("invalid order function for sorting", table.sort, numbers, function() return true end)
fails("invalid order function for sorting", table.sort, numbers, rawequal and function(...) return true, ... end)
fails("attempt to compare", table.sort, {1, "x", 2})
fails("array too big", table.sort, setmetatable({}, {__len = function() return 1 << 31 end}))
fails("function expected, got table", table.sort, {2, 1}, {})

-- string.rep and string.format.
for count = 0, 40 do
    for _, separator in ipairs{"", "-", "ab"} do
        local parts = {}
        for index = 1, count do parts[index] = "xyz" end
        assert(("xyz"):rep(count, separator) == table.concat(parts, separator))
    end
end
assert((""):rep(1 << 62) == "" and (""):rep(3, "-") == "--" and ("x"):rep(-1) == "")
fails("resulting string too large", string.rep, "xy", 1 << 62)
fails("resulting string too large", string.rep, "x", math.maxinteger, "y")
assert(("%5s|%-5.1s|%%|%d|%s"):format("ab", "xy", 3, true) == "   ab|x    |%|3|true")
assert(("%3s%s"):format(setmetatable({}, {__tostring = function() return "q" end}), 1) == "  q1")
fails("bad argument #3 to 'format' (no value)", function() string.format("%5s%5s", 1) end)
fails("number has no integer representation", string.format, "%d", 2^63)
fails("invalid conversion", string.format, "%y", 1)
