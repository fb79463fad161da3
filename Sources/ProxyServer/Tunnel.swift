internal import CSwitchyard
internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// Two connections whose bytes go from one to the other after a 101: unread, or through the plane of a WebSocket.
///
/// The exchange that led here is kept frozen: what its line in the access log needs, or all of it where scripts may
/// ask for it, in one small allocation.
final class Tunnel {
    private(set) var generation: WorkerGeneration
    let downstream: DownstreamConnection
    let upstream: UpstreamConnection
    /// `nil` while scripts have the whole exchange.
    private var frozen: FrozenExchange?
    private(set) var scripts: TunnelScripts?
    /// `nil` where nobody looks at frames.
    private(set) var plane: WebSocketPlane?
    private let use: UpstreamUse
    /// For as long as it is open.
    private var counted: CountedConnections
    private let startedAt: Int64
    private var fromClient: Int64 = 0
    private var fromUpstream: Int64 = 0
    private var machine = TunnelStateMachine()
    private(set) var isClosing = false
    private var isClientGivenUp = false
    private var isUpstreamGivenUp = false

    /// Reads in one turn of the loop before others have theirs.
    private static let readsPerTurn = 4

    init(
        _ exchange: Exchange, _ form: TunnelForm, downstream: DownstreamConnection,
        upstream: UpstreamConnection, use: UpstreamUse, generation: WorkerGeneration
    ) {
        counted = exchange.counted.take()
        self.generation = generation
        self.downstream = downstream
        self.upstream = upstream
        self.use = use
        frozen = form.isScripted ? nil : exchange.freeze()
        startedAt = downstream.worker.loop.now
        if form.isScripted {
            scripts = TunnelScripts(exchange, of: self)
        }
        guard form.followsFrames else { return }
        let settings = exchange.location.settings
        let rules = generation.webSocketRules(settings, on: downstream.worker)
        let terms = exchange.webSocketDeflate
        let commons = downstream.worker.webSockets
        plane = WebSocketPlane(
            rules,
            codecs: terms.codecs(
                settings.values.webSocket, isLookedAt: rules.looksAtMessages, pool: commons.deflatePool),
            reservedBits: terms.reservedBits, owner: self)
        if form.isScripted { exchange.webSocket = plane }
        scripts?.enterList(exchange)
    }

    /// The object, since a copy of its values would count references to all of them.
    var settings: Settings {
        scripts?.settings ?? frozen?.location.settings
            ?? generation.generation.runtime.emptyServer.root.settings
    }

    var sendTimeout: Int { settings.values.sendTimeout }

    func keep(_ exchange: FrozenExchange) { frozen = exchange }

    /// What was frozen for scripts is not kept besides.
    func thaw(into exchange: Exchange, _ freezer: ExchangeFreezer) {
        frozen?.thaw(into: exchange, freezer)
        frozen = nil
    }

    /// Takes the connections over. What open hooks have sent goes first, and `ending` with nothing behind it; then what has
    /// come already, from the client and, as `early`, with the 101.
    func start(
        _ early: Span<UInt8>, sends: [(message: ScriptMessage, leg: FlowLeg)],
        ending: (code: UInt16, reason: [UInt8])?
    ) {
        let worker = downstream.worker
        worker.statistics.upgrades.add()
        worker.statistics.tunnels.add()
        upstream.attach(to: self)
        let sooner = downstream.enter(self)
        for send in sends { sendFirst(send.message, to: send.leg) }
        if let ending { scripts?.close(code: ending.code, reason: ending.reason) }
        // Where frames are followed, what comes of an ending WebSocket is looked through for the peers' close frames alone.
        if !isClosing, !sooner.isEmpty { relay(sooner.span, from: .client) }
        if !isClosing, early.count > 0 { relay(early, from: .upstream) }
        guard !isClosing else { return }
        if plane == nil { touch() } else { deadlineMoved() }
        if downstream.hasEnded, plane?.isResting(.client) != true { readEnd(of: .client) }
        if downstream.mayRead { downstream.scheduleRead() }
        if upstream.mayRead { upstream.scheduleRead() }
    }

    private func sendFirst(_ message: ScriptMessage, to leg: FlowLeg) {
        guard let failure = scripts?.inject(message, to: leg) else { return }
        log(.warn, "a message that an open hook sent was lost: \(failure)")
    }

    // MARK: Bytes

    func readable(_ side: TunnelSide) {
        switch side {
        case .client: pump(from: downstream, to: upstream, side)
        case .upstream: pump(from: upstream, to: downstream, side)
        }
    }

    /// Has a peer be read later in this turn.
    func scheduleRead(of side: TunnelSide) {
        switch side {
        case .client: downstream.scheduleRead()
        case .upstream: upstream.scheduleRead()
        }
    }

    private func pump(from source: StreamChannel, to target: StreamChannel, _ side: TunnelSide) {
        guard machine.accepts(from: side) else { return lookForFailure(of: side) }
        let loop = downstream.worker.loop
        var reads = 0
        // What the target has not taken yet is waited for: nothing queues up beyond one read. Nor does what a hook
        // waits with.
        while source.mayRead, target.isDrained, !isClosing, plane?.isPaused(side) != true {
            if reads == Self.readsPerTurn {
                source.scheduleRead()
                break
            }
            reads += 1
            switch source.read(limit: target.relaySize) {
            case .bytes(let count):
                relay(loop.lend(count), from: side)
                loop.takeBack()
            case .wouldBlock: break
            case .end: return readEnd(of: side)
            case .failed(let error): return failed(side, SystemError("recv", code: error))
            }
        }
        if plane == nil {
            if reads > 0, !isClosing { touch() }
        } else if reads == 0 || source.isEnding {
            lookForEnd(of: side)
        }
    }

    private func channel(_ side: TunnelSide) -> StreamChannel { side == .client ? downstream : upstream }

    /// Nothing is read of a peer while a hook waits with what came from it; that it is gone ends the wait. What a client has
    /// sent before its end, further messages and its close frame, is heard first. An upstream that has ended its side in order
    /// may have meant what it said last for the client.
    private func lookForEnd(of side: TunnelSide) {
        guard !isClosing, let plane, plane.isPaused(side), !plane.isResting(side) else { return }
        let source = channel(side)
        if source.sawFailure { return failed(source, side) }
        if side == .client, source.isAtEnd, !plane.hearsOn(side) { readEnd(of: side) }
    }

    /// One that has ended its side in order, and is told goodbye yet, may break before that.
    private func lookForFailure(of side: TunnelSide) {
        let source = channel(side)
        if source.sawFailure, !isClosing, let plane, !plane.isDone(with: side) { failed(source, side) }
    }

    private func failed(_ source: StreamChannel, _ side: TunnelSide) {
        failed(side, SystemError("recv", code: source.pendingError))
    }

    /// Sends what `side` sent on to the other.
    @inline(__always)
    func relay(_ bytes: Span<UInt8>, from side: TunnelSide) {
        received(bytes.count, from: side)
        if let plane {
            if scripts != nil { downstream.worker.tick() }
            plane.receive(bytes, from: side)
            if scripts?.isToMove == true { settleAtBoundary() }
            return
        }
        switch side {
        case .client: upstream.send(bytes)
        case .upstream:
            downstream.send(bytes)
            watchSending()
        }
    }

    private func received(_ count: Int, from side: TunnelSide) {
        switch side {
        case .client:
            fromClient += Int64(count)
            downstream.worker.statistics.tunnelBytesIn.add(count)
        case .upstream:
            fromUpstream += Int64(count)
            downstream.worker.statistics.tunnelBytesOut.add(count)
        }
    }

    func watchSending() {
        if !downstream.isDrained { downstream.armSendDeadline(after: sendTimeout) }
    }

    /// Data in either direction puts the timeout off, as in nginx. What the upstream does not take it has to take in time.
    @inline(__always)
    private func touch() {
        let settings = settings
        let timeout = upstream.isDrained ? settings.values.proxyReadTimeout : settings.values.proxySendTimeout
        upstream.setDeadline(now + Int64(timeout))
    }

    /// The upstream took some of what waits for it, or had taken everything until now, when something begins to wait.
    func upstreamTookSome() {
        guard !isClosing else { return giveTime(to: .upstream) }
        if let plane { plane.upstreamTookSome() } else { touch() }
    }

    func drained(_ side: TunnelSide) {
        guard !isClosing else { return finishIfSent() }
        if side == .upstream { upstreamTookSome() }
        plane?.drained(side)
        readable(side.other)
    }

    // MARK: The end

    private func readEnd(of side: TunnelSide) {
        let action = machine.ended(side)
        guard let plane else { return perform(action) }
        if plane.endedBy == nil { log(.info, "\(side) left without a close frame") }
        plane.ended(side)
        readOn(behind: side)
    }

    private func lost(_ side: TunnelSide, _ plane: WebSocketPlane) {
        plane.lost(side)
        readOn(behind: side)
    }

    private func readOn(behind side: TunnelSide) {
        // Hooks that it was not read for may have been given up.
        if side == .client, !isClosing { scheduleRead(of: .upstream) }
    }

    func failed(_ side: TunnelSide, _ error: SystemError) {
        // As nginx. Of one that has nothing more to say or to hear nobody needs to know.
        if !isClosing, plane?.isDone(with: side) != true {
            log(level(of: side), channel(side).isTLSFlooded ? "TLS flood detected" : "\(error)")
        }
        guard let plane else {
            // RFC 8441 §5: a reset stays one to a stream. To a socket it is an end, as with nginx.
            if side == .upstream, !isClosing, downstream.isStream { downstream.resetOnClose() }
            return perform(machine.failed(side), atOnce: side)
        }
        _ = machine.ended(side)
        guard isClosing else { return lost(side, plane) }
        giveUp(side)
        finishIfSent()
    }

    private func perform(
        _ action: TunnelStateMachine.EndAction, atOnce broken: TunnelSide? = nil
    ) {
        switch action {
        case .ignore: break
        case .shutdown(.client): downstream.shutdownWhenSent()
        case .shutdown(.upstream): upstream.shutdownWhenSent()
        case .close:
            isClosing = true
            // What the other side is still owed goes out first, for as long as the timeout allows.
            if let broken { giveUp(broken) }
            finishIfSent()
        }
    }

    func timedOut(_ side: TunnelSide) {
        downstream.worker.tick()
        if side == .upstream, !isClosing, let plane {
            if plane.deadline <= now { plane.timePassed() }
            guard !isClosing else { return }
            deadlineMoved()
            // As where a client is lost: it may have been found dead.
            if plane.endedBy != nil { scheduleRead(of: .upstream) }
            return
        }
        if side == .upstream, !isClosing, upstream.isDrained, !downstream.isDrained {
            // It is not read while the client takes nothing, for which that has `send_timeout`.
            return touch()
        }
        guard !isClosing else {
            giveUp(side)
            return finishIfSent()
        }
        logTimeout(of: side)
        // The client takes nothing any more: the upstream is told.
        if side == .client, let plane { return lost(.client, plane) }
        finish()
    }

    /// As nginx.
    private func logTimeout(of side: TunnelSide) {
        log(.info, "\(side == .client ? "client" : "upstream") timed out (110: Connection timed out)")
    }

    /// Why the proxy ends a WebSocket by itself, or takes a peer for gone. What peers say to each other is for the access log.
    private func logEnding(_ ending: WebSocketEnding) {
        let reason = String(decoding: ending.reason, as: UTF8.self)
        switch (ending.culprit, ending.by) {
        case (let side?, .proxy):
            log(level(of: side), "\(side) broke the WebSocket: \(ending.code) \(reason)")
        case (let side?, _): log(level(of: side), "\(side) is gone: \(reason)")
        case (nil, .proxy):
            log(.info, "closing the WebSocket: \(ending.code)\(reason.isEmpty ? "" : " \(reason)")")
        case (nil, _): break
        }
    }

    /// What clients do wrong is theirs, as in nginx.
    private func level(of side: TunnelSide) -> LogLevel { side == .client ? .info : .error }

    private func log(_ level: LogLevel, _ message: @autoclosure () -> String) {
        let logger = generation.generation.errorLogger(for: settings.values.errorLogs)
        guard logger.takes(level) else { return }
        let text = message() + " while proxying upgraded connection"
        if let exchange = scripts?.exchange {
            logger.log(level, of: exchange, peer: upstream.address, text)
        } else {
            let client = downstream.loggedClient
            let context = context(of: client.address)
            logger.log(
                level, connection: client.serial,
                "\(text)\(context), upstream: \"\(String(decoding: upstream.address.text, as: UTF8.self))\"")
        }
    }

    /// What is left of the request where no script keeps it: what its line in the access log is to say, or the address of its
    /// connection.
    private func context(of address: [UInt8]) -> String {
        let worker = downstream.worker
        let exchange = worker.takeExchange()
        defer { worker.giveBack(exchange) }
        frozen?.thaw(into: exchange)
        var text = ""
        let client = exchange.keptValue(of: "remote_addr") ?? address
        if !client.isEmpty { text += ", client: " + LogText.line(String(decoding: client, as: UTF8.self)) }
        if let request = exchange.keptValue(of: "request") {
            text += ", request: \"" + LogText.line(String(decoding: request, as: UTF8.self)) + "\""
        }
        return text
    }

    /// There is no time left. Peers of a WebSocket are told, if that can be done at once.
    func cutOff() {
        if !isClosing { plane?.end(WebSocketCloseCode.goingAway, []) }
        finish()
    }

    /// A script ends the tunnel.
    func close(code: UInt16, reason: [UInt8]) {
        guard !isClosing else { return }
        if let plane { plane.end(code, reason) } else { closeBoth() }
    }

    /// Sends what is unsent, and then closes both connections.
    func closeBoth() {
        guard !isClosing else { return }
        isClosing = true
        machine.didClose()
        downstream.shutdownWhenSent()
        upstream.shutdownWhenSent()
        giveTime(to: .client)
        giveTime(to: .upstream)
        finishIfSent()
    }

    /// It has that long to take some of what is unsent.
    private func giveTime(to side: TunnelSide) {
        let values = settings.values
        let isLost = plane?.isLost(side) == true
        switch side {
        case .client:
            if !downstream.isDrained {
                downstream.setSendDeadline(after: isLost ? values.webSocket.closeTimeout : values.sendTimeout)
            }
        case .upstream:
            let timeout = isLost ? values.webSocket.closeTimeout : values.proxySendTimeout
            upstream.setDeadline(upstream.isDrained ? EventLoop.never : now + Int64(timeout))
        }
    }

    /// What is unsent to a side stays so.
    private func giveUp(_ side: TunnelSide) {
        switch side {
        case .client: isClientGivenUp = true
        case .upstream: isUpstreamGivenUp = true
        }
    }

    private func finishIfSent() {
        if downstream.isDrained || isClientGivenUp, upstream.isDrained || isUpstreamGivenUp { finish() }
    }

    // MARK: Reloads and shutdowns

    /// Brings the tunnel in line with its worker, whatever that has come to meanwhile: a WebSocket with scripts goes on under the
    /// current generation, if that has them too, and what is not to go on is asked to end.
    ///
    /// To be called when the worker has come to something else, when the tunnel opens after that, and when what kept it from
    /// moving may be over; with nothing of the tunnel on the stack.
    func settle() {
        let worker = downstream.worker
        guard !isClosing, plane?.endedBy == nil else { return }
        switch scripts?.move(to: worker.successor(of: generation)) {
        case .moved?: return deadlineMoved()
        case .later?: return
        case .stays?, nil: break
        }
        if worker.endsTunnels(under: generation) { drain() }
    }

    func settleLater() { downstream.worker.settleLater(downstream) }

    @inline(never)
    private func settleAtBoundary() {
        if plane?.isAtMessageBoundary == true { settleLater() }
    }

    /// Its scripts have.
    func moved(to next: WorkerGeneration) { generation = next }

    /// Hooks say how long the tunnel may have yet.
    private func drain() {
        if let scripts { scripts.drain() } else { end(after: 0) }
    }

    /// Ends the tunnel when its time of grace is over: WebSockets each at a moment of its own.
    func end(after milliseconds: Int64) {
        let webSocket = settings.values.webSocket
        var time = milliseconds
        if webSocket.drainJitter > 0 {
            let random = downstream.worker.randomNumber()
            time += Int64(random % UInt64(webSocket.drainJitter))
        }
        if let left = downstream.worker.timeLeft {
            // The peers are to have time for their goodbyes.
            time = min(time, max(0, left - min(Int64(webSocket.closeTimeout), left / 2)))
        }
        if let plane {
            plane.end(at: now + time)
        } else if scripts != nil {
            downstream.setReadDeadline(after: Int(time))
        }
    }

    func facts(of leg: FlowLeg, _ exchange: Exchange) -> LegFacts {
        var facts: LegFacts
        switch leg {
        case .client:
            facts = LegFacts(clientOf: exchange)
            facts.bytesIn += fromClient
            facts.bytesOut += sent(to: .client)
            facts.read(from: downstream)
        case .upstream:
            facts = LegFacts()
            facts.take(upstream.address)
            facts.bytesIn = (exchange.attempts.last?.bytesReceived ?? 0) + fromUpstream
            facts.bytesOut = (exchange.attempts.last?.bytesSent ?? 0) + sent(to: .upstream)
            facts.read(from: upstream)
        }
        guard let plane else { return facts }
        let side = leg.side
        facts.messagesIn = plane.messages(from: side)
        facts.messagesOut = plane.messages(to: side)
        facts.buffered += plane.queuedBytes(to: side)
        return facts
    }

    private func sent(to side: TunnelSide) -> Int64 {
        plane?.bytesSent(to: side) ?? (side == .client ? fromUpstream : fromClient)
    }

    private func finish() {
        isClosing = true
        machine.didClose()
        plane?.shutDown()
        upstream.end()
        let worker = downstream.worker
        worker.tick()
        let seconds = worker.loop.now - startedAt
        worker.statistics.tunnels.add(-1)
        worker.statistics.tunnelSeconds.observe(milliseconds: Int(seconds))
        use.end(.succeeded, now: worker.loop.now)
        counted.release()
        if let scripts {
            note(on: scripts.exchange)
            downstream.finish()
            return scripts.tunnelEnded(first: machine.firstToEnd, plane?.endedBy)
        }
        if !settings.values.accessLogs.isEmpty {
            let exchange = worker.takeExchange()
            frozen?.thaw(into: exchange)
            note(on: exchange)
            generation.log(exchange, worker: worker)
            worker.giveBack(exchange)
        }
        downstream.finish()
    }

    /// How it went, for the log.
    private func note(on exchange: Exchange) {
        exchange.webSocketFacts = plane.map(WebSocketFacts.init)
        exchange.webSocket = nil
        exchange.sentBodyBytes += sent(to: .client)
        exchange.discount(unsent: downstream.unsentBytes)
        exchange.receivedBodyBytes += fromClient
        exchange.isComplete = true
        if let last = exchange.attempts.indices.last {
            exchange.attempts[last].bytesSent += sent(to: .upstream) - Int64(upstream.unsentBytes)
            exchange.attempts[last].bytesReceived += fromUpstream
            exchange.attempts[last].responseLength += fromUpstream
            exchange.attempts[last].responseTime = Int(
                downstream.worker.loop.now - exchange.attempts[last].startedAt.monotonic)
        }
    }
}

/// What the plane of a WebSocket asks of its tunnel.
extension Tunnel: WebSocketPlaneOwner {
    var now: Int64 { downstream.worker.loop.now }
    var microseconds: Int64 { downstream.worker.loop.microseconds }

    func send(_ first: Span<UInt8>, then second: Span<UInt8>, to side: TunnelSide) {
        switch side {
        case .client:
            downstream.send(first, then: second, then: Span())
            watchSending()
        case .upstream: upstream.send(first, then: second, then: Span())
        }
    }

    func judge(_ item: WebSocketItem, from position: Int) -> WebSocketVerdict {
        guard let scripts else { return .pass }
        return scripts.judge(item, from: position)
    }

    func cancel(_ item: WebSocketItem) { scripts?.cancel(item) }
    func pingEnded(_ token: Int, _ outcome: WebSocketPingOutcome) { scripts?.pingEnded(token, outcome) }

    func rests(_ side: TunnelSide) {
        downstream.worker.postpone { [self] in goOnAfterRest(side) }
    }

    private func goOnAfterRest(_ side: TunnelSide) {
        guard !isClosing, let plane else { return }
        if scripts != nil { downstream.worker.tick() }
        plane.goOnAfterRest(side)
        if scripts?.isToMove == true { settleAtBoundary() }
        guard !isClosing, !plane.isResting(side) else { return }
        // That the peer has gone since, or was before, was not looked at.
        guard !plane.isPaused(side) else {
            return lookForEnd(of: side)
        }
        if side == .client, downstream.hasEnded, machine.accepts(from: side) { return readEnd(of: side) }
        scheduleRead(of: side)
    }

    func isBlocked(_ side: TunnelSide) -> Bool {
        side == .client ? !upstream.isDrained : !downstream.isDrained
    }

    func finishSending(to side: TunnelSide) {
        switch side {
        case .client: downstream.shutdownWhenSent()
        case .upstream: upstream.shutdownWhenSent()
        }
    }

    /// Of a stream nobody can tell: the connection is taking what others are sent.
    func isTaking(_ side: TunnelSide, within milliseconds: Int64) -> Bool {
        let channel = channel(side)
        let isStream = side == .client ? downstream.isStream : upstream.isStream
        return !isStream && channel.isOpen
            && sy_tcp_is_taking(channel.descriptor, UInt32(clamping: milliseconds))
    }

    func planeBeganToEnd() {
        scripts?.leaveList()
        if let ending = plane?.endedBy { logEnding(ending) }
    }
    func planeEnded() { closeBoth() }

    func deadlineMoved() {
        guard !isClosing, let plane else { return }
        upstream.setDeadline(plane.deadline)
    }
}

/// A peer that is in use by a tunnel, until `end` is called.
struct UpstreamUse {
    let peers: UpstreamPeers
    let peer: PeerInUse?

    func end(_ outcome: PeerOutcome, now: Int64) {
        if let peer { peers.group.finish(peer, outcome, now: now) }
    }
}
