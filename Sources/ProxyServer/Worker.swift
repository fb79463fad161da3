internal import CSwitchyard
internal import Config
internal import Digest
package import EventLoop
internal import HTTP2
internal import LuaHooks
package import ProxyCore
internal import Synchronization
internal import TLS
internal import Wire

/// One worker: a loop, the sockets it accepts on, and everything its exchanges share.
///
/// Confined to its thread from `run` on. Nothing in it is locked; other threads go through `WorkerThread`.
package final class Worker {
    package let loop: EventLoop
    let statistics: WorkerStatistics
    /// What new requests run under.
    private(set) var current: WorkerGeneration
    let clock = Clock()
    private(set) var isDraining = false
    /// Tunnels are not to outlast that.
    private var endsTunnels = false
    /// When what began under former generations is cut off, or all where the worker drains.
    private var cutOffTime = EventLoop.never
    /// What the registry knows the worker by; 0 for one that no other worker reaches.
    var subscription = 0
    /// The init hooks of the first generation have ended, or another has taken over.
    private var isReady = true
    /// A generation whose init hooks have not ended yet, with what it is going to listen on.
    private var coming: (generation: WorkerGeneration, listeners: [AssignedListener])?
    /// Let go of when `coming` has taken over, or the first generation is ready.
    private var takeoverNotice: TakeoverNotice?
    private let shutdownTimeouts: ShutdownTimeouts
    /// Connections whose tunnels may not be in line with what the worker has come to, the next one last.
    private var unsettled: [DownstreamConnection] = []
    /// Something ended that the end of a draining worker may have waited for.
    private var mayBeDrained = false
    private var random: UnpredictableNumbers
    /// In tests: answers what scripts fetch, or leaves it to the network with `nil`.
    package var fetchAnswer: ((FetchRequest) -> Result<FetchResponse, FetchFailure>?)?
    /// On a network in memory, where there are no handshakes: what the TLS of the client at an address is to have come to,
    /// where the listener has `ssl`. Plain HTTP with `nil`.
    package var clientTLS: ((SocketAddress) -> (any ClientTLS)?)?

    private(set) var listeners: [String: ListeningSocket] = [:]
    private var exchanges = Spares<Exchange>()
    private var drivers = Spares<ExchangeDriver>()
    /// Given back in this turn of the loop. They stay as they are until its end, so that code further up the stack
    /// finds its own exchange ended rather than the next one begun.
    private var resting: [ExchangeDriver] = []
    /// To be done at the end of this turn of the loop, when nothing else is on the stack.
    private var postponed: [() -> Void] = []
    /// Their streams have something to send, which goes out at the end of this turn, all of it at once.
    private var unflushed: [any HTTP2Flushing] = []
    private var buffers: [[UInt8]] = []
    let http2Buffers = HTTP2Buffers()
    var connections = ConnectionCount()
    private(set) lazy var webSockets = WebSocketCommons { [unowned self] in
        UInt32(truncatingIfNeeded: randomNumber())
    }
    let scriptRoster = ScriptRoster()
    let wholeExchanges = WholeExchanges()
    private(set) lazy var recordDeflater = RecordDeflater()
    private(set) lazy var scriptNetwork = ScriptNetwork(worker: self)
    /// Those of its open tunnels that scripts act on, as other workers see them.
    let tunnels: TunnelList
    let tunnelDesk: TunnelDesk
    private let tunnelRegistry: TunnelRegistry
    private(set) lazy var passwords = PasswordChecker(loop: loop, secret: random.bytes(32))
    /// `nil` unless the configuration has `shared_state`, and this is the worker that keeps it.
    var nodeLink: NodeLink?
    let handshakes = HandshakeTurns()
    let tlsScratch = TLSScratch()
    private let logTimer: Alarm
    private let spareTimer: Alarm
    let roomTimer: Alarm
    let heap: HeapTrimmer
    private var zoneCheckedAt: Int64 = 0

    /// Serial numbers of connections, as `$connection` shows them, for the whole process.
    private static let serials = Atomic<UInt64>(0)
    /// Milliseconds after which what nobody has needed meanwhile is not kept for reuse.
    private static let spareTime: Int64 = 1000

    package convenience init(generation: Generation, statistics: WorkerStatistics) throws(SystemError) {
        self.init(generation: generation, statistics: statistics, loop: try EventLoop())
    }

    /// On a loop that the caller drives, between `begin` and `end`, where `run` is not to.
    ///
    /// With `seed`, in tests, everything that is left to chance comes out the same each time.
    package init(
        generation: Generation, statistics: WorkerStatistics, loop: EventLoop,
        seed: UInt64? = nil
    ) {
        self.loop = loop
        random = UnpredictableNumbers(seed: seed)
        self.statistics = statistics
        current = WorkerGeneration(generation, loop: loop, statistics: statistics)
        logTimer = Alarm(loop: loop)
        spareTimer = Alarm(loop: loop)
        roomTimer = Alarm(loop: loop)
        heap = HeapTrimmer(loop: loop)
        shutdownTimeouts = ShutdownTimeouts(loop: loop)
        let desk = TunnelDesk()
        let poster = loop.poster
        tunnelDesk = desk
        tunnelRegistry = generation.registry.scripts.tunnels
        tunnels = tunnelRegistry.addList { order in poster.post { desk.worker?.perform(order) } }
        tick()
        current.loadScripts(on: self)
        isReady = current.scripts == nil
        // Weak references would have each count of references to the worker, of which every request makes dozens, go
        // through a table beside it. Whoever drives the loop holds the worker.
        loop.afterTurn = { [unowned self] in endTurn() }
        logTimer.rang = { [unowned self] in flushLogs() }
        spareTimer.rang = { [unowned self] in trimSpares() }
        roomTimer.rang = { [unowned self] in lookForRoom() }
        heap.fallenQuiet = { [unowned self] in letGoOfRoom() }
        desk.worker = self
    }

    deinit {
        loop.afterTurn = nil
        leaveTunnelRegistry()
    }

    /// Has the worker take part in what scripts publish, by `subscriber`, until `leaveRegistry`.
    func enterRegistry(_ subscriber: @escaping ProcessRegistry.Subscriber) {
        let (poster, desk) = (loop.poster, tunnelDesk)
        subscription = current.generation.registry.subscribe(
            subscriber, nodesAreFree: { poster.post { desk.worker?.joinNodes() } })
        joinNodes()
    }

    func leaveRegistry() {
        let registry = current.generation.registry
        registry.unsubscribe(subscription)
        registry.workerEnded(statistics)
    }

    private func leaveTunnelRegistry() {
        tunnelDesk.worker = nil
        tunnelRegistry.remove(tunnels)
    }

    // MARK: What the process asks for

    package func adopt(_ generation: Generation, listeners assigned: [AssignedListener]) throws(SystemError) {
        guard generation !== current.generation else { return try listen(on: assigned, former: current) }
        let assigned = overtake(for: assigned)
        guard !isDraining else { return close(assigned) }
        tick()
        let next = WorkerGeneration(generation, loop: loop, statistics: statistics, former: current)
        next.followNames()
        if !generation.configuration.scripts.isEmpty { _ = Interpreter.watchThread() }
        next.loadScripts(on: self)
        guard let scripts = next.scripts else { return try takeOver(next, listeners: assigned) }
        // Nothing is accepted for the new generation before its init hooks have ended.
        coming = (next, assigned)
        scripts.initialise { [unowned self] in
            guard let coming, coming.generation.scripts === scripts else { return }
            self.coming = nil
            defer { self.takeoverNotice = nil }
            do throws(SystemError) {
                try self.takeOver(coming.generation, listeners: coming.listeners)
            } catch {
                generation.errorLogger.log(.alert, "worker could not take over listeners: \(error)")
            }
        }
    }

    func hold(_ notice: TakeoverNotice) {
        guard !isDraining, coming != nil || !isReady else { return }
        takeoverNotice = notice
        notice.wait()
    }

    /// Gives up a generation that has not taken over yet, for one that listens on `assigned`.
    ///
    /// - Returns: those, with the sockets of the one given up that they go on with. Its others are closed.
    private func overtake(for assigned: [AssignedListener]) -> [AssignedListener] {
        takeoverNotice = nil
        guard let overtaken = coming else { return assigned }
        coming = nil
        overtaken.generation.scripts?.shutDown()
        var assigned = assigned
        var unused: [AssignedListener] = []
        for listener in overtaken.listeners where listener.descriptor != nil {
            if let index = assigned.firstIndex(where: { $0.key == listener.key && $0.descriptor == nil }) {
                assigned[index].descriptor = listener.descriptor
            } else {
                unused.append(listener)
            }
        }
        close(unused)
        return assigned
    }

    private func close(_ assigned: [AssignedListener]) {
        for case let descriptor? in assigned.map(\.descriptor) { loop.abandon(descriptor) }
    }

    private func takeOver(
        _ next: WorkerGeneration, listeners assigned: [AssignedListener]
    ) throws(SystemError) {
        let former = current
        former.retire()
        scriptNetwork.retire()
        current = next
        joinNodes()
        // What is recycled refers to the generation that it was last used under.
        exchanges.removeAll()
        drivers.removeAll()
        if next.scripts != nil || Self.endsFormer(next) { settleTunnels() }
        // Clients make new connections for what they ask next; what is under way on the old ones goes on.
        loop.forEachChannel { ($0 as? HTTP2DownstreamConnection)?.goAway() }
        cutOffTime = EventLoop.never
        if let time = next.configuration.process.workerShutdownTimeout {
            let number = next.generation.number
            cutOffTime = loop.now.advanced(clamping: Int64(time))
            shutdownTimeouts.after(milliseconds: time) { [unowned self] in
                closeGenerations(before: number)
            }
        }
        if !isReady {
            // Nothing was begun under it, and its init hooks are not waited for any more.
            former.scripts?.shutDown()
            becomeReady()
            try startListening()
        }
        try listen(on: assigned, former: former)
    }

    /// Whether what began under a former generation is to end when `generation` takes over.
    private static func endsFormer(_ generation: WorkerGeneration) -> Bool {
        generation.configuration.process.workerShutdownTimeout != nil
    }

    // MARK: Tunnels

    /// What a tunnel is to go on under, if it can. A worker that drains leaves each where it is.
    func successor(of generation: WorkerGeneration) -> WorkerGeneration { isDraining ? generation : current }

    /// Whether tunnels that stay under `generation` are to be asked to end.
    func endsTunnels(under generation: WorkerGeneration) -> Bool {
        isDraining ? endsTunnels : generation !== current && Self.endsFormer(current)
    }

    /// Milliseconds until what is to end is cut off; `nil` where it is not.
    var timeLeft: Int64? { cutOffTime == EventLoop.never ? nil : max(0, cutOffTime - loop.now) }

    /// A tunnel has opened. Its exchange may have begun under a former generation, or before the worker was to end.
    @inline(__always)
    func tunnelOpened(_ connection: DownstreamConnection, under generation: WorkerGeneration) {
        if isDraining || generation !== current { settleLater(connection) }
    }

    /// Has the tunnel of a connection brought in line with the worker when nothing else is on the stack.
    func settleLater(_ connection: DownstreamConnection) { unsettled.append(connection) }

    private func settleTunnels() {
        unsettled = []
        loop.forEachChannel {
            if let connection = $0 as? DownstreamConnection { settleLater(connection) }
        }
    }

    /// Brings tunnels in line with the worker. Hooks run then, and what else happens is not to wait for those of all
    /// tunnels, so that no other is looked at in this turn of the loop once a millisecond was spent on it.
    private func settleSomeTunnels() {
        let deadline = loop.microseconds + HandshakeTurns.limit
        repeat {
            guard let connection = unsettled.popLast() else { return }
            connection.settleTunnel()
        } while loop.microseconds < deadline
    }

    private func listen(
        on assigned: [AssignedListener], former: WorkerGeneration
    ) throws(SystemError) {
        var kept: [String: ListeningSocket] = [:]
        for assignment in assigned {
            if let descriptor = assignment.descriptor {
                let listener = ListeningSocket(
                    worker: self, descriptor: descriptor, isOwn: assignment.isOwn, targets: assignment.targets
                )
                if isReady { try listener.startListening() }
                kept[assignment.key] = listener
            } else if let known = listeners.removeValue(forKey: assignment.key) {
                known.targets = assignment.targets
                kept[assignment.key] = known
            }
        }
        let ended = listeners
        listeners = kept
        // There may be more room than there was, or other listeners to wait at.
        letClientsIn()
        guard !ended.isEmpty else { return }
        for listener in ended.values { listener.end(with: former) }
        // What such a connection would ask for next has no listener in the new configuration.
        loop.forEachChannel {
            ($0 as? DownstreamConnection)?.closeIfListenerEnded()
            ($0 as? HTTP2DownstreamConnection)?.closeIfListenerEnded()
        }
    }

    package func run() {
        begin()
        loop.run()
        Interpreter.unwatchThread()
        end()
    }

    /// Closes everything as it is. The worker is of no use afterwards.
    package func end() {
        for listener in listeners.values { listener.close() }
        _ = overtake(for: [])
        loop.forEachChannel { ($0 as? DownstreamConnection)?.cutOff() }
        loop.forEachChannel {
            ($0 as? HTTP2DownstreamConnection)?.cutOff()
            // One that a stream has just left would be kept for others.
            ($0 as? HTTP2UpstreamConnection)?.leave()
        }
        // Those of former generations too, whose last hooks may still wait.
        for scripts in scriptRoster.all { scripts.shutDown() }
        leaveNodes()
        current.retire()
        scriptNetwork.close()
        leaveTunnelRegistry()
        logTimer.close()
        spareTimer.close()
        roomTimer.close()
        heap.close()
        forgetConnectionsAtRest()
        shutdownTimeouts.close()
        loop.close()
        // What is kept for reuse holds the worker, which would keep them both.
        listeners = [:]
        exchanges.removeAll()
        drivers.removeAll()
        resting = []
        unflushed = []
        unsettled = []
        postponed = []
    }

    /// Runs the init hooks of the first generation, and begins to accept once they have ended.
    package func begin() {
        current.followNames()
        guard let scripts = current.scripts else { return current.generation.registry.serves() }
        let status = Interpreter.watchThread()
        if status != 0 {
            current.generation.errorLogger.log(
                .alert, "lua_hook_timeout cannot be kept: \(SystemError.reason(status))")
        }
        tick()
        scripts.initialise { [unowned self] in
            guard self.current.scripts === scripts else { return }
            self.becomeReady()
            // Another's, where one is to take over that waits as well.
            if self.coming == nil { self.takeoverNotice = nil }
            do throws(SystemError) {
                try self.startListening()
            } catch {
                self.current.generation.errorLogger.log(.alert, "\(error)")
            }
        }
    }

    private func becomeReady() {
        isReady = true
        current.generation.registry.serves()
    }

    private func startListening() throws(SystemError) {
        for listener in listeners.values { try listener.startListening() }
    }

    /// Ends once all that is under way has ended.
    ///
    /// - Parameters:
    ///   - endsTunnels: tunnels are asked to end as well, where they would otherwise go on for as long as they like. It may be
    ///     said later.
    ///   - limit: milliseconds after which all is cut off, by whoever says so.
    package func drain(endsTunnels: Bool, within limit: Int?) {
        cutOffTime = limit.map { loop.now.advanced(clamping: Int64($0)) } ?? EventLoop.never
        if !isDraining {
            isDraining = true
            // Its last tunnels may have something to say yet, where nobody else takes it.
            if nodeLink != nil { current.generation.registry.offerNodes(subscription) }
            _ = overtake(for: [])
            for listener in listeners.values { listener.end(with: current) }
            listeners = [:]
            loop.forEachChannel {
                ($0 as? DownstreamConnection)?.closeIfIdle()
                ($0 as? HTTP2DownstreamConnection)?.goAway()
            }
        }
        if endsTunnels {
            self.endsTunnels = true
            settleTunnels()
        }
        stopIfDrained()
    }

    package func stop() { loop.stop() }

    package func closeGenerations(before number: Int) {
        loop.forEachChannel { channel in
            guard let connection = channel as? DownstreamConnection,
                let generation = connection.generationNumber, generation < number
            else { return }
            connection.cutOff()
        }
        for scripts in scriptRoster.all where scripts.generationNumber < number { scripts.shutDown() }
    }

    package func flushLogs() { current.flushLogs() }

    // MARK: Connections

    static func nextSerial() -> UInt64 { serials.add(1, ordering: .relaxed).newValue }

    /// Sends to the clients of the tunnels with this tag, under whichever generation they began.
    func deliver(_ message: ScriptMessage, tagged tag: [UInt8]) {
        tick()
        for scripts in scriptRoster.all { scripts.interpreter.deliver(message, tagged: tag) }
    }

    /// Does what a script of another worker, or of another generation, asks of a tunnel.
    func perform(_ order: TunnelOrder) {
        guard let place = tunnels.take(order) else { return }
        tick()
        for scripts in scriptRoster.all where scripts.interpreter.number == place.interpreter {
            scripts.interpreter.perform(order, onFlowAt: place.flow)
        }
    }

    /// Hooks of an exchange that was over have ended.
    func scriptsEnded() { stopIfDrained() }

    /// Looks at the end of this turn of the loop: the last hooks of what has just ended may yet begin.
    func stopIfDrained() { if isDraining { mayBeDrained = true } }

    private var isDrained: Bool {
        statistics.active.value == 0 && connections.streams == 0
            && !scriptRoster.all.contains(where: \.hasEnds) && nodeLink?.hasUnsent != true
    }

    // MARK: What is shared

    /// Brings the clock that exchanges see up to the loop's.
    func tick() {
        clock.advance(to: Moment(unix: loop.unixNow, monotonic: loop.now))
        // Summer time begins and ends on a quarter of an hour.
        if loop.unixNow >= zoneCheckedAt {
            zoneCheckedAt = (loop.unixNow / 900_000 + 1) * 900_000
            clock.zoneOffset = Int(sy_zone_offset(loop.unixNow / 1000))
        }
    }

    func takeExchange() -> Exchange {
        if let exchange = exchanges.take() {
            exchange.reset(runtime: current.generation.runtime)
            return exchange
        }
        return Exchange(runtime: current.generation.runtime, clock: clock)
    }

    func giveBack(_ exchange: Exchange) {
        exchanges.put(exchange, isOneOfFew: true)
    }

    /// A driver whose exchange is as new.
    func takeDriver() -> ExchangeDriver {
        guard let driver = drivers.take() else { return ExchangeDriver(takeExchange(), worker: self) }
        driver.exchange.reset(runtime: current.generation.runtime)
        return driver
    }

    func giveBack(_ driver: ExchangeDriver) { resting.append(driver) }

    /// Has `work` done at the end of this turn of the loop.
    func postpone(_ work: @escaping () -> Void) { postponed.append(work) }

    private func endTurn() {
        if !handshakes.isEmpty { handshakes.run(on: loop) }
        if !postponed.isEmpty {
            let batch = postponed
            postponed = []
            for work in batch { work() }
        }
        if !unflushed.isEmpty { flushConnections() }
        if !unsettled.isEmpty { settleSomeTunnels() }
        // What was postponed meanwhile is for the next turn: a script may go on so without end.
        let mayFreezeMore = wholeExchanges.freezeUnused()
        loop.turnsAgain =
            mayFreezeMore || !postponed.isEmpty || !unflushed.isEmpty || !handshakes.isEmpty
            || !unsettled.isEmpty
        recycle()
        heap.turnEnded()
        if mayBeDrained {
            mayBeDrained = false
            if isDrained {
                if stopsServingNodes() {
                    mayBeDrained = true
                    loop.turnsAgain = true
                } else {
                    loop.stop()
                }
            }
        }
    }

    /// Has `connection` send what its streams have to send, at the end of this turn of the loop.
    func flushLater(_ connection: any HTTP2Flushing) { unflushed.append(connection) }

    private func flushConnections() {
        let batch = unflushed
        unflushed = []
        for connection in batch { connection.flush() }
    }

    private func recycle() {
        guard !resting.isEmpty else { return }
        // Clients that have opened a tunnel do not ask for the next one: memory for the tunnels is found where their
        // exchanges were.
        for driver in resting { drivers.put(driver, isOneOfFew: driver.machine.isTunnelling) }
        resting.removeAll(keepingCapacity: true)
        if drivers.isRich { trimLater() }
    }

    private func trimLater() {
        if spareTimer.deadline == EventLoop.never { spareTimer.setDeadline(loop.now + Self.spareTime) }
    }

    private func trimSpares() {
        drivers.trim()
        if drivers.isRich { trimLater() }
    }

    /// A number that nobody can foresee, unless the worker was given a seed.
    func randomNumber() -> UInt64 { random.next() }

    func randomPair() -> (UInt64, UInt64) { (random.next(), random.next()) }

    func randomBytes(_ count: Int) -> [UInt8] { random.bytes(count) }

    /// An empty buffer with room in it, to be given back by `consume`: one that is still held would be copied.
    func takeBuffer() -> [UInt8] { buffers.popLast() ?? [] }

    func giveBack(_ buffer: consuming [UInt8]) {
        guard buffers.count < 8, buffer.capacity <= 1 << 20 else { return }
        buffer.clear()
        buffers.append(buffer)
    }

    /// Lets go of the room that is kept for what is to come.
    private func letGoOfRoom() {
        buffers = []
        webSockets.letGoOfRoom()
        drivers.removeAll()
        exchanges.removeAll()
        wholeExchanges.freezeAll()
    }

    /// Has `flushLogs` run at `time` at the latest.
    func flushLogs(by time: Int64) {
        if time < logTimer.deadline { logTimer.setDeadline(time) }
    }
}
