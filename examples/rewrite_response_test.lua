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

test("other types are left alone", function()
    local res = rewriting{ headers = { ["Content-Type"] = "text/plain" }, body = "http://intranet.local" }:request()
    expect(res.body):equals("http://intranet.local")
end)
