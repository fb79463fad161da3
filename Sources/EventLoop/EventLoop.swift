internal import CSwitchyard
internal import Glibc
internal import HeapModule
internal import Synchronization

/// One thread's loop: waits for channels, runs what other threads posted, and keeps time.
///
/// It stands on epoll itself: a socket costs the loop a slot in an array, where a library's handle costs 160
/// bytes and more system calls to re-arm. docs/design.md has the measurements.
package final class EventLoop {
    package static let never = Int64.max

    static let input = UInt32(EPOLLIN.rawValue)
    static let output = UInt32(EPOLLOUT.rawValue)
    static let peerClosed = UInt32(EPOLLRDHUP.rawValue)
    static let hangup = UInt32(EPOLLHUP.rawValue)
    static let failure = UInt32(EPOLLERR.rawValue)
    private static let edgeTriggered: UInt32 = 1 << 31
    private static let exclusive: UInt32 = 1 << 28
    private static let maxEvents = 512

    private struct Slot {
        var channel: Channel?
        var generation: UInt32 = 0
    }

    private struct Deadline: Comparable {
        var time: Int64
        var key: UInt64

        static func < (a: Deadline, b: Deadline) -> Bool { a.time < b.time }
    }

    /// Milliseconds of the monotonic clock, read once a turn.
    package private(set) var now: Int64 = 0
    /// Milliseconds since 1970, read once a turn.
    package private(set) var unixNow: Int64 = 0
    /// Called after each turn's channels, before waiting: for work that is best done once a turn.
    package var afterTurn: (() -> Void)?
    /// Where every read of this loop's channels goes first: nothing stays in it from one call to the next.
    private let scratch: ScratchBuffer
    /// How many buffers are being looked at.
    private var lent = 0
    /// Those for reads meanwhile.
    private var spares: [ScratchBuffer] = []

    /// What this loop has in place of the kernel's sockets, in tests; `nil` otherwise.
    let memory: MemoryNetwork?
    /// Connections are in memory, as in tests of scripts: there TLS is left out, and peers see what is inside it.
    package var isInMemory: Bool { memory != nil }
    /// The epoll descriptor; none on a network in memory.
    private let epoll: Int32
    private var slots: [Slot] = []
    private var freeSlots: [UInt32] = []
    private var deadlines = Heap<Deadline>()
    private var dueBatch: [Deadline] = []
    /// Set by `afterTurn` where it has left something to do: the next turn does not wait.
    package var turnsAgain = false
    /// How much there has been to do: events of channels, and each 16 KB that they brought. Wraps around.
    package private(set) var work = 0
    private var scheduled: [ChannelKey] = []
    private var scheduledBatch: [ChannelKey] = []
    private var events = [sy_event](repeating: sy_event(), count: EventLoop.maxEvents)
    private let mailbox: Mailbox
    private var waker: WakeChannel?
    private var timer: WakeTimer?
    private var isStopping = false
    /// Stands for the system's clocks in tests.
    private let clock: FakeClock?
    /// A test moves the clocks.
    package var hasFakeClock: Bool { clock != nil }

    /// `scratchSize` bounds one read, in bytes.
    package convenience init(scratchSize: Int = 512 * 1024) throws(SystemError) {
        try self.init(scratchSize: scratchSize, clock: nil)
    }

    /// A loop without a descriptor of the kernel's, for tests: its connections are those of `network`, and it never
    /// waits. `runUntilIdle` and `advance` drive it.
    package init(network: MemoryNetwork, clock: FakeClock, scratchSize: Int = 64 * 1024) {
        self.clock = clock
        memory = network
        epoll = -1
        mailbox = Mailbox(descriptor: -1)
        scratch = ScratchBuffer(size: scratchSize)
        readClocks()
    }

    /// With a clock that a test moves; only turns that do not wait make sense then.
    init(scratchSize: Int, clock: FakeClock?) throws(SystemError) {
        self.clock = clock
        memory = nil
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw SystemError("epoll_create1") }
        mailbox = try Mailbox.waking()
        scratch = ScratchBuffer(size: scratchSize)
        readClocks()
        let waker = WakeChannel(loop: self, descriptor: mailbox.descriptor)
        try waker.register()
        self.waker = waker
        timer = try WakeTimer(loop: self)
    }

    deinit { if epoll >= 0 { _ = Glibc.close(epoll) } }

    /// What other threads hold of this loop: a way to have it run something.
    package var poster: EventLoopPoster { EventLoopPoster(mailbox: mailbox) }

    package func stop() { isStopping = true }

    /// Stops watching for posted work and time, which is what keeps a loop that has no channels from being freed. Work that was
    /// posted and has not been run never will be, nor what is posted from now on: it is let go of.
    package func close() {
        mailbox.close()
        _ = waker?.detach()
        waker = nil
        timer?.close()
        timer = nil
    }

    /// Runs until `stop` is called.
    package func run() {
        while !isStopping { turn(wait: true) }
        isStopping = false
    }

    /// One turn: waits (unless told not to) for something to happen, and handles all of it.
    package func turn(wait: Bool) {
        let count = memory == nil ? waitForEvents(wait) : pollMemory()
        readClocks()
        if count > 0 {
            work &+= count
            for index in 0..<count {
                let event = events[index]
                channel(ChannelKey(packed: event.data))?.handle(events: event.events)
            }
        }
        runScheduled()
        runDeadlines()
        afterTurn?()
    }

    private func waitForEvents(_ wait: Bool) -> Int {
        let timeout = wait && scheduled.isEmpty && !turnsAgain ? timeout() : 0
        // The array holds `maxEvents` entries, and the kernel writes at most that many.
        return unsafe events.withUnsafeMutableBufferPointer { events in
            Int(unsafe sy_epoll_wait(epoll, events.baseAddress, Int32(events.count), timeout))
        }
    }

    private func pollMemory() -> Int {
        runPosted()
        return memory?.poll(into: &events) ?? 0
    }

    /// For how many milliseconds to wait at most, as `epoll_wait` takes it.
    private func timeout() -> Int32 {
        guard let next = deadlines.min else { return -1 }
        if next.time <= now { return 0 }
        if let timer, timer.wake(by: next.time) { return -1 }
        return Int32(clamping: next.time - now)
    }

    private func runScheduled() {
        guard !scheduled.isEmpty else { return }
        swap(&scheduled, &scheduledBatch)
        for key in scheduledBatch { channel(key)?.runScheduled() }
        scheduledBatch.removeAll(keepingCapacity: true)
    }

    private func runDeadlines() {
        guard let first = deadlines.min, first.time <= now else { return }
        // What is set meanwhile, for now, is for the next turn: else one that is always due would keep the others out.
        var due: [Deadline] = []
        swap(&due, &dueBatch)
        while let next = deadlines.min, next.time <= now {
            deadlines.removeMin()
            due.append(next)
        }
        for next in due {
            guard let channel = channel(ChannelKey(packed: next.key)) else { continue }
            if let again = channel.deadlineEntryCame(next.time, now: now) {
                deadlines.insert(Deadline(time: again, key: next.key))
            }
        }
        due.removeAll(keepingCapacity: true)
        swap(&due, &dueBatch)
    }

    private func readClocks() {
        if let clock {
            now = clock.monotonic
            unixNow = clock.unix
            return
        }
        let before = now
        now = Self.milliseconds(CLOCK_MONOTONIC)
        // Both count milliseconds: one call is enough until the next of them.
        if now != before { unixNow = Self.milliseconds(CLOCK_REALTIME) }
    }

    /// What the system's clocks say, in milliseconds, for whoever has no loop.
    package static var systemTime: (unix: Int64, monotonic: Int64) {
        (milliseconds(CLOCK_REALTIME), milliseconds(CLOCK_MONOTONIC))
    }

    private static func milliseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        // `time` outlives the call, which cannot fail for these two clocks.
        unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    // MARK: For Channel

    /// Reads from `descriptor` into the scratch buffer, at most `limit` bytes.
    func read(_ descriptor: Int32, limit: Int) -> Int {
        if let memory {
            return memory.read(descriptor, limit: min(limit, scratchSize)) { free.fill(from: $0) }
        }
        return free.fill(from: descriptor, limit: limit)
    }

    /// As `read` from a kernel's socket, where the bytes stay.
    func peek(_ descriptor: Int32, limit: Int) -> Int {
        free.fill(from: descriptor, limit: limit, flags: Int32(MSG_PEEK))
    }

    @inline(__always)
    private var free: ScratchBuffer { lent == 0 ? scratch : spare() }

    private func spare() -> ScratchBuffer {
        if spares.count < lent { spares.append(ScratchBuffer(size: scratchSize)) }
        return spares[lent - 1]
    }

    /// As above, from what a channel has in place of its socket; an `errno` value below zero on failure.
    func read(_ transport: StreamTransport, limit: Int) -> Int { free.fill(from: transport, limit: limit) }

    /// Lends what the last read of any channel of this loop has left in the scratch buffer.
    ///
    /// Reads that come of looking at it, of whichever channel, go to a buffer of their own: nobody is given bytes of
    /// another peer for those that they hold.
    ///
    /// - Parameters:
    ///   - count: as the read returned.
    ///   - look: is given the bytes.
    /// - Returns: what `look` does.
    @inline(__always)
    package func withReceived<Result>(_ count: Int, _ look: (Span<UInt8>) -> Result) -> Result {
        let bytes = lend(count)
        defer { takeBack() }
        return look(bytes)
    }

    /// As `withReceived`, for whoever cannot afford a closure; `takeBack` ends it.
    @_lifetime(borrow self)
    package func lend(_ count: Int) -> Span<UInt8> {
        // It lives as long as this loop.
        let bytes = unsafe _overrideLifetime(free.bytes(count), borrowing: self)
        lent &+= 1
        work &+= count >> 14
        return bytes
    }

    package func takeBack() { lent &-= 1 }

    package var scratchSize: Int { scratch.size }

    func add(_ channel: Channel, levelTriggered: Bool) throws(SystemError) -> ChannelKey {
        let key = takeSlot()
        let interest =
            levelTriggered
            ? Self.input | Self.exclusive
            : Self.input | Self.output | Self.peerClosed | Self.edgeTriggered
        guard startWatching(channel.descriptor, interest, key) else {
            let error = SystemError("epoll_ctl")
            freeSlots.append(key.slot)
            throw error
        }
        slots[Int(key.slot)].channel = channel
        return key
    }

    /// As above, for a channel of which nothing is to be watched.
    func add(timer channel: Channel) -> ChannelKey {
        let key = takeSlot()
        slots[Int(key.slot)].channel = channel
        return key
    }

    private func takeSlot() -> ChannelKey {
        let slot: UInt32
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = UInt32(slots.count)
            slots.append(Slot())
        }
        return ChannelKey(slot: slot, generation: slots[Int(slot)].generation)
    }

    /// With `closing`, the descriptor is about to be closed, which by itself ends the kernel's watch.
    func remove(_ channel: Channel, key: ChannelKey, closing: Bool) {
        if !closing && !channel.keepsTimeOnly { stopWatching(channel.descriptor) }
        slots[Int(key.slot)].channel = nil
        slots[Int(key.slot)].generation &+= 1
        freeSlots.append(key.slot)
    }

    /// EPOLLEXCLUSIVE does not allow a change of interest, so the descriptor leaves and comes back.
    func watch(_ channel: Channel, key: ChannelKey, interested: Bool) {
        if interested {
            _ = startWatching(channel.descriptor, Self.input | Self.exclusive, key)
        } else {
            stopWatching(channel.descriptor)
        }
    }

    private func startWatching(_ descriptor: Int32, _ interest: UInt32, _ key: ChannelKey) -> Bool {
        if let memory {
            return memory.watch(
                descriptor, interest: interest, levelTriggered: interest & Self.edgeTriggered == 0,
                key: key.packed)
        }
        return sy_epoll_control(epoll, EPOLL_CTL_ADD, descriptor, interest, key.packed) == 0
    }

    private func stopWatching(_ descriptor: Int32) {
        if let memory { return memory.unwatch(descriptor) }
        _ = sy_epoll_control(epoll, EPOLL_CTL_DEL, descriptor, 0, 0)
    }

    func queueDeadline(_ time: Int64, key: ChannelKey) {
        deadlines.insert(Deadline(time: time, key: key.packed))
        // Short connections with long timeouts would leave entries behind by the thousand.
        if deadlines.count > 1024 + 4 * (slots.count - freeSlots.count) { forgetStaleDeadlines() }
    }

    private func forgetStaleDeadlines() {
        deadlines = Heap(
            deadlines.unordered.filter { entry in
                channel(ChannelKey(packed: entry.key))?.waitsFor(deadlineEntry: entry.time) ?? false
            })
    }

    /// Entries in the queue of deadlines, for tests: those of closed channels stay for a while.
    var queuedDeadlines: Int { deadlines.count }

    /// Microseconds of the monotonic clock, looked up anew.
    package var microseconds: Int64 {
        guard memory == nil else { return now &* 1000 }
        var time = timespec()
        // The pointer is used during the call alone.
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) &* 1_000_000 &+ Int64(time.tv_nsec) / 1000
    }

    /// Calls `body` with every channel that is registered now. It may close any of them.
    package func forEachChannel(_ body: (Channel) -> Void) {
        for slot in slots { if let channel = slot.channel, channel.isOpen { body(channel) } }
    }

    func schedule(_ key: ChannelKey) { scheduled.append(key) }

    private func channel(_ key: ChannelKey) -> Channel? {
        let slot = slots[Int(key.slot)]
        return slot.generation == key.generation ? slot.channel : nil
    }

    func runPosted() {
        for work in mailbox.takeAll() { work() }
    }
}

/// Driving a loop on a network in memory.
extension EventLoop {
    /// Turns until nothing is left that could happen without time passing; false when `turns` of them were not
    /// enough, as where work makes more work without end.
    @discardableResult
    package func runUntilIdle(turns: Int = 200_000) -> Bool {
        for _ in 0..<turns {
            turn(wait: false)
            if !hasWork { return true }
        }
        return false
    }

    private var hasWork: Bool {
        if !scheduled.isEmpty || turnsAgain || !mailbox.isEmpty || memory?.mayBeReady == true { return true }
        return deadlines.min.map { $0.time <= now } ?? false
    }

    /// Lets `milliseconds` of the fake clock pass. What comes due on the way does so in order, each at its own time,
    /// with all that follows from it.
    ///
    /// - Parameters:
    ///   - milliseconds: how much passes.
    ///   - isOver: asked before each thing that comes due; the clock stands where it says so.
    /// - Returns: false where there is no end to what happens at one time; the clock stands there.
    @discardableResult
    package func advance(by milliseconds: Int64, until isOver: () -> Bool = { false }) -> Bool {
        guard let clock else { preconditionFailure("time of the system's clocks passes by itself") }
        let end = clock.monotonic.advanced(clamping: milliseconds)
        guard runUntilIdle() else { return false }
        while let next = deadlines.min, next.time <= end {
            guard !isOver() else { return true }
            clock.advance(by: next.time - clock.monotonic)
            guard runUntilIdle() else { return false }
        }
        clock.advance(by: end - clock.monotonic)
        return runUntilIdle()
    }
}
