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
    package let scratch: UnsafeMutableRawBufferPointer

    private let epoll: Int32
    private var slots: [Slot] = []
    private var freeSlots: [UInt32] = []
    private var deadlines = Heap<Deadline>()
    private var scheduled: [ChannelKey] = []
    private var scheduledBatch: [ChannelKey] = []
    private let events: UnsafeMutableBufferPointer<epoll_event>
    private let mailbox: Mailbox
    private var isStopping = false

    /// - Parameter scratchSize: bytes of one read at most.
    package init(scratchSize: Int = 128 * 1024) throws(SystemError) {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC.rawValue))
        guard epoll >= 0 else { throw SystemError("epoll_create1") }
        mailbox = try Mailbox()
        // Both buffers live as long as the loop and are given back in `deinit`.
        unsafe scratch = .allocate(byteCount: scratchSize, alignment: 64)
        unsafe events = .allocate(capacity: Self.maxEvents)
        unsafe events.initialize(repeating: epoll_event())
        readClocks()
        let waker = WakeChannel(loop: self, descriptor: mailbox.descriptor)
        try waker.register()
    }

    deinit {
        _ = Glibc.close(epoll)
        unsafe scratch.deallocate()
        unsafe events.deallocate()
    }

    /// What other threads hold of this loop: a way to have it run something.
    package var poster: EventLoopPoster { EventLoopPoster(mailbox: mailbox) }

    package func stop() { isStopping = true }

    /// Runs until `stop` is called.
    package func run() {
        while !isStopping { turn(wait: true) }
        isStopping = false
    }

    /// One turn: waits (unless told not to) for something to happen, and handles all of it.
    package func turn(wait: Bool) {
        var timeout: Int32 = 0
        if wait && scheduled.isEmpty {
            timeout = -1
            if let next = deadlines.min {
                timeout = Int32(clamping: max(0, next.time - now))
            }
        }
        // The buffer holds `maxEvents` entries, and the kernel writes at most that many.
        let count = unsafe epoll_wait(epoll, events.baseAddress, Int32(Self.maxEvents), timeout)
        readClocks()
        if count > 0 {
            for index in 0..<Int(count) {
                let event = unsafe events[index]
                let data = unsafe withUnsafePointer(to: event) { unsafe sy_epoll_data($0) }
                channel(ChannelKey(packed: data))?.handle(events: event.events)
            }
        }
        runScheduled()
        runDeadlines()
        afterTurn?()
    }

    private func runScheduled() {
        guard !scheduled.isEmpty else { return }
        swap(&scheduled, &scheduledBatch)
        for key in scheduledBatch { channel(key)?.runScheduled() }
        scheduledBatch.removeAll(keepingCapacity: true)
    }

    private func runDeadlines() {
        while let next = deadlines.min, next.time <= now {
            deadlines.removeMin()
            guard let channel = channel(ChannelKey(packed: next.key)) else { continue }
            if let again = channel.deadlineEntryCame(next.time, now: now) {
                deadlines.insert(Deadline(time: again, key: next.key))
            }
        }
    }

    private func readClocks() {
        now = Self.milliseconds(CLOCK_MONOTONIC)
        unixNow = Self.milliseconds(CLOCK_REALTIME)
    }

    package static func milliseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        // `time` outlives the call, which cannot fail for these two clocks.
        unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    // MARK: For Channel

    func add(_ channel: Channel, levelTriggered: Bool) throws(SystemError) -> ChannelKey {
        let slot: UInt32
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = UInt32(slots.count)
            slots.append(Slot())
        }
        let key = ChannelKey(slot: slot, generation: slots[Int(slot)].generation)
        let interest =
            levelTriggered
            ? Self.input | Self.exclusive
            : Self.input | Self.output | Self.peerClosed | Self.edgeTriggered
        guard sy_epoll_control(epoll, EPOLL_CTL_ADD, channel.descriptor, interest, key.packed) == 0 else {
            let error = SystemError("epoll_ctl")
            freeSlots.append(slot)
            throw error
        }
        slots[Int(slot)].channel = channel
        return key
    }

    /// - Parameter closing: the descriptor is about to be closed, which by itself ends the kernel's watch.
    func remove(_ channel: Channel, key: ChannelKey, closing: Bool) {
        if !closing { _ = sy_epoll_control(epoll, EPOLL_CTL_DEL, channel.descriptor, 0, 0) }
        slots[Int(key.slot)].channel = nil
        slots[Int(key.slot)].generation &+= 1
        freeSlots.append(key.slot)
    }

    func queueDeadline(_ time: Int64, key: ChannelKey) {
        deadlines.insert(Deadline(time: time, key: key.packed))
    }

    func schedule(_ key: ChannelKey) { scheduled.append(key) }

    private func channel(_ key: ChannelKey) -> Channel? {
        let slot = slots[Int(key.slot)]
        return slot.generation == key.generation ? slot.channel : nil
    }

    fileprivate func runPosted() {
        for work in mailbox.takeAll() { work() }
    }
}

/// A handle on a loop that any thread may hold.
package struct EventLoopPoster: Sendable {
    fileprivate let mailbox: Mailbox

    /// Has the loop's thread run `work` soon. Work posted to a loop that has ended is dropped.
    package func post(_ work: @escaping @Sendable () -> Void) { mailbox.put(work) }
}

/// Work from other threads, and the descriptor that wakes the loop for it.
private final class Mailbox: Sendable {
    let descriptor: Int32
    private let work = Mutex<[@Sendable () -> Void]>([])

    init() throws(SystemError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC.rawValue | EFD_NONBLOCK.rawValue))
        guard descriptor >= 0 else { throw SystemError("eventfd") }
    }

    deinit { _ = Glibc.close(descriptor) }

    func put(_ item: @escaping @Sendable () -> Void) {
        work.withLock { $0.append(item) }
        _ = eventfd_write(descriptor, 1)
    }

    func takeAll() -> [@Sendable () -> Void] {
        work.withLock { items in
            defer { items = [] }
            return items
        }
    }
}

private final class WakeChannel: Channel {
    override func readable() {
        var count: eventfd_t = 0
        // `count` outlives the call; the result does not matter, since the mailbox is looked at anyway.
        _ = unsafe eventfd_read(descriptor, &count)
        mayRead = false
        loop.runPosted()
    }
}

/// A system call that failed.
package struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    package let call: String
    package let code: Int32

    /// Takes the code from `errno`.
    package init(_ call: String) {
        self.call = call
        code = errno
    }

    package init(_ call: String, code: Int32) {
        self.call = call
        self.code = code
    }

    /// As nginx writes it: `bind() failed (98: Address already in use)`.
    package var description: String { "\(call)() failed (\(code): \(reason))" }

    package var reason: String { Self.reason(code) }

    package static func reason(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        // The GNU strerror_r returns a string that is valid at least as long as the buffer it was given.
        return unsafe buffer.withUnsafeMutableBufferPointer { buffer in
            guard let text = unsafe strerror_r(code, buffer.baseAddress, buffer.count) else { return "error \(code)" }
            return unsafe String(cString: text)
        }
    }
}
