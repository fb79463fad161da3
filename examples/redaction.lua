-- Keeps card numbers and e-mail addresses out of what the upstream tells clients.
--
--     plugin redaction.lua from=upstream;
--
-- Digits that could be a card number are one only where they pass the check that card numbers are made for, so that
-- order numbers stay. `from=both` looks at what clients say as well.

return function(config)
    local from = config.from or "upstream"

    --- Luhn's check.
    local function is_card(digits)
        local sum, double = 0, false
        for at = #digits, 1, -1 do
            local digit = digits:byte(at) - 48
            if double then digit = digit * 2 > 9 and digit * 2 - 9 or digit * 2 end
            sum, double = sum + digit, not double
        end
        return #digits >= 13 and #digits <= 19 and sum % 10 == 0
    end

    local function redact(text)
        local changed = text:gsub("%d[%d %-]+%d", function(found)
            local digits = found:gsub("[^%d]", "")
            if is_card(digits) then return "[card ending in " .. digits:sub(-4) .. "]" end
        end)
        return (changed:gsub("[%w%.%+_%-]+@[%w%-]+%.[%w%.%-]+", "[e-mail]"))
    end

    return {
        message = {
            from = from, type = "text",
            run = function(flow, msg)
                local text = msg.data
                local changed = redact(text)
                if changed ~= text then return changed end
            end,
        },
    }
end
