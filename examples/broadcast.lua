-- Chat rooms without a word of it in the backend: what a member says, all members hear, whichever worker they are on.
--
--     plugin broadcast.lua;
--
-- The room is the last part of the path: /rooms/NAME. The backend keeps the WebSockets open and may say something to
-- one of them; what clients say does not reach it. Rooms hear texts: a binary message is heard by nobody.

return {
    upgrade = function(flow)
        local room = flow.req.path:match("([%w_%-]+)$")
        if not room then return flow:respond{ status = 404, body = "no such room\n" } end
        flow.ctx.room = room
        flow.ctx.name = flow.req.args.name or "somebody"
    end,

    open = function(flow)
        flow:tag(flow.ctx.room)
        sy.publish(flow.ctx.room, flow.ctx.name .. " has come")
    end,

    message = {
        from = "client",
        run = function(flow, msg)
            if msg.type == "binary" then return false end
            sy.publish(flow.ctx.room, flow.ctx.name .. ": " .. msg.data)
            return false
        end,
    },

    close = function(flow)
        sy.publish(flow.ctx.room, flow.ctx.name .. " has left")
    end,
}
