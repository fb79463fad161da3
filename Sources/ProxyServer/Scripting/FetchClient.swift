internal import Config
internal import EventLoop
internal import ProxyCore

/// The HTTP client of one worker, for its scripts and for OCSP: starts fetches, and keeps connections for the next ones.
final class FetchClient {
    typealias Completion = (Result<FetchResponse, FetchFailure>) -> Void

    // The worker holds it, and ends what is under way before it goes.
    unowned let worker: Worker
    let lookups: NameLookups
    /// Least recently used first.
    private var idle: [FetchConnection] = []

    /// Idle connections to one origin, and to all of them.
    static let maxIdlePerOrigin = 16
    static let maxIdle = 128
    /// Milliseconds that a connection stays idle.
    static let idleTimeout: Int64 = 60_000
    /// Milliseconds after which a connection is not kept any more, so that a change of its name's address is seen.
    static let maxAge: Int64 = 300_000

    init(worker: Worker, lookups: NameLookups) {
        self.worker = worker
        self.lookups = lookups
    }

    /// Starts a fetch.
    ///
    /// `completion` is called once, after this has returned, unless the fetch is cancelled. The fetch goes on
    /// whether or not the handle is kept.
    ///
    /// - Parameters:
    ///   - request: what to ask for.
    ///   - generation: its upstream groups are known by name, and its resolvers are used.
    ///   - settings: the location's, for its `resolver`; without one the system's is used.
    ///   - completion: gets the response, or why there is none.
    /// - Returns: what cancels the fetch.
    /// - Throws: what failed at once; `completion` is not called then.
    func start(
        _ request: FetchRequest, in generation: WorkerGeneration, settings: Settings?,
        completion: @escaping Completion
    ) throws(FetchFailure) -> FetchHandle {
        let fetch = try FetchHandle(
            request, client: self, generation: generation, settings: settings, completion: completion)
        try fetch.start()
        return fetch
    }

    // MARK: Connections

    /// Connections that wait for a request.
    var idleCount: Int { idle.count }

    /// An idle connection that the same was asked of: `demands` of the server's certificate, `nil` for plain HTTP.
    func takeIdle(to origin: [UInt8], asking demands: TLSUpstream?) -> FetchConnection? {
        guard let index = idle.lastIndex(where: { $0.origin == origin && $0.demands === demands }) else {
            return nil
        }
        let connection = idle.remove(at: index)
        connection.leavePool()
        return connection
    }

    /// Keeps a connection whose response has ended, or closes it.
    func put(_ connection: FetchConnection, of generation: WorkerGeneration) {
        let now = worker.loop.now
        guard connection.isReusable, !generation.isRetired, !worker.isDraining,
            now - connection.openedAt < Self.maxAge
        else { return connection.end() }
        let siblings = idle.count { $0.origin == connection.origin }
        if siblings >= Self.maxIdlePerOrigin {
            if let oldest = idle.first(where: { $0.origin == connection.origin }) { drop(oldest) }
        } else if idle.count >= Self.maxIdle, let oldest = idle.first {
            drop(oldest)
        }
        idle.append(connection)
        connection.enterPool(until: now + Self.idleTimeout)
    }

    /// An idle connection ended, or is no longer wanted.
    func drop(_ connection: FetchConnection) {
        guard let index = idle.firstIndex(where: { $0 === connection }) else { return }
        idle.remove(at: index)
        connection.end()
    }

    func closeIdle() {
        let connections = idle
        idle = []
        for connection in connections { connection.end() }
    }
}
