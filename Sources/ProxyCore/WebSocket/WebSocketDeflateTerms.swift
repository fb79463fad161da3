package import Config
package import Wire

/// What an upgrade to WebSocket has come to about permessage-deflate, on each leg (`websocket_deflate`).
package struct WebSocketDeflateTerms: Sendable, Equatable {
    /// The proxy is an end of the extension, on one leg at least.
    package var isTerminated = false
    /// With the client, where the proxy is an end; `value` is what the client is told.
    package var client: PermessageDeflate.Parameters?
    package var value: [UInt8] = []
    /// With the upstream, where the proxy is an end.
    package var upstream: PermessageDeflate.Parameters?
    /// What the peers agreed on with each other.
    package var passed: PermessageDeflate.Parameters?
    /// Some other extension is in use, whose bits in frames mean something to the peers alone.
    package var hasOthers = false

    package init() {}

    /// Whether what the client offers is kept from the upstream.
    static func stripsOffer(_ settings: WebSocketSettings) -> Bool {
        settings.clientDeflate != .pass || settings.upstreamDeflate != .pass
    }

    /// What the upstream is offered by the proxy itself.
    static func offer(_ settings: WebSocketSettings) -> [UInt8]? {
        settings.upstreamDeflate.policy.map(PermessageDeflate.offer)
    }

    /// Settles what holds once the upstream has accepted the WebSocket.
    ///
    /// - Returns: `nil` where the upstream accepts what it was not offered, which fails the connection (RFC 7692 §5.1).
    package init?(_ exchange: Exchange) {
        let settings = exchange.location.settings.values.webSocket
        let clientPolicy = settings.clientDeflate.policy
        let upstreamPolicy = settings.upstreamDeflate.policy
        hasOthers = Self.hasOthers(exchange.response)
        guard clientPolicy != nil || upstreamPolicy != nil else {
            passed = PermessageDeflate.passed(in: exchange.response)
            return
        }
        isTerminated = true
        if let upstreamPolicy {
            switch PermessageDeflate.agreed(in: exchange.response, to: upstreamPolicy, besideOthers: true) {
            case .none: break
            case .parameters(let parameters): upstream = parameters
            case .violation: return nil
            }
        }
        if let clientPolicy, let answer = PermessageDeflate.accept(offersIn: exchange.request, clientPolicy) {
            client = answer.parameters
            value = answer.value
        }
    }

    private static func hasOthers(_ response: ResponseHead) -> Bool {
        for field in response.fields where field.id == .secWebSocketExtensions {
            var rest: [UInt8] = []
            PermessageDeflate.appendWithout(response.bytes.span.extracting(field.value), to: &rest)
            if !rest.isEmpty { return true }
        }
        return false
    }

    /// The reserved bits that may be set in frames, where the plane does not look into compressed messages.
    package var reservedBits: UInt8 {
        hasOthers ? 7 : passed == nil ? 0 : WebSocketFrameHeader.reserved1
    }

    /// How messages are to be inflated and deflated, where hooks look at them or not; `nil` where they go as they are.
    package func codecs(
        _ settings: WebSocketSettings, isLookedAt: Bool, pool: DeflatePool
    ) -> WebSocketCodecs? {
        if let passed {
            guard isLookedAt else { return nil }
            return WebSocketCodecs(
                fromClient: WebSocketCodec(passing: passed, from: .client, pool: pool),
                fromUpstream: WebSocketCodec(passing: passed, from: .server, pool: pool))
        }
        guard isTerminated, client != nil || upstream != nil else { return nil }
        return WebSocketCodecs(
            fromClient: WebSocketCodec(
                source: client, sender: .client, target: upstream, receiver: .server,
                options: settings.upstreamDeflate.options, pool: pool),
            fromUpstream: WebSocketCodec(
                source: upstream, sender: .server, target: client, receiver: .client,
                options: settings.clientDeflate.options, pool: pool))
    }
}

extension WebSocketDeflate {
    var options: WebSocketDeflateOptions {
        if case .on(let options) = self { options } else { WebSocketDeflateOptions() }
    }

    var policy: PermessageDeflate.Policy? {
        guard case .on(let options) = self else { return nil }
        return PermessageDeflate.Policy(
            contextTakeover: options.contextTakeover, windowBits: options.windowBits, level: options.level)
    }
}

extension Exchange {
    /// Settles what the legs of a new WebSocket have agreed on.
    ///
    /// - Returns: false where the upstream accepted a compression that it was not offered.
    package func settleWebSocket() -> Bool {
        guard let terms = WebSocketDeflateTerms(self) else { return false }
        webSocketDeflate = terms
        return true
    }
}
