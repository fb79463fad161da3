internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// Carries one exchange through: asks the core what is to be done, and does it with the two connections.
///
/// `ExchangeStateMachine` says how far the exchange has come and what each event means. What is here moves bytes,
/// keeps deadlines, and hands over at the end. The files beside this one hold the two halves,
/// `ExchangeDriver+Request` (client to upstream) and `ExchangeDriver+Response` (upstream to client), and what both may
/// have to do with: scripts (`ExchangeDriver+Scripts`), and TLS to the upstream (`ExchangeDriver+TLS`).
final class ExchangeDriver {
    let worker: Worker
    private(set) var downstream: DownstreamConnection?
    /// The same for all the driver's life: each use of one that may be replaced would count references to it.
    let exchange: Exchange
    private(set) var generation: WorkerGeneration
    var machine = ExchangeStateMachine(hasBody: false, isIdempotent: true, asksForUpgrade: false)
    var stage = Stage.ended

    enum Stage {
        /// A password is being compared with one whose hash takes long.
        case checkingPassword
        /// A name is being looked up.
        case resolving
        /// A hook of a stage before the upstream waits, or a variable that a script computes.
        case inScript
        case proxying
        /// `limit_req` has the request wait, or `auth_delay` its 401.
        case delayed
        /// The request's body is being read whole: for an HTTP/1.0 upstream, for a script, or for `$request_body`.
        case gatheringBody
        /// The response is complete; what is left of the request is read and dropped.
        case discardingBody
        /// Everything is done but for bytes that the client has not taken yet.
        case flushing(ExchangeStateMachine.Ending.Client)
        case ended
    }

    // MARK: The request

    var requestBody = BodyDecoder(.none)
    /// The head was refused: nobody knows what of the bytes that follow is still on its way.
    private var isRefused = false
    /// While the head is acted on: what is wrong with what came of the body along with it.
    private(set) var earlyViolation: BodyViolation?
    /// `client_max_body_size` of the location that was first to send the body on.
    var bodyLimit: Int?
    /// The client was told to go on, or does not wait for that.
    var mayExpectBody = true
    /// The request head as it goes upstream, kept for a retry.
    var upstreamHead: [UInt8] = []
    /// The head waits for the first piece of the body, to go out with it.
    var isHeadPending = false
    var upstreamRequest = UpstreamRequest()
    var upgrade = UpgradeDecision.notAsked
    /// The 101 that was accepted is one to WebSocket.
    var opensWebSocket = false
    /// The request target as it goes upstream.
    var uri: [UInt8] = []
    /// The request's payload so far, as long as it is short enough to be sent again.
    var replay: [UInt8] = []
    var isReplayable = true
    /// What the request was last refused with, by us or by an upstream whose answer is not passed on.
    var failedStatus = 502
    /// A body is gathered in memory up to this, where `client_max_body_size` sets no limit, or a smaller one.
    static let maxGathered: Int64 = 64 << 20
    /// The room for bodies that a driver keeps for the next exchange.
    private static let maxSpareBody = 64 << 10

    /// While a password is being compared.
    var passwordTicket: PasswordChecker.Ticket?
    /// While another location is asked.
    var askedBy: Asking?

    // MARK: The upstream

    var proxyPass: ProxyPass?
    var plan: ProxyPlan?
    var upstream: UpstreamConnection?
    var peers: UpstreamPeers?
    var selection = PeerSelection(tries: 0, peerCount: 0)
    /// What the peers are chosen by, where their group's method asks something of the request.
    var balancingKey: [UInt8] = []
    /// Tells the latest name that was asked for from those before it, of whatever exchange.
    private var lookup = 0
    var firstTryAt: Int64 = 0
    /// A peer is to be tried next; and whether another try is being begun meanwhile.
    var isTryDue = false
    var isTrying = false
    var isConnecting = false
    var redirected = false
    /// Tries of which peers took no notice.
    var freeTries = 0
    static let maxFreeTries = 3
    /// An `errno` value, once writing to the upstream has failed: the cause, if no response comes.
    var upstreamSendError: Int32 = 0

    // MARK: Scripts

    /// What the exchange's scripts have under way.
    var script = ScriptProgress()

    // MARK: The response

    var responseParser = ResponseHeadParser()
    var responseInbox: [UInt8] = []
    /// 1xx heads of this attempt.
    var interimHeads = 0
    var responseBody = BodyDecoder(.none)
    var clientResponse = DownstreamResponse(status: 0, framing: .none, keepsAlive: false)
    /// `nil` where nothing slows the response down.
    var pacing: ResponsePacing?

    init(_ exchange: Exchange, worker: Worker) {
        self.worker = worker
        self.exchange = exchange
        generation = worker.current
    }

    var settings: Settings { exchange.location.settings }
    var loop: EventLoop { worker.loop }
    var sendTimeout: Int { settings.values.sendTimeout }
    var resetsTimedOut: Bool { settings.values.resetTimedoutConnection }
    var ignoresClientAbort: Bool { settings.values.proxyIgnoreClientAbort && !awaitsTurn }
    var isGathering: Bool { if case .gatheringBody = stage { true } else { false } }
    var isDiscarding: Bool { if case .discardingBody = stage { true } else { false } }
    var isInScript: Bool { if case .inScript = stage { true } else { false } }
    var isDelayed: Bool { if case .delayed = stage { true } else { false } }
    /// It waits by `limit_req` or `auth_delay`, or for its password to be looked at: nothing has been begun for the client yet.
    var awaitsTurn: Bool {
        switch stage {
        case .delayed, .checkingPassword: true
        case .resolving, .inScript, .proxying, .gatheringBody, .discardingBody, .flushing, .ended: false
        }
    }
    var isProxying: Bool { if case .proxying = stage { true } else { false } }
    var hasEnded: Bool { if case .ended = stage { true } else { false } }

    /// Takes up the request in `exchange`.
    func prepare(on downstream: DownstreamConnection, generation: WorkerGeneration) {
        self.downstream = downstream
        self.generation = generation
        stage = .proxying
        requestBody = BodyDecoder(exchange.request.framing)
        mayExpectBody = !exchange.request.expectsContinue
        bodyLimit = nil
        isReplayable = true
        failedStatus = 502
        redirected = false
        isRefused = false
        upstreamSendError = 0
        freeTries = 0
        isHeadPending = false
        machine = ExchangeStateMachine(hasBody: false, isIdempotent: true, asksForUpgrade: false)
        exchange.scripts = generation.scripts?.interpreter
    }

    // MARK: Routing

    /// - Parameter rest: what came along with the head.
    func begin(before rest: Span<UInt8>) {
        if rest.count > 0, case .chunked = exchange.request.framing {
            earlyViolation = BodyDecoder(exchange.request.framing).violation(ahead: rest)
        }
        begin()
        if earlyViolation != nil { earlyViolation = nil }
    }

    private func begin() {
        if exchange.scripts == nil, generation.lacksScripts {
            log(.error, "scripts of the configuration are not loaded")
            return perform(.respond(LocalResponse(status: 500)))
        }
        let decision = Router.route(exchange)
        if exchange.parser.sawStrangeNames { logDroppedFields() }
        perform(decision)
    }

    /// As nginx, says which fields `ignore_invalid_headers` drops.
    private func logDroppedFields() {
        let strangest = exchange.server.connection.strangestFieldName
        let request = exchange.request
        for field in request.fields where !field.nameKind.isWithin(strangest) && !field.isEdited {
            log(
                .info, to: exchange.server.root.settings.values.errorLogs,
                "client sent invalid header line: \"\(request.text(of: field))\" while reading client request headers"
            )
        }
    }

    /// Answers a request whose head was not accepted.
    func refuse(status: Int, reason: String) {
        log(.info, reason)
        exchange.closesConnection = true
        isRefused = true
        exchange.bodyIsDiscarded = true
        requestBody = BodyDecoder(.none)
        if downstream?.wasReset == true {
            exchange.status = status
            return breakOff()
        }
        perform(Router.fail(exchange, status: status))
    }

    /// The stream was reset before anybody took its request up: by the client, or for what came behind the head. That is written
    /// down as nginx does, and nothing else is done for it: many of them are to cost little (CVE-2023-44487).
    func recordReset(_ malformation: String?) {
        if malformation == nil {
            worker.statistics.clientAborts.add()
        } else {
            worker.statistics.badRequests.add()
        }
        exchange.status = Router.locate(exchange) ?? (malformation == nil ? 499 : 400)
        log(
            .info,
            malformation.map { "client sent malformed request: \($0)" }
                ?? "client reset the stream along with its request")
        breakOff()
    }

    /// The client went away in the middle of the head.
    func recordCutHead() {
        worker.statistics.clientAborts.add()
        log(.info, "client prematurely closed connection while reading client request headers")
        exchange.status = 400
        machine.abandoned()
        conclude()
        release()
    }

    /// The client has not sent the whole head in time.
    func headTimedOut() {
        if resetsTimedOut { return resetTimedOut(" while reading client request headers") }
        refuse(status: 408, reason: "client timed out while reading client request headers")
    }

    func perform(_ decision: RouteDecision) {
        logFaults()
        switch decision {
        case .proxy(let pass): proxy(to: pass)
        case .runHooks: runRequestHooks()
        case .delay(let milliseconds): delay(milliseconds)
        case .awaitVariable: waitForVariable(.limits)
        case .checkPassword(let check): checkPassword(check)
        case .ask(let uri): askLocation(uri)
        case .respond(let response): respond(response)
        case .closeConnection:
            finish(.close)
        case .stubStatus:
            respond(
                LocalResponseBuilder.stubStatus(generation.generation.runtime.environment.connectionCounts()))
        case .prometheusMetrics:
            var response = LocalResponse(status: 200)
            response.contentType = MetricsPage.contentType
            response.body = MetricsPage.render(generation.generation.registry)
            respond(response)
        }
    }

    /// Waits before the request is gone on with. The client is watched meanwhile, and nothing of its body is read.
    private func delay(_ milliseconds: Int64) {
        stage = .delayed
        guard let downstream else { return }
        downstream.setReadDeadline(after: Int(clamping: milliseconds))
        if downstream.mayRead { downstream.scheduleRead() }
    }

    /// The request has waited long enough.
    func delayEnded() {
        stage = .proxying
        perform(Router.goOn(exchange))
        resumed()
    }

    /// Answers with the status, or with what `error_page` puts in its place.
    func fail(status: Int) {
        failedStatus = status
        dropUpstream()
        leaveLocation()
        perform(Router.fail(exchange, status: status))
    }

    /// Sends a response of our own and ends the exchange.
    func respond(_ response: LocalResponse) {
        if exchange.isSubrequest { return answerSubrequest(response) }
        guard let downstream else { return }
        if opensStreamAsWebSocket, (200..<300).contains(response.status) {
            log(
                .warn,
                "a WebSocket over HTTP/2 cannot be answered with \(response.status), which would open it")
            return respond(LocalResponse(status: 502))
        }
        guard acceptsUnreadBody(for: response) else { return }
        dropUpstream()
        machine.abandoned()
        exchange.bodyIsDiscarded = true
        // A client that waits for a 100 may or may not send its body now: nothing after it could be trusted.
        let mayKeepAlive =
            !downstream.isLeaving && (requestBody.isComplete || mayExpectBody) && !isUpgradeInDoubt
        var output = worker.takeBuffer()
        clientResponse = LocalResponseBuilder.append(
            response, for: exchange, mayKeepAlive: mayKeepAlive, to: &output)
        recordSent(output[..<Self.headLength(output)])
        let body = max(0, output.count - exchange.sentHead.count)
        exchange.sentBodyBytes += Int64(body)
        downstream.sendAtOnce(settings.values.tcpNoDelay)
        if exchange.mayHavePace { setPace(nil) }
        send(output.span, to: downstream)
        worker.giveBack(consume output)
        if clientResponse.sendsTrailers, clientResponse.framing != .chunked {
            sendTrailers(plan: nil, to: downstream)
        }
        exchange.isComplete = true
        if requestBody.isComplete {
            complete(clientResponse.keepsAlive ? .keep : .close)
        } else if downstream.isStream {
            // It ends by itself: RFC 9113 §8.1 has a reset for what is left of the request.
            complete(.close)
        } else if clientResponse.keepsAlive {
            stage = .discardingBody
            downstream.setReadDeadline(after: DownstreamConnection.lingeringSilence)
        } else {
            complete(.lingeringClose)
        }
    }

    /// A request by RFC 8441, which any 2xx says yes to.
    var opensStreamAsWebSocket: Bool {
        exchange.request.version == .v2 && exchange.request.upgradeIndex >= 0 && !exchange.isSubrequest
    }

    /// After an upgrade was asked for and refused, bytes of the client may be of either protocol.
    var isUpgradeInDoubt: Bool {
        switch upgrade {
        case .offered, .rejected: true
        case .notAsked, .withheld: false
        }
    }

    /// Keeps what was sent as the response's head, for `$sent_http_*` and the counts.
    func recordSent(_ head: ArraySlice<UInt8>) {
        exchange.sentHead.clear()
        exchange.sentHead.append(contentsOf: head)
        exchange.sentHeadBytes += Int64(head.count)
        worker.statistics.countResponse(status: exchange.status)
    }

    static func headLength(_ output: [UInt8]) -> Int {
        var index = 3
        while index < output.count {
            if output[index] == 10, output[index - 2] == 10 { return index + 1 }
            index += 1
        }
        return output.count
    }

    // MARK: The client's side

    func clientDrained() {
        if holdsBytes { return }
        switch stage {
        case .flushing(let ending): finish(ending)
        case .proxying: resumeUpstream()
        case .checkingPassword, .resolving, .inScript, .delayed, .gatheringBody, .discardingBody, .ended:
            break
        }
    }

    /// Not all that waits for the client, but there may be room for more of it.
    func clientTookSome() {
        if isProxying, let downstream, hasRoom(downstream) { resumeUpstream() }
    }

    /// The client ended its sending side: properly, or in the middle of a body.
    func clientEnded() {
        // A hook is not kept waiting for nobody, and no password looked at.
        if awaitsTurn || script.waits, !ignoresClientAbort {
            return clientGone(reason: "client prematurely closed connection")
        }
        guard !requestBody.isComplete else { return }
        if isDiscarding { return endDiscarding() }
        clientGone(reason: "client prematurely closed connection")
    }

    /// What is left of the request does not come, or is not wanted. The response still goes out, as its pace and the client have it.
    func endDiscarding() {
        requestBody = BodyDecoder(.none)
        complete(.close)
    }

    func clientBodyTimedOut() {
        if isDiscarding { return endDiscarding() }
        exchange.closesConnection = true
        requestBody = BodyDecoder(.none)
        // An answer that is on its way waits for nothing of it.
        if exchange.bodyIsDiscarded { return }
        // A stream is answered: there are others on its connection.
        if resetsTimedOut, downstream?.isStream == false {
            return resetTimedOut(" while reading client request body")
        }
        log(.info, "client timed out (110: Connection timed out)")
        exchange.bodyIsDiscarded = true
        failPastHooks(status: 408)
    }

    /// `reset_timedout_connection` spares the client an answer, and the system the connection's last state.
    private func resetTimedOut(_ doing: StaticString) {
        log(.info, "client timed out (110: Connection timed out)\(doing)")
        if exchange.status == 0 { exchange.status = 408 }
        breakOff(resetting: true)
    }

    /// The client cannot be reached any more; `status` is what the log says of the request, if it was not answered: as in nginx
    /// 400 where its body is not whole, and otherwise 499, which it is over HTTP/2 in any case.
    func clientGone(reason: String, status: Int? = nil, resetting: Bool = false) {
        guard !hasEnded else { return }
        worker.statistics.clientAborts.add()
        log(
            .info,
            awaitsTurn
                ? reason
                : reason
                    + (machine.canRespond ? " while sending request to upstream" : " while sending to client")
        )
        if exchange.status == 0 { exchange.status = status ?? (isCutShort ? 400 : 499) }
        if script.openedIn != nil {
            script.closing = .init(code: WebSocketCloseCode.abnormal, by: .client, isClean: false)
        }
        breakOff(resetting: resetting)
    }

    /// Some of a body that is read is missing. A hook that waits for something else has not come to it yet.
    private var isCutShort: Bool {
        !requestBody.isComplete && !exchange.bodyIsDiscarded && !awaitsTurn
            && (!script.waits || script.isReadingBody)
            && downstream?.isStream == false
    }

    /// The worker or the generation ends.
    func cutOff() { breakOff() }

    /// Ends the exchange with whatever has been sent.
    func breakOff(resetting: Bool = false) {
        guard !hasEnded else { return }
        // Where only the connection's end tells that of the response, a proper one would make it look whole.
        let endsWithConnection = !machine.canRespond && clientResponse.framing == .untilClose
        machine.abandoned()
        dropUpstream()
        let downstream = downstream
        let unsent = heldBytes + (downstream?.unsentBytes ?? 0)
        exchange.discount(unsent: unsent)
        if unsent > 0 { exchange.isComplete = false }
        conclude()
        release()
        downstream?.abort(withReset: resetting || endsWithConnection)
    }

    // MARK: The end

    /// Everything has been handed to the client's connection: waits until it has gone out.
    func complete(_ ending: ExchangeStateMachine.Ending.Client) {
        guard let downstream else { return }
        guard downstream.isDrained, !holdsBytes else {
            stage = .flushing(ending)
            return
        }
        finish(ending)
    }

    func finish(_ ending: ExchangeStateMachine.Ending.Client) {
        guard !hasEnded else { return }
        dropUpstream()
        conclude()
        let downstream = downstream
        let timeout = settings.values.keepaliveTimeout
        let lingers = isRefused && ending == .close
        release()
        downstream?.exchangeEnded(lingers ? .lingeringClose : ending, keepaliveTimeout: timeout)
    }

    private func conclude() {
        stage = .ended
        if passwordTicket != nil || askedBy != nil { forgetChecks() }
        worker.statistics.requestSeconds.observe(
            milliseconds: Int(loop.now - exchange.startedAt.monotonic))
        if script.openedIn == nil { generation.log(exchange, worker: worker) }
        logFaults()
        if exchange.scripts != nil { concludeScripts() }
    }

    /// Gives everything back. The exchange has been logged, or lives on frozen in a tunnel.
    func release() {
        stage = .ended
        downstream = nil
        if pacing != nil { endPacing() }
        if !exchange.counted.isEmpty { exchange.counted.release() }
        peers = nil
        proxyPass = nil
        plan = nil
        upgrade = .notAsked
        opensWebSocket = false
        upstreamHead.clear()
        uri.clear()
        // Most bodies are short, and one that was not is no reason to hold on to as much memory.
        if replay.capacity > Self.maxSpareBody { replay = [] } else { replay.clear() }
        if upstreamRequest.replacementBody != nil { upstreamRequest = UpstreamRequest() }
        if !responseInbox.isEmpty { responseInbox = [] }
        let keepsExchange = script.keepsExchange
        script = ScriptProgress()
        // Where that lives on, the driver has done its work.
        if !keepsExchange { worker.giveBack(self) }
    }

    // MARK: Names

    /// Goes on to the peers of a group, once one of them has an address.
    func connect(toGroup index: Int) {
        let peers = generation.peers(ofGroup: index)
        guard let names = generation.awaitedNames(ofGroup: index) else { return connect(to: peers) }
        let lookup = beginLookup()
        names.whenKnown { [weak self] in
            if let self, endLookup(lookup) { connect(to: peers) }
        }
    }

    private func beginLookup() -> Int {
        stage = .resolving
        lookup &+= 1
        return lookup
    }

    /// - Returns: false where nobody waits for it any more: the client may have left meanwhile, or an error led to another name;
    ///   and this driver may be somebody else's.
    private func endLookup(_ number: Int) -> Bool {
        guard case .resolving = stage, lookup == number else { return false }
        worker.tick()
        stage = .proxying
        return true
    }

    /// Looks `name` up and goes on to its addresses.
    func resolve(_ name: [UInt8], port: UInt16) {
        let text = String(decoding: name, as: UTF8.self)
        guard let settings = settings.values.resolver else {
            return giveUp(ProxyFailure(.noResolver(name: text)))
        }
        let lookup = beginLookup()
        do throws(NameResolver.Failure) {
            let timeout = self.settings.values.resolverTimeout
            let resolver = try generation.resolver(settings, timeout: timeout)
            resolver.resolve(text, port: port, timeout: Int64(timeout)) { [weak self] result in
                guard let self, endLookup(lookup) else { return }
                switch result {
                case .success(let addresses):
                    self.connect(to: self.generation.peers(ofHost: name, addresses.map { PeerAddress($0) }))
                case .failure(let failure):
                    self.giveUp(ProxyFailure(.unresolved(name: text, reason: failure.reason)))
                }
            }
        } catch {
            stage = .proxying
            giveUp(ProxyFailure(.unresolved(name: text, reason: error.reason)))
        }
    }

    // MARK: Logs

    /// Writes what was noted of the exchange.
    @inline(__always)
    func logFaults() { if exchange.hasFaults { writeFaults() } }

    private func writeFaults() {
        // What limits do is always told of.
        for outcome in exchange.limitOutcomes { generation.limits[outcome.zone].count(outcome.status) }
        exchange.limitOutcomes.removeAll()
        for fault in exchange.takeFaults() { log(fault.level, to: fault.logs, fault.text) }
    }

    /// Of the peer that was chosen, where there is no connection to it.
    var triedAddress: PeerAddress? {
        peers?.group.address(of: selection)
    }

    func log(_ level: LogLevel, peer: PeerAddress? = nil, _ message: @autoclosure () -> String) {
        log(level, to: settings.values.errorLogs, peer: peer, message())
    }

    private func log(
        _ level: LogLevel, to logs: [ErrorLog], peer: PeerAddress? = nil,
        _ message: @autoclosure () -> String
    ) {
        let logger = generation.generation.errorLogger(for: logs)
        logger.log(
            level, of: exchange, peer: peer ?? upstream?.address ?? triedAddress, uri: uri,
            LogText.line(message()))
    }
}
