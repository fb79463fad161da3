internal import Config
internal import Digest
package import LuaHooks
package import ProxyCore
internal import Synchronization

/// What all generations of the process share for its status pages: each worker's counters, and how reloads went.
package final class ProcessRegistry: Sendable {
    private struct State {
        var workers: [WorkerStatistics] = []
        /// Those of `workers` whose worker has ended.
        var endedWorkers: [WorkerStatistics] = []
        var reloads = ReloadCounts()
        /// What is published reaches the workers through these.
        var subscribers: [(id: Int, deliver: Subscriber, nodesAreFree: @Sendable () -> Void)] = []
        var lastSubscriber = 0
        /// Who has the connection to other nodes, and whether somebody else may take it over.
        var nodes: (holder: NodesHolder, isOffered: Bool)?
        /// What the latest configuration says of it.
        var sharedState: SharedStateSettings?
        var dismantler: Dismantler?
    }

    package typealias Subscriber = @Sendable ([UInt8], ScriptMessage) -> Void
    /// Calls `drop` on another thread, of what holds a generation that nothing runs under.
    package typealias Dismantler = @Sendable (Leftover) -> Void

    package struct ReloadCounts: Sendable, Equatable {
        /// Number of the generation that runs: 1 for the first.
        package var generation = 0
        package var succeeded = 0
        package var failed = 0

        package init() {}
    }

    private let state = Mutex(State())
    private let someoneServes = Atomic(false)

    /// What other nodes know this process by.
    let node: [UInt8]
    /// What scripts of all workers share.
    package let scripts = ScriptCommons()
    /// What `limit_req` and `limit_conn` count.
    package let limitZones = LimitZones()

    package init() {
        var numbers = UnpredictableNumbers()
        node = numbers.bytes(NodeTelegram.nodeLength)
    }

    /// Those of every worker that ever ran, since counters must not go back when one ends; some of them one after the other.
    package var workers: [WorkerStatistics] { state.withLock { $0.workers } }

    package var reloads: ReloadCounts { state.withLock { $0.reloads } }

    /// What a new worker counts in. It goes on with what another has counted that ended, so that there are no more of them
    /// than there ever were workers at a time.
    package func addWorker() -> WorkerStatistics {
        state.withLock { state in
            if let statistics = state.endedWorkers.popLast() { return statistics }
            let statistics = WorkerStatistics()
            state.workers.append(statistics)
            return statistics
        }
    }

    /// A worker counts no more.
    package func workerEnded(_ statistics: WorkerStatistics) {
        // What was open may have ended without a word, where the worker was stopped.
        statistics.closeAll()
        state.withLock { $0.endedWorkers.append(statistics) }
    }

    /// A worker takes part in what scripts publish.
    ///
    /// - Parameters:
    ///   - subscriber: is called with what others publish, on their threads.
    ///   - nodesAreFree: is called when nobody has the connection to other nodes any more.
    /// - Returns: its number, for `unsubscribe`, and for `publish` to leave it out.
    func subscribe(
        _ subscriber: @escaping Subscriber, nodesAreFree: @escaping @Sendable () -> Void = {}
    ) -> Int {
        state.withLock { state in
            state.lastSubscriber += 1
            state.subscribers.append((state.lastSubscriber, subscriber, nodesAreFree))
            return state.lastSubscriber
        }
    }

    func unsubscribe(_ id: Int) { state.withLock { $0.subscribers.removeAll { $0.id == id } } }

    /// Has generations of workers that nothing runs under any more taken apart by `dismantler`, rather than on the worker's
    /// thread, where a configuration of thousands of servers would hold everything up for a tenth of a second.
    package func dismantle(by dismantler: @escaping Dismantler) {
        state.withLock { $0.dismantler = dismantler }
    }

    var dismantler: Dismantler? { state.withLock { $0.dismantler } }

    /// Hands a message to every worker, each on its own thread, but for the one of this number.
    func publish(_ tag: [UInt8], _ message: ScriptMessage, besides id: Int = 0) {
        for subscriber in state.withLock({ $0.subscribers }) where subscriber.id != id {
            subscriber.deliver(tag, message)
        }
    }

    // MARK: Other nodes

    /// A worker that has the connection to other nodes.
    struct NodesHolder: Sendable {
        /// The subscriber's number.
        let id: Int
        let settings: SharedStateSettings
        /// Sends a message by it.
        let publish: Subscriber
        /// Has the worker close it.
        let release: @Sendable () -> Void
    }

    /// Hands a message to the workers of other nodes. Within the lock, so that whoever gives the connection up has had all of
    /// them by then.
    ///
    /// - Returns: false where nobody has a connection to them.
    func publishToNodes(_ tag: [UInt8], _ message: ScriptMessage) -> Bool {
        state.withLock { state in
            guard let holder = state.nodes?.holder else { return false }
            holder.publish(tag, message)
            return true
        }
    }

    /// - Parameters:
    ///   - holder: who wants the connection to other nodes.
    ///   - isLeaving: it is to end itself, and so takes nothing over that somebody still has, or that is out of date.
    /// - Returns: whether it has it from now on, until `leaveNodes`.
    func takeNodes(_ holder: NodesHolder, isLeaving: Bool) -> Bool {
        let (isTaken, former) = state.withLock { state -> (Bool, NodesHolder?) in
            if isLeaving, holder.settings != state.sharedState { return (false, nil) }
            if let nodes = state.nodes, !nodes.isOffered || isLeaving { return (false, nil) }
            defer { state.nodes = (holder, isOffered: isLeaving) }
            return (true, state.nodes?.holder)
        }
        former?.release()
        return isTaken
    }

    /// Whoever is not about to end may take the connection over from its holder.
    func offerNodes(_ id: Int) {
        notifyOthers(of: id) { state in
            if state.nodes?.holder.id == id { state.nodes?.isOffered = true }
        }
    }

    /// Nobody has the connection any more.
    func leaveNodes(_ id: Int) {
        notifyOthers(of: id) { state in
            if state.nodes?.holder.id == id { state.nodes = nil }
        }
    }

    private func notifyOthers(of id: Int, _ change: (inout State) -> Void) {
        let others = state.withLock { state in
            change(&state)
            return state.subscribers.filter { $0.id != id }
        }
        for other in others { other.nodesAreFree() }
    }

    /// What a worker that is about to end still has of other nodes goes where the configuration does without them.
    private func note(_ settings: SharedStateSettings?) {
        let holder = state.withLock { state -> NodesHolder? in
            state.sharedState = settings
            guard settings == nil, let nodes = state.nodes, nodes.isOffered else { return nil }
            state.nodes = nil
            return nodes.holder
        }
        holder?.release()
    }

    /// What the next configuration is prepared beside is this one's from now on, though its init hooks may yet wait.
    package func take(_ generation: Generation) {
        generation.tls.takeUp()
        for (new, formerSize) in scripts.dictionaries.adopt(generation.dictionaries) {
            generation.errorLogger.log(
                .notice,
                "lua_shared_dict \"\(new.name)\" begins empty: its size was \(formerSize) and is \(new.capacity) bytes"
            )
        }
        let runtime = generation.runtime
        let configuration = runtime.configuration
        keepMarks(of: generation)
        note(configuration.lua.sharedState)
        for notice in limitZones.adopt(runtime.limitZones, configuration.limitZones) {
            generation.errorLogger.log(.notice, notice)
        }
        for replacement in scripts.metrics.adopt(generation.metrics) {
            generation.errorLogger.log(.notice, replacement.notice)
        }
    }

    /// Forgets what scripts said of peers that there are no more.
    private func keepMarks(of generation: Generation) {
        let configuration = generation.configuration
        let upstreams = configuration.scripts.isEmpty ? [] : configuration.upstreams
        scripts.peerMarks.keep(only: Set(upstreams.map(\.name)))
        for (index, upstream) in upstreams.enumerated() where !upstream.servers.contains(where: \.isFollowed)
        {
            let endpoints = generation.addresses[index].joined().map(\.endpoint)
            scripts.peerMarks.marks(ofUpstream: upstream.name).keep(only: Set(endpoints))
        }
    }

    /// Workers have taken over; `isReload` is false for the configuration that the process starts with.
    package func generationRuns(_ number: Int, isReload: Bool) {
        state.withLock { state in
            state.reloads.generation = number
            if isReload { state.reloads.succeeded += 1 }
        }
    }

    /// Whether some worker has come so far as to accept clients.
    var isServing: Bool { someoneServes.load(ordering: .relaxed) }

    func serves() { someoneServes.store(true, ordering: .relaxed) }

    package func reloadFailed() { state.withLock { $0.reloads.failed += 1 } }
}
