package import Config
internal import Wire

/// Whether a failed try is followed by one at another peer: `proxy_next_upstream` and its kin.
///
/// That nothing of a response has reached the client, and that the request's body can be sent again, is the
/// business of `ExchangeStateMachine`, which asks here last.
package struct RetryPolicy: Sendable, Equatable {
    private let conditions: NextUpstream
    /// Milliseconds from the first try on; 0 is without limit.
    private let timeout: Int64
    /// `proxy_next_upstream_tries`, for `PeerGroup.begin`.
    package let maxTries: Int

    package init(_ settings: Settings.Values) {
        conditions = settings.proxyNextUpstream
        timeout = Int64(settings.proxyNextUpstreamTimeout)
        maxTries = settings.proxyNextUpstreamTries
    }

    /// POST, LOCK and PATCH: sending them twice may do twice what they ask for.
    package static func isIdempotent(_ method: [UInt8]) -> Bool {
        // The lengths of the three.
        guard method.count == 4 || method.count == 5 else { return true }
        return !(Method.post.equals(method) || Method.patch.equals(method) || Method.lock.equals(method))
    }

    /// Whether another try may follow `failure`, once `PeerGroup.finish` has recorded it.
    ///
    /// `nonIdempotent` says that the request was sent, at least in part, and is not idempotent; the first try began
    /// at `firstTryAt`, in monotonic milliseconds, as is `now`.
    package func allows(
        _ failure: ProxyFailure, nonIdempotent: Bool, selection: PeerSelection, firstTryAt: Int64, now: Int64
    ) -> Bool {
        permits(failure, nonIdempotent: nonIdempotent, firstTryAt: firstTryAt, now: now)
            && selection.tries > 0
    }

    /// A request that is not idempotent may be sent again though a peer has it.
    package var repeatsNonIdempotent: Bool { conditions.contains(.nonIdempotent) }

    /// Whether a response with this status is to be given up for another try, where `hasOther` says that there may be
    /// one; otherwise it goes to the client as it is.
    package func rejects(status: Int, nonIdempotent: Bool, hasOther: Bool, firstTryAt: Int64, now: Int64)
        -> Bool
    {
        guard hasOther, NextUpstream(status: status) != nil else { return false }
        return permits(
            ProxyFailure(.unwantedStatus(status)), nonIdempotent: nonIdempotent, firstTryAt: firstTryAt,
            now: now)
    }

    private func permits(_ failure: ProxyFailure, nonIdempotent: Bool, firstTryAt: Int64, now: Int64) -> Bool
    {
        guard failure.retry == .anyPeer, !conditions.contains(.off), let condition = failure.condition,
            conditions.contains(condition)
        else { return false }
        if nonIdempotent, !conditions.contains(.nonIdempotent) { return false }
        return timeout == 0 || now - firstTryAt < timeout
    }

    /// What a failed try means for its peer's health.
    ///
    /// That a connection broke that was `reused`, from the pool, says only that the peer had closed it, and the try
    /// does not count.
    package static func outcome(of failure: ProxyFailure, reused: Bool) -> PeerOutcome {
        switch failure.kind {
        case .unwantedStatus(403), .unwantedStatus(404): .passedOver
        case .refusedStream, .sendFailed, .readFailed(_, .sendingRequest), .readFailed(_, .readingHead),
            .closedEarly(.readingHead),
            .closedEarly(.sendingRequest):
            reused ? .stale : .failed
        case .noLivePeers, .noResolver, .unresolved, .invalidTarget: .passedOver
        default: .failed
        }
    }
}
