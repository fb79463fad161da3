internal import Config
internal import ProxyCore

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
            flow.tags.append(tag)
            return .none
        },
    ]
}
