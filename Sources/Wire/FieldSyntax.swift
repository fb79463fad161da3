/// What a field's name and value may hold (RFC 9110 §5.1, §5.5), for fields that are not parsed but written.
package enum FieldSyntax {
    /// Whether `name` is a token.
    package static func isName(_ name: Span<UInt8>) -> Bool { isToken(name, 0..<name.count) }

    /// Whether `name` is of small letters, digits and hyphens alone, as nearly all names over HTTP/2 are; false for an
    /// empty one.
    package static func isPlainSmallName(_ name: Span<UInt8>) -> Bool {
        guard name.count > 0 else { return false }
        var outside: UInt64 = 0
        var position = 0
        while position &+ 8 <= name.count {
            outside |= name.bytesOutsideSmallName(at: position)
            position &+= 8
        }
        if name.count >= 8 {
            // The last eight once more, in part.
            if position < name.count { outside |= name.bytesOutsideSmallName(at: name.count &- 8) }
            return outside == 0
        }
        while position < name.count {
            guard ByteSet.smallName.contains(name[position]) else { return false }
            position &+= 1
        }
        return true
    }

    /// Whether `value` is not empty, and has neither control characters nor blanks around it.
    package static func isPlainValue(_ value: Span<UInt8>) -> Bool {
        guard value.count > 0, !value[0].isBlank, !value[value.count &- 1].isBlank else { return false }
        return value.hasNoControls || value.firstControl(from: 0, to: value.count, below: 0x20) == value.count
    }

    /// Whether `target` holds neither blanks nor control characters.
    package static func isUnbroken(_ target: Span<UInt8>) -> Bool {
        target.firstControl(from: 0, to: target.count, below: 0x21) == target.count
    }

    /// Whether `value` can stand in a line: no CR, LF, NUL or other control character but the tab. It may be empty,
    /// and bytes above 127 are taken as they are.
    package static func isValue(_ value: Span<UInt8>) -> Bool {
        if value.hasNoControls { return true }
        var position = 0
        while true {
            position = value.firstControl(from: position, to: value.count, below: 0x20)
            guard position < value.count else { return true }
            guard value[position] == .tab else { return false }
            position &+= 1
        }
    }
}

/// Fields that the proxy makes itself, so that nobody else may write them: those that delimit the body, which must
/// agree with what is sent, those that end at the next hop (RFC 9110 §7.6.1), and what answers the key of a WebSocket's client.
package enum ComputedFields {
    /// `Connection` and `Upgrade` are not among them: towards the upstream they are the configuration's business, as
    /// they are with `proxy_set_header`.
    package static let ofRequests: FieldIDSet = [
        .contentLength, .transferEncoding, .keepAlive, .proxyConnection, .te, .trailer, .http2Settings,
    ]
    package static let ofResponses: FieldIDSet = [
        .contentLength, .transferEncoding, .keepAlive, .proxyConnection, .te, .trailer, .http2Settings,
        .connection, .upgrade, .secWebSocketAccept,
    ]
}
