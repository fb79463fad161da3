/// Tunnels of other workers, and those that stayed with an older configuration. What is asked of them travels to the
/// thread that they are on; what can be read of them is in the worker's `TunnelList`.
extension LuaAPI {
    static let remoteFlowFunctions: [LuaFunction] =
        [
            LuaFunction(
                "client", .part(of: .remoteFlow, .remoteClient, position: 1), type: "RemoteClient",
                "The client's connection."),
            LuaFunction(
                "upstream", .part(of: .remoteFlow, .remoteUpstream, position: 2), type: "RemoteUpstream",
                "The upstream's connection."),
            LuaFunction(
                "id", .getter(.remoteFlow), "", returns: "string",
                "The exchange's `$request_id`, known for as long as the object is kept."
            ) { call throws(LuaError) in
                call.push(try call.remoteTunnel(.remoteFlow).id.text)
            },
            LuaFunction(
                "tags", .getter(.remoteFlow), "", returns: "string[]",
                "The names that it was given by `tag`; none once the tunnel has ended."
            ) { call throws(LuaError) in
                let tunnel = try call.remoteTunnel(.remoteFlow)
                return call.push(list: call.list(of: tunnel)?.tags(of: tunnel) ?? [])
            },
            LuaFunction(
                "is_remote", .getter(.remoteFlow), "", returns: "boolean",
                "True, where that of a `flow` is false."
            ) { call throws(LuaError) in
                _ = try call.remoteTunnel(.remoteFlow)
                return call.push(true)
            },
            LuaFunction(
                "tag", .method(.remoteFlow), "name: string", returns: "boolean?, string?",
                "As `flow:tag`; `sy.flows` finds it by that name at once. Nil and why where the tunnel has ended."
            ) { call throws(LuaError) in
                let tunnel = try call.remoteTunnel(.remoteFlow)
                return try call.order(.tag(try call.tagName(2)), of: tunnel)
            },
            LuaFunction(
                "close", .method(.remoteFlow), "code?: integer, reason?: string",
                returns: "boolean?, string?",
                "As `flow:close`: ends the tunnel, both peers being sent the code and the reason. Nil and why where "
                    + "it has ended."
            ) { call throws(LuaError) in
                let tunnel = try call.remoteTunnel(.remoteFlow)
                let (code, reason) = try call.closing(2, "close")
                return try call.order(.close(code: code, reason: reason), of: tunnel)
            },
            unavailable(.remoteFlow),
        ] + clientRows + remoteLegRows(.client, .remoteClient) + remoteLegRows(.upstream, .remoteUpstream)

    private static let clientRows = [
        LuaFunction(
            "address", .getter(.remoteClient), "", returns: "string?",
            "The peer's address, numeric, or `unix:`; nil once the tunnel has ended."
        ) { call throws(LuaError) in
            let tunnel = try call.remoteTunnel(.remoteClient)
            return call.push(call.list(of: tunnel)?.client(of: tunnel)?.address)
        },
        LuaFunction(
            "port", .getter(.remoteClient), "", returns: "integer?",
            "The peer's port; nil for UNIX sockets, and once the tunnel has ended."
        ) { call throws(LuaError) in
            let tunnel = try call.remoteTunnel(.remoteClient)
            guard let port = call.list(of: tunnel)?.client(of: tunnel)?.port, port != 0 else {
                return call.push(nil as [UInt8]?)
            }
            return call.push(Int(port))
        },
    ]

    private static func remoteLegRows(_ leg: FlowLeg, _ type: LuaType) -> [LuaFunction] {
        [
            LuaFunction(
                "send", .method(type), "text: string", returns: "boolean?, string?",
                "Sends a text message to the peer, as `send` of a `flow` does, once the tunnel's worker comes to it. "
                    + "Nil and why where the tunnel has ended, or a megabyte is on the way to it already."
            ) { call throws(LuaError) in
                let tunnel = try call.remoteTunnel(type)
                return try call.order(.send(try call.messageText(2), isText: true, to: leg), of: tunnel)
            },
            LuaFunction(
                "send_binary", .method(type), "data: string", returns: "boolean?, string?",
                "As `send`, a binary message."
            ) { call throws(LuaError) in
                let tunnel = try call.remoteTunnel(type)
                let data = try call.bytes(2, "send_binary")
                return try call.order(.send(data, isText: false, to: leg), of: tunnel)
            },
            LuaFunction(
                "close", .method(type), "code?: integer, reason?: string", returns: "boolean?, string?",
                "Ends the tunnel: this peer is sent the code (1000 unless given) and the reason, the other 1001. Nil "
                    + "and why where it has ended."
            ) { call throws(LuaError) in
                let tunnel = try call.remoteTunnel(type)
                let (code, reason) = try call.closing(2, "close")
                return try call.order(.closeLeg(leg, code: code, reason: reason), of: tunnel)
            },
            unavailable(type),
        ]
    }

    private static func unavailable(_ type: LuaType) -> LuaFunction {
        LuaFunction(
            "[name]", .anyGetter(type), "name: string", returns: "nil",
            "An error: whatever else a `flow` has is on the tunnel's own worker only."
        ) { call throws(LuaError) in
            _ = try call.remoteTunnel(type)
            let name = call.stack.bytes(2).map { call.shown($0) } ?? "a field"
            throw LuaError(
                "\(type.name): \(name) is of a tunnel on another worker, or one that stayed with an older "
                    + "configuration")
        }
    }
}

extension LuaCall {
    /// The tunnel of an object that is the first argument.
    fileprivate func remoteTunnel(_ type: LuaType) throws(LuaError) -> RemoteTunnel {
        guard let tunnel = stack.remoteTunnel(1, type) else { throw wrongObject(1, type.name) }
        return tunnel
    }

    fileprivate func list(of tunnel: RemoteTunnel) -> TunnelList? {
        interpreter.shared.tunnels.list(of: tunnel)
    }

    /// Sends an order to the tunnel's worker, or carries it out where that is this one.
    fileprivate func order(
        _ action: TunnelOrder.Action, of tunnel: RemoteTunnel
    ) throws(LuaError) -> LuaResult {
        if case .send = action, let depthFailure { return fail(depthFailure) }
        let order = TunnelOrder(
            tunnel: tunnel, action: action, sender: interpreter.sender, depth: interpreter.injectionDepth)
        let host = interpreter.host
        let list = list(of: tunnel)
        // On the script's own worker it is done at once, as by a `flow`: one may be what the other was until now, where either
        // tunnel moves by a reload, and what is asked of it then goes before nothing that was asked first.
        let isHere = list != nil && list === host.tunnels
        switch (isHere ? list?.accept(order) : list?.send(order)) ?? .ended {
        case .accepted:
            if isHere { host.perform(order) }
            return push(true)
        case .ended: return fail("there is no open WebSocket")
        case .full: return fail("too much waits to be sent")
        case .tooManyTags: throw tooManyTags
        }
    }
}
