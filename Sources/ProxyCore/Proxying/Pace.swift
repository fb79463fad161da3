internal import Config
internal import Wire

/// How fast bytes may go on: so many in a second, of which those of the first second, and `free` ones before, may go at once.
/// As in nginx it is the whole that counts: what went too slowly for a while is made up for.
package struct Pace: Sendable {
    private let rate: Double
    private let free: Double
    /// Monotonic milliseconds.
    private let beganAt: Int64

    /// - Parameters:
    ///   - rate: bytes in a second, above 0.
    ///   - free: bytes that do not count.
    ///   - beganAt: monotonic milliseconds.
    package init(rate: Int, free: Int = 0, beganAt: Int64) {
        self.rate = Double(rate)
        self.free = Double(free)
        self.beganAt = beganAt
    }

    /// Few enough of them that they come evenly, and enough of them that they are worth the while.
    private func piece(of count: Int) -> Double { min(max(rate / 10, 512), 65536, Double(count)) }

    /// How many bytes may move now.
    ///
    /// - Parameters:
    ///   - moved: bytes that have moved before.
    ///   - count: bytes that there are to move, as far as that is known.
    ///   - now: monotonic milliseconds.
    /// - Returns: 0 where that has to wait.
    package func allowance(moved: Int64, of count: Int = .max, now: Int64) -> Int {
        let allowed = rate * (Double(now - beganAt) / 1000 + 1) + free - Double(moved)
        return allowed < piece(of: count) ? 0 : Int(min(allowed, 1e9))
    }

    /// When there is an allowance again: monotonic milliseconds.
    package func resumption(moved: Int64, of count: Int = .max) -> Int64 {
        let seconds = (Double(moved) - free + piece(of: count)) / rate - 1
        return beganAt + Int64(min((seconds * 1000).rounded(.up), 1e15))
    }
}

extension Exchange {
    /// How fast the response goes to the client: what the upstream says by `X-Accel-Limit-Rate`, or else what `set` has put into
    /// `$limit_rate`, or else `limit_rate`.
    ///
    /// - Returns: `nil` where there is no limit.
    /// - Throws: a value that is no size.
    package func clientPace() throws(FaultyRate) -> Pace? {
        let values = location.settings.values
        var text: [UInt8] = []
        // A script may have written it.
        if response.isEdited { noteLimitRate() }
        if let upstreamLimitRate { return try pace(upstreamLimitRate, after: values.limitRateAfter) }
        let isSet = runtime.limitRateSlot.map { assigned.append($0, to: &text) } ?? false
        if !isSet {
            guard let template = values.limitRate else { return nil }
            render(template, into: &text)
        }
        return try pace(Self.size(text), after: values.limitRateAfter)
    }

    /// Keeps what the upstream's response says by `X-Accel-Limit-Rate`, which holds for those that take its place as well. What is no
    /// number has no effect, as in nginx.
    package func noteLimitRate() {
        guard location.settings.values.proxyFollowsAccelLimitRate, let said = accelField(Self.accelLimitRate),
            let rate = ASCII.decimal(said)
        else { return }
        upstreamLimitRate = Int(rate)
    }

    /// The response may turn out to be slowed down, as far as that is known before it comes: all but what its upstream says.
    package var mayHavePace: Bool {
        let values = location.settings.values
        return values.limitRate != nil || values.proxyLimitRate != nil || runtime.limitRateSlot != nil
            || upstreamLimitRate != nil
    }

    /// How fast the response is read: `proxy_limit_rate`.
    ///
    /// - Returns: `nil` where there is no limit.
    /// - Throws: a value that is no size.
    package func upstreamPace() throws(FaultyRate) -> Pace? {
        guard let template = location.settings.values.proxyLimitRate else { return nil }
        let rate = try size(of: template)
        return rate > 0 ? Pace(rate: rate, beganAt: clock.now.monotonic) : nil
    }

    private func pace(_ rate: Int, after template: Template?) throws(FaultyRate) -> Pace? {
        guard rate > 0 else { return nil }
        let free = try template.map { template throws(FaultyRate) in try size(of: template) } ?? 0
        return Pace(rate: rate, free: free, beganAt: startedAt.monotonic)
    }

    private func size(of template: Template) throws(FaultyRate) -> Int {
        var text: [UInt8] = []
        render(template, into: &text)
        return try Self.size(text)
    }

    /// Nothing at all is 0, as in nginx.
    private static func size(_ text: [UInt8]) throws(FaultyRate) -> Int {
        if text.isEmpty { return 0 }
        guard let size = ConfigValue.size(text) else { throw FaultyRate(text: text) }
        return size
    }

    private static let accelLimitRate = Array("x-accel-limit-rate".utf8)
}

/// A rate of variables that came out as something else.
package struct FaultyRate: Error {
    package let text: [UInt8]
}
