/// Tells a peer that keeps the proxy busy with frames that lead nowhere from one that uses them as meant.
///
/// A budget in the manner of a token bucket: each frame that moves nothing costs, time and work that was done give
/// back. Rapid resets (CVE-2023-44487), resets that the peer provokes, floods of PING, SETTINGS, PRIORITY, empty
/// frames and CONTINUATION, and windows that are opened a byte at a time all come down to it.
struct HTTP2FloodGuard {
    enum Cost: Int {
        /// PRIORITY, WINDOW_UPDATE, acknowledgements, unknown frames.
        case frame = 1
        case ping = 2
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

    private var budget = HTTP2FloodGuard.burst
    private var filledAt: Int64 = 0

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

    /// Two windows are opened for a frame of data, at most.
    mutating func sentData() { budget = min(Self.burst, budget &+ 2) }
    mutating func completedStream() { budget = min(Self.burst, budget &+ 4) }
}
