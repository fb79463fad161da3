internal import CSwitchyard
internal import Glibc

/// Ends the loop's wait when its next deadline comes: a timer of the kernel's, watched like a socket.
///
/// A timeout given to each wait would do as well, but costs a timer of the kernel's set up and taken away again each
/// time. Deadlines mostly move later while the earliest one queued stays, so this timer is seldom touched.
final class WakeTimer: Channel {
    /// When it comes, in milliseconds of the monotonic clock; `EventLoop.never` when it is not set.
    private var time = EventLoop.never

    convenience init(loop: EventLoop) throws(SystemError) {
        let descriptor = sy_timer_create()
        guard descriptor >= 0 else { throw SystemError("timerfd_create") }
        self.init(loop: loop, descriptor: descriptor)
        try registerOrClose()
    }

    /// Has the loop woken at `deadline`, which is above 0, or before. Waking too early is harmless: the loop finds
    /// nothing to do and sets the timer again.
    ///
    /// - Returns: false when the system refuses; the loop has to time its wait itself then.
    func wake(by deadline: Int64) -> Bool {
        if deadline >= time { return true }
        guard sy_timer_set(descriptor, deadline) == 0 else { return false }
        time = deadline
        return true
    }

    /// The time came. What the descriptor has counted needs no reading: setting it anew takes that back.
    override func readable() {
        mayRead = false
        time = EventLoop.never
    }
}
