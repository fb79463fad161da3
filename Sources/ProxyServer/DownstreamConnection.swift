internal import Bytes
internal import CSwitchyard
internal import Config
internal import EventLoop
internal import HTTP2
internal import ProxyCore
internal import TLS
internal import Wire

/// A client's connection: reads heads, hands bodies to the exchange under way, keeps what was sent too early.
///
/// It holds no buffer while it is idle, and no exchange between requests.
final class DownstreamConnection: StreamChannel {
    private enum Phase {
        /// Waiting for a header of the PROXY protocol.
        case proxyHeader
        /// TLS has not begun yet.
        case handshake(DownstreamTLS)
        /// Waiting for the first byte of a request.
        case idle
        /// A head has begun.
        case readingHead(ExchangeDriver)
        case exchange(ExchangeDriver)
        case tunnel(Tunnel)
        /// The response has gone out; what still comes of the request is dropped until the client ends.
        case lingering(until: Int64)
        case closed
    }

    /// Milliseconds for which a connection lingers at most; nginx's default.
    static let lingeringLimit = 30_000
    /// Milliseconds for which it lingers without a byte; nginx's default.
    static let lingeringSilence = 5_000
    /// Responses of our own wait in memory; more than this many bytes and no further request is begun.
    private static let maxUnsent = 64 * 1024

    // Small ones first: there is room for them behind those of the superclass.
    private var isProcessing = false
    /// More came along with the head that is being acted on.
    private var leavesBytes = false
    /// The client ended its sending side.
    private var sawEnd = false
    /// Requests that were read are to be gone on with at the end of the turn.
    private var isResting = false
    private var statisticsPhase = StatisticsPhase.idle
    /// The socket was told to send small packets at once.
    private var sendsAtOnce = false
    /// Of the handshake: its first byte was seen.
    var hasSpoken = false
    var awaitsHandshakeTurn = false
    /// What is lingered for is the end of the handshake.
    private var endsAfterHandshake = false
    let worker: Worker
    private let listener: ListeningSocket
    /// The stream that is in place of a socket, for a request over HTTP/2.
    private let http2: HTTP2DownstreamTransport?
    /// `nil` in a tunnel, which keeps only what its log line needs.
    private var facts: ClientFacts?
    private var phase = Phase.idle
    /// Bytes that were read and not used yet.
    private var inbox: [UInt8] = []
    private var deadlines = LegDeadlines() { didSet { setDeadline(deadlines.next) } }

    private enum StatisticsPhase { case idle, reading, writing }

    init(worker: Worker, listener: ListeningSocket, descriptor: Int32, peer: SocketAddress) {
        self.worker = worker
        self.listener = listener
        http2 = nil
        super.init(loop: worker.loop, descriptor: descriptor)
        let facts = ClientFacts()
        facts.address = peer.isUnix ? Array("unix:".utf8) : peer.hostText
        facts.port = peer.port
        facts.binaryAddress = peer.isUnix ? Array("unix:".utf8) : peer.binary
        facts.serial = Worker.nextSerial()
        worker.tick()
        facts.connectedAt = worker.clock.now
        facts.isInMemory = loop.isInMemory
        if let local = listener.localEnd(of: self) {
            facts.serverAddress = local.text
            facts.serverPort = local.port
        }
        self.facts = facts
        if loop.isInMemory, serving.generation.tls.listener(listenerIndex) != nil {
            facts.tls = worker.clientTLS?(peer)
        }
        if !peer.isUnix { sendAtOnce(headRules.sendsAtOnce) }
    }

    /// One stream of an HTTP/2 connection. It is read, answered, tunnelled and logged as any other connection.
    ///
    /// - Parameters:
    ///   - worker: whose connection it is.
    ///   - listener: that accepted the connection.
    ///   - stream: in place of a socket.
    ///   - facts: the stream's own.
    init(worker: Worker, listener: ListeningSocket, stream: HTTP2DownstreamTransport, facts: ClientFacts) {
        self.worker = worker
        self.listener = listener
        http2 = stream
        super.init(timerOn: worker.loop)
        transport = stream
        self.facts = facts
    }

    /// Begins to read the request that has come on the stream.
    func startStream() {
        worker.streamBegan()
        becomes(readable: true, writable: true)
    }

    /// Over HTTP/2.
    var isStream: Bool { http2 != nil }
    /// Whose socket carries the bytes.
    var carrier: StreamChannel { http2?.connection ?? self }

    func start() {
        worker.statistics.accepted.add()
        worker.statistics.active.add()
        do throws(SystemError) {
            try register()
        } catch {
            worker.current.generation.errorLogger.log(.alert, "\(error)")
            return finish()
        }
        setReadDeadline(after: headRules.timeout)
        let expectsHeader =
            !loop.isInMemory && serving.generation.configuration.listeners[listenerIndex].hasProxyProtocol
        if expectsHeader { phase = .proxyHeader } else { expectClient() }
    }

    private func expectClient() {
        guard !loop.isInMemory, let tls = serving.generation.tls.listener(listenerIndex) else { return }
        expectHandshake(tls)
    }

    /// What comes now is the client's.
    func proxyHeaderRead(_ header: ProxyProtocolHeader?) {
        facts?.proxied = header
        phase = .idle
        expectClient()
        if mayRead { scheduleRead() }
    }

    // MARK: TLS

    private func expectHandshake(_ listener: TLSListener) {
        guard let facts else { return }
        do throws(TLSError) {
            let tls = try DownstreamTLS(listener, on: self, of: self.listener)
            facts.tls = tls
            transport = tls.transport
            phase = .handshake(tls)
        } catch {
            worker.current.generation.errorLogger.log(.alert, "\(error)")
            finish()
        }
    }

    var handshakingTLS: DownstreamTLS? { if case .handshake(let tls) = phase { tls } else { nil } }
    var clientFacts: ClientFacts? { facts }

    /// The client did not begin with a handshake.
    func speakPlainly() {
        transport = nil
        facts?.tls = nil
        facts?.isPlainOnTLSPort = true
        phase = .idle
        readHead()
    }

    func handshakeEnded(_ tls: DownstreamTLS) {
        tls.handshakeEnded()
        phase = .idle
        if tls.session.applicationProtocol == HTTP2Preface.applicationProtocol {
            // Some server of the listener speaks it, if not the one whose rules are the listener's.
            let rules = headRules
            let settings = tls.server.settings.values
            return becomeHTTP2(
                Span(), rules.http2 ?? HTTP2Rules(tls.server.connection, settings, rules.limits))
        }
        setReadDeadline(after: headRules.timeout)
        readHead()
    }

    /// The generation that what goes on here began under; `nil` when nothing does.
    var generationNumber: Int? {
        switch phase {
        case .exchange(let driver): driver.generation.generation.number
        case .tunnel(let tunnel): tunnel.generation.generation.number
        case .proxyHeader, .handshake, .idle, .readingHead, .lingering, .closed: nil
        }
    }

    /// `listenerIndex` is a place in this one's configuration.
    private var serving: WorkerGeneration { listener.serving(on: worker) }

    var listenerIndex: Int {
        guard !listener.targets.byAddress.isEmpty else { return listener.targets.own }
        return listener.target(local: carrier.localAddress)
    }

    /// Tells the error log of something that goes wrong before there is a request.
    func log(_ level: LogLevel, _ message: String, while doing: String) {
        guard let facts else { return }
        let listener = serving.generation.configuration.listeners[listenerIndex].address.description
        worker.current.generation.errorLogger.log(
            level, connection: facts.serial,
            "\(LogText.line(message)) while \(doing), client: \(String(decoding: facts.address, as: UTF8.self)), "
                + "server: \(listener)")
    }

    // MARK: Deadlines

    func setReadDeadline(after milliseconds: Int) {
        deadlines.read = loop.now + Int64(milliseconds)
    }

    func clearReadDeadline() { deadlines.read = EventLoop.never }

    func setSendDeadline(after milliseconds: Int) {
        deadlines.send = loop.now + Int64(milliseconds)
    }

    override func deadlinePassed() {
        worker.tick()
        if deadlines.send <= loop.now { return sendTimedOut() }
        guard deadlines.read <= loop.now else { return setDeadline(deadlines.next) }
        deadlines.read = EventLoop.never
        switch phase {
        case .handshake: handshakeFailed("client timed out (110: Connection timed out)", isOurs: false)
        case .proxyHeader, .idle, .lingering: finish()
        case .readingHead(let driver):
            driver.exchange.request.bytes = inbox
            beginRefused(driver)
            driver.headTimedOut()
        case .exchange(let driver) where driver.isDelayed:
            driver.delayEnded()
            expectBody(of: driver)
        case .exchange(let driver):
            bodyTimedOut(driver)
        case .tunnel(let tunnel): tunnel.timedOut(.client)
        case .closed: break
        }
    }

    private func bodyTimedOut(_ driver: ExchangeDriver) {
        if driver.wantsBody {
            // What has come by now has come in time, though nobody has looked yet: others had their turns.
            processInbox()
            if mayRead, driver.wantsBody, deadlines.read == EventLoop.never { readable() }
            guard case .exchange(let current) = phase, current === driver, deadlines.read == EventLoop.never
            else { return }
            if driver.wantsBody { return driver.clientBodyTimedOut() }
        }
        // Where nobody takes anything, the client is not waited for.
        expectBody(of: driver)
    }

    /// Somebody takes the body from now on: the time that nobody did is not the client's.
    func bodyIsWanted(by driver: ExchangeDriver) {
        if driver.expectsBody { setReadDeadline(after: driver.bodyTimeout) }
    }

    private func sendTimedOut() {
        deadlines.send = EventLoop.never
        switch phase {
        case .exchange(let driver):
            driver.clientGone(reason: "client timed out", resetting: driver.resetsTimedOut)
        case .tunnel(let tunnel):
            if tunnel.settings.values.resetTimedoutConnection { resetOnClose() }
            tunnel.timedOut(.client)
        case .proxyHeader, .handshake, .idle, .readingHead, .lingering, .closed: finish()
        }
    }

    // MARK: Reading

    override func readable() {
        switch phase {
        case .proxyHeader: readProxyHeader()
        case .handshake(let tls): continueHandshake(tls)
        case .idle, .readingHead: readHead()
        case .exchange(let driver): readDuringExchange(driver)
        case .tunnel(let tunnel): tunnel.readable(.client)
        case .lingering(let end): readLingering(until: end)
        case .closed: break
        }
    }

    private func readHead() {
        guard !sawEnd, !isResting, unsentBytes < Self.maxUnsent else { return }
        if let http2 {
            if let refusal = http2.refusal { return refuseStream(refusal) }
            if case .idle = phase, takeHead(http2) { return }
        }
        switch read() {
        case .bytes(let count):
            worker.tick()
            loop.withReceived(count) { process($0) }
            if mayRead { scheduleRead() }
        case .wouldBlock: break
        case .end: endOfInput()
        case .failed:
            noteFlood(of: facts, on: worker)
            recordCutHead()
            finish()
        }
    }

    private func readDuringExchange(_ driver: ExchangeDriver) {
        if sawFailure && !driver.ignoresClientAbort {
            return clientGone(driver)
        }
        // What has come with the request keeps the end from being read.
        if driver.awaitsTurn, !inbox.isEmpty, http2 == nil, isEnding { return clientGone(driver) }
        guard inbox.isEmpty, driver.wantsBody || driver.watchesForEnd else { return }
        switch read(limit: driver.bodyReadSize) {
        case .bytes(let count):
            worker.tick()
            loop.withReceived(count) { process($0) }
            if mayRead { scheduleRead() }
        case .wouldBlock: break
        case .end: endOfInput()
        case .failed:
            noteFlood(of: facts, on: worker)
            clientGone(driver)
        }
    }

    private func clientGone(_ driver: ExchangeDriver) {
        worker.tick()
        guard let malformation else {
            return driver.clientGone(reason: "client prematurely closed connection")
        }
        worker.statistics.badRequests.add()
        driver.clientGone(reason: "client sent malformed request: \(malformation.message)", status: 400)
    }

    /// What turned out to be wrong with a stream's request after its head.
    private var malformation: HTTP2Malformation? {
        if case .malformed(let malformation)? = http2?.stream.fault { malformation } else { nil }
    }

    /// The stream is closed, by whichever side.
    var wasReset: Bool { http2?.stream.isClosed == true }

    private func endOfInput() {
        sawEnd = true
        switch phase {
        case .idle, .readingHead, .lingering:
            recordCutHead()
            if isDrained { finish() } else { shutdownAfterSending() }
        case .exchange(let driver):
            worker.tick()
            driver.clientEnded()
        case .proxyHeader, .handshake, .tunnel, .closed: break
        }
    }

    private func readLingering(until end: Int64) {
        let result = read()
        if endsAfterHandshake, !isEarly { return finish() }
        switch result {
        case .bytes:
            guard loop.now < end else { return finish() }
            setReadDeadline(after: Self.lingeringSilence)
            if mayRead { scheduleRead() }
        case .wouldBlock: break
        case .end, .failed: finish()
        }
    }

    /// The request came before the handshake was over, which it still is not.
    private var isEarly: Bool { facts?.tls?.isEarly == true }

    /// Waits for the handshake's end: no alert can tell the client of ours before that, and a socket closed with bytes in it
    /// would have the client's side reset, and the response lost.
    private func finishAfterHandshake() {
        endsAfterHandshake = true
        inbox = []
        phase = .lingering(until: loop.now + Int64(Self.lingeringLimit))
        setReadDeadline(after: Self.lingeringSilence)
        if mayRead { scheduleRead() }
    }

    /// Uses as much of `bytes` as can be used now; the rest waits in `inbox`.
    private func process(_ bytes: Span<UInt8>) {
        if inbox.isEmpty {
            let used = consume(bytes, wereWaiting: false)
            keep(bytes, after: used)
        } else {
            var gathered = inbox
            inbox = []
            gathered.append(bytes)
            processGathered(gathered)
        }
        flushExchange()
    }

    private func processGathered(_ gathered: [UInt8]) {
        let used = consume(gathered.span, wereWaiting: true)
        if used == 0 { inbox = gathered } else { keep(gathered.span, after: used) }
    }

    /// Goes on with what was read before: the exchange can take more, or has ended.
    func processInbox() {
        guard !isProcessing, !inbox.isEmpty else { return }
        let waiting = inbox
        inbox = []
        processGathered(waiting)
        flushExchange()
    }

    /// What is wrong with a request's body, of which `decoder` has seen all that was not kept back here.
    func violation(of decoder: BodyDecoder) -> BodyViolation? {
        let waiting = inbox
        return decoder.violation(ahead: waiting.span)
    }

    private func keep(_ bytes: Span<UInt8>, after used: Int) {
        guard used < bytes.count else { return }
        switch phase {
        case .lingering, .closed: return
        case .proxyHeader, .handshake, .idle, .readingHead, .exchange, .tunnel: break
        }
        inbox.append(bytes.extracting(used...))
    }

    private func flushExchange() {
        if case .exchange(let driver) = phase { driver.flushHead() }
    }

    /// `wereWaiting`: the bytes, or the first of them, came while something else was under way.
    ///
    /// - Returns: how many bytes were used.
    private func consume(_ bytes: Span<UInt8>, wereWaiting: Bool) -> Int {
        isProcessing = true
        defer { isProcessing = false }
        var offset = 0
        var requests = 0
        while offset < bytes.count {
            switch phase {
            case .idle:
                guard unsentBytes < Self.maxUnsent else { return offset }
                guard requests < Self.requestsPerTurn else {
                    rest()
                    return offset
                }
                requests += 1
                switch matchPreface(bytes.extracting(offset...)) {
                case .no: beginHead(isPipelined: wereWaiting || offset > 0)
                case .partial: return offset
                case .whole:
                    if let rules = headRules.http2 { becomeHTTP2(bytes.extracting(offset...), rules) }
                    return bytes.count
                }
            case .readingHead(let driver):
                guard let length = parse(bytes.extracting(offset...), driver) else { return offset }
                offset += length
            case .exchange(let driver):
                guard driver.wantsBody else { return offset }
                let used = driver.receiveBody(bytes.extracting(offset...))
                if used == 0 { return offset }
                offset += used
            case .proxyHeader, .handshake, .tunnel, .lingering, .closed:
                return offset
            }
        }
        return offset
    }

    /// Pipelined requests that are answered at once, before others have their turn.
    private static let requestsPerTurn = 16

    private func rest() {
        isResting = true
        // The next request is here.
        clearReadDeadline()
        worker.postpone { [self] in
            isResting = false
            processInbox()
            if isOpen && mayRead { scheduleRead() }
        }
    }

    private func beginHead(isPipelined: Bool) {
        let driver = worker.takeDriver()
        // The first on a connection has waited for nothing but the rest of itself.
        driver.exchange.isPipelined = isPipelined && facts?.requests != 0
        driver.exchange.startedAt = worker.clock.now
        phase = .readingHead(driver)
        count(as: .reading)
        // A stream's head has come whole before there is the stream.
        if http2 == nil { setReadDeadline(after: headRules.timeout) }
    }

    /// Of a connection; streams have `headLimits` only.
    var headRules: HeadRules {
        if let tls = facts?.tls as? DownstreamTLS, let rules = tls.headRules { return rules }
        return serving.headRules(forListener: listenerIndex)
    }

    private var headLimits: RequestHeadParser.Limits {
        http2?.connection.headLimits ?? headRules.limits
    }

    /// - Returns: the bytes of a head that is whole, or `nil` when it is not yet, or was refused.
    private func parse(_ bytes: Span<UInt8>, _ driver: ExchangeDriver) -> Int? {
        let exchange = driver.exchange
        var limits = headLimits
        var progress: HeadProgress<RequestViolation>
        repeat {
            if limits.dependOnHost, let host = exchange.parser.host(of: exchange.request) {
                let text = bytes.extracting(host)
                limits = serving.headLimits(forHost: text, onListener: listenerIndex, headRules)
            }
            progress = exchange.parser.parse(bytes.raw, limits: limits, into: &exchange.request)
        } while exchange.parser.asksForLimits
        switch progress {
        case .incomplete:
            return nil
        case .invalid(let violation):
            worker.statistics.badRequests.add()
            var received: [UInt8] = []
            let kept = violation == .requestLineTooLong ? limits.maxRequestLine : limits.maxHead
            received.append(bytes.extracting(..<min(bytes.count, kept)))
            http2?.adaptLine(of: &received)
            exchange.request.bytes = received
            let line = FaultyLine.text(
                exchange.parser.fault(violation, in: bytes, exchange.request), of: bytes)
            refuse(
                driver, status: violation.nginxStatus,
                reason: violation.message(line: line, inFields: exchange.parser.hasRequestLine))
            return nil
        case .complete(let length):
            leavesBytes = length < bytes.count
            begin(driver, headLength: length, rest: bytes.extracting(length...))
            leavesBytes = false
            return length
        }
    }

    /// The request's head is in the exchange; `rest` is what came along with it.
    private func begin(_ driver: ExchangeDriver, headLength: Int, rest: Span<UInt8> = Span()) {
        guard let facts else { return }
        let exchange = driver.exchange
        facts.requests += 1
        worker.statistics.requests.add()
        worker.statistics.clientBytesIn.add(headLength)
        clearReadDeadline()
        count(as: .writing)
        http2?.adapt(&exchange.request)
        exchange.adopt(serving.generation.runtime)
        exchange.begin(
            listener: listenerIndex, client: facts, startedAt: exchange.startedAt,
            random: worker.randomPair())
        start(driver)
        if wasReset { return driver.recordReset(malformation?.message) }
        driver.begin(before: rest)
        if facts.isOutdated { http2?.connection.goAway() }
        expectBody(of: driver)
    }

    /// A body that is to come has to begin in time, as its pieces have to follow each other.
    private func expectBody(of driver: ExchangeDriver) {
        guard case .exchange(let current) = phase, current === driver, driver.expectsBody,
            deadlines.read == EventLoop.never
        else { return }
        setReadDeadline(after: driver.settings.values.clientBodyTimeout)
    }

    private func start(_ driver: ExchangeDriver) {
        driver.prepare(on: self, generation: serving)
        phase = .exchange(driver)
    }

    /// Answers a head that was refused, or did not come in time, and closes.
    private func refuse(_ driver: ExchangeDriver, status: Int, reason: String) {
        beginRefused(driver)
        driver.refuse(status: status, reason: reason)
    }

    /// The client has gone. Where it did within a head, nobody is left to answer, but there has been a request, as nginx's
    /// logs have it.
    private func recordCutHead() {
        guard case .readingHead(let driver) = phase, http2 == nil, !inbox.isEmpty else { return }
        worker.tick()
        driver.exchange.request.bytes = inbox
        beginRefused(driver)
        phase = .idle
        count(as: .idle)
        driver.recordCutHead()
    }

    private func beginRefused(_ driver: ExchangeDriver) {
        facts?.requests += 1
        guard let facts else { return }
        let exchange = driver.exchange
        let received = exchange.request.bytes
        exchange.adopt(serving.generation.runtime)
        exchange.beginRefused(
            received, listener: listenerIndex, client: facts, startedAt: exchange.startedAt,
            random: worker.randomPair())
        if http2 != nil { exchange.request.version = .v2 }
        count(as: .writing)
        worker.statistics.requests.add()
        start(driver)
    }

    /// Answers a stream's request that did not become a head.
    private func refuseStream(_ refusal: HTTP2DownstreamTransport.Refusal) {
        mayRead = false
        worker.tick()
        worker.statistics.badRequests.add()
        beginHead(isPipelined: false)
        guard case .readingHead(let driver) = phase else { return }
        clearReadDeadline()
        driver.exchange.request.bytes = refusal.line
        beginRefused(driver)
        driver.exchange.refusesHead = refusal.isHead
        driver.refuse(
            status: refusal.status, reason: refusal.reason + " while reading client request headers")
    }

    // MARK: HTTP/2

    /// Begins the request of a stream without its head going through the parser.
    ///
    /// - Returns: false where it has to, nothing having happened yet but that a driver is there for it.
    private func takeHead(_ http2: HTTP2DownstreamTransport) -> Bool {
        worker.tick()
        beginHead(isPipelined: false)
        guard case .readingHead(let driver) = phase,
            let length = http2.takeHead(of: driver.exchange, limits: http2.connection.headLimits)
        else { return false }
        isProcessing = true
        begin(driver, headLength: length)
        isProcessing = false
        // What has come of the body goes out with the head.
        if http2.hasMore, case .exchange(let driver) = phase { readDuringExchange(driver) }
        flushExchange()
        if http2.hasMore { if mayRead { scheduleRead() } } else { mayRead = false }
        return true
    }

    /// Whether the connection turns out to speak HTTP/2 with its first bytes (RFC 9113 §3.3). Over TLS, that was settled by ALPN
    /// (RFC 9113 §3.2).
    private func matchPreface(_ bytes: Span<UInt8>) -> HTTP2Preface.Match {
        guard http2 == nil, let facts, facts.requests == 0, facts.tls == nil, !facts.isPlainOnTLSPort,
            headRules.http2 != nil
        else { return .no }
        return HTTP2Preface.match(bytes)
    }

    /// Makes this an HTTP/2 connection, of whose client `received` has come so far. This object is of no use afterwards.
    private func becomeHTTP2(_ received: Span<UInt8>, _ rules: HTTP2Rules) {
        guard case .idle = phase, let facts else { return finish() }
        var early: [UInt8] = []
        early.append(received)
        let carried = transport
        transport = nil
        phase = .closed
        inbox = []
        self.facts = nil
        let connection = HTTP2DownstreamConnection(
            worker: worker, listener: listener, descriptor: detach(), transport: carried, facts: facts,
            rules: rules, received: early)
        connection.start()
    }

    // MARK: The exchange's side

    /// Trailer fields of the response, as lines; over HTTP/2 alone.
    func send(trailers lines: Span<UInt8>) { http2?.stream.setTrailers(lines) }

    /// Sends part of a response.
    func send(
        response bytes: Span<UInt8>, then second: Span<UInt8> = Span(), then third: Span<UInt8> = Span()
    ) {
        worker.statistics.clientBytesOut.add(bytes.count + second.count + third.count)
        if let http2, case .exchange(let driver) = phase {
            http2.stream.chunkSize = driver.settings.values.http2ChunkSize
        }
        send(bytes, then: second, then: third)
        if unsentBytes > 0, deadlines.send == EventLoop.never, case .exchange(let driver) = phase {
            setSendDeadline(after: driver.sendTimeout)
        }
    }

    /// `tcp_nodelay` of the location that is about to answer. The streams of HTTP/2 leave it to the connection.
    @inline(__always)
    func sendAtOnce(_ atOnce: Bool) {
        if atOnce != sendsAtOnce { changeDelay(atOnce) }
    }

    private func changeDelay(_ atOnce: Bool) {
        guard http2 == nil else { return }
        sendsAtOnce = atOnce
        delays(!atOnce)
    }

    override func sentSome() {
        guard deadlines.send != EventLoop.never else { return }
        switch phase {
        case .exchange(let driver):
            setSendDeadline(after: driver.sendTimeout)
            driver.clientTookSome()
        case .tunnel(let tunnel): setSendDeadline(after: tunnel.sendTimeout)
        case .proxyHeader, .handshake, .idle, .readingHead, .lingering, .closed: break
        }
    }

    override func drained() {
        deadlines.send = EventLoop.never
        switch phase {
        case .exchange(let driver):
            worker.tick()
            driver.clientDrained()
        case .tunnel(let tunnel): tunnel.drained(.client)
        case .idle, .readingHead:
            if sawEnd { return finish() }
            worker.tick()
            processInbox()
            if mayRead { scheduleRead() }
        case .lingering: if sawEnd { finish() }
        case .proxyHeader, .handshake, .closed: break
        }
    }

    override func writeFailed(_ error: Int32) {
        switch phase {
        case .exchange(let driver):
            worker.tick()
            driver.clientGone(reason: "send() failed (\(error): \(SystemError.reason(error)))")
        case .tunnel(let tunnel): tunnel.failed(.client, SystemError("send", code: error))
        case .proxyHeader, .handshake, .idle, .readingHead, .lingering: finish()
        case .closed: break
        }
    }

    var hasEnded: Bool { sawEnd }

    /// The exchange has ended.
    func exchangeEnded(_ ending: ExchangeStateMachine.Ending.Client, keepaliveTimeout: Int) {
        guard case .exchange = phase else { return }
        count(as: .idle)
        if http2 != nil {
            shutdownWhenSent()
            return finish()
        }
        switch ending {
        case .keep:
            if isLeaving || sawEnd && inbox.isEmpty {
                phase = .idle
                if leavesInput { return linger() }
                return isDrained ? finish() : shutdownAfterSending()
            }
            phase = .idle
            setReadDeadline(after: keepaliveTimeout)
            worker.connectionRests(self)
            processInbox()
            // The exchange did not look at what came meanwhile.
            if mayRead && isOpen { scheduleRead() }
        case .close:
            // RFC 9112 §9.6: a socket closed with bytes in it would have the client lose what it was sent.
            if isEarly {
                finishAfterHandshake()
            } else if leavesInput {
                linger()
            } else {
                finish()
            }
        case .lingeringClose:
            linger()
        }
    }

    /// Some of what came was not taken, or not read.
    private var leavesInput: Bool { leavesBytes || !inbox.isEmpty || mayRead }

    private func linger() {
        inbox = []
        shutdownAfterSending()
        if mayRead { scheduleRead() }
    }

    /// Ends our side once everything has been sent, and waits for the client to end its own.
    private func shutdownAfterSending() {
        phase = .lingering(until: loop.now + Int64(Self.lingeringLimit))
        shutdownWhenSent()
        setReadDeadline(after: Self.lingeringSilence)
        worker.connectionRests(self)
    }

    /// Breaks off a response. Its framing, or else the reset, tells the client that it is not whole.
    func abort(withReset: Bool) {
        if isOpen, withReset { resetOnClose() }
        finish()
    }

    /// The exchange has become a tunnel. Returns what the client sent before it knew.
    func enter(_ tunnel: Tunnel) -> [UInt8] {
        phase = .tunnel(tunnel)
        worker.tunnelOpened(self, under: tunnel.generation)
        facts = nil
        deadlines = LegDeadlines()
        let early = inbox
        inbox = []
        return early
    }

    /// What can be told of a tunnel's client by its connection. A socket that was reset has no peer any more.
    var loggedClient: (serial: UInt64, address: [UInt8]) {
        if let http2 { return http2.connection.loggedClient }
        guard let peer = peerAddress else { return (0, []) }
        return (0, peer.isUnix ? Array("unix:".utf8) : peer.hostText)
    }

    func armSendDeadline(after milliseconds: Int) {
        if deadlines.send == EventLoop.never { setSendDeadline(after: milliseconds) }
    }

    // MARK: The end

    /// No further request is to come here.
    var isLeaving: Bool { worker.isDraining || listener.hasEnded }

    /// The worker drains: a connection that waits for a further request is not needed. One that waits for its
    /// first was made a moment ago by a client that expects an answer.
    func closeIfIdle() {
        // Requests that were read are answered yet: the next of them as the last.
        if case .idle = phase, isDrained, inbox.isEmpty, let facts, facts.requests > 0 { finish() }
    }

    /// Milliseconds after which a client is taken to have nothing to say for now that has said nothing yet. What it says
    /// at once may be on its way.
    static let silence: Int64 = 1000

    override var isAtRest: Bool {
        guard http2 == nil, isDrained else { return false }
        switch phase {
        case .idle: return inbox.isEmpty && (facts.map { $0.requests > 0 } ?? false || isSilent)
        case .proxyHeader: return isSilent
        case .handshake: return !hasSpoken && isSilent
        case .lingering: return true
        case .readingHead, .exchange, .tunnel, .closed: return false
        }
    }

    private var isSilent: Bool {
        facts.map { loop.now - $0.connectedAt.monotonic >= Self.silence } ?? false
    }

    override func endRest() { finish() }

    /// See `Tunnel.settle`.
    func settleTunnel() {
        guard case .tunnel(let tunnel) = phase else { return }
        worker.tick()
        tunnel.settle()
    }

    /// A reload took the listener away: what was begun is answered as it would have been, and nothing else is begun.
    func closeIfListenerEnded() { if listener.hasEnded { closeIfIdle() } }

    /// Closes whatever goes on here.
    func cutOff() {
        worker.tick()
        switch phase {
        case .exchange(let driver): driver.cutOff()
        case .tunnel(let tunnel): tunnel.cutOff()
        case .proxyHeader, .handshake, .idle, .readingHead, .lingering: finish()
        case .closed: break
        }
    }

    /// Closes the connection. Whoever used it has been told.
    func finish() {
        if case .closed = phase { return }
        if case .readingHead(let driver) = phase { worker.giveBack(driver) }
        if case .handshake(let tls) = phase {
            forgetCertificateRequest()
            tls.statusRequest?.cancel()
            if tls.beganAt != nil { worker.statistics.clientHandshakes.failed.add() }
        }
        count(as: .idle)
        phase = .closed
        inbox = []
        facts = nil
        close()
        guard http2 == nil else { return worker.streamEnded() }
        worker.statistics.active.add(-1)
        worker.releaseConnection()
    }

    private func count(as next: StatisticsPhase) {
        guard next != statisticsPhase else { return }
        switch statisticsPhase {
        case .idle: break
        case .reading: worker.statistics.reading.add(-1)
        case .writing: worker.statistics.writing.add(-1)
        }
        switch next {
        case .idle: break
        case .reading: worker.statistics.reading.add()
        case .writing: worker.statistics.writing.add()
        }
        statisticsPhase = next
    }
}
