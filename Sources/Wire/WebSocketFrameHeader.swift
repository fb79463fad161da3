/// What a frame holds (RFC 6455 §11.8). Other opcodes are reserved, and refused.
package enum WebSocketOpcode: UInt8, Sendable, CaseIterable {
    case continuation = 0x0
    case text = 0x1
    case binary = 0x2
    case close = 0x8
    case ping = 0x9
    case pong = 0xa

    package var isControl: Bool { rawValue >= 8 }
}

/// The side of a connection that receives; it decides who masks (RFC 6455 §5.1).
package enum WebSocketRole: Sendable {
    /// Receives masked frames and sends unmasked ones.
    case server
    /// Receives unmasked frames and sends masked ones.
    case client
}

/// Everything of a frame but its payload (RFC 6455 §5.2).
package struct WebSocketFrameHeader: Sendable, Equatable {
    package var isFinal: Bool
    /// RSV1 is bit 2, RSV2 bit 1, RSV3 bit 0.
    package var reserved: UInt8
    package var opcode: WebSocketOpcode
    package var maskKey: WebSocketMaskKey?
    /// Bytes, 0...Int64.max; at most 125 in a control frame.
    package var payloadLength: Int64

    package init(
        _ opcode: WebSocketOpcode, payloadLength: Int64, isFinal: Bool = true, reserved: UInt8 = 0,
        maskKey: WebSocketMaskKey? = nil
    ) {
        self.isFinal = isFinal
        self.reserved = reserved
        self.opcode = opcode
        self.maskKey = maskKey
        self.payloadLength = payloadLength
    }

    /// The first of the reserved bits: a message compressed by permessage-deflate (RFC 7692 §6).
    package static let reserved1: UInt8 = 0b100
    package static let maxEncodedLength = 14
    /// RFC 6455 §5.5
    package static let maxControlPayload: Int64 = 125

    /// The length of the header itself, 2...14.
    package var encodedLength: Int {
        let lengthBytes = payloadLength < 126 ? 0 : payloadLength <= 0xffff ? 2 : 8
        return 2 + lengthBytes + (maskKey == nil ? 0 : 4)
    }

    /// Appends the header's bytes, the payload length in its shortest form. A negative length counts as 0.
    package func append(to output: inout [UInt8]) {
        output.append((isFinal ? 0x80 : 0) | (reserved & 7) << 4 | opcode.rawValue)
        let maskBit: UInt8 = maskKey == nil ? 0 : 0x80
        let length = UInt64(max(payloadLength, 0))
        if length < 126 {
            output.append(maskBit | UInt8(truncatingIfNeeded: length))
        } else if length <= 0xffff {
            output.append(maskBit | 126)
            Self.append(length, bytes: 2, to: &output)
        } else {
            output.append(maskBit | 127)
            Self.append(length, bytes: 8, to: &output)
        }
        if let maskKey {
            for index in 0..<4 { output.append(maskKey[index]) }
        }
    }

    private static func append(_ value: UInt64, bytes: Int, to output: inout [UInt8]) {
        for index in (0..<bytes).reversed() {
            output.append(UInt8(truncatingIfNeeded: value >> UInt64(index * 8)))
        }
    }
}

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

/// Follows which frames may come after which (RFC 6455 §5.4): the frames of a message in a row, control
/// frames between them.
package struct WebSocketFrameSequence: Sendable {
    /// A message was begun and its last frame has not come.
    package private(set) var isWithinMessage = false

    package init() {}

    package mutating func accept(_ header: WebSocketFrameHeader) -> WebSocketFrameViolation? {
        switch header.opcode {
        case .close, .ping, .pong:
            return nil
        case .continuation:
            guard isWithinMessage else { return .continuationWithoutStart }
            // RFC 7692 §6.1: the bit stands on the first frame only.
            guard header.reserved == 0 else { return .reservedBit }
        case .text, .binary:
            guard !isWithinMessage else { return .messageWithinMessage }
        }
        isWithinMessage = !header.isFinal
        return nil
    }
}

/// Status codes of close frames (RFC 6455 §7.4 and the IANA registry).
package enum WebSocketCloseCode {
    package static let normal: UInt16 = 1000
    package static let goingAway: UInt16 = 1001
    package static let protocolError: UInt16 = 1002
    package static let invalidPayload: UInt16 = 1007
    package static let policyViolation: UInt16 = 1008
    package static let messageTooBig: UInt16 = 1009
    package static let internalError: UInt16 = 1011

    /// Whether a close frame may carry `code`: the registered ones but 1004 to 1006 and 1015, which only
    /// stand for the lack of a frame, and those that libraries (3000) and applications (4000) choose.
    package static func isValidOnWire(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}
