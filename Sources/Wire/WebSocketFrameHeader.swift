/// What a frame holds (RFC 6455 §11.8). Other opcodes are reserved, and refused.
package enum WebSocketOpcode: UInt8, Sendable, CaseIterable {
    case continuation = 0x0
    case text = 0x1
    case binary = 0x2
    case close = 0x8
    case ping = 0x9
    case pong = 0xa

    package var isControl: Bool { rawValue >= 8 }
    package var beginsMessage: Bool { self == .text || self == .binary }
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
    /// RFC 6455 §5.5
    package static let maxControlPayload: Int64 = 125

    /// What the frame breaks by where it stands (RFC 6455 §5.4): frames of a message come in a row, control frames may
    /// stand between them. The reserved bits are those that the header's parser was told to allow.
    package func orderViolation(isWithinMessage: Bool) -> WebSocketFrameViolation? {
        // A pattern: an operator would look for the raw values by way of a witness.
        if case .continuation = opcode {
            guard isWithinMessage else { return .continuationWithoutStart }
            // RFC 7692 §6.1: the bit stands on the first frame only.
            return reserved & Self.reserved1 == 0 ? nil : .reservedBit
        }
        return isWithinMessage && !opcode.isControl ? .messageWithinMessage : nil
    }

    /// In tests: the length of the header itself, 2...14.
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
