package import LuaHooks
internal import Synchronization

/// What all generations of the process share for its status pages: each worker's counters, and how reloads went.
package final class ProcessRegistry: Sendable {
    private struct State {
        var workers: [WorkerStatistics] = []
        var reloads = ReloadCounts()
    }

    package struct ReloadCounts: Sendable, Equatable {
        /// Number of the generation that runs: 1 for the first.
        package var generation = 0
        package var succeeded = 0
        package var failed = 0

        package init() {}
    }

    private let state = Mutex(State())

    /// What scripts of all workers share.
    package let scripts = ScriptCommons()

    package init() {}

    /// Those of every worker that ever ran, since counters must not go back when one ends.
    package var workers: [WorkerStatistics] { state.withLock { $0.workers } }

    package var reloads: ReloadCounts { state.withLock { $0.reloads } }

    package func addWorker() -> WorkerStatistics {
        let statistics = WorkerStatistics()
        state.withLock { $0.workers.append(statistics) }
        return statistics
    }

    /// `isReload` is false for the configuration that the process starts with.
    package func generationBegan(_ generation: Generation, isReload: Bool) {
        scripts.dictionaries.adopt(generation.dictionaries)
        state.withLock { state in
            state.reloads.generation = generation.number
            if isReload { state.reloads.succeeded += 1 }
        }
    }

    package func reloadFailed() { state.withLock { $0.reloads.failed += 1 } }
}
