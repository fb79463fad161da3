internal import ProxyCore

/// Garbage of hooks, once none has run for a while.
///
/// Lua collects as it allocates, and lets garbage grow to as much as is in use. Of a worker with many idle tunnels whose
/// hooks have all run that would be kept for as long as they are idle.
extension Interpreter {
    struct Cleaning {
        /// Milliseconds without a hook before it begins, and between two pieces of it.
        static let quiet: Int64 = 200
        static let pause: Int64 = 1
        /// Steps of a piece, which take well under a millisecond together.
        static let steps = 16

        /// When it is to be looked at next, on the monotonic clock; `.max` while there is nothing to clean.
        var time = Int64.max
        /// A hook has run since it was last looked at.
        fileprivate var wasUsed = false
        /// Rounds to go: what became garbage while a round was under way is found by the next.
        fileprivate var rounds = 0
    }

    /// A script runs.
    @inline(__always)
    func noteUse() {
        cleaning.wasUsed = true
        if cleaning.time == .max { planCleaning() }
    }

    private func planCleaning() {
        cleaning.time = host.clock.now.monotonic + Cleaning.quiet
        host.setAlarm(at: cleaning.time)
    }

    /// Collects a piece, where no hook has run since the last look.
    func clean(_ now: Int64) {
        if cleaning.wasUsed {
            cleaning.wasUsed = false
            cleaning.rounds = 2
            cleaning.time = now + Cleaning.quiet
            return
        }
        for _ in 0..<Cleaning.steps where collectSome() {
            cleaning.rounds -= 1
            if cleaning.rounds == 0 {
                cleaning.time = .max
                trimMemory()
                return
            }
        }
        cleaning.time = now + Cleaning.pause
    }
}
