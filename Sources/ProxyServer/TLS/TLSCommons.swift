internal import Synchronization
package import TLS

/// What TLS keeps for the life of the process, across reloads: caches of sessions by name, and the keys of tickets.
package final class TLSCommons: Sendable {
    package let ticketKeys = TLSTicketKeys()
    private let caches = Mutex<[String: TLSSessionCache]>([:])

    package init() {}

    /// The cache of that name, of that size from now on.
    func cache(named name: String, size: Int) -> TLSSessionCache {
        caches.withLock { caches in
            if let known = caches[name] {
                known.resize(to: size)
                return known
            }
            let cache = TLSSessionCache(size: size)
            caches[name] = cache
            return cache
        }
    }
}
