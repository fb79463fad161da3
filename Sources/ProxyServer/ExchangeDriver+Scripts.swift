internal import Bytes
internal import CSwitchyard
internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// What the scripts of an exchange have under way.
struct ScriptProgress {
    /// What goes on once a hook or a variable that waits has its result.
    enum Wait {
        case none
        case request
        case upgrade
        /// The request's head is rendered again.
        case target(bodyLength: Int64?)
        case response(opensTunnel: Bool)
        case open
        /// The response's head is rendered again.
        case head
    }

    var wait = Wait.none
    /// For which the location that is proxied has hooks.
    // Written out: what OptionSet has for an empty one is not specialised across modules.
    var stages = HookStages(rawValue: 0)
    /// The exchange outlives the driver: in a tunnel with scripts, or until its log hooks have ended.
    var keepsExchange = false

    // MARK: The request

    /// Where `flow:route` leads, and how many of these were tried.
    var route: [[UInt8]] = []
    var routesTried = 0
    var hasRequestBodyHooks = false
    /// Some of the body has gone through hooks: what is left of it may be of another length.
    var changesBody = false
    /// A script waits for the whole body, which is gathered in `replay`.
    var isReadingBody = false
    /// `replay` holds the whole body.
    var hasReadBody = false
    /// `flow.req:set_body` was called: what the client sends is dropped.
    var replacesBody = false
    /// `replay` holds what is sent instead.
    var isBodyReplaced = false
    /// A piece of the request's body is with a hook that waits.
    var requestPiece: (bytes: [UInt8], isLast: Bool)?

    // MARK: The response

    /// What came of the response after what a hook is looking at.
    var held: [UInt8] = []
    var holdsResponse = false
    var responsePiece: (bytes: [UInt8], isLast: Bool, exact: Bool)?
    var sawLastPiece = false
    /// What open hooks have sent, before there was a tunnel.
    var openSends: [(message: ScriptMessage, leg: FlowLeg)] = []

    func has(_ stage: HookStage) -> Bool { stages.contains(stage) }
    var requestPieceIsHeld: Bool { requestPiece != nil }
    var currentRoute: [UInt8]? { route.indices.contains(routesTried) ? route[routesTried] : nil }
    var hasNextRoute: Bool { routesTried + 1 < route.count }

    /// Something waits that a client's end makes pointless.
    var waits: Bool {
        if case .none = wait { return requestPieceIsHeld || holdsResponse || isReadingBody }
        return true
    }
}

/// The stages at which scripts run, and what becomes of their results.
extension ExchangeDriver: FlowOwner {
    private var interpreter: Interpreter? { generation.scripts?.interpreter }

    private func flow(in interpreter: Interpreter) -> ScriptFlow {
        let flow = interpreter.flow(of: exchange)
        flow.owner = self
        return flow
    }

    /// Bytes of the client are looked at only to see whether it has gone.
    var watchesForEnd: Bool { script.waits && !wantsBody }

    // MARK: Before the upstream

    func runRequestHooks() {
        guard let interpreter else { return perform(Router.proceed(exchange)) }
        setStage(.inScript)
        script.wait = .request
        let result = interpreter.run(.request, of: flow(in: interpreter))
        if case .waiting = result { return waited() }
        requestHooksEnded(result)
    }

    private func requestHooksEnded(_ result: StageResult) {
        script.wait = .none
        setStage(.proxying)
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
        setStage(.inScript)
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
        setStage(.proxying)
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
        script.replacesBody = true
        replacement = body
        if requestBody.isComplete { replaceBody() }
    }

    /// Puts the body that a script set in the place of the client's.
    func replaceBody() {
        replay = replacement
        replacement = []
        isReplayable = true
        script.replacesBody = false
        script.isBodyReplaced = true
    }

    /// Another location takes over, which chooses upstreams anew. What was set of the request stays.
    func leaveLocation() {
        script.route = []
        script.routesTried = 0
        guard exchange.scriptFlow >= 0, let interpreter else { return }
        let flow = interpreter.flow(of: exchange)
        flow.route = []
        takeUpBody(of: flow)
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
        setStage(.proxying)
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
        if case .target = wait { setStage(.inScript) }
        waited()
    }

    /// Goes on with what the client sent while it had to wait: for a hook, or for an upstream.
    func resumed() {
        guard !hasEnded, let downstream else { return }
        downstream.processInbox()
        guard !hasEnded else { return }
        flushHead()
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
            setStage(.proxying)
            chooseTarget(bodyLength: bodyLength)
            resumed()
        case .head:
            let held = takeHeld()
            sendHead(held.span)
            responseResumed()
        case .none, .request, .upgrade, .response, .open: script.wait = wait
        }
    }

    /// There is no tunnel to say the code in: a request that has no answer yet gets one.
    func close(code: UInt16, reason: [UInt8]) {
        guard !hasEnded else { return }
        log(.warn, "a script closed the exchange: \(code) \(String(decoding: reason, as: UTF8.self))")
        guard machine.canRespond, let interpreter else { return breakOff() }
        interpreter.cancelCalls(of: flow(in: interpreter))
        script.wait = .none
        script.requestPiece = nil
        script.isReadingBody = false
        script.holdsResponse = false
        script.held.clear()
        setStage(.proxying)
        fail(status: 503)
        resumed()
    }

    /// Open hooks may send: it goes out once the client has the 101.
    func send(_ message: ScriptMessage, to leg: FlowLeg) -> String? {
        guard exchange.response.status == 101, opensWebSocket, !hasEnded else {
            return "there is no open WebSocket"
        }
        let queued = script.openSends.reduce(message.payload.count) { $0 + $1.message.payload.count }
        guard queued <= WebSocketPlane.maxQueued else { return "too much waits to be sent" }
        script.openSends.append((message, leg))
        return nil
    }

    func facts(of leg: FlowLeg) -> LegFacts {
        var facts = LegFacts()
        switch leg {
        case .client:
            facts.address = exchange.client.address
            facts.port = exchange.client.port
            facts.bytesIn = exchange.receivedHeadBytes + exchange.receivedBodyBytes
            facts.bytesOut = exchange.sentHeadBytes + exchange.sentBodyBytes
            facts.read(from: downstream)
        case .upstream:
            guard let attempt = exchange.attempts.last else { return facts }
            facts.take(attempt)
            facts.read(from: upstream)
        }
        return facts
    }

    func upstreamTLS() -> UpstreamTLSFacts? { upstream?.tlsFacts }

    // MARK: The request's body

    /// A script asks for the whole of it.
    func readBody() -> Bool {
        guard let interpreter, isInScript, !hasEnded, isReplayable else { return false }
        let flow = flow(in: interpreter)
        guard !script.hasReadBody else { return true }
        if requestBody.isComplete {
            // Never within the call that asks.
            let generation = flow.generationNumber
            worker.postpone { [self] in
                guard !hasEnded, flow.generationNumber == generation else { return }
                bodyWasRead()
            }
            return true
        }
        script.isReadingBody = true
        worker.postpone { [self] in
            guard !hasEnded, script.isReadingBody else { return }
            sendContinue()
            resumed()
        }
        return true
    }

    func bodyWasRead() {
        guard let interpreter else { return }
        script.isReadingBody = false
        script.hasReadBody = true
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
        case .piece(.unchanged), .proceed: if payload.count > 0 { pass(payload) }
        case .piece(.dropped): break
        case .piece(.replaced(let bytes)): if !bytes.isEmpty { pass(bytes.span) }
        case .failed, .answered, .waiting, .grace:
            guard machine.canRespond else { return breakOff() }
            dropUpstream()
            exchange.closesConnection = true
            setStage(.proxying)
            return fail(status: 500)
        }
        guard !hasEnded else { return }
        if isLast {
            finishBody()
        } else if wasHeld, requestBody.isComplete {
            // A body of known length ends with its last byte: nothing follows that would tell.
            bodyEnded()
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
                sendHead(rest)
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
            if payload.count > 0 { pass(on: payload, with: &output, to: downstream) }
        case .piece(.dropped): break
        case .piece(.replaced(let bytes)):
            if !bytes.isEmpty { pass(on: bytes.span, with: &output, to: downstream) }
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

    /// Runs the log hooks, if there are any, and ends the flow.
    func concludeScripts() {
        guard let scripts = generation.scripts else { return }
        script.keepsExchange = scripts.conclude(exchange, generation: generation)
    }
}

extension LegFacts {
    mutating func take(_ peer: PeerAddress) {
        address = peer.host
        switch peer.endpoint {
        case .ipv4(_, let port), .ipv6(_, let port): self.port = port
        case .unix: break
        }
    }

    /// The peer of an attempt whose connection may be gone: what logs say of it remains.
    mutating func take(_ attempt: UpstreamAttempt) {
        bytesIn = attempt.bytesReceived
        bytesOut = attempt.bytesSent
        address = attempt.address
        guard let colon = attempt.address.lastIndex(of: UInt8(ascii: ":")),
            let port = UInt16(String(decoding: attempt.address[(colon + 1)...], as: UTF8.self)),
            let peer = PeerAddress(numericHost: Array(attempt.address[..<colon]), port: port)
        else { return }
        take(peer)
    }

    mutating func read(from channel: StreamChannel?) {
        guard let channel, channel.isOpen else { return }
        buffered = channel.unsentBytes
        let socket = (channel as? DownstreamConnection)?.carrier ?? channel
        let microseconds = sy_tcp_rtt(socket.descriptor)
        if microseconds >= 0 { roundTrip = microseconds }
    }
}

extension LocalResponse {
    init(_ response: ScriptResponse) {
        self.init(status: response.status)
        body = response.body
        for field in response.fields {
            switch String(decoding: field.name, as: UTF8.self).lowercased() {
            case "content-type": contentType = field.value
            case "location": location = field.value
            default: fields.append(field)
            }
        }
        // Without a body of the script's, what is an error still has its page.
        if body == nil, status < 300 { body = [] }
    }
}
