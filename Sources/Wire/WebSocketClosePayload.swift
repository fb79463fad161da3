/// What a close frame says (RFC 6455 §5.5.1).
package struct WebSocketClosePayload: Sendable, Equatable {
    /// `nil` when the frame is empty; `WebSocketCloseCode.noStatus` stands for that where a number is needed.
    package var code: UInt16?
    /// Where the reason stands in the payload; UTF-8.
    package var reason: Range<Int>

    package enum Violation: String, Sendable, Error, CaseIterable {
        case tooShort = "close frame with one byte of a code"
        /// One that no frame may carry (RFC 6455 §7.4).
        case invalidCode = "invalid close code"
        case reasonNotUTF8 = "close reason is not UTF-8"

        package var closeCode: UInt16 {
            switch self {
            case .tooShort, .invalidCode: WebSocketCloseCode.protocolError
            case .reasonNotUTF8: WebSocketCloseCode.invalidPayload
            }
        }
    }

    /// What of a control frame's 125 bytes is left for the reason.
    package static let maxReason = 123

    package init(code: UInt16?, reason: Range<Int> = .empty) {
        self.code = code
        self.reason = reason
    }

    /// Reads a whole payload, without its mask.
    package static func parse(_ payload: Span<UInt8>) -> Result<WebSocketClosePayload, Violation> {
        if payload.isEmpty { return .success(WebSocketClosePayload(code: nil)) }
        guard payload.count >= 2 else { return .failure(.tooShort) }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        guard WebSocketCloseCode.isValidOnWire(code) else { return .failure(.invalidCode) }
        guard UTF8Validator.accepts(payload.extracting(2..<payload.count)) else {
            return .failure(.reasonNotUTF8)
        }
        return .success(WebSocketClosePayload(code: code, reason: 2..<payload.count))
    }

    /// Appends a payload of at most 125 bytes: a reason that is too long, which has to be UTF-8, is cut before the
    /// character that does not fit.
    package static func append(code: UInt16, reason: Span<UInt8>, to output: inout [UInt8]) {
        output.append(UInt8(truncatingIfNeeded: code >> 8))
        output.append(UInt8(truncatingIfNeeded: code))
        output.append(copying: reason, 0..<length(of: reason))
    }

    /// How many bytes of `reason` are sent, so that the frame's header can be written first.
    package static func length(of reason: Span<UInt8>) -> Int {
        guard reason.count > maxReason else { return reason.count }
        var end = maxReason
        while end > 0, reason[end] & 0xc0 == 0x80 { end &-= 1 }
        return end
    }
}
