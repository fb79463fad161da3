internal import Digest
package import Wire

/// The answer to a WebSocket handshake.
package enum WebSocketAccept {
    /// The value of `Sec-WebSocket-Accept` for a request (RFC 6455 §4.2.2); `nil` when it has no key.
    package static func value(for head: RequestHead) -> String? {
        var source: [UInt8] = []
        guard WebSocketHandshake.appendAcceptSource(of: head, to: &source) else { return nil }
        return value(ofSource: source)
    }

    /// The same for a key by itself, as a client has it.
    package static func value(forKey key: String) -> String? {
        value(ofSource: Array(key.utf8) + WebSocketHandshake.guid)
    }

    private static func value(ofSource source: [UInt8]) -> String? {
        guard let digest = SHA1.digest(source.span) else { return nil }
        let bytes = digest.indices.map { digest[$0] }
        return String(decoding: Wire.Base64.encode(bytes), as: UTF8.self)
    }
}
