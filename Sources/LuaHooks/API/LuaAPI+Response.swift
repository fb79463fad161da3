internal import Config
internal import ProxyCore
internal import Wire

extension LuaAPI {
    static let responseFunctions: [LuaFunction] = [
        LuaFunction(
            "headers", .part(of: .response, .responseHeaders), type: "Headers",
            "The headers of the upstream's response; what is set in `response` hooks goes to the client."),
        LuaFunction(
            "status", .getter(.response), "", returns: "integer?",
            "The status sent to the client, or before that the upstream's; nil as long as there is none."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.response)
            let status = exchange.status != 0 ? exchange.status : exchange.response.status
            if status != 0 { call.stack.push(status) } else { call.stack.pushNil() }
            return .one
        },
        LuaFunction(
            "status", .setter(.response), "value: integer",
            "In `response` hooks: the client is sent this status, 200 to 599. A 101 stays."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .response)
            try call.expect(flow, in: [.response], "flow.res.status")
            let status = try call.integer(3, "flow.res.status")
            let exchange = try call.exchange(of: flow)
            guard exchange.response.status != 101 else {
                throw LuaError("flow.res.status: a 101 cannot be changed: answer with flow:respond instead")
            }
            guard (200...599).contains(status) else {
                throw LuaError("flow.res.status: found \(status), expected 200 to 599")
            }
            if status == 204 || status == 304, exchange.response.framing.hasBody {
                throw LuaError(
                    "flow.res.status: a response of status \(status) has no body, and this one has")
            }
            exchange.setResponseStatus(status)
            return .none
        },
    ]
}
