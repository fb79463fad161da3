internal import ProxyCore
internal import Wire

/// What an exchange is known by, `$request_id`.
package struct TunnelID: Sendable, Hashable {
    var first: UInt64
    var second: UInt64

    /// A part of it, which may do where few are compared.
    var check: UInt32 { UInt32(truncatingIfNeeded: second) }

    /// As scripts see it: 32 hexadecimal digits.
    var text: [UInt8] {
        var text: [UInt8] = []
        Hexadecimal.append(first, to: &text)
        Hexadecimal.append(second, to: &text)
        return text
    }
}

/// A tunnel of another interpreter: where it was found, and which it is, since another may have its place by now.
package struct RemoteTunnel: Sendable, Hashable {
    var list: UInt32
    var slot: UInt32
    var id: TunnelID
}
