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
    /// The upstream has accepted another extension that was offered to it by a script or the configuration, not by the
    /// client. The client is not told, and cannot read what makes use of it.
    package var hasUnshared = false

    package init() {}

    /// Whether what the client offers is kept from the upstream.
    static func stripsOffer(_ settings: WebSocketSettings) -> Bool {
        settings.clientDeflate != .pass || settings.upstreamDeflate != .pass
    }

    /// Whether the proxy may come to be an end of the extension, and writes messages anew.
    static func isTerminated(_ settings: WebSocketSettings) -> Bool {
        settings.clientDeflate.policy != nil || settings.upstreamDeflate.policy != nil
    }

    /// What the upstream is offered by the proxy itself.
    static func offer(_ settings: WebSocketSettings) -> [UInt8]? {
        settings.upstreamDeflate.policy.map(PermessageDeflate.offer)
    }

    /// Settles what holds once the upstream has accepted the WebSocket.
    ///
    /// - Throws: where the upstream accepts what it was not offered, or the client cannot take for an answer, which fails
    ///   the connection (RFC 7692 §5.1).
    package init(_ exchange: Exchange) throws(UpgradeRefusal) {
        let settings = exchange.location.settings.values.webSocket
        let clientPolicy = settings.clientDeflate.policy
        let upstreamPolicy = settings.upstreamDeflate.policy
        findOthers(exchange.response, exchange.request)
        guard Self.isTerminated(settings) else {
            switch PermessageDeflate.passed(in: exchange.response, to: exchange.request) {
            case .none: break
            case .parameters(let parameters): passed = parameters
            case .violation: throw .deflateNotOfferedByClient
            }
            return
        }
        isTerminated = true
        if let upstreamPolicy {
            switch PermessageDeflate.agreed(in: exchange.response, to: upstreamPolicy, besideOthers: true) {
            case .none: break
            case .parameters(let parameters): upstream = parameters
            case .violation: throw .deflateNotOffered
            }
        } else if PermessageDeflate.isAccepted(in: exchange.response) {
            // Offered by `proxy_set_header`, where no end of it is to be here.
            throw .deflateNotOffered
        }
        if let clientPolicy, let answer = PermessageDeflate.accept(offersIn: exchange.request, clientPolicy) {
            client = answer.parameters
            value = answer.value
        }
    }

    private mutating func findOthers(_ response: ResponseHead, _ request: RequestHead) {
        let octets = response.bytes.span
        for field in response.fields where field.id == .secWebSocketExtensions {
            var accepted = ListElements(field)
            while let element = accepted.next(octets) {
                let name = octets.extracting(ListElements.name(of: element, in: octets))
                if PermessageDeflate.isNamed(name) { continue }
                if WebSocketHandshake.clientOffers(name, as: .secWebSocketExtensions, in: request) {
                    hasOthers = true
                } else {
                    hasUnshared = true
                }
            }
        }
    }

    /// The client is not told all that the upstream has accepted.
    var changesAnswer: Bool { isTerminated || hasUnshared }

    /// Whether the client is told of an extension called `name` in the upstream's answer, or in what a script has put in
    /// its place.
    func tellsClient(_ name: Span<UInt8>, isEdited: Bool, _ request: RequestHead) -> Bool {
        if PermessageDeflate.isNamed(name) { return !isTerminated }
        return isEdited || WebSocketHandshake.clientOffers(name, as: .secWebSocketExtensions, in: request)
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
    /// - Throws: where the upstream accepted a compression that it may not accept.
    package func settleWebSocket() throws(UpgradeRefusal) {
        webSocketDeflate = try WebSocketDeflateTerms(self)
    }
}
