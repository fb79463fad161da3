internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore

/// A generation's scripts on one worker: the interpreter, and the worker as the interpreter's host.
final class WorkerScripts: ScriptHost {
    private var loaded: Interpreter?
    // It holds its generations, which hold this; connections and tunnels, which do besides, hold the worker, too.
    unowned let worker: Worker
    private let generation: Generation
    private let roster: ScriptRoster
    let tunnels: TunnelList?
    let seed: UInt64
    /// The generation as the worker runs it, which holds this object.
    // Hooks run for exchanges and tunnels, which hold their generation, or for the worker, which holds the current one.
    unowned var owner: WorkerGeneration?
    private var alarm: Alarm?
    private var alarmTime = Int64.max
    /// Exchanges that are over but for hooks that wait.
    private var ends: [ObjectIdentifier: ScriptedEnd] = [:]
    /// What requests go by that a script routes where there is no `proxy_pass`.
    let routedPass = ProxyPass(
        target: .template(Template(literal: [])), host: [], port: [], uri: nil, locationPrefix: [])
    private var initialised: (() -> Void)?
    private var isShutDown = false
    /// Made when first an exchange of its tunnels is to be frozen.
    private(set) lazy var freezer = ExchangeFreezer(worker.recordDeflater)

    /// - Throws: why a script does not load.
    init(_ generation: Generation, worker: Worker) throws(ScriptFault) {
        self.worker = worker
        self.generation = generation
        roster = worker.scriptRoster
        tunnels = worker.tunnels
        seed = worker.loop.hasFakeClock ? worker.randomNumber() | 1 : 0
        loaded = try Interpreter(
            ScriptSet(
                generation.configuration, dictionaries: generation.dictionaries, metrics: generation.metrics),
            host: self, shared: generation.registry.scripts)
        loaded?.items = worker.webSockets.items
        roster.add(self)
        alarm = Alarm(loop: worker.loop) { [unowned self] in rang() }
    }

    var interpreter: Interpreter {
        guard let loaded else { preconditionFailure("an interpreter that did not load is never used") }
        return loaded
    }

    deinit {
        alarm?.close()
        roster.remove(self)
    }

    /// Runs the init hooks; `done` is called once all have ended, perhaps at once.
    func initialise(_ done: @escaping () -> Void) {
        interpreter.runInitHooks()
        if interpreter.isInitialised { done() } else { initialised = done }
    }

    /// Gives up what scripts still wait for: their worker ends, or nothing runs under their generation any more.
    func shutDown() {
        guard !isShutDown else { return }
        isShutDown = true
        // Nobody will come to these any more, which hold all that is here. While the interpreter works, for lines of access
        // logs with scripts' variables in them.
        for end in ends.values { end.abandon() }
        loaded?.shutDown()
        // It holds this, in turn.
        initialised = nil
        ends = [:]
    }

    var hasEnds: Bool { !ends.isEmpty }
    var generationNumber: Int { generation.number }

    private func rang() {
        alarmTime = .max
        worker.tick()
        loaded?.timePassed()
    }

    // MARK: ScriptHost

    var clock: Clock { worker.clock }

    var hasFakeClock: Bool { worker.loop.hasFakeClock }

    func log(_ level: LogLevel, _ text: String, of exchange: Exchange?, under settings: Settings?) {
        let place = exchange?.location.settings ?? settings ?? generation.configuration.http
        let logger = generation.errorLogger(for: place.values.errorLogs)
        let longest = LogBounds.scriptMessage
        if let exchange {
            logger.log(level, of: exchange, longest: longest, text)
        } else {
            logger.log(level, longest: longest, text)
        }
    }

    func randomBytes(_ count: Int) -> [UInt8] { worker.randomBytes(count) }

    func setAlarm(at time: Int64) {
        guard time < alarmTime, let alarm else { return }
        alarmTime = time
        alarm.setDeadline(time)
    }

    func publish(_ tag: [UInt8], _ message: ScriptMessage) {
        // Never within the hook that publishes, whose own tunnel may have the tag.
        worker.postpone { [unowned worker] in worker.deliver(message, tagged: tag) }
        generation.registry.publish(tag, message, besides: worker.subscription)
        worker.publishToNodes(tag, message)
    }

    func perform(_ order: TunnelOrder) { worker.perform(order) }

    func peers(ofUpstream name: [UInt8]) -> PeerGroup? {
        guard let owner, let index = ProxyTarget.position(ofUpstream: name, in: generation.configuration)
        else { return nil }
        return owner.peers(ofGroup: index).group
    }

    func scriptsAreInitialised() {
        let done = initialised
        initialised = nil
        if let done { worker.postpone(done) }
    }

    // MARK: Ends

    /// Runs the close hooks of a flow whose tunnel has ended, or has not come about though its open hooks had begun; then writes
    /// the exchange's lines in the access logs, and concludes it.
    ///
    /// - Returns: whether the exchange is still needed; it is given back when it no longer is.
    func close(
        _ exchange: Exchange, _ flow: ScriptFlow, _ info: Interpreter.CloseInfo, generation: WorkerGeneration
    ) -> Bool {
        interpreter.cancelCalls(of: flow)
        guard interpreter.has(.close, in: flow.settings ?? exchange.location.settings) else {
            return closed(exchange, flow, generation)
        }
        let end = ScriptedEnd(exchange, flow) { [unowned worker] in
            generation.log(exchange, worker: worker)
        } ended: { [unowned self] end, _ in
            withExtendedLifetime(generation) {
                ends.removeValue(forKey: ObjectIdentifier(end))
                if !closed(exchange, flow, generation) { worker.giveBack(exchange) }
                worker.scriptsEnded()
            }
        }
        flow.owner = end
        ends[ObjectIdentifier(end)] = end
        if case .waiting = interpreter.runClose(of: flow, info) { return true }
        ends.removeValue(forKey: ObjectIdentifier(end))
        return closed(exchange, flow, generation)
    }

    private func closed(_ exchange: Exchange, _ flow: ScriptFlow, _ generation: WorkerGeneration) -> Bool {
        // What follows is of the location that the exchange is in, where another was to have the tunnel.
        flow.settings = nil
        generation.log(exchange, worker: worker)
        return conclude(exchange, generation: generation)
    }

    /// Runs the log hooks of an exchange that is over and has been logged, and ends its flow.
    ///
    /// - Returns: whether the exchange is still needed; it is given back when it no longer is.
    func conclude(_ exchange: Exchange, generation: WorkerGeneration) -> Bool {
        guard interpreter.has(.log, in: exchange.location.settings) else {
            interpreter.endFlow(of: exchange)
            return false
        }
        let flow = interpreter.flow(of: exchange)
        interpreter.cancelCalls(of: flow)
        // Hooks that wait keep what they run under, where another configuration has taken over.
        let end = ScriptedEnd(exchange, flow) { [unowned self, generation] end, _ in
            withExtendedLifetime(generation) { ended(end) }
        }
        flow.owner = end
        if case .waiting = interpreter.run(.log, of: flow) {
            ends[ObjectIdentifier(end)] = end
            return true
        }
        interpreter.end(flow)
        return false
    }

    fileprivate func ended(_ end: ScriptedEnd) {
        guard ends.removeValue(forKey: ObjectIdentifier(end)) != nil else { return }
        interpreter.end(end.flow)
        worker.giveBack(end.exchange)
        worker.scriptsEnded()
    }
}

/// The scripts of all generations that something on a worker still runs under.
final class ScriptRoster {
    private struct Entry {
        let id: ObjectIdentifier
        unowned let scripts: WorkerScripts
    }

    private var entries: [Entry] = []

    var all: [WorkerScripts] { entries.map(\.scripts) }
    func add(_ scripts: WorkerScripts) {
        entries.append(Entry(id: ObjectIdentifier(scripts), scripts: scripts))
    }

    /// By what names them: one that is going away cannot be looked at through a reference any more.
    func remove(_ scripts: WorkerScripts) {
        let id = ObjectIdentifier(scripts)
        entries.removeAll { $0.id == id }
    }
}

/// An exchange that is over but for its last hooks.
final class ScriptedEnd: FlowOwner {
    let exchange: Exchange
    let flow: ScriptFlow
    private var ended: ((ScriptedEnd, StageResult) -> Void)?
    private var abandoned: (() -> Void)?

    /// `ended` is called when the stage that waited has come to its end, or `abandoned` when it never will.
    init(
        _ exchange: Exchange, _ flow: ScriptFlow, abandoned: (() -> Void)? = nil,
        ended: @escaping (ScriptedEnd, StageResult) -> Void
    ) {
        self.exchange = exchange
        self.flow = flow
        self.ended = ended
        self.abandoned = abandoned
    }

    /// The hooks that it waits for were given up.
    func abandon() {
        abandoned?()
        abandoned = nil
        ended = nil
    }

    func stageEnded(_ stage: HookStage, _ result: StageResult) { ended?(self, result) }
    func variableIsReady() {}
    func readBody() -> Bool { false }
    func close(code: UInt16, reason: [UInt8]) {}

    func facts(of leg: FlowLeg) -> LegFacts {
        var facts: LegFacts
        switch leg {
        case .client: facts = LegFacts(clientOf: exchange)
        case .upstream:
            guard let attempt = exchange.attempts.last else { return LegFacts() }
            facts = LegFacts(attempt)
        }
        guard let webSocket = exchange.currentWebSocketFacts else { return facts }
        facts.messagesIn = leg == .client ? webSocket.fromClient : webSocket.fromUpstream
        facts.messagesOut = leg == .client ? webSocket.toClient : webSocket.toUpstream
        return facts
    }
}
