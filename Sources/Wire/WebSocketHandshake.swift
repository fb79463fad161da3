/// Checks of the opening handshake of WebSocket over HTTP/1.1 (RFC 6455 §4).
package enum WebSocketHandshake {
    /// Why a request that asks for `websocket` is not a handshake, with the status that answers it.
    package enum RequestViolation: String, Sendable, Error, CaseIterable {
        case methodNotGet, versionNotHTTP1_1, hasBody, noUpgradeOption
        /// Answered with `Sec-WebSocket-Version: 13`, so that the client can try again.
        case unsupportedVersion
        case missingKey, invalidKey

        package var status: Int { self == .unsupportedVersion ? 426 : 400 }
    }

    /// Why a 101 does not answer the handshake; each is the upstream's failure.
    package enum ResponseViolation: String, Sendable, Error, CaseIterable {
        case notWebSocket, noUpgradeOption, missingAccept, wrongAccept
        case protocolNotOffered, extensionNotOffered
    }

    /// The only version there is: RFC 6455's.
    package static let version: [UInt8] = Array("13".utf8)
    /// What the key is continued with before it is hashed (RFC 6455 §1.3).
    package static let guid: [UInt8] = Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)

    /// Whether an `Upgrade` field of the head names the protocol `name`, in any case. A version behind a
    /// slash (RFC 9110 §7.8) is not part of the name. Whether `Connection` has the option, too, is not looked
    /// at.
    package static func upgradeNames(_ name: Keyword, bytes: [UInt8], fields: [FieldLine]) -> Bool {
        let octets = bytes.span
        for field in fields where field.id == .upgrade {
            var elements = ListElements(field)
            while let element = elements.next(octets) {
                let nameEnd = octets.first(UInt8(ascii: "/"), in: element)
                if name.matches(octets, element.lowerBound..<nameEnd) { return true }
            }
        }
        return false
    }

    package static let protocolName: Keyword = "websocket"

    /// Whether the request asks for an upgrade to `websocket`; whether it may is for `violation(in:)` to say.
    package static func isRequested(by head: RequestHead) -> Bool {
        head.upgradeIndex >= 0 && head.connectionHasUpgrade
            && upgradeNames(protocolName, bytes: head.bytes, fields: head.fields)
    }

    // MARK: The request

    /// What is wrong with a request that asks for `websocket`; `nil` when it is a handshake (RFC 6455
    /// §4.2.1).
    package static func violation(in head: RequestHead) -> RequestViolation? {
        guard head.isMethod(.get) else { return .methodNotGet }
        guard head.version >= .v1_1 else { return .versionNotHTTP1_1 }
        guard isRequested(by: head) else { return .noUpgradeOption }
        // Bytes of a body could not be told from those of the tunnel.
        guard !head.framing.hasBody else { return .hasBody }
        let octets = head.bytes.span
        guard let version = single(.secWebSocketVersion, in: head.fields),
            Self.versionName.matches(octets, version)
        else { return .unsupportedVersion }
        guard head.firstIndex(of: .secWebSocketKey) != nil else { return .missingKey }
        guard let key = single(.secWebSocketKey, in: head.fields), isValidKey(octets, key) else {
            return .invalidKey
        }
        return nil
    }

    /// Whether the bytes at `range` are the base64 of exactly 16 bytes: 22 characters, the last of them with
    /// its four low bits clear, and two signs of padding.
    package static func isValidKey(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard range.count == 24 else { return false }
        let start = range.lowerBound
        for position in start..<start + 22 where Base64.sextet(bytes[position]) == nil { return false }
        guard let last = Base64.sextet(bytes[start + 21]), last & 15 == 0 else { return false }
        return bytes[start + 22] == UInt8(ascii: "=") && bytes[start + 23] == UInt8(ascii: "=")
    }

    /// Appends what is hashed with SHA-1 to answer the request: its key and the GUID. False without a key.
    package static func appendAcceptSource(of head: RequestHead, to output: inout [UInt8]) -> Bool {
        guard let key = key(of: head) else { return false }
        output.append(copying: head.bytes.span, key)
        output.append(contentsOf: guid)
        return true
    }

    /// Where the request has its key; `nil` where it has none, or several.
    package static func key(of request: RequestHead) -> Range<Int>? {
        single(.secWebSocketKey, in: request.fields)
    }

    /// Where the response answers the key; `nil` where it does not, or more than once.
    package static func acceptValue(in response: ResponseHead) -> Range<Int>? {
        single(.secWebSocketAccept, in: response.fields)
    }

    // MARK: The response

    /// What is wrong with a 101 to a handshake; `nil` when it opens the tunnel (RFC 6455 §4.1, the checks of
    /// a client). `digest` is the SHA-1 of what `appendAcceptSource` gave for the request.
    package static func violation(
        in response: ResponseHead, to request: RequestHead, digest: [UInt8]
    ) -> ResponseViolation? {
        let octets = response.bytes.span
        guard let upgrade = single(.upgrade, in: response.fields), protocolName.matches(octets, upgrade)
        else {
            return .notWebSocket
        }
        guard response.connectionHasUpgrade else { return .noUpgradeOption }
        guard let accept = acceptValue(in: response) else { return .missingAccept }
        guard octets.isEqual(accept, to: Base64.encode(digest).span) else { return .wrongAccept }
        guard protocolWasOffered(response, request) else { return .protocolNotOffered }
        return extensionsWereOffered(response, request) ? nil : .extensionNotOffered
    }

    /// Whether the response chose no subprotocol, or one of those that the request offered.
    package static func protocolWasOffered(_ response: ResponseHead, _ request: RequestHead) -> Bool {
        guard response.firstIndex(of: .secWebSocketProtocol) != nil else { return true }
        let octets = response.bytes.span
        guard let chosen = single(.secWebSocketProtocol, in: response.fields), isToken(octets, chosen) else {
            return false
        }
        return lists(
            octets.extracting(chosen), as: .secWebSocketProtocol, in: request.fields, of: request.bytes)
    }

    /// Whether the request offered each extension that the response accepts, parameters not being compared.
    package static func extensionsWereOffered(_ response: ResponseHead, _ request: RequestHead) -> Bool {
        let octets = response.bytes.span
        for field in response.fields where field.id == .secWebSocketExtensions {
            var accepted = ListElements(field)
            while let element = accepted.next(octets) {
                let name = octets.extracting(ListElements.name(of: element, in: octets))
                guard
                    lists(name, as: .secWebSocketExtensions, in: request.fields, of: request.bytes)
                else { return false }
            }
        }
        return true
    }

    /// Whether the client itself offers `name`, whatever a script has made of its request since: it takes nothing else
    /// for an answer (RFC 6455 §4.1).
    package static func clientOffers(_ name: Span<UInt8>, as id: FieldID, in request: RequestHead) -> Bool {
        lists(name, as: id, in: request.receivedFields(id), of: request.bytes)
    }

    /// Whether the list fields with `id` have an element named `name`, case counting: nothing in RFC 6455 makes
    /// subprotocols and extensions insensitive to it.
    private static func lists(
        _ name: Span<UInt8>, as id: FieldID, in fields: [FieldLine], of bytes: [UInt8]
    ) -> Bool {
        ListElements.list(in: fields, id, of: bytes) { $0.isEqual($0.indices, to: name) }
    }

    // MARK: Helpers

    private static let versionName: Keyword = "13"

    /// The value of the only field with `id`; `nil` when there is none or more than one.
    private static func single(_ id: FieldID, in fields: [FieldLine]) -> Range<Int>? {
        var value: Range<Int>?
        for field in fields where field.id == id {
            guard value == nil else { return nil }
            value = field.value
        }
        return value
    }

}
