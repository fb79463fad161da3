/// What an HTTP/2 client's connection begins with (RFC 9113 §3.4).
package enum HTTP2Preface {
    package enum Match: Sendable { case no, partial, whole }

    /// How ALPN names HTTP/2 over TLS (RFC 9113 §3.2).
    package static let applicationProtocol = Array("h2".utf8)

    package static let bytes = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    /// Whether a connection that began with `start` speaks HTTP/2, as far as that can be told yet.
    package static func match(_ start: Span<UInt8>) -> Match {
        let known = min(start.count, bytes.count)
        for index in 0..<known where start[index] != bytes[index] { return .no }
        return known == bytes.count ? .whole : .partial
    }
}
