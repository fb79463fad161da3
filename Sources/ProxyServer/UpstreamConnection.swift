internal import EventLoop
internal import HTTP2
internal import ProxyCore
internal import TLS

/// A connection to an upstream peer: of an exchange, of a tunnel, or idle in a pool.
final class UpstreamConnection: StreamChannel {
    /// Whom the connection works for.
    private enum Owner {
        case none
        case exchange(ExchangeDriver)
        case tunnel(Tunnel)
        case pool(UpstreamPeers)
    }

    // The small one first: there is room for it behind those of the superclass.
    var requests: Int32 = 0
    let address: PeerAddress
    let openedAt: Int64
    private var owner = Owner.none
    private let worker: Worker
    private let link: Link?

    /// What a connection has that is no plain one, apart from it: idle tunnels are many, and plain ones are to be small.
    private final class Link {
        let tls: TLSTarget?
        /// While the handshake is under way.
        var handshake: UpstreamTLS?
        var awaitsHandshakeTurn = false
        /// The stream that is in place of a socket, over HTTP/2.
        let http2: HTTP2UpstreamTransport?

        init(tls: TLSTarget? = nil, http2: HTTP2UpstreamTransport? = nil) {
            self.tls = tls
            self.http2 = http2
        }
    }

    /// `nil` for a connection without TLS.
    var tls: TLSTarget? { link?.tls }
    private var http2: HTTP2UpstreamTransport? { link?.http2 }
    /// What stands before the socket, be it of the connection that carries the stream.
    var socketTransport: StreamTransport? { http2.map { $0.carrier.transport } ?? transport }
    private var handshake: UpstreamTLS? { link?.handshake }

    /// A stream of a connection that others share.
    init(stream: HTTP2UpstreamTransport, to address: PeerAddress, worker: Worker) {
        self.address = address
        self.worker = worker
        openedAt = worker.loop.now
        link = Link(http2: stream)
        super.init(timerOn: worker.loop)
        transport = stream
    }

    /// Over HTTP/2, where responses have no reasons.
    var isStream: Bool { http2 != nil }

    /// What ended the stream before its time.
    var fault: HTTP2Fault? { http2?.fault }

    /// The peer did nothing for the request.
    var wasRefused: Bool { http2?.wasRefused ?? false }
    /// A stream can end by itself, while its connection goes on for others.
    var hasOwnConnection: Bool { http2.map { !$0.carrier.isReady } ?? true }

    /// Begins to connect.
    ///
    /// - Throws: the call that failed at once.
    init(
        to address: PeerAddress, tls: TLSTarget?, worker: Worker, socketKeepalive: Bool
    ) throws(SystemError) {
        self.address = address
        self.worker = worker
        openedAt = worker.loop.now
        link = tls.map { Link(tls: $0) }
        let descriptor = try worker.loop.connect(to: SocketAddress(address))
        super.init(loop: worker.loop, descriptor: descriptor)
        try beginConnecting(to: address, keepalive: socketKeepalive)
    }

    func attach(to driver: ExchangeDriver) { owner = .exchange(driver) }
    func attach(to tunnel: Tunnel) { owner = .tunnel(tunnel) }

    /// The owner has waited for the peer for so many milliseconds, and gives up.
    func timedOut(after milliseconds: Int) { http2?.carrier.timedOut(after: milliseconds) }

    /// Closes without telling the owner.
    func end() {
        owner = .none
        guard isOpen else { return }
        close()
        if http2 == nil { worker.releaseConnection() }
    }

    func enterPool(_ pool: UpstreamPeers, until deadline: Int64) {
        owner = .pool(pool)
        setDeadline(deadline)
        worker.connectionRests(self)
    }

    override var isAtRest: Bool { if case .pool = owner { true } else { false } }
    override func endRest() { deadlinePassed() }

    func leavePool() {
        owner = .none
        clearDeadline()
    }

    override func becameWritable() {
        guard case .exchange(let driver) = owner else { return }
        if let carrier = http2?.carrier {
            if let fault = carrier.handshakeFault { return driver.handshakeFailed(fault) }
            return driver.upstreamConnected(error: carrier.connectError)
        }
        let error = pendingError
        guard let tls, error == 0, !loop.isInMemory else { return driver.upstreamConnected(error: error) }
        do throws(TLSError) {
            link?.handshake = try UpstreamTLS(tls, on: self, of: worker)
            driver.handshakeBegan()
            worker.handshakes.add(self)
        } catch {
            driver.handshakeFailed(ProxyFailure(.invalidTarget("\(error)")))
        }
    }

    /// The connection is made, and the handshake is not over.
    var isHandshaking: Bool { handshake != nil || http2?.carrier.isHandshaking == true }

    override func readable() {
        if handshake != nil { return worker.handshakes.add(self) }
        switch owner {
        case .exchange(let driver): driver.upstreamReadable()
        case .tunnel(let tunnel): tunnel.readable(.upstream)
        // Whatever an idle connection has to say, it is not an answer to anything.
        case .pool(let pool): if !isSilent() { pool.drop(self) }
        case .none: break
        }
    }

    override func drained() {
        switch owner {
        case .exchange(let driver): driver.upstreamDrained()
        case .tunnel(let tunnel): tunnel.drained(.upstream)
        case .pool, .none: break
        }
    }

    override func fellBehind() {
        if case .tunnel(let tunnel) = owner { tunnel.upstreamTookSome() }
    }

    override func sentSome() {
        switch owner {
        // `proxy_send_timeout` is the time between two writes, not that for all that waits.
        case .exchange(let driver): driver.armUpstreamDeadline()
        case .tunnel(let tunnel): tunnel.upstreamTookSome()
        case .pool, .none: break
        }
    }

    override func writeFailed(_ error: Int32) {
        switch owner {
        case .exchange(let driver): driver.upstreamWriteFailed(error)
        case .tunnel(let tunnel): tunnel.failed(.upstream, SystemError("send", code: error))
        case .pool, .none: break
        }
    }

    override func deadlinePassed() {
        switch owner {
        case .exchange(let driver): driver.upstreamDeadlinePassed()
        case .tunnel(let tunnel): tunnel.timedOut(.upstream)
        case .pool(let pool): pool.drop(self)
        case .none: break
        }
    }
}

extension UpstreamConnection: Handshaking {
    var awaitsHandshakeTurn: Bool {
        get { link?.awaitsHandshakeTurn ?? false }
        set { link?.awaitsHandshakeTurn = newValue }
    }

    func stepHandshake() {
        guard isOpen, let handshake, case .exchange(let driver) = owner else { return }
        switch handshake.step() {
        case .established:
            link?.handshake = nil
            driver.upstreamConnected(error: 0)
        case .wantsRead: mayRead = false
        case .failed(let reason): driver.handshakeFailed(ProxyFailure(.handshakeFailed(reason)))
        }
    }
}

extension SocketAddress {
    init(_ address: PeerAddress) {
        switch address.endpoint {
        case .ipv4(let host, let port): self = .ipv4(host, port: port)
        case .ipv6(let host, let port): self = .ipv6(host, port: port)
        case .unix(let path): self = .unix(path: String(decoding: path, as: UTF8.self))
        }
    }
}
