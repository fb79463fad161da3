/// Something that the loop watches: a file descriptor with what to do when it can be read or written.
///
/// Registered once, edge-triggered, for both directions: the kernel reports a change, and the channel remembers
/// it in `mayRead` and `mayWrite` until a call comes back short. So no system call is spent on telling the
/// kernel what is of interest now, and pausing a source is simply not reading it.
///
/// Confined to its loop's thread.
///
/// Open, and so public, because only an open class can be subclassed in another module.
open class Channel {
    package let loop: EventLoop
    package fileprivate(set) var descriptor: Int32
    /// The loop's name for this channel: its slot, and a generation that tells later owners of the slot apart.
    fileprivate var key: ChannelKey?
    /// A read may find bytes, or the end.
    package var mayRead = false
    /// A write may be taken.
    package var mayWrite = false
    /// The peer closed its sending side, or the connection failed: reading goes on until that is seen.
    package fileprivate(set) var sawHangup = false
    /// The connection is broken in both directions (EPOLLHUP, EPOLLERR), rather than ended in one.
    package fileprivate(set) var sawFailure = false
    fileprivate var isScheduled = false
    private var isLevelTriggered = false

    /// When `deadlinePassed` is due, in milliseconds of the loop's clock; `EventLoop.never` for not at all.
    package private(set) var deadline = EventLoop.never
    /// The earliest entry for this channel in the loop's queue. Moving a deadline later costs nothing: the entry
    /// stays, finds at its time that the deadline has moved, and goes in again.
    fileprivate var queuedDeadline = EventLoop.never

    package init(loop: EventLoop, descriptor: Int32) {
        self.loop = loop
        self.descriptor = descriptor
    }

    // MARK: To be overridden

    /// Bytes, or an end, may be waiting; `mayRead` is true.
    open func readable() {}
    /// `readable` has something to do besides reading: one that was scheduled is called for that, too.
    open var hasWork: Bool { false }
    /// There is room again; `mayWrite` is true.
    open func writable() {}
    /// The deadline came, and was taken away.
    open func deadlinePassed() {}
    /// Nothing is under way, and the channel is there until its deadline only in case there is again.
    open var isAtRest: Bool { false }
    /// Ends one that is at rest before its deadline.
    open func endRest() {}
    /// The descriptor is about to be closed.
    func willClose() {}

    // MARK: For subclasses

    package var isOpen: Bool { descriptor != Self.closed }

    private static let closed: Int32 = -1
    private static let noDescriptor: Int32 = -2
    /// Nothing is watched: the channel has a deadline and that is all.
    var keepsTimeOnly: Bool { descriptor == Self.noDescriptor }

    /// A channel without a descriptor of its own, which needs no `register`: for its deadline, or for a `StreamTransport`.
    package init(timerOn loop: EventLoop) {
        self.loop = loop
        descriptor = Self.noDescriptor
        key = loop.add(timer: self)
    }

    /// Starts watching. Errors: the process or the system is out of watches (ENOSPC, ENOMEM).
    package final func register(levelTriggered: Bool = false) throws(SystemError) {
        key = try loop.add(self, levelTriggered: levelTriggered)
        isLevelTriggered = levelTriggered
    }

    /// As `register`, for initialisers: the channel is closed where it cannot be watched.
    package final func registerOrClose() throws(SystemError) {
        do throws(SystemError) {
            try register()
        } catch {
            close()
            throw error
        }
    }

    package final func setDeadline(_ time: Int64) {
        deadline = time
        if time < queuedDeadline, let key {
            queuedDeadline = time
            loop.queueDeadline(time, key: key)
        }
    }

    package final func clearDeadline() { deadline = EventLoop.never }

    /// Calls `readable` once more in this turn of the loop, after the channels that are ready now, if there may be
    /// something to read or `hasWork` says so.
    ///
    /// For a source that stopped before it was empty: because others are to have their turn, or because its
    /// destination was full and no longer is.
    package final func scheduleRead() {
        guard !isScheduled, let key else { return }
        isScheduled = true
        loop.schedule(key)
    }

    /// Stops watching and closes the descriptor. Safe to call again.
    package final func close() {
        guard isOpen else { return }
        willClose()
        release(closing: true)
    }

    /// Stops watching and gives the descriptor away.
    package final func detach() -> Int32 {
        let descriptor = descriptor
        release(closing: false)
        return descriptor
    }

    /// For level-triggered channels: the kernel keeps what happens to itself until `resumeWatching`.
    final func suspendWatching() {
        if let key { loop.watch(self, key: key, interested: false) }
    }

    final func resumeWatching() {
        if let key { loop.watch(self, key: key, interested: true) }
    }

    private func release(closing: Bool) {
        if let key {
            // A listening socket has other descriptors elsewhere: closing this one does not end the watch.
            loop.remove(self, key: key, closing: closing && !isLevelTriggered)
            self.key = nil
        }
        if closing && !keepsTimeOnly { loop.closeSocket(descriptor) }
        descriptor = Self.closed
        deadline = EventLoop.never
        queuedDeadline = EventLoop.never
        mayRead = false
        mayWrite = false
    }
}

/// Names a channel for as long as it is registered.
struct ChannelKey: Equatable, Sendable {
    var slot: UInt32
    var generation: UInt32

    var packed: UInt64 { UInt64(generation) << 32 | UInt64(slot) }

    init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    init(packed: UInt64) {
        slot = UInt32(truncatingIfNeeded: packed)
        generation = UInt32(truncatingIfNeeded: packed >> 32)
    }
}

extension Channel {
    /// What a transport without a descriptor has to tell, as the loop does for those with one.
    package final func becomes(readable: Bool = false, writable: Bool = false, failed: Bool = false) {
        var events: UInt32 = 0
        if readable { events |= EventLoop.input }
        if writable { events |= EventLoop.output }
        if failed { events |= EventLoop.failure }
        handle(events: events)
    }

    /// The loop's side of an event.
    final func handle(events: UInt32) {
        let failed = events & (EventLoop.hangup | EventLoop.failure) != 0
        if failed || events & EventLoop.peerClosed != 0 { sawHangup = true }
        if failed { sawFailure = true }
        if failed || events & (EventLoop.input | EventLoop.peerClosed) != 0 { mayRead = true }
        if failed || events & EventLoop.output != 0 {
            mayWrite = true
            writable()
        }
        if mayRead && isOpen { readable() }
    }

    final func runScheduled() {
        isScheduled = false
        if isOpen && (mayRead || hasWork) { readable() }
    }

    /// Whether the queue's entry for `time` is still of use.
    final func waitsFor(deadlineEntry time: Int64) -> Bool { time == queuedDeadline }

    /// An entry of the queue came up. Returns the time at which to look again, if at all.
    final func deadlineEntryCame(_ time: Int64, now: Int64) -> Int64? {
        guard time == queuedDeadline else { return nil }  // an earlier entry took over
        queuedDeadline = EventLoop.never
        if deadline <= now {
            deadline = EventLoop.never
            deadlinePassed()
            return nil
        }
        guard deadline != EventLoop.never else { return nil }
        queuedDeadline = deadline
        return deadline
    }
}
