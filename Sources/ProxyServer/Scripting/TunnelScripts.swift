internal import Config
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// What a tunnel has besides its two connections where scripts of its location look at it: the exchange with all its
/// fields, the flow, and where the frames of a WebSocket end.
final class TunnelScripts: FlowOwner {
    let exchange: Exchange
    let flow: ScriptFlow
    private let scripts: WorkerScripts
    private let generation: WorkerGeneration
    private unowned let worker: Worker
    /// The tunnel, until it has ended.
    var tunnel: Tunnel?
    /// `nil` where the protocol is another than WebSocket.
    private var fromClient: FrameTracker?
    private var fromUpstream: FrameTracker?
    /// What a script ends the tunnel with.
    private var closing: (code: UInt16, reason: [UInt8])?
    private var toldClient = false
    private var toldUpstream = false
    private(set) var isDraining = false
    /// A close frame has gone by; whose was first.
    private var sawClose = false
    private var firstCloseWasClients = false
    /// What the close hooks run for, while they wait.
    private var closingEnd: ScriptedEnd?

    /// Milliseconds for which the peers may take to end after a close frame of ours.
    static let closeTimeout: Int64 = 5000

    /// - Returns: `nil` for a tunnel that no script looks at.
    init?(_ exchange: Exchange, generation: WorkerGeneration, worker: Worker) {
        guard let scripts = generation.scripts else { return nil }
        let interpreter = scripts.interpreter
        let settings = exchange.location.settings
        let hasHooks = [HookStage.open, .close, .drain, .log].contains { interpreter.has($0, in: settings) }
        guard hasHooks || exchange.scriptFlow >= 0 else { return nil }
        self.exchange = exchange
        self.scripts = scripts
        self.generation = generation
        self.worker = worker
        flow = interpreter.flow(of: exchange)
        let upgrade = exchange.request.upgradeIndex
        if exchange.request.fields.indices.contains(upgrade) {
            let value = exchange.request.bytes[exchange.request.fields[upgrade].value]
            if String(decoding: value, as: UTF8.self).lowercased() == "websocket" {
                fromClient = FrameTracker(receivedBy: .server)
                fromUpstream = FrameTracker(receivedBy: .client)
            }
        }
        flow.owner = self
    }

    private var interpreter: Interpreter { scripts.interpreter }

    // MARK: Bytes

    /// How many of the bytes from `side` are to be sent on; the rest comes after our own close frame, and is dropped.
    func relay(_ bytes: Span<UInt8>, from side: TunnelStateMachine.Side) -> Int {
        let isClosing = closing != nil
        var count = bytes.count
        switch side {
        case .client:
            if toldUpstream { return 0 }
            if fromClient?.isAtBoundary == true, isClosing { return 0 }
            count = fromClient?.advance(bytes, stopsAtBoundary: isClosing) ?? count
        case .upstream:
            if toldClient { return 0 }
            if fromUpstream?.isAtBoundary == true, isClosing { return 0 }
            count = fromUpstream?.advance(bytes, stopsAtBoundary: isClosing) ?? count
        }
        return count
    }

    /// Sends close frames where they may stand now.
    ///
    /// - Returns: whether both sides have been told.
    func sendCloseFrames(to tunnel: Tunnel) -> Bool {
        guard let closing else { return false }
        if !toldClient, fromUpstream?.isAtBoundary ?? true {
            toldClient = true
            if fromUpstream != nil {
                tunnel.send(
                    FrameTracker.closeFrame(code: closing.code, reason: closing.reason), to: .client)
            }
        }
        if !toldUpstream, fromClient?.isAtBoundary ?? true {
            toldUpstream = true
            if fromClient != nil {
                let key = WebSocketMaskKey(random: UInt32(truncatingIfNeeded: worker.random.next()))
                tunnel.send(
                    FrameTracker.closeFrame(code: closing.code, reason: closing.reason, maskKey: key),
                    to: .upstream)
            }
        }
        return toldClient && toldUpstream
    }

    // MARK: FlowOwner

    func close(code: UInt16, reason: [UInt8]) {
        guard closing == nil, let tunnel else { return }
        closing = (code, reason)
        tunnel.closeByScript()
    }

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
        guard !isDraining, interpreter.has(.drain, in: exchange.location.settings) else { return }
        isDraining = true
        let result = interpreter.run(.drain, of: flow)
        if case .waiting = result { return }
        drainHooksEnded(result)
    }

    private func drainHooksEnded(_ result: StageResult) {
        switch result {
        case .grace(let milliseconds): tunnel?.end(after: milliseconds)
        case .answered(.close(let code, let reason)): close(code: code, reason: reason)
        case .proceed, .waiting, .failed, .answered, .piece: break
        }
    }

    /// The grace is over.
    func graceEnded() { close(code: WebSocketCloseCode.goingAway, reason: []) }

    // MARK: The end

    /// The connections are closed; `ended` is the side that ended first, if one did.
    func tunnelEnded(first side: TunnelStateMachine.Side?) {
        tunnel = nil
        interpreter.cancelCalls(of: flow)
        guard interpreter.has(.close, in: exchange.location.settings) else { return finishExchange() }
        let end = ScriptedEnd(exchange, flow) { [self] _, _ in finishExchange() }
        flow.owner = end
        scripts.keep(end)
        closingEnd = end
        if case .waiting = interpreter.runClose(of: flow, closeInfo(first: side)) { return }
        finishExchange()
    }

    private func closeInfo(first side: TunnelStateMachine.Side?) -> Interpreter.CloseInfo {
        let client = fromClient?.close
        let upstream = fromUpstream?.close
        if let closing {
            let isClean = client != nil || upstream != nil
            return .init(code: closing.code, reason: closing.reason, by: .proxy, isClean: isClean)
        }
        let isClean = client != nil && upstream != nil
        if let client, upstream == nil || side == .client || firstCloseWasClients {
            return .init(code: client.code, reason: client.reason, by: .client, isClean: isClean)
        }
        if let upstream {
            return .init(code: upstream.code, reason: upstream.reason, by: .upstream, isClean: isClean)
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

    /// Notes whose close frame came first.
    func noteCloses() {
        guard !sawClose else { return }
        if fromClient?.close != nil {
            sawClose = true
            firstCloseWasClients = true
        } else if fromUpstream?.close != nil {
            sawClose = true
        }
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
