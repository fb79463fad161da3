internal import Wire

/// Follows the frames of one direction of a WebSocket without holding them: where one ends, and what a close frame
/// said. A proxy's own frame may only stand between two others (RFC 6455 §5.4).
struct FrameTracker {
    private var parser: WebSocketFrameHeaderParser
    private var header: WebSocketFrameHeader?
    private var payloadLeft: Int64 = 0
    private var closePayload: [UInt8] = []
    /// The stream is no sequence of frames: nothing can be said of it any more.
    private(set) var isBroken = false
    /// Of the first close frame, once it is whole; 1005 where it has no code (RFC 6455 §7.1.5).
    private(set) var close: (code: UInt16, reason: [UInt8])?

    /// - Parameter role: the side that receives these frames.
    init(receivedBy role: WebSocketRole) {
        parser = WebSocketFrameHeaderParser(role: role, allowedReserved: 7)
    }

    /// Nothing of a frame has gone by that is not whole.
    var isAtBoundary: Bool { payloadLeft == 0 && !parser.isWithinHeader && !isBroken }

    /// Follows `bytes`, as far as to the end of a frame that ends in them where `stopsAtBoundary`.
    ///
    /// - Returns: how many were looked at.
    mutating func advance(_ bytes: Span<UInt8>, stopsAtBoundary: Bool = false) -> Int {
        var offset = 0
        while offset < bytes.count, !isBroken {
            if payloadLeft > 0 {
                let count = Int(min(Int64(bytes.count - offset), payloadLeft))
                if header?.opcode == .close { closePayload.append(copying: bytes, offset..<offset + count) }
                payloadLeft -= Int64(count)
                offset += count
                if payloadLeft == 0 { frameEnded() }
            } else {
                switch parser.parse(bytes.raw, from: offset) {
                case .needsMore: return bytes.count
                case .invalid: isBroken = true
                case .header(let header, let end):
                    offset = end
                    self.header = header
                    payloadLeft = header.payloadLength
                    if payloadLeft == 0 { frameEnded() }
                }
            }
            if stopsAtBoundary, isAtBoundary { return offset }
        }
        return isBroken ? bytes.count : offset
    }

    private mutating func frameEnded() {
        guard let header, header.opcode == .close, close == nil else { return }
        if let key = header.maskKey { key.apply(to: &closePayload, in: closePayload.indices) }
        if closePayload.count >= 2 {
            close = (UInt16(closePayload[0]) << 8 | UInt16(closePayload[1]), Array(closePayload[2...]))
        } else {
            close = (1005, [])
        }
        closePayload = []
    }

    /// A close frame; with a key it is masked, as a client's must be.
    static func closeFrame(code: UInt16, reason: [UInt8], maskKey: WebSocketMaskKey? = nil) -> [UInt8] {
        var frame: [UInt8] = []
        let payload =
            [UInt8(truncatingIfNeeded: code >> 8), UInt8(truncatingIfNeeded: code)] + reason.prefix(123)
        WebSocketFrameHeader(.close, payloadLength: Int64(payload.count), maskKey: maskKey).append(to: &frame)
        let start = frame.count
        frame += payload
        maskKey?.apply(to: &frame, in: start..<frame.count)
        return frame
    }
}
