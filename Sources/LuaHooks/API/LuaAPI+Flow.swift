internal import Config
internal import ProxyCore

extension LuaCall {
    /// The flow of an object at `index`, alive.
    func flow(_ index: Int = 1, _ type: LuaType) throws(LuaError) -> ScriptFlow {
        guard let handle = stack.object(index, type) else {
            throw LuaError("found \(stack.typeName(index)), expected \(type.name): call it with a colon")
        }
        guard let flow = interpreter.flow(handle), flow.exchange != nil else {
            throw LuaError("\(type.name) cannot be used any more: its exchange is over")
        }
        return flow
    }

    func exchange(_ type: LuaType) throws(LuaError) -> Exchange {
        guard let exchange = try flow(1, type).exchange else { throw LuaError("its exchange is over") }
        return exchange
    }
}

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
    ]
}
