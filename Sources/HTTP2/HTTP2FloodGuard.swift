/// Tells a peer that keeps the proxy busy with frames that lead nowhere from one that uses them as meant.
///
/// A budget in the manner of a token bucket: each frame that moves nothing costs, time and work that was done give
/// back. Rapid resets (CVE-2023-44487), resets that the peer provokes, floods of PING, SETTINGS, PRIORITY, empty
/// frames and CONTINUATION, and windows that are opened a byte at a time all come down to it.
///
/// Content that goes out is answered by frames that are no use by themselves: windows are opened, and PINGs measure how
/// fast it came. Those are paid for by that content, however small its pieces.
///
/// What a peer may have sent before it knew that a stream has ended here costs nothing (RFC 9113 §5.1, "closed"): as much
/// content as the stream's window had room for, and a few frames beside that. To pass it over is the least that content
/// can cause, and each such stream was begun by a request.
struct HTTP2FloodGuard {
    enum Cost: Int {
        /// PRIORITY, WINDOW_UPDATE, acknowledgements, unknown frames.
        case frame = 1
        case ping = 2
        /// Of a stream that was under way for some time: there cannot be more of those than streams at a time allow.
        case lateReset = 3
        /// DATA without content that ends nothing, and a WINDOW_UPDATE that has a stream send a few bytes: a frame each, where
        /// one would have done for all.
        case sliver = 4
        case continuation = 5
        case reset = 8
        case settings = 10
    }

    static let burst = 1500
    /// Given back in each second.
    static let rate: Int64 = 150

    /// Of a frame of content that went out: a window of the stream and one of the connection are opened, and one PING at a time
    /// is on its way.
    private static let answersToData = 2 * Cost.frame.rawValue + Cost.ping.rawValue
    /// What goes out in a window of the usual size as pieces of a few bytes.
    private static let maxAnswers = 16_384 * answersToData

    private var budget = HTTP2FloodGuard.burst
    /// What answers to content may still cost.
    private var answers = 0
    private var filledAt: Int64 = 0
    /// Bytes of content, and frames of other kinds, that may still come for streams that have ended here.
    private var lateBytes: Int64 = 0
    private var lateFrames = 0
    /// Bytes beyond that for which nothing was charged yet.
    private var excessBytes: Int64 = 0

    mutating func timePassed(now: Int64) {
        let elapsed = now &- filledAt
        guard elapsed >= 10 else { return }
        filledAt = now
        budget = min(Self.burst, budget &+ Int(min(elapsed, 10_000) &* Self.rate / 1000))
    }

    /// False when there is no budget left.
    mutating func spend(_ cost: Cost) -> Bool { spend(cost.rawValue) }

    mutating func spend(_ amount: Int) -> Bool {
        budget &-= amount
        return budget >= 0
    }

    /// A WINDOW_UPDATE or a PING: false where it is no answer to content, and costs as others do.
    mutating func spendAnswer(_ cost: Cost) -> Bool {
        guard answers >= cost.rawValue else { return false }
        answers &-= cost.rawValue
        return true
    }

    mutating func sentData() {
        budget = min(Self.burst, budget &+ 2)
        answers = min(Self.maxAnswers, answers &+ Self.answersToData)
    }
    /// Such as the message that is answered by another.
    mutating func receivedData() { budget = min(Self.burst, budget &+ 2) }
    mutating func completedStream() { budget = min(Self.burst, budget &+ 4) }

    // MARK: What comes late

    private static let lateFramesOfStream = 4
    private static let bytesOfUnit: Int64 = 256

    /// A stream has ended here before the peer ended its side.
    ///
    /// - Parameters:
    ///   - window: bytes of content that the peer may have sent.
    ///   - streams: as many as there can be for which the peer does not know it yet.
    ///   - streamWindow: the most that one of them may send.
    mutating func endedEarly(window: Int, of streams: Int, streamWindow: Int) {
        // Frames have heads: those that are not tiny add no more than this.
        func withHeads(_ bytes: Int) -> Int64 {
            let bytes = Int64(clamping: bytes)
            return bytes &+ bytes / 8 &+ Self.bytesOfUnit
        }
        let most = withHeads(streamWindow).multipliedClamping(Int64(clamping: streams))
        lateBytes = min(most, lateBytes &+ withHeads(max(0, window)))
        lateFrames = min(
            Self.lateFramesOfStream.multipliedClamping(streams), lateFrames &+ Self.lateFramesOfStream)
    }

    /// A frame without content came for a stream that there is not.
    mutating func spendLate(_ cost: Cost) -> Bool {
        guard lateFrames > 0 else { return spend(cost) }
        lateFrames &-= 1
        return true
    }

    /// So many bytes of frames were passed over.
    mutating func passedOver(_ bytes: Int64) -> Bool {
        excessBytes &+= max(0, bytes &- lateBytes)
        lateBytes = max(0, lateBytes &- bytes)
        let units = excessBytes / Self.bytesOfUnit
        excessBytes %= Self.bytesOfUnit
        return units == 0 || spend(Int(units))
    }

    /// An unknown frame, of so many bytes.
    mutating func spendUnknown(_ length: Int) -> Bool {
        spend(Cost.frame.rawValue &+ length / Int(Self.bytesOfUnit))
    }
}
