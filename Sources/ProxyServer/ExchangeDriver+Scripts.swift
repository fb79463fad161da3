internal import Bytes
internal import CSwitchyard
internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// The stages at which scripts run, and what becomes of their results.
extension ExchangeDriver: FlowOwner {
    private var interpreter: Interpreter? { generation.scripts?.interpreter }

    private func flow(in interpreter: Interpreter) -> ScriptFlow {
        let flow = interpreter.flow(of: exchange)
        flow.owner = self
        return flow
    }

    /// Bytes of the client are looked at only to see whether it has gone.
    var watchesForEnd: Bool { (script.waits || awaitsTurn) && !wantsBody }

    // MARK: Before the upstream

    func runRequestHooks() {
        guard let interpreter else { return perform(Router.proceed(exchange)) }
        stage = .inScript
        script.wait = .request
        let result = interpreter.run(.request, of: flow(in: interpreter))
        if case .waiting = result { return waited() }
        requestHooksEnded(result)
    }

    private func requestHooksEnded(_ result: StageResult) {
        script.wait = .none
        stage = .proxying
        guard mayProceed(after: result) else { return }
        takeUpDecisions()
        let pass = script.currentRoute == nil ? nil : generation.scripts?.routedPass
        perform(Router.proceed(exchange, routedBy: pass))
    }

    /// - Returns: whether the exchange goes on elsewhere.
    func runUpgradeHooks() -> Bool {
        guard let interpreter else { return false }
        script.stages = interpreter.stages(in: settings)
        script.hasRequestBodyHooks = script.has(.requestBody)
        guard case .offered = upgrade, script.has(.upgrade) else { return false }
        stage = .inScript
        script.wait = .upgrade
        let result = interpreter.run(.upgrade, of: flow(in: interpreter))
        if case .waiting = result {
            waited()
        } else {
            upgradeHooksEnded(result)
        }
        return true
    }

    private func upgradeHooksEnded(_ result: StageResult) {
        script.wait = .none
        stage = .proxying
        guard mayProceed(after: result) else { return }
        takeUpDecisions()
        // What the client offers may have been changed.
        examineUpgrade()
        prepareBody()
    }

    /// Takes over what hooks said through the flow, rather than by their results.
    private func takeUpDecisions() {
        guard exchange.scriptFlow >= 0, let interpreter else { return }
        let flow = interpreter.flow(of: exchange)
        if !flow.route.isEmpty {
            script.route = flow.route
            script.routesTried = 0
        }
        takeUpBody(of: flow)
    }

    private func takeUpBody(of flow: ScriptFlow) {
        guard let body = flow.replacementBody else { return }
        flow.replacementBody = nil
        // To scripts it is the request's from here on.
        flow.body = body
        script.body = .replacing(body)
        if bodyIsTaken { replaceBody() }
    }

    /// Puts the body that a script set in the place of the client's.
    func replaceBody() {
        guard case .replacing(let body) = script.body else { return }
        script.body = .replaced
        replay = body
        isReplayable = true
    }

    /// Another location takes over, which chooses upstreams anew. What was set of the request stays.
    func leaveLocation() {
        // A subrequest's has nothing of scripts under way.
        if exchange.isSubrequest { return }
        script.route = []
        script.routesTried = 0
        if script.requestPieceIsHeld {
            script.requestPiece = nil
            losePiece()
        }
        guard exchange.scriptFlow >= 0, let interpreter else { return }
        let flow = interpreter.flow(of: exchange)
        flow.route = []
        takeUpBody(of: flow)
    }

    /// What a hook would have made of a piece nobody knows: the body is not whole without, nor may it go on as it came.
    private func losePiece() {
        isReplayable = false
        replay.clear()
    }

    /// What a hook's result means before the response: an answer is given at once.
    private func mayProceed(after result: StageResult) -> Bool {
        switch result {
        case .proceed, .piece, .grace: return true
        case .waiting: return false
        case .failed: fail(status: 500)
        case .answered(let answer): give(answer)
        }
        return false
    }

    private func give(_ answer: ScriptAnswer) {
        switch answer {
        // What `return 444;` does: nobody is answered.
        case .respond(let response) where response.status == 444:
            exchange.status = response.status
            perform(.closeConnection)
        case .respond(let response): respond(LocalResponse(response))
        case .internalRedirect(let target):
            leaveLocation()
            perform(Router.redirect(exchange, toEscapedURI: target))
        case .close: finish(.close)
        }
    }

    /// The next target of a route, after the one before it failed.
    func tryNextRoute() -> Bool {
        guard script.hasNextRoute else { return false }
        script.routesTried += 1
        stage = .proxying
        chooseTarget(bodyLength: knownBodyLength)
        return true
    }

    /// A hook waits: the client is watched meanwhile.
    private func waited() {
        if let downstream, downstream.mayRead { downstream.scheduleRead() }
    }

    /// Rendering met a variable whose function waits.
    func waitForVariable(_ wait: ScriptProgress.Wait) {
        guard let interpreter else { return }
        interpreter.flow(of: exchange).owner = self
        script.wait = wait
        switch wait {
        case .target, .limits: stage = .inScript
        case .none, .request, .upgrade, .response, .open, .head: break
        }
        waited()
    }

    /// Goes on with what the client sent while it had to wait: for a hook, or for an upstream.
    func resumed() {
        guard !hasEnded, let downstream else { return }
        downstream.processInbox()
        guard !hasEnded else { return }
        flushHead()
        if wantsBody { downstream.bodyIsWanted(by: self) }
        if wantsBody || script.waits, downstream.mayRead { downstream.scheduleRead() }
    }

    // MARK: FlowOwner

    func stageEnded(_ stage: HookStage, _ result: StageResult) {
        guard !hasEnded else { return }
        switch stage {
        case .request:
            requestHooksEnded(result)
            resumed()
        case .upgrade:
            upgradeHooksEnded(result)
            resumed()
        case .response:
            guard case .response(let opensTunnel) = script.wait else { return }
            let held = takeHeld()
            responseHooksEnded(result, held.span, opensTunnel: opensTunnel)
            responseResumed()
        case .open:
            let held = takeHeld()
            openHooksEnded(result, held.span)
        case .requestBody:
            guard let piece = script.requestPiece else { return }
            script.requestPiece = nil
            // The response is complete: what becomes of the piece no longer matters, nor whether the hook failed.
            if case .flushing = self.stage { return }
            deliver(result, piece.bytes.span, isLast: piece.isLast, wasHeld: true)
            resumed()
        case .responseBody: responsePieceEnded(result)
        case .initialise, .certificate, .message, .frame, .close, .drain, .log: break
        }
    }

    func variableIsReady() {
        guard !hasEnded else { return }
        let wait = script.wait
        script.wait = .none
        switch wait {
        case .target(let bodyLength):
            stage = .proxying
            chooseTarget(bodyLength: bodyLength)
            resumed()
        case .limits:
            stage = .proxying
            perform(Router.goOn(exchange))
            resumed()
        case .head:
            let held = takeHeld()
            sendResponseHead(held.span)
            responseResumed()
        case .none, .request, .upgrade, .response, .open: script.wait = wait
        }
    }

    /// There is no tunnel to say the code in: a request that has no answer yet gets one.
    func close(code: UInt16, reason: [UInt8]) {
        guard !hasEnded else { return }
        log(.warn, "a script closed the exchange: \(code) \(String(decoding: reason, as: UTF8.self))")
        script.closing = .init(code: code, reason: reason, by: .proxy, isClean: false)
        failPastHooks(status: 503)
    }

    /// Goes on by an error, if something can still be answered, to which hooks that are under way have nothing to say.
    func failPastHooks(status: Int) {
        guard machine.canRespond else { return breakOff() }
        abandonHooks()
        fail(status: status)
        resumed()
    }

    private func abandonHooks() {
        stage = .proxying
        if script.isReadingBody { script.body = .untouched }
        guard exchange.scriptFlow >= 0, let interpreter else { return }
        interpreter.cancelCalls(of: flow(in: interpreter))
        script.wait = .none
        script.holdsResponse = false
        script.held.clear()
        script.responsePiece = nil
    }

    /// Open hooks may send: it goes out once the client has the 101.
    func send(_ message: ScriptMessage, to leg: FlowLeg) -> String? {
        guard exchange.response.status == 101, opensWebSocket, !hasEnded else {
            return "there is no open WebSocket"
        }
        let queued = script.openSends.reduce(0) {
            $0 + ($1.leg == leg ? $1.message.payload.count + WebSocketPlane.roomOfMessage : 0)
        }
        // As on an open WebSocket, a message that nothing waits before may be of any size.
        guard queued == 0 || queued + message.payload.count <= WebSocketPlane.maxQueued else {
            return "too much waits to be sent"
        }
        script.openSends.append((message, leg))
        return nil
    }

    func facts(of leg: FlowLeg) -> LegFacts {
        switch leg {
        case .client:
            var facts = LegFacts(clientOf: exchange)
            facts.read(from: downstream)
            return facts
        case .upstream:
            guard let attempt = exchange.attempts.last else { return LegFacts() }
            var facts = LegFacts(attempt)
            facts.read(from: upstream)
            return facts
        }
    }

    func upstreamTLS() -> UpstreamTLSFacts? { upstream?.tlsFacts }

    // MARK: The request's body

    /// A script asks for the whole of it.
    func readBody() -> Bool {
        guard let interpreter, isInScript, !hasEnded, isReplayable else { return false }
        let flow = flow(in: interpreter)
        if case .read = script.body { return true }
        if bodyIsTaken {
            // Never within the call that asks.
            let generation = flow.generationNumber
            worker.postpone { [self] in
                guard !hasEnded, flow.generationNumber == generation else { return }
                bodyWasRead()
            }
            return true
        }
        script.body = .reading
        worker.postpone { [self] in
            guard !hasEnded, script.isReadingBody else { return }
            sendContinue()
            resumed()
        }
        return true
    }

    func bodyWasRead() {
        guard let interpreter else { return }
        if !script.isBodyReplaced { script.body = .read }
        interpreter.bodyReceived(replay, of: flow(in: interpreter))
    }

    func runRequestBodyHooks(_ payload: Span<UInt8>, isLast: Bool) {
        guard let interpreter else { return }
        script.changesBody = true
        var piece: [UInt8] = []
        piece.append(payload)
        let result = interpreter.run(
            .requestBody, of: flow(in: interpreter), piece: piece, isLast: isLast)
        if case .waiting = result {
            script.requestPiece = (piece, isLast)
            return waited()
        }
        deliver(result, payload, isLast: isLast)
    }

    private func deliver(
        _ result: StageResult, _ payload: Span<UInt8>, isLast: Bool, wasHeld: Bool = false
    ) {
        switch result {
        case .piece(.unchanged), .proceed: if payload.count > 0 { forwardRequestBody(payload) }
        case .piece(.dropped): break
        case .piece(.replaced(let bytes)): if !bytes.isEmpty { forwardRequestBody(bytes.span) }
        case .failed, .answered, .waiting, .grace:
            exchange.closesConnection = true
            losePiece()
            return failPastHooks(status: 500)
        }
        guard !hasEnded else { return }
        if isLast {
            finishBody()
        } else if wasHeld, requestBody.isComplete {
            // A body of known length ends with its last byte: nothing follows that would tell.
            requestBodyEnded()
        }
    }

    // MARK: The response

    /// Keeps what follows of the response until a hook has come to its end; the upstream is not read meanwhile.
    func hold(_ rest: Span<UInt8>) {
        script.holdsResponse = true
        script.held.append(rest)
        upstream?.clearDeadline()
        waited()
    }

    private func takeHeld() -> [UInt8] {
        let held = script.held
        script.held = []
        script.holdsResponse = false
        script.wait = .none
        return held
    }

    /// - Returns: whether the response goes on elsewhere.
    func runResponseHooks(_ rest: Span<UInt8>, opensTunnel: Bool = false) -> Bool {
        exchange.responseBodyIsScripted = !opensTunnel && script.has(.responseBody)
        guard script.has(.response), let interpreter else {
            return opensTunnel && runOpenHooks(rest)
        }
        let result = interpreter.run(.response, of: flow(in: interpreter))
        if case .waiting = result {
            script.wait = .response(opensTunnel: opensTunnel)
            hold(rest)
        } else {
            responseHooksEnded(result, rest, opensTunnel: opensTunnel)
        }
        return true
    }

    private func responseHooksEnded(_ result: StageResult, _ rest: Span<UInt8>, opensTunnel: Bool) {
        switch result {
        case .proceed, .piece, .grace:
            if opensTunnel {
                if !runOpenHooks(rest) { startTunnel(rest) }
            } else {
                sendResponseHead(rest)
            }
            return
        case .waiting: return
        case .failed:
            settleUpstream()
            fail(status: 500)
        case .answered(let answer):
            settleUpstream()
            give(answer)
        }
    }

    /// The upstream did its part; what it said is not used.
    private func settleUpstream() {
        peers?.group.finish(&selection, .succeeded, now: loop.now)
        dropUpstream()
    }

    private func responseResumed() {
        guard !hasEnded, let upstream, !script.holdsResponse else { return }
        armUpstreamDeadline()
        if upstream.mayRead { upstream.scheduleRead() }
    }

    /// - Returns: whether something of the payload waits, and the rest is to be held.
    func runResponseBodyHooks(
        _ payload: Span<UInt8>, isLast: Bool = false, exact: Bool = false, with output: inout [UInt8],
        to downstream: DownstreamConnection
    ) -> Bool {
        guard let interpreter else { return false }
        var piece: [UInt8] = []
        piece.append(payload)
        let result = interpreter.run(
            .responseBody, of: flow(in: interpreter), piece: piece, isLast: isLast)
        if case .waiting = result {
            script.responsePiece = (piece, isLast, exact)
            script.holdsResponse = true
            upstream?.clearDeadline()
            waited()
            return true
        }
        deliver(result, payload, with: &output, to: downstream)
        return false
    }

    private func deliver(
        _ result: StageResult, _ payload: Span<UInt8>, with output: inout [UInt8],
        to downstream: DownstreamConnection
    ) {
        switch result {
        case .piece(.unchanged), .proceed:
            if payload.count > 0 { forwardResponseBody(payload, with: &output, to: downstream) }
        case .piece(.dropped): break
        case .piece(.replaced(let bytes)):
            if !bytes.isEmpty { forwardResponseBody(bytes.span, with: &output, to: downstream) }
        // The head has gone out: all that is left is to break off visibly.
        case .failed, .answered, .waiting, .grace: breakOff()
        }
    }

    private func responsePieceEnded(_ result: StageResult) {
        guard let piece = script.responsePiece, let downstream else { return }
        script.responsePiece = nil
        let held = takeHeld()
        var output = worker.takeBuffer()
        deliver(result, piece.bytes.span, with: &output, to: downstream)
        if !hasEnded {
            if piece.isLast {
                responseEnded(exact: piece.exact, &output, to: downstream)
            } else {
                relay(held.span, with: &output, to: downstream)
            }
        }
        worker.giveBack(consume output)
        responseResumed()
    }

    // MARK: Tunnels

    private func runOpenHooks(_ rest: Span<UInt8>) -> Bool {
        guard script.has(.open), let interpreter else { return false }
        script.openedIn = exchange.location.settings
        let result = interpreter.run(.open, of: flow(in: interpreter))
        if case .waiting = result {
            script.wait = .open
            hold(rest)
        } else {
            openHooksEnded(result, rest)
        }
        return true
    }

    private func openHooksEnded(_ result: StageResult, _ rest: Span<UInt8>) {
        switch result {
        case .proceed, .piece, .grace: startTunnel(rest)
        case .waiting: break
        case .failed: startTunnel(rest, ending: (WebSocketCloseCode.internalError, []))
        case .answered(.close(let code, let reason)): startTunnel(rest, ending: (code, reason))
        case .answered(let answer):
            settleUpstream()
            give(answer)
        }
    }

    // MARK: The end

    /// Runs the log hooks, if there are any, and ends the flow. Where open hooks have begun, close hooks come before, and what the
    /// access logs say of the exchange.
    func concludeScripts() {
        guard let scripts = generation.scripts else { return }
        guard let settings = script.openedIn else {
            script.keepsExchange = scripts.conclude(exchange, generation: generation)
            return
        }
        // Whoever counts tunnels by these hooks counts each of them down again.
        let flow = scripts.interpreter.flow(of: exchange)
        flow.settings = settings
        let info = script.closing ?? .init(code: WebSocketCloseCode.abnormal, by: .proxy, isClean: false)
        script.keepsExchange = scripts.close(exchange, flow, info, generation: generation)
    }
}
