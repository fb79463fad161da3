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

    private init(index: Int, _ thread: Threads.Handle, _ worker: Confined) {
        self.index = index
        self.thread = thread
        self.worker = worker
        statistics = worker.worker.statistics
        poster = worker.worker.loop.poster
    }

    /// A worker that its thread is about to make.
    ///
    /// It makes everything that it works with itself, so that nothing of it is in one line of the processor's cache with what
    /// another worker writes: malloc(3) gives each thread an arena of its own.
    package final class Start: Sendable {
        private typealias Order = @Sendable () throws(SystemError) -> Worker
        let index: Int
        private let thread: Threads.Handle
        private let outcome: Outcome

        private final class Outcome: Sendable {
            /// Taken when the thread begins: what a worker is made of does not stay for as long as it runs.
            let order: Mutex<Order?>
            let result = Threads.Promise<Result<Confined, SystemError>>()

            init(_ order: @escaping Order) { self.order = Mutex(order) }
        }

        /// Starts a worker that accepts on `listeners` at once.
        ///
        /// - Parameters:
        ///   - index: the worker's number.
        ///   - listeners: what it listens on; the descriptors are its own.
        ///   - generation: makes what the worker runs, on its thread.
        ///   - ended: is called on the worker's thread as the last it does.
        /// - Throws: why there is no thread.
        package init(
            index: Int, listeners: [AssignedListener], generation: @escaping @Sendable () -> Generation,
            ended: @escaping @Sendable () -> Void
        ) throws(SystemError) {
            self.index = index
            let outcome = Outcome { () throws(SystemError) in
                let generation = generation()
                let statistics = generation.registry.addWorker()
                do throws(SystemError) {
                    let worker = try Self.make(generation, statistics, listeners)
                    try worker.adopt(generation, listeners: listeners)
                    return worker
                } catch {
                    generation.registry.workerEnded(statistics)
                    throw error
                }
            }
            self.outcome = outcome
            do throws(SystemError) {
                thread = try Threads.start(name: "worker \(index)") {
                    guard let confined = Self.make(outcome) else { return }
                    confined.worker.run()
                    confined.worker.leaveRegistry()
                    confined.hasEnded.store(true, ordering: .releasing)
                    ended()
                }
            } catch {
                listeners.closeDescriptors()
                throw error
            }
        }

        private static func make(
            _ generation: Generation, _ statistics: WorkerStatistics, _ listeners: [AssignedListener]
        ) throws(SystemError) -> Worker {
            do throws(SystemError) {
                return try Worker(generation: generation, statistics: statistics)
            } catch {
                listeners.closeDescriptors()
                throw error
            }
        }

        /// - Returns: `nil` where the worker could not be made.
        private static func make(_ outcome: Outcome) -> Confined? {
            guard let order = outcome.order.withLock({ $0.take() }) else { return nil }
            do throws(SystemError) {
                let confined = Confined(try order())
                let poster = confined.worker.loop.poster
                confined.worker.enterRegistry { tag, message in
                    poster.post { confined.worker.deliver(message, tagged: tag) }
                }
                outcome.result.keep(.success(confined))
                return confined
            } catch {
                outcome.result.keep(.failure(error))
                return nil
            }
        }

        /// Waits until the worker is made.
        ///
        /// - Throws: why it could not be.
        package func wait() throws(SystemError) -> WorkerThread {
            switch outcome.result.wait() {
            case .success(let confined): return WorkerThread(index: index, thread, confined)
            case .failure(let error):
                thread.join()
                throw error
            }
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

    /// Lets go of `notice` when the worker runs what it was last told to adopt, or has given that up.
    func hold(_ notice: TakeoverNotice) { post { $0.hold(notice) } }

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
