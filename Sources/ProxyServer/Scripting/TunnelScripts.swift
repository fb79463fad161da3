internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// What a tunnel has besides its two connections where scripts of its location look at it: the exchange with all its
/// fields, and the flow.
final class TunnelScripts: FlowOwner {
    let exchange: Exchange
    private(set) var flow: ScriptFlow
    private var scripts: WorkerScripts
    private var generation: WorkerGeneration
    private unowned let worker: Worker
    /// The tunnel, until it has ended.
    var tunnel: Tunnel?
    private(set) var isDraining = false
    /// A script has ended a tunnel that is no WebSocket with this.
    private var closing: (code: UInt16, reason: [UInt8])?
    /// What the close hooks run for, while they wait.
    private var closingEnd: ScriptedEnd?
    /// Whoever waits for the answer to a ping.
    private var pings: [Int: (Int?) -> Void] = [:]
    private var lastPing = 0

    /// - Returns: `nil` where the configuration has no scripts.
    init?(_ exchange: Exchange, generation: WorkerGeneration, worker: Worker) {
        guard let scripts = generation.scripts else { return nil }
        self.exchange = exchange
        self.scripts = scripts
        self.generation = generation
        self.worker = worker
        flow = scripts.interpreter.flow(of: exchange)
        flow.settings = exchange.location.settings
        flow.owner = self
    }

    private var interpreter: Interpreter { scripts.interpreter }
    private var plane: WebSocketPlane? { tunnel?.plane }

    // MARK: Messages and frames

    func judge(_ item: WebSocketItem, from position: Int) -> WebSocketVerdict {
        worker.tick()
        return interpreter.run(item, of: flow, from: position)
    }

    func cancel(_ item: WebSocketItem) { interpreter.cancel(item, of: flow) }

    func itemJudged(_ item: WebSocketItem, _ verdict: WebSocketVerdict) {
        guard let tunnel, let plane else { return }
        let side = item.side
        plane.resume(item, verdict)
        guard !tunnel.isClosing else { return }
        tunnel.moveToSuccessor()
        tunnel.readable(side)
    }

    // MARK: Reloads

    /// Nothing of the scripts is under way.
    var isIdle: Bool { flow.isIdle }

    /// Whether a configuration has a place for the tunnel, and scripts that take the place of its own.
    func mayMove(to next: WorkerGeneration) -> Bool { destination(in: next) != nil }

    private func destination(in next: WorkerGeneration) -> Interpreter.Destination? {
        guard let interpreter = next.scripts?.interpreter, let settings = flow.settings,
            let found = interpreter.destination(
                of: exchange, in: next.generation.runtime, from: self.interpreter, settings)
        else { return nil }
        // Compressed messages that nobody has looked at from the first on cannot be looked at.
        let looks = next.webSocketRules(found.location.settings).looksAtMessages
        if looks, !generation.webSocketRules(settings).looksAtMessages,
            exchange.webSocketDeflate.passed != nil
        {
            return nil
        }
        return found
    }

    /// Goes on with the scripts of another configuration.
    ///
    /// - Returns: the location there; `nil` when everything stays as it is.
    func move(to next: WorkerGeneration) -> Location? {
        guard let destination = destination(in: next), let nextScripts = next.scripts else { return nil }
        let moved = nextScripts.interpreter.takeOver(flow, from: interpreter, to: destination) {
            exchange.move(to: next.generation.runtime, destination.server, destination.location)
            exchange.scripts = nextScripts.interpreter
        }
        guard let moved else { return nil }
        flow = moved
        scripts = nextScripts
        generation = next
        return destination.location
    }

    // MARK: What scripts send

    var isOpenTunnel: Bool { plane != nil && plane?.endedBy == nil }

    func send(_ message: ScriptMessage, to leg: FlowLeg) -> String? {
        guard let tunnel, let plane else { return "there is no open WebSocket" }
        let side = leg.side
        let unsent = (side == .client ? tunnel.downstream.unsentBytes : tunnel.upstream.unsentBytes)
        guard unsent <= WebSocketPlane.maxQueued else { return "too much waits to be sent" }
        let isSent = plane.inject(
            message.isText ? .text : .binary, message.payload, to: side,
            firstMessageHook: message.firstMessageHook, firstFrameHook: message.firstFrameHook)
        guard !isSent else { return nil }
        return plane.endedBy == nil ? "too much waits to be sent" : "the WebSocket is closing"
    }

    func ping(
        _ leg: FlowLeg, payload: [UInt8]?, done: @escaping (Int?) -> Void
    ) -> Result<any ScriptOperation, TunnelFailure> {
        guard let plane else { return .failure(TunnelFailure("there is no open WebSocket")) }
        lastPing += 1
        let token = lastPing
        pings[token] = done
        guard plane.ping(leg.side, payload: payload, token: token) else {
            pings[token] = nil
            let why = plane.endedBy == nil ? "too many pings wait for answers" : "the WebSocket is closing"
            return .failure(TunnelFailure(why))
        }
        return .success(ScriptedPing(self, token))
    }

    func pingEnded(_ token: Int, roundTrip: Int?) { pings.removeValue(forKey: token)?(roundTrip) }

    fileprivate func forgetPing(_ token: Int) {
        pings[token] = nil
        plane?.forgetPing(token)
    }

    func close(code: UInt16, reason: [UInt8]) {
        guard let tunnel else { return }
        if plane == nil, closing == nil { closing = (code, reason) }
        tunnel.close(code: code, reason: reason)
    }

    func close(_ leg: FlowLeg, code: UInt16, reason: [UInt8]) {
        guard let plane else { return close(code: code, reason: reason) }
        plane.end(code, reason, of: leg.side)
    }

    // MARK: FlowOwner

    func stageEnded(_ stage: HookStage, _ result: StageResult) {
        switch stage {
        case .drain: drainHooksEnded(result)
        case .close: finishExchange()
        default: break
        }
    }

    func variableIsReady() {}
    func readBody() {}

    func facts(of leg: FlowLeg) -> LegFacts {
        tunnel?.facts(of: leg, exchange) ?? LegFacts()
    }

    // MARK: Draining

    /// The tunnel is to end: asks the drain hooks how long it may have.
    func drain() {
        guard !isDraining else { return }
        isDraining = true
        guard interpreter.has(.drain, in: exchange.location.settings) else {
            if plane != nil { tunnel?.end(after: 0) }
            return
        }
        let result = interpreter.run(.drain, of: flow)
        if case .waiting = result { return }
        drainHooksEnded(result)
    }

    private func drainHooksEnded(_ result: StageResult) {
        switch result {
        case .grace(let milliseconds): tunnel?.end(after: milliseconds)
        case .answered(.close(let code, let reason)): close(code: code, reason: reason)
        case .proceed, .failed: if plane != nil { tunnel?.end(after: 0) }
        case .waiting, .answered, .piece: break
        }
    }

    // MARK: The end

    /// The connections are closed; `ended` is the side that ended first, if one did.
    func tunnelEnded(first side: TunnelStateMachine.Side?, _ ending: WebSocketEnding?) {
        tunnel = nil
        interpreter.cancelCalls(of: flow)
        guard interpreter.has(.close, in: exchange.location.settings) else { return finishExchange() }
        let end = ScriptedEnd(exchange, flow) { [self] _, _ in finishExchange() }
        flow.owner = end
        scripts.keep(end)
        closingEnd = end
        if case .waiting = interpreter.runClose(of: flow, closeInfo(first: side, ending)) { return }
        finishExchange()
    }

    private func closeInfo(
        first side: TunnelStateMachine.Side?, _ ending: WebSocketEnding?
    ) -> Interpreter.CloseInfo {
        if let ending {
            return .init(
                code: ending.code, reason: ending.reason, by: .init(ending.by), isClean: ending.isClean)
        }
        if let closing {
            return .init(code: closing.code, reason: closing.reason, by: .proxy, isClean: false)
        }
        let by: Interpreter.CloseInfo.Party =
            switch side {
            case .client: .client
            case .upstream: .upstream
            case nil: .proxy
            }
        // RFC 6455 §7.1.5: no close frame was received.
        return .init(code: 1006, by: by, isClean: false)
    }

    /// The exchange's lines in the access logs, and its log hooks.
    private func finishExchange() {
        if let end = closingEnd {
            closingEnd = nil
            scripts.forget(end)
        }
        generation.log(exchange, worker: worker)
        if !scripts.conclude(exchange, generation: generation) { worker.giveBack(exchange) }
        worker.scriptsEnded()
    }
}

/// A script waits for the answer to its ping.
private final class ScriptedPing: ScriptOperation {
    private weak var scripts: TunnelScripts?
    private let token: Int

    init(_ scripts: TunnelScripts, _ token: Int) {
        self.scripts = scripts
        self.token = token
    }

    func cancel() { scripts?.forgetPing(token) }
}

extension FlowLeg {
    var side: TunnelStateMachine.Side { self == .client ? .client : .upstream }
}

extension Interpreter.CloseInfo.Party {
    init(_ party: WebSocketEnding.Party) {
        switch party {
        case .client: self = .client
        case .upstream: self = .upstream
        case .proxy: self = .proxy
        }
    }
}
