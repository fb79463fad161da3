internal import Config
package import EventLoop
internal import Synchronization

/// A worker as the rest of the process sees it: what it may be asked to do, from any thread.
package final class WorkerThread: Sendable {
    package let index: Int
    package let statistics: WorkerStatistics
    private let poster: EventLoopPoster
    private let thread: Threads.Handle
    private let worker: Confined

    /// The worker itself, which only its own thread touches: everything here goes through `poster`.
    private final class Confined: @unchecked Sendable {
        let worker: Worker
        let hasEnded = Atomic(false)
        init(_ worker: Worker) { self.worker = worker }
    }

    /// Starts a worker that accepts on `listeners` at once.
    ///
    /// `ended` is called on the worker's thread as the last it does.
    package init(
        index: Int, generation: Generation, listeners: [AssignedListener], statistics: WorkerStatistics,
        ended: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        self.index = index
        self.statistics = statistics
        let worker = try Worker(generation: generation, statistics: statistics)
        try worker.adopt(generation, listeners: listeners)
        let confined = Confined(worker)
        poster = worker.loop.poster
        self.worker = confined
        let poster = poster
        let registry = generation.registry
        let subscription = registry.subscribe { tag, message in
            poster.post { confined.worker.deliver(message, tagged: tag) }
        }
        worker.subscription = subscription
        thread = try Threads.start(name: "worker \(index)") {
            confined.worker.run()
            registry.unsubscribe(subscription)
            confined.hasEnded.store(true, ordering: .releasing)
            ended()
        }
    }

    /// New requests run under `generation` from now on, and are accepted on `listeners`: what the worker listens
    /// on besides is closed.
    package func adopt(_ generation: Generation, listeners: [AssignedListener]) {
        post { worker in
            do throws(SystemError) {
                try worker.adopt(generation, listeners: listeners)
            } catch {
                generation.errorLogger.log(.alert, "worker could not take over listeners: \(error)")
            }
        }
    }

    /// Stops listening, lets exchanges and tunnels end, and then ends the thread.
    package func drain(endsTunnels: Bool, within limit: Int?) {
        post { $0.drain(endsTunnels: endsTunnels, within: limit) }
    }

    /// Ends the thread; connections are closed as they are.
    package func stop() { post { $0.stop() } }

    /// Closes exchanges and tunnels that began under a generation before `number`: `worker_shutdown_timeout`.
    package func closeGenerations(before number: Int) { post { $0.closeGenerations(before: number) } }

    /// Writes out what access logs hold in buffers, and lets go of `notice` then, or when the worker has ended.
    func flushLogs(_ notice: LogsFlushed) {
        post { worker in
            worker.flushLogs()
            withExtendedLifetime(notice) {}
        }
    }

    /// Whether the worker has nothing left to do, so that `join` does not wait.
    package var hasEnded: Bool { worker.hasEnded.load(ordering: .acquiring) }

    /// Waits until the thread has ended.
    package func join() { thread.join() }

    /// Waits until the thread has ended or the monotonic clock, in milliseconds, has come to `deadline`.
    ///
    /// - Returns: whether it has ended.
    package func join(by deadline: Int64) -> Bool { thread.join(by: deadline) }

    private func post(_ work: @escaping @Sendable (Worker) -> Void) {
        let confined = worker
        poster.post { work(confined.worker) }
    }
}

/// Says that workers have written out what their access logs held in buffers: when the last of them lets go of it.
final class LogsFlushed: Sendable {
    private let done: @Sendable () -> Void

    init(done: @escaping @Sendable () -> Void) { self.done = done }

    deinit { done() }
}
