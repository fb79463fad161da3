internal import Bytes
internal import Config
internal import EventLoop
internal import HTTP2
internal import ProxyCore
internal import Wire

/// A client's connection that speaks HTTP/2: moves bytes between its socket and its session, and makes each stream a
/// `DownstreamConnection` of its own.
///
/// What streams send goes out at the end of the loop's turn, all of it together.
final class HTTP2DownstreamConnection: StreamChannel, HTTP2Flushing {
    private enum Phase: Equatable {
        case open
        /// The client was told to begin no more streams, and will say that it knows (RFC 9113 §6.8).
        case leaving
        /// No stream is taken any more; those that there are go on to their ends.
        case left
        /// Everything was sent; waits for the client to end the connection.
        case lingering(until: Int64)
        case closed
    }

    /// Milliseconds for a client to answer that it knows of the shutdown.
    private static let noticeTime = 1_000
    /// A client that floods the proxy is not listened to for long, in milliseconds, nor for much.
    private static let lingeringLimitAfterFailure = 1_000
    private static let lingeringBytesAfterFailure = 1 << 20
    /// Requests that are begun before others have their turn.
    private static let requestsPerTurn = 8

    let worker: Worker
    private let listener: ListeningSocket
    private let facts: ClientFacts
    private let rules: HTTP2Rules
    private let session: HTTP2Session
    private var phase = Phase.open
    /// What came before this object was made.
    private var received: [UInt8]
    /// Streams whose requests or tunnels are under way.
    private var openStreams = 0
    /// The client ended its sending side: what it asked for whole goes on to its end.
    private(set) var sawEnd = false
    var isDirty = false
    private var deadlines = LegDeadlines() { didSet { updateDeadline() } }
    /// When the next request that goes on behind its response is stopped.
    private var resetDeadline = EventLoop.never
    /// That may still come while the end is waited for.
    private var lingeringBytes = Int.max

    /// - Parameters:
    ///   - worker: whose connection it is.
    ///   - listener: that accepted it.
    ///   - descriptor: the connection's socket.
    ///   - transport: what stands before that, such as TLS.
    ///   - facts: of the connection.
    ///   - rules: of the listener, or of the server that the client named.
    ///   - received: bytes that have come already.
    init(
        worker: Worker, listener: ListeningSocket, descriptor: Int32, transport: StreamTransport?,
        facts: ClientFacts, rules: HTTP2Rules, received: [UInt8]
    ) {
        self.worker = worker
        self.listener = listener
        self.facts = facts
        self.rules = rules
        self.received = received
        session = HTTP2Session(
            .server, rules.options, keySeed: worker.randomPair(), buffers: worker.http2Buffers)
        super.init(loop: worker.loop, descriptor: descriptor)
        self.transport = transport
        transport?.move(to: self)
    }

    /// Takes over from the connection that found out what is spoken, which has counted it and made room for it.
    func start() {
        do throws(SystemError) {
            try register()
        } catch {
            worker.current.generation.errorLogger.log(.alert, "\(error)")
            return finish()
        }
        setReadDeadline(after: rules.headTimeout)
        worker.connectionRests(self)
        flushSoon()
        if received.isEmpty, transport == nil { return }
        mayRead = true
        scheduleRead()
    }

    /// For log lines of its streams.
    var loggedClient: (serial: UInt64, address: [UInt8]) { (facts.serial, facts.address) }

    /// For the heads that requests become.
    var headLimits: RequestHeadParser.Limits { rules.headLimits }

    // MARK: Reading

    /// Requests that have come wait to be begun.
    override var hasWork: Bool { isLive && session.hasArrivals }

    override func readable() {
        worker.tick()
        if case .lingering(let end) = phase { return readLingering(until: end) }
        if !received.isEmpty {
            let bytes = received
            received = []
            receive(bytes.span)
        }
        beginRequests()
        if session.hasArrivals { return scheduleRead() }
        var reads = 0
        // A client that takes nothing is not listened to either, so that what it asks for does not queue up.
        while mayRead, isLive, unsentBytes < Self.outputSize {
            if reads == Self.readsPerTurn { return scheduleRead() }
            reads += 1
            switch read() {
            case .bytes(let count):
                loop.withReceived(count) { receive($0) }
                if session.hasArrivals { return scheduleRead() }
            case .wouldBlock: break
            case .end where !sawFailure: return endOfInput()
            case .end: return finish()
            case .failed:
                noteFlood(of: facts, on: worker)
                return finish()
            }
        }
    }

    private func endOfInput() {
        guard !sawEnd else { return }
        sawEnd = true
        session.peerEnded()
        session.deliverChanges()
        flushSoon()
    }

    private var isLive: Bool {
        switch phase {
        case .open, .leaving, .left: true
        case .lingering, .closed: false
        }
    }

    private func readLingering(until end: Int64) {
        switch read() {
        case .bytes(let count):
            lingeringBytes -= count
            guard loop.now < end, lingeringBytes > 0 else { return finish() }
            setReadDeadline(after: DownstreamConnection.lingeringSilence)
            if mayRead { scheduleRead() }
        case .wouldBlock: break
        case .end, .failed: finish()
        }
    }

    private func receive(_ bytes: Span<UInt8>) {
        // What a client asked for that floods the proxy is not begun any more.
        let failure = session.receive(bytes, now: loop.now)
        if failure == nil { beginRequests() }
        session.deliverChanges()
        guard isLive else { return }
        if let failure { return fail(failure) }
        if case .leaving = phase, session.shutdownIsKnown { leave() }
        flushSoon()
    }

    /// Begins some of the requests that have come; more than that are for the next turns, so that a client which asks
    /// for a hundred things at once does not hold the others up.
    private func beginRequests() {
        var begun = 0
        while begun < Self.requestsPerTurn, isLive, let stream = session.nextRequest() {
            begin(stream)
            begun += 1
        }
    }

    private func begin(_ stream: HTTP2Stream) {
        openStreams += 1
        if openStreams > 1 { worker.statistics.furtherStreams.add() }
        clearReadDeadline()
        let transport = HTTP2DownstreamTransport(stream, of: self)
        let channel = DownstreamConnection(
            worker: worker, listener: listener, stream: transport,
            facts: ClientFacts(facts, requests: facts.requests))
        facts.requests += 1
        transport.attach(channel)
        let age = worker.clock.now.monotonic - facts.connectedAt.monotonic
        if facts.requests >= rules.keepaliveRequests || age > Int64(rules.keepaliveTime) { goAway() }
        channel.startStream()
    }

    /// A stream's connection has closed.
    func streamEnded() {
        openStreams -= 1
        if openStreams > 0 { worker.statistics.furtherStreams.add(-1) }
        flushSoon()
        if openStreams == 0, isLive, deadlines.read == EventLoop.never {
            // A client that was told to leave makes no further requests.
            setReadDeadline(
                after: phase == .open ? rules.keepaliveTimeout : DownstreamConnection.lingeringSilence)
            worker.connectionRests(self)
        }
    }

    // MARK: Writing

    func flush() {
        isDirty = false
        guard isLive, isOpen else { return }
        if resetDeadline <= loop.now { endLingering() }
        guard sendFrames(of: session) else { return finish() }
        guard isLive, isOpen else { return }
        if isDrained {
            session.outputWasTaken()
        } else if deadlines.send == EventLoop.never {
            setSendDeadline()
        }
        session.deliverChanges()
        guard isDrained else { return }
        endLingering()
        if sawEnd { finishIfSent() } else if session.isOver { linger() }
    }

    private func endLingering() {
        let next = session.endLingering(now: loop.now) ?? EventLoop.never
        guard next != resetDeadline else { return }
        resetDeadline = next
        updateDeadline()
    }

    /// The client has ended its side, and taken what there was for it.
    private func finishIfSent() {
        guard !session.wantsToSend else { return flushSoon() }
        session.endBlocked()
        session.deliverChanges()
        guard !session.wantsToSend else { return flushSoon() }
        if openStreams == 0 { finish() }
    }

    override func sentSome() { setSendDeadline() }

    override func drained() {
        deadlines.send = EventLoop.never
        switch phase {
        case .open, .leaving, .left:
            worker.tick()
            flush()
            // What was not listened to meanwhile.
            if mayRead, isOpen { scheduleRead() }
        case .lingering, .closed: break
        }
    }

    override func writeFailed(_ error: Int32) { finish() }

    // MARK: Deadlines

    private func setReadDeadline(after milliseconds: Int) {
        deadlines.read = loop.now + Int64(milliseconds)
    }

    private func clearReadDeadline() {
        if case .open = phase { deadlines.read = EventLoop.never }
    }

    private func setSendDeadline() {
        deadlines.send = loop.now + Int64(rules.sendTimeout)
    }

    private func updateDeadline() { setDeadline(min(deadlines.next, resetDeadline)) }

    override func deadlinePassed() {
        worker.tick()
        if deadlines.send <= loop.now {
            log(.info, "client timed out (110: Connection timed out) while sending frames")
            return finish()
        }
        if resetDeadline <= loop.now {
            flush()
            guard isOpen else { return }
        }
        guard deadlines.read <= loop.now else { return updateDeadline() }
        deadlines.read = EventLoop.never
        switch phase {
        case .open where session.isInHead && !session.hasArrivals:
            log(.info, "client timed out (110: Connection timed out) while reading client request headers")
            leave()
            flush()
            // Nothing else is under way, or there would have been no time to keep.
            finish()
        // Idle for too long; or the client has not said that it knows of the shutdown.
        case .open, .leaving:
            leave()
            flush()
        case .left, .lingering: finish()
        case .closed: break
        }
    }

    override var isAtRest: Bool {
        openStreams == 0 && isLive && isDrained && received.isEmpty && !session.hasArrivals
    }

    override func endRest() {
        if case .open = phase { leave() }
        flush()
        finish()
    }

    // MARK: The end

    /// Tells the client to go elsewhere with what it asks next, and ends when all that is under way has ended.
    func goAway() {
        guard case .open = phase else { return }
        phase = .leaving
        session.announceShutdown()
        setReadDeadline(after: Self.noticeTime)
        flushSoon()
    }

    private func leave() {
        phase = .left
        session.refuseStreams()
        deadlines.read = EventLoop.never
        if openStreams == 0 { setReadDeadline(after: DownstreamConnection.lingeringSilence) }
        flushSoon()
    }

    /// A reload took the listener away.
    func closeIfListenerEnded() { if listener.hasEnded { goAway() } }

    /// Closes whatever goes on here; streams have been ended.
    func cutOff() {
        guard isLive else { return finish() }
        flush()
        finish()
    }

    /// The client broke the protocol, or floods the proxy.
    private func fail(_ code: HTTP2ErrorCode) {
        log(
            .info,
            code == .enhanceYourCalm
                ? "http2 flood detected" : "client broke the protocol of HTTP/2 (error \(code.rawValue))")
        worker.statistics.badRequests.add()
        send(session.goAway(code))
        lingeringBytes = Self.lingeringBytesAfterFailure
        linger(for: Self.lingeringLimitAfterFailure)
    }

    private func linger(for time: Int = DownstreamConnection.lingeringLimit) {
        guard isLive else { return }
        phase = .lingering(until: loop.now + Int64(time))
        endStreams()
        guard isOpen else { return }
        shutdownWhenSent()
        setReadDeadline(after: DownstreamConnection.lingeringSilence)
        mayRead = true
        scheduleRead()
    }

    private func endStreams() {
        session.close()
        resetDeadline = EventLoop.never
        session.deliverChanges()
    }

    private func finish() {
        if case .closed = phase { return }
        phase = .closed
        endStreams()
        close()
        worker.statistics.active.add(-1)
        worker.releaseConnection()
    }

    private func log(_ level: LogLevel, _ message: @autoclosure () -> String) {
        let logger = worker.current.generation.errorLogger
        guard logger.takes(level) else { return }
        logger.log(
            level, connection: facts.serial,
            "\(message()), client: \(String(decoding: facts.address, as: UTF8.self))")
    }
}
