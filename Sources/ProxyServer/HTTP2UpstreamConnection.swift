internal import Bytes
internal import EventLoop
internal import HTTP2
internal import ProxyCore
internal import TLS

/// A connection to an upstream peer that speaks HTTP/2 and carries the requests of many exchanges at a time, each on a
/// stream that its driver knows as an `UpstreamConnection`.
final class HTTP2UpstreamConnection: StreamChannel, HTTP2Flushing {
    private enum Phase { case connecting, handshaking, open, closed }

    /// Bytes of a response that may come before the client has taken any.
    private static let streamWindow = 256 * 1024
    /// Streams at a time, whatever the peer would take.
    private static let maxStreams = 100

    let address: PeerAddress
    /// `nil` for a connection without TLS.
    let tls: TLSTarget?
    let openedAt: Int64
    let worker: Worker
    /// Whose connection it is, until it is closed.
    private var peers: UpstreamPeers?
    private let session: HTTP2Session
    private var phase = Phase.connecting
    var isDirty = false
    private var openStreams = 0
    /// Those that wait for the connection.
    private var waiting: [HTTP2UpstreamTransport] = []
    /// Of its requests' URLs. An array of the connection's own, as each request counts references to it.
    let scheme: [UInt8]
    /// An `errno` value, once connecting has failed.
    private(set) var connectError: Int32 = 0
    /// Writing has failed, and what came before that is read yet.
    private var sendFault: HTTP2Fault?
    /// What was wrong with the handshake, in nginx's words.
    private(set) var handshakeFault: ProxyFailure?
    /// While that is under way.
    private var handshake: UpstreamTLS?
    var awaitsHandshakeTurn = false
    /// When the peer was last heard, in milliseconds of the loop's clock; as long as it was not, when connecting began.
    private var heardAt: Int64
    /// When the peer was asked whether it is still there; `nil` once it was heard.
    private var askedAt: Int64?
    /// A stream has had its answer since that was last asked. Some servers take more PINGs than that amiss.
    private var mayAsk = true

    /// Begins to connect.
    ///
    /// - Throws: the call that failed at once.
    init(
        to address: PeerAddress, tls: TLSTarget?, of peers: UpstreamPeers, worker: Worker,
        socketKeepalive: Bool
    ) throws(SystemError) {
        self.address = address
        self.tls = tls
        scheme = Array((tls == nil ? "http" : "https").utf8)
        self.peers = peers
        self.worker = worker
        openedAt = worker.loop.now
        heardAt = openedAt
        var options = HTTP2Session.Options()
        options.streamWindow = Self.streamWindow
        options.maxConcurrentStreams = Self.maxStreams
        options.head.maxList = 64 * 1024
        session = HTTP2Session(.client, options, keySeed: worker.randomPair(), buffers: worker.http2Buffers)
        let descriptor = try worker.loop.connect(to: SocketAddress(address))
        super.init(loop: worker.loop, descriptor: descriptor)
        try beginConnecting(to: address, keepalive: socketKeepalive)
    }

    /// Whether another stream may be begun. One that was kept has another even if its time went by since then, as in nginx:
    /// it would be left to its `keepalive_timeout` otherwise, where nobody has any use for it.
    func takesStream(of peers: UpstreamPeers) -> Bool {
        switch phase {
        case .connecting, .handshaking: openStreams < expectedLimit
        case .open:
            openStreams < min(session.hasPeerSettings ? Self.maxStreams : expectedLimit, session.peerLimit)
                && (isIdle || !isUsedUp(of: peers)) && !isSilent
        case .closed: false
        }
    }

    /// What the peer took at a time when it last said so: it is not to be given more before it says so again.
    private var expectedLimit: Int { min(Self.maxStreams, peers?.knownStreamLimit ?? Self.maxStreams) }

    var isIdle: Bool { openStreams == 0 }

    func isUsedUp(of peers: UpstreamPeers) -> Bool {
        peers.isUsedUp(requests: session.requests, openedAt: openedAt, now: loop.now)
    }

    /// The connection is made, so that a stream can be written to at once.
    var isReady: Bool { phase == .open }
    var isHandshaking: Bool { phase == .handshaking }
    private var isBeginning: Bool { phase == .connecting || phase == .handshaking }

    /// A stream, as a connection of its own.
    ///
    /// - Parameter host: whom to ask where the request does not say.
    /// - Returns: what the stream's exchange knows it by.
    func openStream(host: [UInt8]) -> UpstreamConnection {
        let transport = HTTP2UpstreamTransport(on: self, host: host)
        let connection = UpstreamConnection(stream: transport, to: address, worker: worker)
        transport.attach(connection, session)
        if openStreams == 0 { peers?.wake(self) }
        openStreams += 1
        clearDeadline()
        if isBeginning { waiting.append(transport) } else { connection.mayWrite = true }
        return connection
    }

    /// - Parameters:
    ///   - transport: of the stream.
    ///   - givenUp: its answer was not whole, and it was not the peer who ended it.
    func streamEnded(_ transport: HTTP2UpstreamTransport, givenUp: Bool) {
        openStreams -= 1
        if givenUp { doubt(since: transport.beganAt) } else { mayAsk = true }
        waiting.removeAll { $0 === transport }
        if isBeginning { peers?.forget(self) }
        flushSoon()
        guard openStreams == 0, phase != .closed else { return }
        // Nobody waits for the connection any more, or it is kept for the next.
        guard phase == .open, sendFault == nil, session.peerLimit > 0, let time = peers?.rest(self) else {
            return worker.postpone { [self] in if openStreams == 0 { leave() } }
        }
        setDeadline(loop.now + time)
        worker.connectionRests(self)
    }

    override var isAtRest: Bool { isIdle && phase == .open }
    override func endRest() { leave() }

    // MARK: A peer that is gone

    /// Milliseconds for a peer to answer that it is still there.
    private static let answerTime: Int64 = 1000

    /// A stream waited for so many milliseconds without anything coming or going on it. Where nothing came on others either,
    /// the connection is as good as gone, which TCP may take long to notice: others have their streams to their ends,
    /// and no more are begun.
    func timedOut(after milliseconds: Int) {
        if heardAt <= loop.now - Int64(milliseconds) { peers?.forget(self) }
    }

    /// A stream was given up. Where nothing has come since it was begun, the peer is asked whether it is there (RFC 9113
    /// §6.7), since clients may be less patient than the timeouts of the proxy.
    private func doubt(since beganAt: Int64) {
        guard phase == .open, heardAt <= beganAt else { return }
        if mayAsk {
            mayAsk = false
            askedAt = loop.now
            session.ping()
        } else if askedAt == nil {
            timedOut(after: Int(Self.answerTime))
        }
    }

    /// The peer owes an answer for too long.
    private var isSilent: Bool { askedAt.map { loop.now - $0 >= Self.answerTime } ?? false }

    // MARK: Events

    override func becameWritable() {
        connectError = pendingError
        guard connectError == 0, let tls else { return begin() }
        do throws(TLSError) {
            handshake = try UpstreamTLS(
                tls, on: self, of: worker, speaking: [HTTP2Preface.applicationProtocol])
            phase = .handshaking
            worker.handshakes.add(self)
        } catch {
            handshakeFault = ProxyFailure(.invalidTarget("\(error)"))
            begin()
        }
    }

    /// The connection is made, or it could not be: whoever waits for it is told.
    private func begin() {
        handshake = nil
        let isWell = connectError == 0 && handshakeFault == nil
        let batch = waiting
        waiting = []
        if isWell {
            phase = .open
            flushSoon()
        } else {
            // Another try is to be another connection.
            peers?.forget(self)
        }
        for transport in batch { transport.connected() }
        if !isWell { finish() }
    }

    override func readable() {
        if phase == .handshaking { return worker.handshakes.add(self) }
        guard phase == .open else { return }
        worker.tick()
        var reads = 0
        while mayRead, phase == .open, unsentBytes < Self.outputSize || sendFault != nil {
            if reads == Self.readsPerTurn { return scheduleRead() }
            reads += 1
            switch read() {
            case .bytes(let count):
                let loop = loop
                heardAt = loop.now
                askedAt = nil
                let failure = loop.withReceived(count) { session.receive($0, now: loop.now) }
                // Before any stream hears of its end, upon which others are begun.
                if session.hasPeerSettings, session.peerLimit > 0 {
                    peers?.knownStreamLimit = session.peerLimit
                }
                session.deliverChanges()
                if let failure {
                    return finish(
                        failure == .enhanceYourCalm
                            ? .gone("upstream floods its connection with frames")
                            : .violation(failure.rawValue, ""))
                }
                if session.hasPeerGoAway { peers?.forget(self) }
                flushSoon()
            case .wouldBlock: break
            case .end: return finish(sendFault ?? Self.closedEarly)
            case .failed(let error): return finish(sendFault ?? Self.fault("recv", error))
            }
        }
        // Nothing more can come of a connection that is broken.
        if let sendFault { finish(sendFault) }
    }

    func flush() {
        isDirty = false
        guard phase == .open, isOpen, sendFault == nil else { return }
        guard sendFrames(of: session) else {
            return finish(.violation(HTTP2ErrorCode.internalError.rawValue, ""))
        }
        guard phase == .open, isOpen, sendFault == nil else { return }
        if isDrained { session.outputWasTaken() }
        session.deliverChanges()
        if isDrained, session.isOver { finish() }
    }

    override func drained() {
        worker.tick()
        flush()
        if mayRead, isOpen { scheduleRead() }
    }

    /// Answers may have come before the connection broke. No stream is begun on it any more.
    override func writeFailed(_ error: Int32) {
        guard phase == .open else { return finish(Self.fault("send", error)) }
        sendFault = Self.fault("send", error)
        peers?.forget(self)
        mayRead = true
        scheduleRead()
    }

    /// Idle for too long.
    override func deadlinePassed() { if openStreams == 0 { leave() } }

    // MARK: The end

    /// Says goodbye, and closes.
    func leave() {
        guard phase == .open else { return finish() }
        session.refuseStreams()
        flush()
        finish()
    }

    private static func fault(_ call: String, _ error: Int32) -> HTTP2Fault {
        .gone("\(SystemError(call, code: error))")
    }

    private static let closedEarly = HTTP2Fault.gone("upstream prematurely closed connection")

    private func finish(_ fault: HTTP2Fault = closedEarly) {
        guard phase != .closed else { return }
        phase = .closed
        peers?.forget(self)
        peers = nil
        session.close(fault)
        session.deliverChanges()
        close()
        worker.releaseConnection()
    }
}

extension HTTP2UpstreamConnection: Handshaking {
    func stepHandshake() {
        guard isOpen, let handshake else { return }
        switch handshake.step() {
        case .established:
            if handshake.applicationProtocol != HTTP2Preface.applicationProtocol {
                handshakeFault = ProxyFailure(.handshakeFailed("upstream did not choose HTTP/2 by ALPN"))
            }
            begin()
            // What came with the last of the handshake.
            if mayRead, isOpen { scheduleRead() }
        case .wantsRead: mayRead = false
        case .failed(let reason):
            handshakeFault = ProxyFailure(.handshakeFailed(reason))
            begin()
        }
    }
}
