internal import Config
internal import ProxyCore
internal import Wire

extension LuaAPI {
    static let flowFunctions: [LuaFunction] = [
        LuaFunction("req", .part(of: .flow, .request, position: 1), type: "Request", "The client's request."),
        LuaFunction(
            "res", .part(of: .flow, .response, position: 2), type: "Response",
            "The response on its way to the client."),
        LuaFunction(
            "var", .part(of: .flow, .variables, position: 3), type: "Variables",
            "Every variable of the configuration."),
        LuaFunction(
            "client", .part(of: .flow, .client, position: 4), type: "Leg", "The client's connection."),
        LuaFunction(
            "upstream", .part(of: .flow, .upstream, position: 5), type: "Leg", "The upstream's connection."),
        LuaFunction(
            "offer", .part(of: .flow, .offer, position: 6), type: "Offer",
            "What the client's upgrade asks for."),
        LuaFunction(
            "ctx", .ownTable(of: .flow, position: 7), type: "table",
            "The script's own table for this exchange."),
        LuaFunction("id", .getter(.flow), "", returns: "string", "The exchange's `$request_id`.") {
            call throws(LuaError) in
            call.push(try call.exchange(.flow).requestIDText)
        },
        LuaFunction(
            "location", .getter(.flow), "", returns: "string?",
            "The location that the exchange is in, as configured: `/chat/`, `= /`, `@fallback`; nil "
                + "outside of any."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.flow)
            return call.push(LocationName.text(of: exchange.location, in: exchange.server))
        },
        LuaFunction(
            "started", .getter(.flow), "", returns: "number",
            "When the first byte of the request came, in seconds since 1970."
        ) { call throws(LuaError) in
            call.push(Double(try call.exchange(.flow).startedAt.unix) / 1000)
        },
        LuaFunction(
            "tag", .method(.flow), "name: string",
            "Puts the exchange's tunnel among those of this name; up to 64 names of up to 255 bytes."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            let tag = try call.bytes(2, "tag")
            guard (1...255).contains(tag.count) else {
                throw LuaError("tag: found \(tag.count) bytes, expected 1 to 255")
            }
            if flow.tags.contains(tag) { return .none }
            guard flow.tags.count < 64 else { throw LuaError("tag: the exchange has 64 tags already") }
            call.interpreter.tag(flow, tag)
            return .none
        },
        LuaFunction(
            "flows", .module("sy"), "options?: { tag: string }", returns: "Flow[]",
            "The open tunnels of this worker, or those with a tag."
        ) { call throws(LuaError) in
            var tag: [UInt8]?
            if call.isGiven(1) {
                try call.table(1, "flows")
                call.stack.pushField("tag", of: 1)
                tag = call.stack.bytes(-1)
                call.stack.pop()
            }
            let flows = call.interpreter.openTunnels(tagged: tag)
            call.stack.pushTable(array: flows.count)
            for (index, flow) in flows.enumerated() {
                call.interpreter.push(flow, on: call.stack)
                call.stack.setElement(index + 1, of: -2)
            }
            return .one
        },
        LuaFunction(
            "publish", .module("sy"), "tag: string, text: string",
            "Sends a text message to the client of every open tunnel with this tag, on all workers."
        ) { call throws(LuaError) in
            let tag = try call.bytes(1, "publish")
            let text = try call.bytes(2, "publish")
            guard UTF8Validator.accepts(text.span) else {
                throw LuaError("publish: the text is not UTF-8")
            }
            guard call.interpreter.injectionDepth == 0 else {
                throw LuaError("publish: not by a hook that sees what a script has sent")
            }
            call.interpreter.host.publish(tag, ScriptMessage(isText: true, payload: text))
            return .none
        },
    ]
}
