internal import EventLoop
internal import Glibc

enum BenchClock {
    /// Nanoseconds of the monotonic clock.
    static func now() -> Int64 {
        var time = timespec()
        // `time` outlives the call, which cannot fail for this clock.
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// A deadline without a connection: watches a socket that nothing is ever sent to.
final class TimerChannel: Channel {
    private(set) var hasPassed = false

    /// Begins to wait; `delay` is in milliseconds.
    init(loop: EventLoop, delay: Int64) throws(SystemError) {
        let type = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_UNIX, type, 0)
        guard descriptor >= 0 else { throw SystemError("socket") }
        super.init(loop: loop, descriptor: descriptor)
        try registerOrClose()
        setDeadline(loop.now + delay)
    }

    override func deadlinePassed() { hasPassed = true }
}

enum ProcessLimits {
    /// Allows this process as many descriptors as it may have.
    static func raiseDescriptors() {
        var limit = rlimit()
        // `limit` outlives both calls. When they fail, connecting will say so.
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
