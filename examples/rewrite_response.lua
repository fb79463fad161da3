-- Replaces a text in responses, such as the internal name of a server in links, while they stream.
--
--     plugin rewrite_response.lua from=http://intranet.local to=https://www.example.com types=text/html,text/css;
--
-- Nothing is buffered but the few bytes at the end of a piece in which the text may begin.

return function(config)
    local from = assert(config.from, "from=TEXT is missing")
    local to = config.to or ""
    local types = {}
    for name in (config.types or "text/html"):gmatch("[^,]+") do types[name] = true end

    -- How many of the last bytes begin `from`: they stay until the next piece.
    local function held(text)
        for count = math.min(#from - 1, #text), 1, -1 do
            if text:sub(-count) == from:sub(1, count) then return count end
        end
        return 0
    end

    -- The text up to the end of its last match, replaced, and what follows.
    local function replaced(text)
        local parts, at = {}, 1
        local first, last = text:find(from, at, true)
        while first do
            parts[#parts + 1] = text:sub(at, first - 1) .. to
            at = last + 1
            first, last = text:find(from, at, true)
        end
        return table.concat(parts), text:sub(at)
    end

    return {
        request = function(flow)
            -- What is compressed cannot be searched.
            flow.req.headers["Accept-Encoding"] = nil
            -- A part of a body has other bytes once the text is replaced, and may begin or end within it.
            flow.req.headers["Range"], flow.req.headers["If-Range"] = nil, nil
        end,

        response = function(flow)
            local headers = flow.res.headers
            local location = headers["Location"]
            if location then headers["Location"] = table.concat{ replaced(location) } end

            local kind = (headers["Content-Type"] or ""):match("^[^;%s]*"):lower()
            if types[kind] and not headers["Content-Encoding"] then
                flow.ctx.rest = ""
                -- They name bytes that are not the same any more.
                for _, name in ipairs{ "ETag", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest" } do headers[name] = nil end
            end
        end,

        response_body = function(flow, chunk, last)
            if not flow.ctx.rest then return end
            local done, rest = replaced(flow.ctx.rest .. chunk)
            local count = last and 0 or held(rest)
            flow.ctx.rest = rest:sub(#rest - count + 1)
            return done .. rest:sub(1, #rest - count)
        end,
    }
end
