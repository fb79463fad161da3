package import Config
internal import Digest
package import Wire

/// Decides about `Upgrade`: what a request may ask of an upstream, and which 101 is believed.
///
/// What goes upstream is the configuration's business (`proxy_set_header Upgrade …`), so the answer is held
/// against what was really sent there, not against what the client wrote.
package enum UpgradePolicy {
    // MARK: The request

    /// What a request asks for, within what the location allows.
    package static func examine(
        _ request: RequestHead, allowed: UpgradeProtocols
    ) -> UpgradeDecision {
        guard request.upgradeIndex >= 0 else { return .notAsked }
        // RFC 9110 §7.8: without the connection option, or from HTTP/1.0, the field is to be ignored.
        guard request.connectionHasUpgrade, request.version >= .v1_1 else { return .withheld }
        var hasAllowed = false
        var hasWebSocket = false
        for field in request.fields where field.id == .upgrade {
            var elements = ListElements(field)
            while let element = elements.next(request.bytes.span) {
                guard allowed.permits(request.bytes, element) else { continue }
                hasAllowed = true
                if isWebSocket(request.bytes, element) { hasWebSocket = true }
            }
        }
        guard hasAllowed else { return .withheld }
        guard hasWebSocket else { return .offered(webSocket: false) }
        if let violation = WebSocketHandshake.violation(in: request) { return .rejected(violation) }
        return .offered(webSocket: true)
    }

    /// Why the request's `Upgrade` was withheld, for the error log: the configuration would have passed it on.
    package static func withholding(_ request: RequestHead) -> String {
        let fault =
            if request.version < .v1_1 {
                "in a request of HTTP/1.0"
            } else if !request.connectionHasUpgrade {
                "without \"Connection: upgrade\""
            } else {
                "to a protocol that \"proxy_upgrade_protocols\" does not allow"
            }
        return "client sent \"Upgrade\" \(fault), which is not passed on"
    }

    /// Whether the upstream is not asked for the WebSocket that the client asks for, `sent` being what goes there.
    package static func omits(_ sent: UpstreamRequest, _ settings: Settings) -> Bool {
        // HTTP/1.0 has no upgrades.
        sent.upgrade == nil || settings.values.proxyHTTPVersion == .v1_0
    }

    /// For the error log: what the location lacks, as `omits` says of it.
    package static func omission(of sent: UpstreamRequest, _ settings: Settings) -> String {
        var lacking: [String] = []
        if settings.values.proxyHTTPVersion == .v1_0 { lacking.append("\"proxy_http_version 1.1\"") }
        if !sent.hasUpgrade { lacking.append("\"proxy_set_header Upgrade $http_upgrade\"") }
        if sent.upgrade == nil { lacking.append("\"proxy_set_header Connection upgrade\"") }
        return "client asked for a WebSocket, which this location does not pass on without "
            + lacking.joined(separator: " and ")
    }

    /// Appends the elements of an `Upgrade` value that the location allows.
    static func appendAllowed(_ value: [UInt8], allowed: UpgradeProtocols, to output: inout [UInt8]) {
        var elements = ListElements(0..<value.count)
        var isFirst = true
        while let element = elements.next(value.span) {
            guard allowed.permits(value, element) else { continue }
            if !isFirst { output.append(contentsOf: listSeparator) }
            output.append(contentsOf: value[element])
            isFirst = false
        }
    }

    // MARK: The answer

    /// Whether a 101 from the upstream is to be believed, `decision` being what `examine` said of the request, and
    /// `sent` what went to the upstream, `nil` when that was no offer.
    package static func verify(
        _ response: ResponseHead, decision: UpgradeDecision, sent: SentUpgrade?
    ) -> UpgradeVerdict {
        guard case .offered = decision, let sent else { return .refused(.notAsked) }
        guard response.version >= .v1_1, response.connectionHasUpgrade else {
            return .refused(.noConnectionOption)
        }
        var isEmpty = true
        var hasWebSocket = false
        for field in response.fields where field.id == .upgrade {
            var elements = ListElements(field)
            while let element = elements.next(response.bytes.span) {
                guard sent.offers(response.bytes, element) else { return .refused(.otherProtocol) }
                isEmpty = false
                if isWebSocket(response.bytes, element) { hasWebSocket = true }
            }
        }
        if isEmpty { return .refused(.noProtocol) }
        guard hasWebSocket else { return .accepted(webSocket: false) }
        var source: [UInt8] = []
        guard WebSocketHandshake.appendAcceptSource(of: sent.head, to: &source),
            let digest = SHA1.digest(source.span)
        else { return .refused(.handshake(.wrongAccept)) }
        let violation = WebSocketHandshake.violation(
            in: response, to: sent.head, digest: digest.indices.map { digest[$0] })
        if let violation { return .refused(.handshake(violation)) }
        return .accepted(webSocket: true)
    }

    /// Has the 101 of a WebSocket that was accepted answer the key that the client sent, whose accept it is to check (RFC 6455 §4.1).
    /// The upstream has answered the one that it was sent, which may be a script's, or the configuration's.
    package static func answerClient(of exchange: Exchange, sent: SentUpgrade?) {
        guard let sent, let sentKey = WebSocketHandshake.key(of: sent.head),
            // Over HTTP/2 the client has none.
            let key = exchange.request.receivedValue(of: .secWebSocketKey),
            exchange.request.bytes[key] != sent.head.bytes[sentKey],
            let value = WebSocketHandshake.acceptValue(in: exchange.response)
        else { return }
        let source = Array(exchange.request.bytes[key]) + WebSocketHandshake.guid
        guard let digest = SHA1.digest(source.span) else { return }
        // As long as the upstream's: both are of a digest.
        exchange.response.bytes.replaceSubrange(value, with: Base64.encode(digest.indices.map { digest[$0] }))
    }

    private static func isWebSocket(_ bytes: [UInt8], _ element: Range<Int>) -> Bool {
        let octets = bytes.span
        // A version behind a slash is not part of the name.
        let end = element.first { octets[$0] == ByteText.slash } ?? element.upperBound
        return WebSocketHandshake.protocolName.matches(octets, element.lowerBound..<end)
    }

    private static let listSeparator = Array(", ".utf8)
}

/// What became of a request's wish to change the protocol.
package enum UpgradeDecision: Sendable, Equatable {
    /// There was none.
    case notAsked
    /// There was, but it counts for nothing: no `Connection: upgrade`, HTTP/1.0, or no protocol that the
    /// location allows. The request goes on as an ordinary one, without `Upgrade`.
    case withheld
    /// To be passed on as far as the configuration does so.
    case offered(webSocket: Bool)
    /// A WebSocket handshake that no server would take. To be answered here if the configuration would have
    /// passed it on; see `UpstreamRequest.rejection`.
    case rejected(WebSocketHandshake.RequestViolation)
}

package enum UpgradeVerdict: Sendable, Equatable {
    /// The connection is a tunnel from here on.
    case accepted(webSocket: Bool)
    /// 502, and the upstream's connection is closed.
    case refused(UpgradeRefusal)
}

/// Why a 101 is not believed.
package enum UpgradeRefusal: Error, Sendable, Equatable {
    case notAsked, noConnectionOption, noProtocol, otherProtocol
    /// A 2xx where only a 101 can mean success.
    case notSwitched
    /// permessage-deflate, by the proxy's own offer, with parameters that this did not have (RFC 7692 §5.1).
    case deflateNotOffered
    /// permessage-deflate between the peers, with parameters that are invalid or answer no offer of the client's.
    case deflateNotOfferedByClient
    case handshake(WebSocketHandshake.ResponseViolation)

    /// For the error log.
    package var message: String {
        switch self {
        case .notAsked: "upstream sent 101 to a request that asked for no upgrade"
        case .noConnectionOption, .handshake(.noUpgradeOption):
            "upstream sent 101 without \"Connection: upgrade\""
        case .deflateNotOffered: "upstream accepted permessage-deflate in a way that was not offered"
        case .deflateNotOfferedByClient:
            "upstream accepted permessage-deflate in a way that the client did not offer"
        case .notSwitched: "upstream answered a WebSocket handshake without switching to WebSocket"
        case .noProtocol: "upstream sent 101 without \"Upgrade\""
        case .otherProtocol, .handshake(.notWebSocket): "upstream switched to a protocol that was not offered"
        case .handshake(.missingAccept): "upstream sent 101 without \"Sec-WebSocket-Accept\""
        case .handshake(.wrongAccept): "upstream sent invalid \"Sec-WebSocket-Accept\""
        case .handshake(.protocolNotOffered): "upstream chose a WebSocket subprotocol that was not offered"
        case .handshake(.extensionNotOffered): "upstream chose a WebSocket extension that was not offered"
        }
    }
}

extension WebSocketHandshake.RequestViolation {
    /// What the client is answered.
    package var response: LocalResponse {
        var response = LocalResponse(status: status)
        if self == .unsupportedVersion {
            // RFC 6455 §4.4, and RFC 9110 §15.5.22 for `Upgrade`.
            response.fields = [
                (name: Array("Upgrade".utf8), value: Array("websocket".utf8)),
                (name: Array("Sec-WebSocket-Version".utf8), value: WebSocketHandshake.version),
            ]
        }
        return response
    }

    /// For the error log.
    package var message: String {
        let fault =
            switch self {
            case .methodNotGet: "a method other than GET"
            case .versionNotHTTP1_1: "an HTTP version below 1.1"
            case .hasBody: "a body"
            case .noUpgradeOption: "no \"Connection: upgrade\""
            case .unsupportedVersion: "an unsupported version"
            case .missingKey: "no key"
            case .invalidKey: "an invalid key"
            }
        return "client sent WebSocket handshake with \(fault)"
    }
}

extension UpgradeProtocols {
    /// Whether the protocol in `bytes[range]`, with or without a version, may be switched to.
    func permits(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
        var name = range
        if let slash = range.first(where: { bytes[$0] == ByteText.slash }) { name = range.lowerBound..<slash }
        switch self {
        case .off: return false
        case .only(let names):
            return names.contains {
                ByteText.equal(bytes, range, lowercase: $0) || ByteText.equal(bytes, name, lowercase: $0)
            }
        case .any:
            // HTTP/2 and TLS would make the two legs speak over the proxy's head.
            return !Self.neverTunnelled.contains { $0.matches(bytes, name) }
        }
    }

    private static let neverTunnelled: [Keyword] = ["h2c", "h2", "tls"]
}
