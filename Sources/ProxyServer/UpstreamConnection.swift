internal import EventLoop
internal import ProxyCore

/// A connection to an upstream peer: of an exchange, of a tunnel, or idle in a pool.
final class UpstreamConnection: StreamChannel {
    /// Whom the connection works for.
    private enum Owner {
        case none
        case exchange(ExchangeDriver)
        case tunnel(Tunnel)
        case pool(UpstreamPeers)
    }

    let address: PeerAddress
    let openedAt: Int64
    var requests = 0
    private var owner = Owner.none
    private let worker: Worker
    /// The stream that is in place of a socket, over HTTP/2.
    private let http2: HTTP2UpstreamTransport?

    /// A stream of a connection that others share.
    ///
    /// - Throws: never, as no descriptor is watched.
    init(stream: HTTP2UpstreamTransport, to address: PeerAddress, worker: Worker) throws(SystemError) {
        self.address = address
        self.worker = worker
        openedAt = worker.loop.now
        http2 = stream
        super.init(timerOn: worker.loop)
        transport = stream
        try register()
    }

    /// Over HTTP/2, where responses have no reasons.
    var isStream: Bool { http2 != nil }

    /// The peer did nothing for the request.
    var wasRefused: Bool { http2?.wasRefused ?? false }

    /// Begins to connect.
    ///
    /// - Throws: the call that failed at once.
    init(to address: PeerAddress, worker: Worker, socketKeepalive: Bool) throws(SystemError) {
        self.address = address
        self.worker = worker
        openedAt = worker.loop.now
        http2 = nil
        let descriptor = try worker.loop.connect(to: SocketAddress(address))
        super.init(loop: worker.loop, descriptor: descriptor)
        do throws(SystemError) {
            if case .unix = address.endpoint {
            } else {
                disableDelay()
                if socketKeepalive { enableKeepAlive() }
            }
            try register()
        } catch {
            close()
            throw error
        }
    }

    func attach(to driver: ExchangeDriver) { owner = .exchange(driver) }
    func attach(to tunnel: Tunnel) { owner = .tunnel(tunnel) }

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
    }

    func leavePool() {
        owner = .none
        clearDeadline()
    }

    override func becameWritable() {
        if case .exchange(let driver) = owner {
            driver.upstreamConnected(error: http2?.carrier.connectError ?? pendingError)
        }
    }

    override func readable() {
        switch owner {
        case .exchange(let driver): driver.upstreamReadable()
        case .tunnel(let tunnel): tunnel.readable(.upstream)
        // Whatever an idle connection has to say, it is not an answer to anything.
        case .pool(let pool): pool.drop(self)
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

    override func writeFailed(_ error: Int32) {
        switch owner {
        case .exchange(let driver): driver.upstreamWriteFailed(error)
        case .tunnel(let tunnel): tunnel.failed(.upstream)
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

extension SocketAddress {
    init(_ address: PeerAddress) {
        switch address.endpoint {
        case .ipv4(let host, let port): self = .ipv4(host, port: port)
        case .ipv6(let host, let port): self = .ipv6(host, port: port)
        case .unix(let path): self = .unix(path: String(decoding: path, as: UTF8.self))
        }
    }
}
