internal import EventLoop
internal import ProxyCore
internal import Synchronization

/// Computes what takes long to compute of passwords: on a thread of its own, which is there while there is something to do.
final class PasswordThread: Sendable {
    private struct Job: Sendable {
        var stored: StoredPassword
        var password: [UInt8]
        var completion: @Sendable (StoredPassword.Verdict) -> Void
    }

    private struct State {
        var jobs: [[UInt8]: Job] = [:]
        /// Their keys, with some of jobs that were withdrawn.
        var order: ArraySlice<[UInt8]> = []
        /// The thread is there, or is about to find out that nothing is left.
        var isRunning = false
    }

    private static let mostWithdrawn = 64
    private let state = Mutex(State())
    private let poster: EventLoopPoster

    init(poster: EventLoopPoster) { self.poster = poster }

    /// Computes a verdict after those that were asked for before. `completion` is called on the loop's thread, unless it is
    /// withdrawn.
    func compute(
        _ key: [UInt8], _ stored: StoredPassword, _ password: [UInt8],
        completion: @escaping @Sendable (StoredPassword.Verdict) -> Void
    ) {
        let job = Job(stored: stored, password: password, completion: completion)
        let hasThread = state.withLock { state in
            state.jobs[key] = job
            state.order.append(key)
            defer { state.isRunning = true }
            return state.isRunning
        }
        if !hasThread { start() }
    }

    /// - Returns: false where it is being computed, or was.
    func withdraw(_ key: [UInt8]) -> Bool {
        state.withLock { state in
            guard state.jobs.removeValue(forKey: key) != nil else { return false }
            // One that takes for ever may be under way, and clients come and go.
            if state.order.count > 2 * state.jobs.count + Self.mostWithdrawn {
                state.order.removeAll { state.jobs[$0] == nil }
            }
            return true
        }
    }

    private func start() {
        do throws(SystemError) {
            try Threads.start(name: "passwords") { [self] in work() }.detach()
        } catch {
            // Better slowly than not at all: the worker does it itself, in the loop's next turn.
            poster.post { [self] in work() }
        }
    }

    private func work() {
        while let job = next() {
            let verdict = job.stored.verdict(on: job.password)
            let completion = job.completion
            poster.post { completion(verdict) }
        }
    }

    private func next() -> Job? {
        state.withLock { state in
            while let key = state.order.popFirst() {
                if let job = state.jobs.removeValue(forKey: key) { return job }
            }
            state.isRunning = false
            return nil
        }
    }
}
