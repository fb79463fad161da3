-- A switch for maintenance that takes effect at once, for all workers and without a reload.
--
--     lua_shared_dict switches 1m;
--     location / { plugin maintenance.lua pass=secret; proxy_pass … }
--     location = /-/maintenance { allow 127.0.0.1; deny all; plugin maintenance.lua role=switch; }
--
-- PUT to the switch closes the site, with the body as the reason; DELETE opens it. Visitors get 503 and a page,
-- programs JSON; WebSockets that are open stay. Who has the cookie maintenance=PASS sees the site.

local page = [[
<!doctype html>
<title>We will be right back</title>
<h1>We will be right back</h1>
<p>%s</p>
]]

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function switch(flow, switches)
    if flow.req.method == "PUT" then
        local reason = flow.req:body()
        switches:set("maintenance", reason ~= "" and reason or "Maintenance is under way.")
    elseif flow.req.method == "DELETE" then
        switches:delete("maintenance")
    end
    local reason = switches:get("maintenance")
    return flow:respond{ status = 200, body = reason and "closed: " .. reason .. "\n" or "open\n" }
end

local function closed(flow, reason)
    local is_browser = (flow.req.headers["Accept"] or ""):find("text/html", 1, true)
    local body = is_browser and page:format((reason:gsub('[&<>"]', entities))) or sy.json.encode{ error = reason }
    return flow:respond{
        status = 503,
        headers = {
            ["Content-Type"] = is_browser and "text/html; charset=utf-8" or "application/json",
            ["Retry-After"] = "120",
            ["Cache-Control"] = "no-store",
        },
        body = body,
    }
end

return function(config)
    local switches = assert(sy.shared[config.dict or "switches"], "there is no lua_shared_dict switches")

    return {
        request = function(flow)
            if config.role == "switch" then return switch(flow, switches) end
            local reason = switches:get("maintenance")
            if reason and not (config.pass and flow.req.cookies.maintenance == config.pass) then
                return closed(flow, reason)
            end
        end,
    }
end
