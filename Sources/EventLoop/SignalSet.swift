internal import CSwitchyard
internal import Glibc

/// Signals that are waited for.
package struct SignalSet: Sendable {
    private var set = sigset_t()

    package init(_ signals: [Int32]) {
        // The set is of this value, which outlives each call.
        unsafe sigemptyset(&set)
        for signal in signals { unsafe sigaddset(&set, signal) }
    }

    /// Keeps their default actions away: those that come wait until they are asked for. Of this thread, and of those that it starts.
    package func block() {
        var set = set
        // As above.
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Waits for one.
    package func wait() -> Int32 {
        var set = set
        var signal: Int32 = 0
        // Both are local values that outlive the call.
        while unsafe sigwait(&set, &signal) != 0 {}
        return signal
    }

    /// A descriptor that they are read from, as events; -1 and `errno` on failure.
    func makeDescriptor() -> Int32 {
        var set = set
        // As above.
        return unsafe signalfd(-1, &set, Int32(SFD_NONBLOCK | SFD_CLOEXEC))
    }
}
