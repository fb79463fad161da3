-- switchyard test examples/health_check_test.lua

local function site()
    local state = { ["127.0.0.1:3000"] = 200, ["127.0.0.1:3001"] = 200 }
    local p = proxy{
        file = "health_check.conf",
        on_fetch = function(request)
            local status = state[request.url:match("^http://([^/]+)/health$")]
            if not status then return nil, "timeout" end
            return { status = status }
        end,
    }
    for name in pairs(state) do
        p:backend(name, function() return { body = name } end)
    end
    local function answers()
        local found = {}
        for _ = 1, 8 do
            local res = p:request()
            found[res.status == 200 and res.body or res.status] = true
        end
        return found
    end
    return p, state, answers
end

local both = { ["127.0.0.1:3000"] = true, ["127.0.0.1:3001"] = true }

test("a server that is not well three times is left out, and comes back after two good answers", function()
    local p, state, answers = site()
    expect(answers()):equals(both)
    state["127.0.0.1:3001"] = 503
    advance(10)
    expect(answers()):equals(both)
    advance(5)
    expect(answers()):equals{ ["127.0.0.1:3000"] = true }
    expect(p:log()):matches("127.0.0.1:3001 of app is left out: status 503")
    state["127.0.0.1:3001"] = 200
    advance(5)
    expect(answers()):equals{ ["127.0.0.1:3000"] = true }
    advance(5)
    expect(answers()):equals(both)
    expect(p:log()):matches("127.0.0.1:3001 of app is back")
end)

test("one failure among good answers changes nothing", function()
    local _, state, answers = site()
    for _ = 1, 4 do
        state["127.0.0.1:3000"] = 500
        advance(10)
        state["127.0.0.1:3000"] = 204
        advance(5)
    end
    expect(answers()):equals(both)
end)

test("a server that does not answer is not well either", function()
    local p, state, answers = site()
    state["127.0.0.1:3000"] = nil
    advance(15)
    expect(answers()):equals{ ["127.0.0.1:3001"] = true }
    expect(p:log()):matches("left out: timeout")
end)

test("where none is well there is nobody to ask", function()
    local _, state, answers = site()
    state["127.0.0.1:3000"], state["127.0.0.1:3001"] = 500, 500
    advance(15)
    expect(answers()):equals{ [502] = true }
end)

test("open WebSockets stay", function()
    local p, state = site()
    state["127.0.0.1:3000"], state["127.0.0.1:3001"] = 500, 500
    local echo = p:backend("127.0.0.1:3000")
    p:backend("127.0.0.1:3001"):refuse()
    local ws = p:websocket{}
    local server = echo:expect_request():accept_websocket()
    advance(15)
    expect(p:request().status):equals(502)
    ws:send("still here")
    server:expect("still here")
end)
