/// Stands for the system's clocks: time passes when it is told to.
///
/// Where a loop is to act on what comes due, `EventLoop.advance(by:)` moves it; this alone does not.
package final class FakeClock {
    /// Milliseconds of the monotonic clock.
    package private(set) var monotonic: Int64
    /// Milliseconds since 1970.
    package private(set) var unix: Int64

    /// - Parameters:
    ///   - monotonic: far enough from zero that a time before the start is no negative number.
    ///   - unix: the time of the day at the start; 14 November 2023, 22:13:20 UTC, unless given.
    package init(monotonic: Int64 = 1_000_000, unix: Int64 = 1_700_000_000_000) {
        self.monotonic = monotonic
        self.unix = unix
    }

    /// Lets `milliseconds` pass, at least none.
    package func advance(by milliseconds: Int64) {
        let step = max(0, milliseconds)
        monotonic = monotonic.advanced(clamping: step)
        unix = unix.advanced(clamping: step)
    }
}
