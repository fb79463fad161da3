internal import Synchronization

/// What responders said of clients' certificates, shared by all workers and kept across reloads: nginx's
/// `ssl_ocsp_cache shared:name:size`.
package final class OCSPCache: SharedZone {
    /// An answer without an end is kept for this many seconds.
    private static let maxAge = 3600

    private let answers: Mutex<BoundedCache<OCSPStatus>>

    /// - Parameter size: bytes.
    package init(size: Int) { answers = Mutex(BoundedCache(limit: size)) }

    package func resize(to size: Int) { answers.withLock { $0.resize(to: size) } }

    package var count: Int { answers.withLock { $0.count } }

    /// - Parameters:
    ///   - query: after the certificate's status.
    ///   - now: seconds since 1970.
    /// - Returns: what is kept of an answer; `nil` where nothing is.
    func status(_ query: OCSPQuery, now: Int) -> OCSPStatus? {
        answers.withLock { $0.value(at: query.request, now: now) }
    }

    /// Keeps an answer for as long as it holds.
    ///
    /// - Parameters:
    ///   - answer: whether it is a good one or not.
    ///   - query: that it answers.
    ///   - now: seconds since 1970.
    func put(_ answer: OCSPAnswer, to query: OCSPQuery, now: Int) {
        let left = answer.secondsLeft ?? Self.maxAge
        guard left > 0 else { return }
        answers.withLock { $0.put(answer.status, ofSize: 1, at: query.request, until: now + left) }
    }
}
