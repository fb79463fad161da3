-- switchyard test examples/recorder_test.lua

local sandbox = "lua_sandbox off;"

test("what was recorded is played back, in the same time", function()
    local directory = os.getenv("TMPDIR") or "/tmp"
    local recording = proxy{ plugin = "recorder.lua", args = { directory = directory }, http = sandbox,
        location = "add_header X-Id $request_id always;" }
    local ws = recording:websocket{}
    local path = ("%s/%s.jsonl"):format(directory, ws.response.headers["X-Id"])
    ws:send("one")
    ws:expect("one")
    advance(2)
    ws:send_binary("\0\255")
    ws:expect("\0\255", "binary")
    ws:close()
    advance(1)

    local playing = proxy{ plugin = "recorder.lua", args = { replay = path, speed = 2 }, http = sandbox }
    ws = playing:websocket{}
    advance(0.001)
    ws:expect("one")
    ws:send("nobody listens")
    advance(0.9)
    ws:expect_none()
    advance(0.1)
    ws:expect("\0\255", "binary")
    ws:expect_none()
end)

test("it needs files", function()
    expect(function() proxy{ plugin = "recorder.lua", args = { directory = "/tmp" } } end):raises("lua_sandbox off")
end)
