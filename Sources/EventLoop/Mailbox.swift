internal import CSwitchyard
internal import Glibc
internal import Synchronization

/// A handle on a loop that any thread may hold.
package struct EventLoopPoster: Sendable {
    let mailbox: Mailbox

    /// Has the loop's thread run `work` soon. Work posted to a loop that has ended is dropped.
    package func post(_ work: @escaping @Sendable () -> Void) { mailbox.put(work) }
}

/// Work from other threads, and the descriptor that wakes the loop for it.
final class Mailbox: Sendable {
    /// Negative where the loop never waits, and so needs no waking.
    let descriptor: Int32
    /// `nil` once nobody takes any: work may hold its loop, which holds this.
    private let work = Mutex<[@Sendable () -> Void]?>([])

    init(descriptor: Int32) { self.descriptor = descriptor }

    static func waking() throws(SystemError) -> Mailbox {
        let descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard descriptor >= 0 else { throw SystemError("eventfd") }
        return Mailbox(descriptor: descriptor)
    }

    deinit { if descriptor >= 0 { _ = Glibc.close(descriptor) } }

    var isEmpty: Bool { work.withLock { $0?.isEmpty ?? true } }

    func put(_ item: @escaping @Sendable () -> Void) {
        work.withLock { $0?.append(item) }
        if descriptor >= 0 { _ = eventfd_write(descriptor, 1) }
    }

    func takeAll() -> [@Sendable () -> Void] {
        work.withLock { items in
            guard let all = items else { return [] }
            items = []
            return all
        }
    }

    func close() {
        // It goes once the lock is open: what is let go of with it may post again.
        _ = work.withLock { $0.take() }
    }
}

final class WakeChannel: Channel {
    override func readable() {
        var count: eventfd_t = 0
        // `count` outlives the call; the result does not matter, since the mailbox is looked at anyway.
        _ = unsafe eventfd_read(descriptor, &count)
        mayRead = false
        loop.runPosted()
    }
}
