internal import COpenSSL
internal import Glibc
internal import Synchronization

/// Keeps early data from being taken twice: RFC 8446 §8.2, by recording each ClientHello that brought some, for as
/// long as OpenSSL's check of the ticket's age (§8.3) would let it come again.
///
/// One for the process, whose workers share it. Other machines with the same ticket keys know nothing of it.
package final class EarlyDataRegister: Sendable {
    private struct State {
        /// The randoms of two windows, the one that runs and the one before it.
        var recent: Set<[UInt8]> = []
        var before: Set<[UInt8]> = []
        var windowStart: Int
    }

    /// Seconds. OpenSSL lets a ticket's age be off by ten.
    static let window = 12
    /// With as many in one window, further early data is refused, and comes again after the handshake.
    static let maxEntries = 65_536

    private let startedAt: Int
    private let state: Mutex<State>

    /// - Parameter now: seconds since 1970.
    package init(now: Int) {
        startedAt = now
        state = Mutex(State(windowStart: now))
    }

    package convenience init() { self.init(now: time(nil)) }

    /// Whether early data of a ClientHello may be taken, which it may once.
    ///
    /// - Parameters:
    ///   - random: of the ClientHello, which a binder protects from changes.
    ///   - keysAreOlder: tickets of a process before this one are taken too, and whether it took the ClientHello is
    ///     not known.
    ///   - now: seconds since 1970.
    /// - Returns: false for one that came before, and where that cannot be known.
    package func take(_ random: [UInt8], keysAreOlder: Bool, now: Int) -> Bool {
        if keysAreOlder, now < startedAt + Self.window { return false }
        return state.withLock { state in
            if now >= state.windowStart + Self.window || now < state.windowStart {
                let isNext = now >= state.windowStart && now < state.windowStart + 2 * Self.window
                state.before = isNext ? state.recent : []
                state.recent = []
                state.windowStart = now
            }
            guard state.recent.count < Self.maxEntries, !state.before.contains(random) else { return false }
            return state.recent.insert(random).inserted
        }
    }
}
