internal import CSwitchyard
internal import EventLoop
internal import Synchronization

/// Gives memory back to the system when a burst of work is over.
///
/// By itself the allocator gives back what lies above everything in use. What stays of a burst lies among what its
/// buffers have left, and holds all of that: of 2000 tunnels, each kept 9 KB after messages of 64 KB, with 1.5 KB in use.
/// To look through what is free takes the allocator's locks, so that the last worker does it that falls quiet.
final class HeapTrimmer {
    private let loop: EventLoop
    private let alarm: Alarm
    /// Lets go of what is kept for the next burst.
    var fallenQuiet: () -> Void = {}
    private var burst: Burst?
    private var hasMuch = false
    /// Others wait for the end of this burst with giving back.
    private var isWaitedFor = false
    /// The loop's, when the last burst was over.
    private var workBefore = 0
    private static let eventsOfConnection = 8
    /// Workers that are in a burst.
    private static let busyWorkers = Atomic<Int>(0)

    init(loop: EventLoop) {
        self.loop = loop
        alarm = Alarm(loop: loop)
        alarm.rang = { [unowned self] in secondPassed() }
    }

    deinit { endBurst() }

    func close() { alarm.close() }

    /// A connection has closed, after however little it did: what it held is worth as much as `eventsOfConnection` events.
    func connectionEnded() { workBefore &-= Self.eventsOfConnection }

    /// Much is free at once that no event stands for, such as a configuration that is no longer used. It is given back
    /// whatever else goes on.
    func muchWasFreed() {
        hasMuch = true
        if burst == nil { begin() }
    }

    func turnEnded() {
        if burst == nil, loop.work &- workBefore >= Burst.least { begin() }
    }

    private func begin() {
        burst = Burst(work: loop.work)
        isWaitedFor = true
        Self.busyWorkers.add(1, ordering: .relaxed)
        alarm.setDeadline(loop.now + 1000)
    }

    private func secondPassed() {
        guard burst?.isOver(work: loop.work) == true else {
            // What goes on and on is no burst: others need not wait for its end.
            if isWaitedFor, burst?.isLasting == true, leaveBusy() { sy_trim_heap() }
            return alarm.setDeadline(loop.now + 1000)
        }
        workBefore = loop.work
        fallenQuiet()
        endBurst()
    }

    private func endBurst() {
        guard burst != nil else { return }
        burst = nil
        let isLast = isWaitedFor && leaveBusy()
        if isLast || hasMuch { sy_trim_heap() }
        hasMuch = false
    }

    /// - Returns: whether nobody is in a burst any more.
    private func leaveBusy() -> Bool {
        isWaitedFor = false
        return Self.busyWorkers.subtract(1, ordering: .relaxed).newValue == 0
    }
}

/// Much work at once, second by second, until there is much less of it. Work is counted as `EventLoop.work` does.
struct Burst {
    /// Less than that is none, however long it takes.
    static let least = 1024
    /// In any of its seconds.
    private var most = 0
    private var seconds = 0
    private var work: Int

    /// Half a minute of it have gone by.
    var isLasting: Bool { seconds >= 30 }

    /// - Parameter work: how much there has been before.
    init(work: Int) { self.work = work }

    /// Whether the second that ends now had less than a quarter of the busiest one's work, or next to none.
    mutating func isOver(work: Int) -> Bool {
        let done = work &- self.work
        self.work = work
        most = max(most, done)
        seconds += 1
        return done < max(most / 4, 16)
    }
}
