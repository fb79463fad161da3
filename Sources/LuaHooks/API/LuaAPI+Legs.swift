internal import ProxyCore

extension LuaAPI {
    static let legFunctions: [LuaFunction] = legRows(.client) + legRows(.upstream)

    private static func legRows(_ leg: FlowLeg) -> [LuaFunction] {
        let type = leg == .client ? LuaType.client : .upstream
        return [
            LuaFunction(
                "address", .getter(type), "", returns: "string?",
                "The peer's address, numeric, or `unix:` and a path; nil without a connection."
            ) { call throws(LuaError) in
                call.push(try call.facts(of: leg, type).address)
            },
            LuaFunction(
                "port", .getter(type), "", returns: "integer?",
                "The peer's port; nil without a connection, and for UNIX sockets."
            ) { call throws(LuaError) in
                let facts = try call.facts(of: leg, type)
                guard facts.address != nil, facts.port != 0 else { return call.push(nil as [UInt8]?) }
                return call.push(Int(facts.port))
            },
            LuaFunction(
                "rtt", .getter(type), "", returns: "number?",
                "Seconds of a round trip to the peer, smoothed, as the kernel has measured it."
            ) { call throws(LuaError) in
                guard let microseconds = try call.facts(of: leg, type).roundTrip else {
                    return call.push(nil as [UInt8]?)
                }
                return call.push(Double(microseconds) / 1_000_000)
            },
            LuaFunction(
                "bytes_in", .getter(type), "", returns: "integer", "Bytes received for this exchange."
            ) { call throws(LuaError) in
                call.push(Int(try call.facts(of: leg, type).bytesIn))
            },
            LuaFunction("bytes_out", .getter(type), "", returns: "integer", "Bytes sent for this exchange.") {
                call throws(LuaError) in
                call.push(Int(try call.facts(of: leg, type).bytesOut))
            },
            LuaFunction(
                "buffered", .getter(type), "", returns: "integer",
                "Bytes that wait here because the peer does not take them."
            ) { call throws(LuaError) in
                call.push(try call.facts(of: leg, type).buffered)
            },
        ]
    }
}

extension LuaCall {
    /// What is known of a connection; of the client's, address and port at any time.
    func facts(of leg: FlowLeg, _ type: LuaType) throws(LuaError) -> LegFacts {
        let flow = try flow(1, type)
        let exchange = try exchange(of: flow)
        var facts = flow.owner?.facts(of: leg) ?? LegFacts()
        if leg == .client, facts.address == nil {
            facts.address = exchange.client.address
            facts.port = exchange.client.port
        }
        return facts
    }
}
