internal import Synchronization
package import TLS

/// What TLS keeps for the life of the process, across reloads: caches of sessions and of OCSP
/// answers by name, OCSP responses, the keys of tickets, and what early data was taken.
package final class TLSCommons: Sendable {
    package let ticketKeys = TLSTicketKeys()
    package let earlyData = EarlyDataRegister()
    private let caches = Mutex<[String: TLSSessionCache]>([:])
    private let ocspCaches = Mutex<[String: OCSPCache]>([:])

    private let staples = Mutex<[[UInt8]: WeakStaple]>([:])

    private struct WeakStaple { weak var staple: TLSStaple? }

    package init() {}

    /// The staple that stands for `staple`, if some configuration still has one, with the response that it has got.
    func shared(_ staple: TLSStaple) -> TLSStaple {
        staples.withLock { staples in
            if let known = staples[staple.identifier]?.staple { return known }
            staples = staples.filter { $0.value.staple != nil }
            staples[staple.identifier] = WeakStaple(staple: staple)
            return staple
        }
    }

    /// The cache of that name; where there is none yet, one of that size.
    func cache(named name: String, size: Int) -> TLSSessionCache { Self.zone(name, size: size, in: caches) }

    /// As `cache(named:size:)`.
    func ocspCache(named name: String, size: Int) -> OCSPCache { Self.zone(name, size: size, in: ocspCaches) }

    private static func zone<Zone: SharedZone>(
        _ name: String, size: Int, in zones: borrowing Mutex<[String: Zone]>
    ) -> Zone {
        zones.withLock { zones in
            if let known = zones[name] { return known }
            let zone = Zone(size: size)
            zones[name] = zone
            return zone
        }
    }
}
