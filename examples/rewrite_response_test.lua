-- switchyard test examples/rewrite_response_test.lua

local function rewriting(answer)
    local p = proxy{
        plugin = "rewrite_response.lua", args = { from = "http://intranet.local", to = "https://www.example.com" },
    }
    p:backend(function() return answer end)
    return p
end

local html = { ["Content-Type"] = "text/html; charset=utf-8", ETag = '"1"', Location = "http://intranet.local/next" }

test("the text is replaced, wherever it is cut", function()
    local text = "<a href='http://intranet.local/'>http://intranet.loc</a> http://intranet.local"
    for cut = 1, #text - 1 do
        local res = rewriting{ headers = html, body = { text:sub(1, cut), text:sub(cut + 1) } }:request()
        expect(res.body):equals("<a href='https://www.example.com/'>http://intranet.loc</a> https://www.example.com")
    end
end)

test("so is it in redirects, and an ETag goes", function()
    local headers = rewriting{ status = 302, headers = html }:request().headers
    expect(headers["Location"]):equals("https://www.example.com/next")
    expect(headers["ETag"]):is_nil()
end)

test("the backend is asked for the whole, since a part would be one of other bytes", function()
    local p = rewriting()
    local asked
    p:backend(function(request)
        asked = request.headers
        return { headers = html, body = "http://intranet.local" }
    end)
    local res = p:request{ headers = { Range = "bytes=0-3", ["If-Range"] = '"1"', ["Accept-Encoding"] = "gzip" } }
    expect(res.status):equals(200)
    expect(res.headers["Accept-Ranges"]):is_nil()
    expect(res.body):equals("https://www.example.com")
    for _, name in ipairs{ "Range", "If-Range", "Accept-Encoding" } do expect(asked[name]):is_nil() end
end)

test("other types are left alone", function()
    local res = rewriting{ headers = { ["Content-Type"] = "text/plain" }, body = "http://intranet.local" }:request()
    expect(res.body):equals("http://intranet.local")
end)
