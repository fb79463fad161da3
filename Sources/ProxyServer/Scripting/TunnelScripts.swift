internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// What a tunnel has besides its two connections where scripts of its location look at it: the flow, and the exchange,
/// whole while scripts make use of it, and otherwise frozen with the tunnel.
final class TunnelScripts: FlowOwner {
    /// `nil` while the tunnel has it frozen.
    private var whole: Exchange?
    private(set) var flow: ScriptFlow
    private var generation: WorkerGeneration
    /// The tunnel, until it has ended.
    private var tunnel: Tunnel?
    private var extras: Extras?

    /// What most have not, most of the time.
    private final class Extras {
        var standing = Standing.settled
        /// A script has ended a tunnel that is no WebSocket with this.
        var closing: (code: UInt16, reason: [UInt8])?
        /// Whoever waits for the answer to a ping.
        var pings: [Int: (WebSocketPingOutcome) -> Void] = [:]
        var lastPing = 0
    }

    /// How the tunnel stands to its worker.
    private enum Standing {
        /// It goes on under its generation: the current one, or one that it cannot leave.
        case settled
        /// It moves to the current generation once no message is under way, and no hook waits.
        case isToMove
        /// It would, but for what functions of its scripts are to do later, or have open.
        case isBound
        /// It was asked to end.
        case isToEnd
    }

    private var needed: Extras {
        if let extras { return extras }
        let made = Extras()
        extras = made
        return made
    }

    /// - Returns: `nil` where the configuration has no scripts.
    init?(_ exchange: Exchange, of tunnel: Tunnel) {
        guard let scripts = tunnel.generation.scripts else { return nil }
        whole = exchange
        self.tunnel = tunnel
        generation = tunnel.generation
        flow = scripts.interpreter.flow(of: exchange)
        flow.settings = exchange.location.settings
        flow.owner = self
        worker.wholeExchanges.add(self)
    }

    private var scripts: WorkerScripts {
        guard let scripts = generation.scripts else {
            preconditionFailure("a generation that had scripts keeps them")
        }
        return scripts
    }

    private var interpreter: Interpreter { scripts.interpreter }
    private var worker: Worker { scripts.worker }
    private var plane: WebSocketPlane? { tunnel?.plane }
    /// Of the location that the tunnel is in; `nil` once its flow has ended.
    var settings: Settings? { flow.settings }

    private var standing: Standing {
        get { extras?.standing ?? .settled }
        set { if extras != nil || newValue != .settled { needed.standing = newValue } }
    }

    // MARK: The exchange

    var exchange: Exchange { whole ?? thaw() }

    private func thaw() -> Exchange {
        let exchange = worker.takeExchange()
        whole = exchange
        tunnel?.thaw(into: exchange, scripts.freezer)
        exchange.scripts = interpreter
        exchange.webSocket = plane
        // One that has ended may be another exchange's by now.
        if flow.owner === self { flow.exchangeWasThawed(exchange) }
        worker.wholeExchanges.add(self)
        return exchange
    }

    func thawExchange() -> Exchange? { exchange }

    /// Whether scripts have used the exchange since this was last asked.
    func takeUse() -> Bool {
        defer { flow.usedExchange = false }
        return flow.usedExchange
    }

    /// Gives the exchange itself back.
    func freeze() {
        guard let tunnel, let exchange = whole else { return }
        tunnel.keep(scripts.freezer.freeze(exchange))
        whole = nil
        flow.exchangeWasFrozen()
        exchange.scripts = nil
        exchange.webSocket = nil
        worker.giveBack(exchange)
    }

    // MARK: Messages and frames

    func judge(_ item: WebSocketItem, from position: Int) -> WebSocketVerdict {
        interpreter.run(item, of: flow, from: position)
    }

    func cancel(_ item: WebSocketItem) { interpreter.cancel(item, of: flow) }

    func itemJudged(_ item: WebSocketItem, _ verdict: WebSocketVerdict) {
        guard let tunnel, let plane else { return }
        let side = item.side
        plane.resume(item, verdict)
        guard !tunnel.isClosing else { return }
        // Not now: whoever led here may be in the middle of what it has read.
        tunnel.scheduleRead(of: side)
    }

    // MARK: Reloads

    /// Nothing of the scripts is under way.
    var isIdle: Bool { flow.isIdle }

    /// It is to move, and only messages or hooks can be in the way.
    var isToMove: Bool { standing == .isToMove }

    func somethingEnded() {
        switch standing {
        case .isToMove, .isBound: tunnel?.settleLater()
        case .settled, .isToEnd: break
        }
    }

    private func destination(in next: WorkerGeneration) -> Interpreter.Destination? {
        guard let interpreter = next.scripts?.interpreter, let settings = flow.settings,
            let found = interpreter.destination(
                of: exchange, in: next.generation.runtime, from: self.interpreter, settings)
        else { return nil }
        let rules = generation.webSocketRules(settings, on: worker)
        let nextRules = next.webSocketRules(found.location.settings, on: worker)
        // Compressed messages that nobody has looked at from the first on cannot be looked at. Nor can those of an
        // extension that was agreed on because nobody would look.
        let terms = exchange.webSocketDeflate
        if nextRules.looksAtMessages, !rules.looksAtMessages, terms.passed != nil { return nil }
        if nextRules.looksInside, !rules.looksInside, terms.hasOthers { return nil }
        return found
    }

    enum Move {
        case moved
        /// It will, soon.
        case later
        /// It stays; perhaps not for good, where it is bound.
        case stays
    }

    /// Goes on with the scripts of another configuration, if that has a place for the tunnel, and nothing is in the way.
    func move(to next: WorkerGeneration) -> Move {
        guard standing != .isToEnd, let tunnel, let plane else { return .stays }
        guard next !== generation, let scripts = next.scripts, let destination = destination(in: next) else {
            standing = .settled
            return .stays
        }
        let rules = next.webSocketRules(destination.location.settings, on: worker)
        guard plane.isAtMessageBoundary(for: rules) else {
            standing = .isToMove
            return .later
        }
        switch scripts.interpreter.readiness(of: flow, from: interpreter, for: destination) {
        case .waits:
            standing = .isToMove
            return .later
        case .isBound:
            standing = .isBound
            return .stays
        case .isTooLarge:
            standing = .settled
            return .stays
        case .ready(let estate):
            standing = .settled
            let exchange = exchange
            exchange.move(to: next.generation.runtime, destination.server, destination.location)
            exchange.scripts = scripts.interpreter
            flow = scripts.interpreter.takeOver(flow, of: exchange, from: interpreter, with: estate)
            generation = next
            tunnel.moved(to: next)
            plane.migrate(to: rules) { scripts.interpreter.giveContexts(of: estate, to: flow) }
            return .moved
        }
    }

    // MARK: The list of open tunnels

    /// The tunnel is a WebSocket and open: other workers may see it.
    func enterList(_ exchange: Exchange) { interpreter.list(flow, exchange) }

    func leaveList() { interpreter.takeOffList(flow) }

    // MARK: What scripts send

    var isOpenTunnel: Bool { plane.map { $0.endedBy?.isPending ?? true } ?? false }

    func send(_ message: ScriptMessage, to leg: FlowLeg) -> String? {
        guard let tunnel else { return "there is no open WebSocket" }
        let unsent = (leg == .client ? tunnel.downstream.unsentBytes : tunnel.upstream.unsentBytes)
        guard unsent <= WebSocketPlane.maxQueued else { return "too much waits to be sent" }
        return inject(message, to: leg)
    }

    /// As `send`, however much waits on the connection: for what was let in before there was a tunnel.
    func inject(_ message: ScriptMessage, to leg: FlowLeg) -> String? {
        guard let plane else { return "there is no open WebSocket" }
        let isSent = plane.inject(
            message.isText ? .text : .binary, message.payload, to: leg.side,
            firstMessageHook: message.firstMessageHook, firstFrameHook: message.firstFrameHook,
            sender: message.item)
        guard !isSent else { return nil }
        return plane.endedBy == nil ? "too much waits to be sent" : "the WebSocket is closing"
    }

    func ping(
        _ leg: FlowLeg, payload: [UInt8]?, done: @escaping (WebSocketPingOutcome) -> Void
    ) -> Result<any ScriptOperation, TunnelFailure> {
        guard let plane else { return .failure(TunnelFailure("there is no open WebSocket")) }
        let extras = needed
        extras.lastPing += 1
        let token = extras.lastPing
        extras.pings[token] = done
        guard plane.ping(leg.side, payload: payload, token: token) else {
            extras.pings[token] = nil
            let why = plane.endedBy == nil ? "too many pings wait for answers" : "the WebSocket is closing"
            return .failure(TunnelFailure(why))
        }
        return .success(ScriptedPing(self, token))
    }

    func pingEnded(_ token: Int, _ outcome: WebSocketPingOutcome) {
        extras?.pings.removeValue(forKey: token)?(outcome)
    }

    fileprivate func forgetPing(_ token: Int) {
        extras?.pings[token] = nil
        plane?.forgetPing(token)
    }

    func close(code: UInt16, reason: [UInt8]) {
        guard let tunnel else { return }
        if plane == nil, extras?.closing == nil { needed.closing = (code, reason) }
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
        default: break
        }
    }

    func variableIsReady() {}
    func readBody() -> Bool { false }

    func facts(of leg: FlowLeg) -> LegFacts {
        tunnel?.facts(of: leg, exchange) ?? LegFacts()
    }

    func upstreamTLS() -> UpstreamTLSFacts? { tunnel?.upstream.tlsFacts }

    // MARK: Draining

    /// The tunnel is to end: asks the drain hooks how long it may have.
    func drain() {
        guard standing != .isToEnd else { return }
        standing = .isToEnd
        guard let settings, interpreter.has(.drain, in: settings) else {
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
        case .failed: close(code: WebSocketCloseCode.internalError, reason: [])
        case .proceed: if plane != nil { tunnel?.end(after: 0) }
        case .waiting, .answered, .piece: break
        }
    }

    // MARK: The end

    /// The connections are closed; `side` is the one that ended first, if one did.
    func tunnelEnded(first side: TunnelSide?, _ ending: WebSocketEnding?) {
        let exchange = exchange
        worker.wholeExchanges.remove(self)
        tunnel = nil
        leaveList()
        if !scripts.close(exchange, flow, closeInfo(first: side, ending), generation: generation) {
            worker.giveBack(exchange)
        }
        worker.scriptsEnded()
    }

    private func closeInfo(
        first side: TunnelSide?, _ ending: WebSocketEnding?
    ) -> Interpreter.CloseInfo {
        if let ending {
            return .init(
                code: ending.code, reason: ending.reason, by: ending.by, isClean: ending.isClean)
        }
        if let closing = extras?.closing {
            return .init(code: closing.code, reason: closing.reason, by: .proxy, isClean: false)
        }
        return .init(
            code: WebSocketCloseCode.abnormal, by: side.map(TunnelParty.init) ?? .proxy, isClean: false)
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
    var side: TunnelSide { self == .client ? .client : .upstream }
}
