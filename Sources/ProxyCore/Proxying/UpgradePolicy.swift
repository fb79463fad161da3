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
    package static func examine(_ request: borrowing RequestHead, allowed: UpgradeProtocols) -> UpgradeDecision {
        guard request.upgradeIndex >= 0 else { return .notAsked }
        // RFC 9110 §7.8: without the connection option, or from HTTP/1.0, the field is to be ignored.
        guard request.connectionHasUpgrade, request.version >= .v1_1 else { return .withheld }
        var hasAllowed = false
        var hasWebSocket = false
        for field in request.fields where field.id == .upgrade {
            let value = field.value
            var position = value.lowerBound
            while let protocolName = Octets.nextElement(request.bytes, in: value, position: &position) {
                guard allowed.permits(request.bytes, protocolName) else { continue }
                hasAllowed = true
                if Octets.equal(request.bytes, protocolName, lowercase: Names.websocket) { hasWebSocket = true }
            }
        }
        guard hasAllowed else { return .withheld }
        guard hasWebSocket else { return .offered(webSocket: false) }
        if let rejection = webSocketRejection(of: request) { return .rejected(rejection) }
        return .offered(webSocket: true)
    }

    /// RFC 6455 §4.2.1: what an opening handshake must look like.
    private static func webSocketRejection(of request: borrowing RequestHead) -> UpgradeRejection? {
        var key: Range<Int>?
        var version: Range<Int>?
        for field in request.fields {
            switch field.id {
            case .secWebSocketKey:
                if key != nil { return .repeatedField }
                key = field.value
            case .secWebSocketVersion:
                if version != nil { return .repeatedField }
                version = field.value
            default: break
            }
        }
        guard Octets.equal(request.bytes, request.method, exactly: Names.get) else { return .method }
        // §4.4: the answer names the version that is spoken, so it comes before anything about the key.
        guard let version, Octets.equal(request.bytes, version, exactly: Names.version13) else { return .version }
        guard let key, key.count == 24, Base64.decode(request.bytes.span.extracting(key))?.count == 16 else {
            return .key
        }
        return nil
    }

    /// Appends the elements of an `Upgrade` value that the location allows.
    static func appendAllowed(
        _ value: [UInt8], _ range: Range<Int>, allowed: UpgradeProtocols, to output: inout [UInt8]
    ) {
        var position = range.lowerBound
        var isFirst = true
        while let element = Octets.nextElement(value, in: range, position: &position) {
            guard allowed.permits(value, element) else { continue }
            if !isFirst { output.append(contentsOf: Names.listSeparator) }
            output.append(contentsOf: value[element])
            isFirst = false
        }
    }

    // MARK: The answer

    /// Whether a 101 from the upstream is to be believed.
    ///
    /// - Parameters:
    ///   - decision: what `examine` said of the request.
    ///   - sent: what went to the upstream, `nil` when that was no offer.
    package static func verify(
        _ response: borrowing ResponseHead, decision: UpgradeDecision, sent: SentUpgrade?
    ) -> UpgradeVerdict {
        guard case .offered = decision, let sent else { return .refused(.notAsked) }
        guard response.version >= .v1_1, response.connectionHasUpgrade else { return .refused(.noConnectionOption) }
        var isEmpty = true
        var isWebSocket = false
        for field in response.fields where field.id == .upgrade {
            let value = field.value
            var position = value.lowerBound
            while let element = Octets.nextElement(response.bytes, in: value, position: &position) {
                guard sent.offers(response.bytes, element) else { return .refused(.otherProtocol) }
                isEmpty = false
                if Octets.equal(response.bytes, element, lowercase: Names.websocket) { isWebSocket = true }
            }
        }
        if isEmpty { return .refused(.noProtocol) }
        guard isWebSocket else { return .accepted(webSocket: false) }
        if let reason = webSocketRefusal(of: response, sent: sent) { return .refused(reason) }
        return .accepted(webSocket: true)
    }

    /// RFC 6455 §4.1, the client's list of what makes it fail the connection.
    private static func webSocketRefusal(
        of response: borrowing ResponseHead, sent: borrowing SentUpgrade
    ) -> UpgradeRefusal? {
        var accept: Range<Int>?
        var subprotocol: Range<Int>?
        for field in response.fields {
            let value = field.value
            switch field.id {
            case .secWebSocketAccept:
                if accept != nil { return .wrongAccept }
                accept = value
            case .secWebSocketProtocol:
                if subprotocol != nil { return .severalSubprotocols }
                subprotocol = value
                guard sent.subprotocolOffered(response.bytes, value) else { return .otherSubprotocol }
            case .secWebSocketExtensions:
                var position = value.lowerBound
                while let element = Octets.nextElement(response.bytes, in: value, position: &position) {
                    guard sent.extensionOffered(response.bytes, element) else { return .otherExtension }
                }
            default: break
            }
        }
        guard let accept, let expected = acceptValue(forKey: sent.key.span),
            Octets.equal(response.bytes, accept, exactly: expected)
        else { return .wrongAccept }
        return nil
    }

    /// What `Sec-WebSocket-Accept` must say to `key` (RFC 6455 §4.2.2), or `nil` when SHA-1 is not to be had.
    package static func acceptValue(forKey key: Span<UInt8>) -> [UInt8]? {
        var text: [UInt8] = []
        text.reserveCapacity(key.count + Names.acceptSuffix.count)
        for index in 0..<key.count { text.append(key[index]) }
        text.append(contentsOf: Names.acceptSuffix)
        guard let digest = SHA1.digest(text.span) else { return nil }
        var value: [UInt8] = []
        Base64.append(digest.span, to: &value)
        return value
    }

    private enum Names {
        static let websocket = Array("websocket".utf8)
        static let get = Array("GET".utf8)
        static let version13 = Array("13".utf8)
        static let listSeparator = Array(", ".utf8)
        /// RFC 6455 §1.3.
        static let acceptSuffix = Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)
    }
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
    case rejected(UpgradeRejection)
}

/// What is wrong with a WebSocket handshake.
package enum UpgradeRejection: String, Sendable, CaseIterable {
    case method, version, key, repeatedField

    package var response: LocalResponse {
        switch self {
        case .method, .key, .repeatedField: return LocalResponse(status: 400)
        case .version:
            // RFC 6455 §4.4, and RFC 9110 §15.5.22 for `Upgrade`.
            var response = LocalResponse(status: 426)
            response.fields = [
                (name: Array("Upgrade".utf8), value: Array("websocket".utf8)),
                (name: Array("Sec-WebSocket-Version".utf8), value: Array("13".utf8)),
            ]
            return response
        }
    }

    /// For the error log.
    package var message: String {
        switch self {
        case .method: "client sent WebSocket handshake with a method other than GET"
        case .version: "client sent WebSocket handshake with an unsupported version"
        case .key: "client sent WebSocket handshake with an invalid key"
        case .repeatedField: "client sent WebSocket handshake with a repeated key or version"
        }
    }
}

package enum UpgradeVerdict: Sendable, Equatable {
    /// The connection is a tunnel from here on.
    case accepted(webSocket: Bool)
    /// 502, and the upstream's connection is closed.
    case refused(UpgradeRefusal)
}

/// Why a 101 is not believed.
package enum UpgradeRefusal: String, Sendable, CaseIterable {
    case notAsked, noConnectionOption, noProtocol, otherProtocol, wrongAccept, otherSubprotocol
    case severalSubprotocols, otherExtension

    /// For the error log.
    package var message: String {
        switch self {
        case .notAsked: "upstream sent 101 to a request that asked for no upgrade"
        case .noConnectionOption: "upstream sent 101 without \"Connection: upgrade\""
        case .noProtocol: "upstream sent 101 without \"Upgrade\""
        case .otherProtocol: "upstream switched to a protocol that was not offered"
        case .wrongAccept: "upstream sent invalid \"Sec-WebSocket-Accept\""
        case .otherSubprotocol: "upstream chose a WebSocket subprotocol that was not offered"
        case .severalSubprotocols: "upstream chose more than one WebSocket subprotocol"
        case .otherExtension: "upstream chose a WebSocket extension that was not offered"
        }
    }
}

extension UpgradeProtocols {
    /// Whether the protocol in `bytes[range]`, with or without a version, may be switched to.
    func permits(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
        var name = range
        if let slash = range.first(where: { bytes[$0] == 47 }) { name = range.lowerBound..<slash }
        switch self {
        case .off: return false
        case .only(let names):
            return names.contains {
                Octets.equal(bytes, range, lowercase: $0) || Octets.equal(bytes, name, lowercase: $0)
            }
        case .any:
            // HTTP/2 and TLS would make the two legs speak over the proxy's head.
            return !Self.neverTunnelled.contains { Octets.equal(bytes, name, lowercase: $0) }
        }
    }

    private static let neverTunnelled = [Array("h2c".utf8), Array("h2".utf8), Array("tls".utf8)]
}
