package import Wire

/// The frames of one direction of a WebSocket, one after the other, without holding any of them (RFC 6455 §5.2, §5.4).
///
/// Whoever drives it holds what it does not take: a header that is cut, and a control frame that is not whole.
package struct WebSocketFrameStream: Sendable {
    package enum Event {
        /// All of the input was taken.
        case end
        /// What stands from the offset on is a header that is not whole.
        case cut
        /// A frame of a message, whose payload begins at the offset; its header does at `start`.
        case data(WebSocketFrameHeader, start: Int)
        /// A control frame, whose payload begins at the offset; its header does at `start`.
        case control(WebSocketFrameHeader, start: Int)
        /// A frame has ended, and `stopsAtFrames` is set.
        case boundary
        case violation(WebSocketFrameViolation)
        /// A message is longer, or of more frames, than the limits allow (1009).
        case tooBig
    }

    /// Bytes of the current data frame's payload that have not been taken.
    package private(set) var payloadLeft: Int64 = 0
    /// Of the message so far, as on the wire.
    private var messageSize: Int64 = 0
    /// Messages that have begun; wraps.
    package private(set) var messages: UInt32 = 0
    private var fragments: UInt32 = 0
    let allowedReserved: UInt8
    private var flags: Flags

    /// Packed: there are two of these for each tunnel.
    private struct Flags: OptionSet {
        var rawValue: UInt8
        static let isReceivedByClient = Flags(rawValue: 1 << 0)
        static let isWithinMessage = Flags(rawValue: 1 << 1)
        static let stopsAtFrames = Flags(rawValue: 1 << 2)
        static let inflates = Flags(rawValue: 1 << 3)
        static let isInflated = Flags(rawValue: 1 << 4)
    }

    private var role: WebSocketRole { flags[.isReceivedByClient] ? .client : .server }

    /// A message was begun, and its last frame has not begun.
    package private(set) var isWithinMessage: Bool {
        get { flags[.isWithinMessage] }
        set { flags[.isWithinMessage] = newValue }
    }

    /// `next` says where frames end that it would pass over.
    package var stopsAtFrames: Bool {
        get { flags[.stopsAtFrames] }
        set { flags[.stopsAtFrames] = newValue }
    }

    /// Messages that come compressed are inflated, and measured by who does that.
    private var inflates: Bool { flags[.inflates] }

    /// The current message, or the last, is one of those.
    private(set) var isInflated: Bool {
        get { flags[.isInflated] }
        set { flags[.isInflated] = newValue }
    }

    /// - Parameters:
    ///   - role: the side that receives these frames.
    ///   - allowedReserved: the reserved bits that negotiated extensions use.
    ///   - inflates: messages that come compressed are inflated, and not longer than what the limits have for those.
    package init(role: WebSocketRole, allowedReserved: UInt8 = 0, inflates: Bool = false) {
        flags = []
        flags[.isReceivedByClient] = role == .client
        flags[.inflates] = inflates
        self.allowedReserved = allowedReserved
    }

    /// The last frame of a message was its first.
    var isAtFirstFrame: Bool { fragments == 1 }
    /// What went by are whole frames.
    package var isAtFrameBoundary: Bool { payloadLeft == 0 }
    /// What went by are whole messages.
    package var isAtMessageBoundary: Bool { payloadLeft == 0 && !isWithinMessage }

    /// Takes input from `offset` on as far as to what is to be decided about. Of frames of messages, with `passes`, that
    /// is nothing: they are gone over.
    // The plane's loop over frames is the only place that calls it.
    @inline(__always)
    package mutating func next(
        _ bytes: Span<UInt8>, _ offset: inout Int, passes: Bool, limits: WebSocketLimits
    ) -> Event {
        while true {
            if payloadLeft > 0 {
                take(Int.max, of: bytes, &offset)
                guard payloadLeft == 0 else { return .end }
                if stopsAtFrames { return .boundary }
            }
            guard offset < bytes.count else { return .end }
            switch WebSocketFrameHeaderParser.read(
                bytes, at: offset, as: role, allowedReserved: allowedReserved)
            {
            case .needsMore: return .cut
            case .invalid(let violation): return .violation(violation)
            case .header(let header, let end):
                if header.opcode.isControl {
                    let start = offset
                    offset = end
                    return .control(header, start: start)
                }
                if let violation = follow(header) { return .violation(violation) }
                guard messageSize <= limits.maxMessage || isInflated && messageSize <= limits.maxDeflated,
                    fragments <= limits.maxFragments
                else { return .tooBig }
                let start = offset
                offset = end
                payloadLeft = header.payloadLength
                guard passes else { return .data(header, start: start) }
                if payloadLeft == 0, stopsAtFrames { return .boundary }
            }
        }
    }

    /// Takes up to `count` bytes of the current frame's payload.
    ///
    /// - Returns: where they stand.
    @discardableResult
    package mutating func take(_ count: Int, of bytes: Span<UInt8>, _ offset: inout Int) -> Range<Int> {
        let start = offset
        let taken = min(count, Int(min(Int64(bytes.count &- offset), payloadLeft)))
        offset &+= taken
        payloadLeft &-= Int64(taken)
        return start..<offset
    }

    /// The order of frames (RFC 6455 §5.4), and how much the message has by now.
    private mutating func follow(_ header: WebSocketFrameHeader) -> WebSocketFrameViolation? {
        // A pattern: an operator would look for the raw values by way of a witness.
        if case .continuation = header.opcode {
            if let violation = header.orderViolation(isWithinMessage: isWithinMessage) { return violation }
            fragments &+= 1
            let (size, overflows) = messageSize.addingReportingOverflow(header.payloadLength)
            messageSize = overflows ? .max : size
        } else {
            // Most frames begin a message where none is under way, and are spared the call.
            if isWithinMessage { return header.orderViolation(isWithinMessage: true) }
            messages &+= 1
            fragments = 1
            messageSize = header.payloadLength
            if inflates { isInflated = header.reserved == WebSocketFrameHeader.reserved1 }
        }
        isWithinMessage = !header.isFinal
        return nil
    }
}

/// How much a message may have (`websocket_max_message`, `websocket_max_fragments`).
package struct WebSocketLimits: Sendable {
    /// Bytes.
    package var maxMessage: Int64
    /// The same on the wire, of a message that is inflated, by which what it comes to is measured.
    package var maxDeflated: Int64
    package var maxFragments: UInt32

    package init(maxMessage: Int64 = .max, maxDeflated: Int64 = .max, maxFragments: UInt32 = .max) {
        self.maxMessage = maxMessage
        self.maxDeflated = maxDeflated
        self.maxFragments = maxFragments
    }
}
