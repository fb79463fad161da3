internal import Synchronization

/// Says that workers have taken a generation over: when the last of them lets go of it.
final class TakeoverNotice: Sendable {
    private let waits: @Sendable () -> Void
    private let done: @Sendable () -> Void
    private let isHeld = Atomic(false)
    private let outcome: Outcome

    /// What there is to see of a notice before what it says has come.
    final class Outcome: Sendable {
        private let hasTakenOver = Atomic(false)

        var isDone: Bool { hasTakenOver.load(ordering: .acquiring) }

        fileprivate func settle() { hasTakenOver.store(true, ordering: .releasing) }
    }

    init(_ outcome: Outcome, waits: @escaping @Sendable () -> Void, done: @escaping @Sendable () -> Void) {
        self.outcome = outcome
        self.waits = waits
        self.done = done
    }

    /// Some worker's init hooks have not ended at once.
    func wait() { if !isHeld.exchange(true, ordering: .relaxed) { waits() } }

    deinit {
        outcome.settle()
        done()
    }
}
