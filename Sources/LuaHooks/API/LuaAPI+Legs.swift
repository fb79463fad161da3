internal import Config
internal import ProxyCore
internal import Wire

extension LuaAPI {
    static let legFunctions: [LuaFunction] = legRows(.client) + legRows(.upstream) + clientTLS + upstreamTLS

    private static let tlsType =
        "{ version: string, cipher: string, sni: string?, alpn: string?, resumed: boolean, client_subject: string?, "
        + "verified: boolean?, server_subject: string? }?"
    private static let tlsSummary =
        "The connection's TLS, nil without it: `version` such as `TLSv1.3`, `cipher`, `sni` (the name that was asked for), "
        + "`alpn` (the protocol that was chosen), `resumed` (whether the session was), and of the certificate of a client "
        + "`client_subject` and `verified`, of that of an upstream `server_subject`. Whoever has no certificate that an "
        + "authority vouches for may write any `client_subject`, and `ssl_verify_client optional_no_ca` lets such requests "
        + "through: only where `verified` is true (as where `$ssl_client_verify` is `SUCCESS`) is it the client's own."

    private static let clientTLS = [
        LuaFunction("tls", .getter(.client), "", returns: tlsType, tlsSummary) {
            call throws(LuaError) in
            let flow = try call.flow(1, .client)
            guard let tls = try call.exchange(of: flow).client.tls else { return call.push(nil as [UInt8]?) }
            func value(_ fact: ClientTLSFact) -> [UInt8] {
                var value: [UInt8] = []
                return tls.append(fact, to: &value) ? value : []
            }
            return pushTLS(
                [
                    "version": value(.version), "cipher": value(.cipher), "sni": value(.serverName),
                    "alpn": value(.applicationProtocol), "client_subject": value(.subject),
                ], isResumed: value(.sessionReused) == [UInt8(ascii: "r")],
                isVerified: isVerified(value(.verification)), on: call.stack)
        }
    ]

    private static let upstreamTLS = [
        LuaFunction("tls", .getter(.upstream), "", returns: tlsType, tlsSummary) {
            call throws(LuaError) in
            let flow = try call.flow(1, .upstream)
            guard let tls = flow.owner?.upstreamTLS() else { return call.push(nil as [UInt8]?) }
            return pushTLS(
                [
                    "version": tls.version, "cipher": tls.cipher, "sni": tls.serverName,
                    "alpn": tls.applicationProtocol, "server_subject": tls.subject,
                ], isResumed: tls.isResumed, on: call.stack)
        }
    ]

    /// `nil` without a certificate.
    private static func isVerified(_ verification: [UInt8]) -> Bool? {
        if verification.isEmpty || verification.elementsEqual("NONE".utf8) { return nil }
        return verification.elementsEqual("SUCCESS".utf8)
    }

    /// Fields that are empty are left out.
    private static func pushTLS(
        _ fields: KeyValuePairs<StaticString, [UInt8]>, isResumed: Bool, isVerified: Bool? = nil,
        on stack: LuaStack
    ) -> LuaResult {
        stack.pushTable(fields: fields.count + 2)
        for (name, value) in fields where !value.isEmpty {
            stack.push(value)
            stack.setField(name, of: -2)
        }
        stack.push(isResumed)
        stack.setField("resumed", of: -2)
        if let isVerified {
            stack.push(isVerified)
            stack.setField("verified", of: -2)
        }
        return .one
    }

    private static func version(_ type: LuaType) -> LuaFunction {
        LuaFunction(
            "http", .getter(type), "", returns: "string",
            "Version of HTTP, `1.0`, `1.1` or `2`: the client's, and for upstreams what `proxy_http_version` says."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(of: call.flow(1, type))
            return call.push(
                Array((type == .client ? clients(exchange) : upstreams(exchange)).utf8))
        }
    }

    private static func clients(_ exchange: Exchange) -> String {
        switch exchange.request.version {
        case .v0_9: "0.9"
        case .v1_0: "1.0"
        case .v1_1: "1.1"
        case .v2: "2"
        }
    }

    private static func upstreams(_ exchange: Exchange) -> String {
        switch exchange.location.settings.values.proxyHTTPVersion {
        case .v1_0: "1.0"
        case .v1_1: "1.1"
        case .v2: "2"
        }
    }

    private static func legRows(_ leg: FlowLeg) -> [LuaFunction] {
        let type = leg == .client ? LuaType.client : .upstream
        return [
            LuaFunction(
                "address", .getter(type), "", returns: "string?",
                "The peer's address, numeric, or `unix:` and a path; nil without a connection. The client's is `$remote_addr`, "
                    + "which `real_ip_header` may say: `flow.var.realip_remote_addr` is the connection's own."
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
            LuaFunction(
                "messages_in", .getter(type), "", returns: "integer",
                "Messages of the WebSocket that the peer has sent."
            ) { call throws(LuaError) in
                call.push(try call.facts(of: leg, type).messagesIn)
            },
            LuaFunction(
                "messages_out", .getter(type), "", returns: "integer",
                "Messages of the WebSocket that were sent to the peer."
            ) { call throws(LuaError) in
                call.push(try call.facts(of: leg, type).messagesOut)
            },
            version(type),
        ] + tunnelRows(leg, type)
    }

    /// What can be done on an open WebSocket.
    private static func tunnelRows(_ leg: FlowLeg, _ type: LuaType) -> [LuaFunction] {
        [
            LuaFunction(
                "send", .method(type), "text: string", returns: "boolean?, string?",
                "Sends a text message to the peer, between two others; `message` and `frame` hooks of scripts "
                    + "further on see it. Nil and why where it cannot be sent."
            ) { call throws(LuaError) in
                let flow = try call.flow(1, type)
                return call.send(try call.messageText(2), isText: true, to: leg, of: flow)
            },
            LuaFunction(
                "send_binary", .method(type), "data: string", returns: "boolean?, string?",
                "As `send`, a binary message."
            ) { call throws(LuaError) in
                let flow = try call.flow(1, type)
                return call.send(try call.bytes(2, "send_binary"), isText: false, to: leg, of: flow)
            },
            LuaFunction(
                "ping", .method(type), "payload?: string", returns: "number?, string?", waits: true,
                "Sends a ping, and waits for its answer: the round trip in seconds, or nil and why not, where none "
                    + "comes within websocket_pong_timeout, or where the WebSocket is not open: nor is it in an "
                    + "`open` hook."
            ) { call throws(LuaError) in
                let flow = try call.flow(1, type)
                let payload = try call.optionalBytes(2, "ping")
                guard payload?.count ?? 0 <= 125 else {
                    throw LuaError("ping: found \(payload?.count ?? 0) bytes, expected at most 125")
                }
                return try call.ping(leg, of: flow, payload)
            },
            LuaFunction(
                "close", .method(type), "code?: integer, reason?: string",
                "Ends the tunnel: this peer is sent the code (1000 unless given) and the reason, the other 1001. An error "
                    + "where no WebSocket is open, as in an `open` hook: `flow:close` ends it there."
            ) { call throws(LuaError) in
                let flow = try call.flow(1, type)
                let (code, reason) = try call.closing(2, "close")
                guard let owner = flow.owner, owner.isOpenTunnel else {
                    throw LuaError("close: there is no open WebSocket")
                }
                owner.close(leg, code: code, reason: reason)
                return .none
            },
        ]
    }
}

extension LuaCall {
    /// How deep hooks may send what other hooks see, which send in turn.
    private static let maximumDepth = 16

    /// `nil`, or why hooks as deep as the running one may not send any more.
    var depthFailure: String? {
        guard interpreter.injectionDepth >= Self.maximumDepth else { return nil }
        return "hooks send what makes hooks send, \(Self.maximumDepth) deep"
    }

    /// The text of a message.
    func messageText(_ index: Int) throws(LuaError) -> [UInt8] {
        let text = try bytes(index, "send")
        guard UTF8Validator.accepts(text.span) else {
            throw LuaError("send: the text is not UTF-8; send_binary sends any bytes")
        }
        return text
    }

    fileprivate func send(
        _ payload: [UInt8], isText: Bool, to leg: FlowLeg, of flow: ScriptFlow
    ) -> LuaResult {
        guard let owner = flow.owner else { return fail("there is no open WebSocket") }
        if let depthFailure { return fail(depthFailure) }
        let hooks = interpreter.hooksAfterRunningScript(of: flow)
        var message = ScriptMessage(
            isText: isText, payload: payload, firstMessageHook: hooks.message, firstFrameHook: hooks.frame)
        message.item = interpreter.waitingItem
        if let failure = owner.send(message, to: leg) { return fail(failure) }
        return push(true)
    }

    fileprivate func ping(
        _ leg: FlowLeg, of flow: ScriptFlow, _ payload: [UInt8]?
    ) throws(LuaError) -> LuaResult {
        guard let owner = flow.owner else { return fail("there is no open WebSocket") }
        try interpreter.mayWait(self, for: "ping")
        let interpreter = interpreter
        let ping = SentPing()
        let result = owner.ping(leg, payload: payload) { [weak interpreter] outcome in
            guard let waiter = ping.waiter else {
                ping.isOver = true
                return
            }
            // Not now: the answer stands among bytes that are being looked at, and what the hook does may have others read.
            _ = interpreter?.addTimer(after: 0, outcome.end(of: waiter))
        }
        switch result {
        case .success(let operation):
            // A peer that has gone is found by sending to it: the tunnel has ended then, and with it perhaps the flow.
            guard !ping.isOver, flow.owner === owner else { return fail("the WebSocket is closing") }
            let waiter = try interpreter.wait(self, for: "ping")
            ping.waiter = waiter
            interpreter.setOperation(operation, of: waiter)
            return .waits
        case .failure(let failure): return fail(failure.message)
        }
    }

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

extension WebSocketPingOutcome {
    /// What it comes to for whoever waits for it.
    fileprivate func end(of waiter: Waiter) -> ScriptTimers.Purpose {
        switch self {
        case .answered(let microseconds): .answer(waiter, Double(microseconds) / 1_000_000)
        case .timedOut: .fail(waiter, "timeout")
        case .closing: .fail(waiter, "the WebSocket is closing")
        }
    }
}

/// A ping that a script has sent, and the call that waits for it: none while it is being sent, for the call runs then, and
/// is not to be gone on with.
private final class SentPing {
    var waiter: Waiter?
    var isOver = false
}
