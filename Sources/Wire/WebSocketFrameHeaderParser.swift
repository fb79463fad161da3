/// A breach of the framing rules. All of them close the connection with 1002, and their text as the reason.
package enum WebSocketFrameViolation: String, Sendable, Error, CaseIterable {
    case reservedBit = "reserved bit set"
    case reservedOpcode = "reserved opcode"
    case fragmentedControl = "fragmented control frame"
    case controlTooLong = "control frame longer than 125 bytes"
    case lengthNotMinimal = "length not in its shortest form"
    case lengthTooLarge = "length of 2^63 or more"
    case missingMask = "client's frame without a mask"
    case unexpectedMask = "server's frame with a mask"
    case continuationWithoutStart = "continuation of no message"
    case messageWithinMessage = "message begun within another"

    package var closeCode: UInt16 { WebSocketCloseCode.protocolError }
}

/// Reads frame headers out of a stream, whatever the cuts in it.
///
/// Holds the bytes of a header that is not whole yet, so the caller need not keep them. Ready for the next
/// header once it gave one out; after `invalid` there is nothing more to read.
package struct WebSocketFrameHeaderParser: Sendable {
    package enum Progress: Sendable, Equatable {
        /// All of the input belongs to the header and is taken; more is needed.
        case needsMore
        /// The header ended before position `end` of the input: there the payload starts.
        case header(WebSocketFrameHeader, end: Int)
        case invalid(WebSocketFrameViolation)
    }

    private let role: WebSocketRole
    private let allowedReserved: UInt8
    private var held = InlineArray<14, UInt8>(repeating: 0)
    private var count = 0

    /// - Parameters:
    ///   - role: the receiving side, ours.
    ///   - allowedReserved: the reserved bits that a negotiated extension uses.
    package init(role: WebSocketRole, allowedReserved: UInt8 = 0) {
        self.role = role
        self.allowedReserved = allowedReserved
    }

    /// Reads `input` from `offset` (0...count) on.
    package mutating func parse(_ input: RawSpan, from offset: Int) -> Progress {
        let octets = input.octets
        var position = offset
        if count == 0 {
            let progress = Self.read(octets, at: offset, as: role, allowedReserved: allowedReserved)
            guard progress == .needsMore else { return progress }
        }
        while position < octets.count {
            held[count] = octets[position]
            count += 1
            position += 1
            let progress = Self.read(
                held.span.extracting(0..<count), at: 0, as: role, allowedReserved: allowedReserved)
            switch progress {
            case .needsMore: continue
            case .invalid: return progress
            case .header(let header, _):
                count = 0
                return .header(header, end: position)
            }
        }
        return .needsMore
    }

    /// Reads the header that begins at `start`, holding nothing: `needsMore` when it is not whole. The first two bytes
    /// are judged even then: a peer that speaks something else is found out at once.
    package static func read(
        _ octets: Span<UInt8>, at start: Int, as role: WebSocketRole, allowedReserved: UInt8
    ) -> Progress {
        let available = octets.count &- start
        guard available > 0 else { return .needsMore }
        let first = octets[start]
        let reserved = first &>> 4 & 7
        guard reserved & ~allowedReserved == 0 else { return .invalid(.reservedBit) }
        guard let opcode = WebSocketOpcode(rawValue: first & 15) else { return .invalid(.reservedOpcode) }
        if opcode.isControl {
            // RFC 6455 §5.5. Extensions may give control frames reserved bits; no known one does (RFC 7692 §6.1).
            if first & 0x80 == 0 { return .invalid(.fragmentedControl) }
            if reserved != 0 { return .invalid(.reservedBit) }
        }
        guard available > 1 else { return .needsMore }
        let second = octets[start &+ 1]
        let isMasked = second & 0x80 != 0
        switch role {
        case .server: if !isMasked { return .invalid(.missingMask) }
        case .client: if isMasked { return .invalid(.unexpectedMask) }
        }
        var length = UInt64(second & 0x7f)
        if length > 125, opcode.isControl { return .invalid(.controlTooLong) }
        var end = start &+ 2
        if length > 125 {
            let bytes = length == 126 ? 2 : 8
            guard available >= 2 &+ bytes else { return .needsMore }
            length = 0
            for index in end..<end &+ bytes { length = length &<< 8 | UInt64(octets[index]) }
            end &+= bytes
            guard length > (bytes == 2 ? 125 : 0xffff) else { return .invalid(.lengthNotMinimal) }
            // RFC 6455 §5.2: the highest bit is 0.
            guard length <= UInt64(Int64.max) else { return .invalid(.lengthTooLarge) }
        }
        var key: WebSocketMaskKey?
        if isMasked {
            guard octets.count &- end >= 4 else { return .needsMore }
            key = WebSocketMaskKey(octets[end], octets[end &+ 1], octets[end &+ 2], octets[end &+ 3])
            end &+= 4
        }
        let header = WebSocketFrameHeader(
            opcode, payloadLength: Int64(length), isFinal: first & 0x80 != 0, reserved: reserved,
            maskKey: key)
        return .header(header, end: end)
    }
}
