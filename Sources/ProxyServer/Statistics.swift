internal import ProxyCore
internal import Synchronization

/// What one worker counts. Written by its own thread alone, read by any.
package final class WorkerStatistics: Sendable {
    package let accepted = Counter()
    package let active = Counter()
    package let requests = Counter()
    /// Connections whose request head is being read.
    package let reading = Counter()
    /// Connections with an exchange in progress, and streams of HTTP/2.
    package let writing = Counter()
    /// Streams of HTTP/2 but for the first of each connection.
    package let furtherStreams = Counter()
    /// Responses by class: index 1 for 1xx … 5 for 5xx.
    package let responses: [Counter] = (0..<6).map { _ in Counter() }
    package let clientBytesIn = Counter()
    package let clientBytesOut = Counter()
    package let upgrades = Counter()
    package let upgradesRefused = Counter()
    package let tunnels = Counter()
    package let tunnelBytesIn = Counter()
    package let tunnelBytesOut = Counter()
    package let badRequests = Counter()
    package let clientAborts = Counter()
    package let requestSeconds = Histogram()
    package let clientHandshakes = HandshakeStatistics()
    package let upstreamHandshakes = HandshakeStatistics()
    package let tunnelSeconds = Histogram(bounds: [1, 10, 60, 300, 1800, 3600, 14400, 86400])
    private let upstreams = Mutex<[String: UpstreamStatistics]>([:])
    private let zones = Mutex<[LimitStatistics.Zone: LimitStatistics]>([:])

    package init() {}

    /// The counters of an upstream group, made when first asked for; they outlive reloads.
    package func upstream(_ name: String) -> UpstreamStatistics {
        upstreams.withLock { $0.entry(name, orElse: UpstreamStatistics()) }
    }

    /// The counters of a zone of limits, likewise.
    package func limits(of zone: LimitStatistics.Zone) -> LimitStatistics {
        zones.withLock { $0.entry(zone, orElse: LimitStatistics()) }
    }

    /// A response with `status` went to a client.
    func countResponse(status: Int) { responses.count(status: status) }

    /// Nothing of the worker is open any more.
    func closeAll() {
        for gauge in [active, reading, writing, furtherStreams, tunnels] { gauge.add(-gauge.value) }
        for upstream in upstreamsByName.values { upstream.idle.add(-upstream.idle.value) }
    }

    package var upstreamsByName: [String: UpstreamStatistics] { upstreams.withLock { $0 } }
    package var limitsByZone: [LimitStatistics.Zone: LimitStatistics] { zones.withLock { $0 } }
}

extension Dictionary {
    /// What stands at the key; where nothing does, `fresh` from now on.
    fileprivate mutating func entry(_ key: Key, orElse fresh: @autoclosure () -> Value) -> Value {
        if let known = self[key] { return known }
        let fresh = fresh()
        self[key] = fresh
        return fresh
    }
}

/// What a zone of `limit_req` or `limit_conn` did to requests.
package final class LimitStatistics: Sendable {
    package struct Zone: Hashable, Sendable {
        /// Of `limit_req`, or else of `limit_conn`.
        package var limitsRequests: Bool
        package var name: String
    }

    package let delayed = Counter()
    package let rejected = Counter()
    package let delayedInDryRun = Counter()
    package let rejectedInDryRun = Counter()

    package init() {}

    func count(_ status: LimitStatus) {
        switch status {
        case .none, .passed: break
        case .delayed: delayed.add()
        case .rejected: rejected.add()
        case .delayedInDryRun: delayedInDryRun.add()
        case .rejectedInDryRun: rejectedInDryRun.add()
        }
    }
}

/// Of the handshakes of TLS on one leg.
package final class HandshakeStatistics: Sendable {
    package let full = Counter()
    package let resumed = Counter()
    /// Those that came to no end, whoever gave them up.
    package let failed = Counter()
    /// Of the others, round trips and turns that they waited for included.
    package let seconds = Histogram()

    package init() {}

    func established(isResumed: Bool, milliseconds: Int64) {
        (isResumed ? resumed : full).add()
        seconds.observe(milliseconds: Int(clamping: milliseconds))
    }
}

package final class UpstreamStatistics: Sendable {
    package let attempts = Counter()
    package let failures = Counter()
    package let retries = Counter()
    package let connectionsOpened = Counter()
    package let connectionsReused = Counter()
    package let idle = Counter()
    package let bytesSent = Counter()
    package let bytesReceived = Counter()
    package let connectSeconds = Histogram()
    package let headerSeconds = Histogram()
    package let responses: [Counter] = (0..<6).map { _ in Counter() }

    package init() {}

    /// A response with `status` came from the upstream.
    func countResponse(status: Int) { responses.count(status: status) }
}

extension [Counter] {
    /// Of counters by class of status; what is of no class counts as its nearest.
    fileprivate func count(status: Int) { self[Swift.min(5, Swift.max(0, status / 100))].add() }
}

/// A number with one writer: no locked instruction is needed to change it.
package final class Counter: Sendable {
    private let storage = Atomic<Int>(0)

    package init() {}

    package var value: Int { storage.load(ordering: .relaxed) }

    package func add(_ amount: Int = 1) {
        storage.store(storage.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }
}

/// Observations by size, in the form of a Prometheus histogram.
package final class Histogram: Sendable {
    /// Upper bounds in seconds; what is above the last is counted in `count` only.
    package let bounds: [Double]
    package let counts: [Counter]
    package let count = Counter()
    /// Milliseconds.
    package let sum = Counter()

    package init(bounds: [Double] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]) {
        self.bounds = bounds
        counts = bounds.map { _ in Counter() }
    }

    package func observe(milliseconds: Int) {
        let seconds = Double(milliseconds) / 1000
        // Buckets are cumulative only when they are written out: one counter is touched here.
        if let index = bounds.firstIndex(where: { seconds <= $0 }) { counts[index].add() }
        count.add()
        sum.add(milliseconds)
    }
}
