/// A breach of the framing rules. All of them close the connection with 1002.
package enum WebSocketFrameViolation: String, Sendable, Error, CaseIterable {
    case reservedBit, reservedOpcode, fragmentedControl, controlTooLong, lengthNotMinimal, lengthTooLarge
    case missingMask, unexpectedMask, continuationWithoutStart, messageWithinMessage

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

    /// Whether a header was begun and not finished.
    package var isWithinHeader: Bool { count > 0 }

    /// Reads `input` from `offset` (0...count) on.
    package mutating func parse(_ input: RawSpan, from offset: Int) -> Progress {
        let octets = input.octets
        var position = offset
        while position < octets.count {
            held[count] = octets[position]
            count += 1
            position += 1
            // The first two bytes are judged as they come: a peer that speaks something else is found out at
            // once.
            if count == 1, let violation = violationInFirstByte { return .invalid(violation) }
            if count == 2, let violation = violationInSecondByte { return .invalid(violation) }
            guard count >= 2, count == neededCount else { continue }
            count = 0
            return finish(at: position)
        }
        return .needsMore
    }

    private var opcode: WebSocketOpcode? { WebSocketOpcode(rawValue: held[0] & 15) }
    private var lengthField: UInt8 { held[1] & 0x7f }
    private var isMasked: Bool { held[1] & 0x80 != 0 }
    private var lengthBytes: Int { lengthField < 126 ? 0 : lengthField == 126 ? 2 : 8 }
    private var neededCount: Int { 2 + lengthBytes + (isMasked ? 4 : 0) }

    private var violationInFirstByte: WebSocketFrameViolation? {
        guard held[0] >> 4 & 7 & ~allowedReserved == 0 else { return .reservedBit }
        guard let opcode else { return .reservedOpcode }
        guard opcode.isControl else { return nil }
        // RFC 6455 §5.5. Extensions may give control frames reserved bits; no known one does (RFC 7692 §6.1).
        if held[0] & 0x80 == 0 { return .fragmentedControl }
        return held[0] >> 4 & 7 == 0 ? nil : .reservedBit
    }

    private var violationInSecondByte: WebSocketFrameViolation? {
        switch role {
        case .server: if !isMasked { return .missingMask }
        case .client: if isMasked { return .unexpectedMask }
        }
        return opcode?.isControl == true && lengthField > 125 ? .controlTooLong : nil
    }

    private func finish(at end: Int) -> Progress {
        guard let opcode else { return .invalid(.reservedOpcode) }
        var length = UInt64(lengthField)
        if lengthBytes > 0 {
            length = 0
            for index in 2..<2 + lengthBytes { length = length << 8 | UInt64(held[index]) }
            guard length > (lengthBytes == 2 ? 125 : 0xffff) else { return .invalid(.lengthNotMinimal) }
            // RFC 6455 §5.2: the highest bit is 0.
            guard length <= UInt64(Int64.max) else { return .invalid(.lengthTooLarge) }
        }
        var key: WebSocketMaskKey?
        if isMasked {
            let start = 2 + lengthBytes
            key = WebSocketMaskKey(held[start], held[start + 1], held[start + 2], held[start + 3])
        }
        let header = WebSocketFrameHeader(
            opcode, payloadLength: Int64(length), isFinal: held[0] & 0x80 != 0, reserved: held[0] >> 4 & 7,
            maskKey: key)
        return .header(header, end: end)
    }
}
