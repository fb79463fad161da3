internal import EventLoop

/// Has something happen at a fixed rate, whatever becomes of it (an open loop).
///
/// Times are whole milliseconds of the monotonic clock, on which the loop's timer wakes; above 1000 a second, those of a
/// millisecond come together. What is late because this process was is still counted from when it was due.
final class Pacer: Channel {
    private let rate: Int64
    private let total: Int64
    private let due: (Int64) -> Void
    private var done: Int64 = 0
    private var start: Int64 = 0

    /// - Parameters:
    ///   - loop: on whose thread it happens.
    ///   - rate: times in a second, 1...1000000.
    ///   - total: times in all.
    ///   - due: is given the nanoseconds of the monotonic clock at which it was due.
    init(loop: EventLoop, rate: Int, total: Int, due: @escaping (Int64) -> Void) {
        self.rate = Int64(rate)
        self.total = Int64(total)
        self.due = due
        super.init(timerOn: loop)
    }

    /// Begins, some milliseconds from now.
    func begin() {
        start = BenchClock.now() / 1_000_000 + 5
        setDeadline(start)
    }

    /// The millisecond in which the time of this number is due, from the start.
    static func time(ofNumber number: Int64, rate: Int64) -> Int64 { number * 1000 / rate }

    override func deadlinePassed() {
        let now = BenchClock.now() / 1_000_000
        while done < total {
            let time = start + Self.time(ofNumber: done, rate: rate)
            guard time <= now else { return setDeadline(time) }
            done += 1
            due(time * 1_000_000)
        }
        close()
    }
}
