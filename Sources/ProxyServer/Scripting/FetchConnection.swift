internal import EventLoop
internal import ProxyCore
internal import TLS

/// A connection of the fetch client: of a fetch, or idle in the pool.
final class FetchConnection: StreamChannel {
    private enum Owner {
        case none
        case fetch(FetchHandle)
        case pool
    }

    /// What was asked of the server's certificate; `nil` for plain HTTP.
    var demands: TLSUpstream? { tls?.upstream }
    /// Whom it leads to, as requests name it.
    let origin: [UInt8]
    let openedAt: Int64
    /// A request was answered over it before.
    private(set) var isReused = false
    private var owner: Owner
    // The worker has one client for all its life, and closes connections before it goes.
    private unowned let client: FetchClient
    private let worker: Worker
    private let tls: TLSTarget?
    /// While the handshake is under way.
    private var handshake: UpstreamTLS?
    var awaitsHandshakeTurn = false

    /// Begins to connect. The caller has reserved the connection, and releases it if this throws.
    ///
    /// - Throws: the call that failed at once.
    init(
        to address: PeerAddress, tls: TLSTarget?, origin: [UInt8], for fetch: FetchHandle, client: FetchClient
    ) throws(SystemError) {
        self.tls = tls
        self.origin = origin
        self.client = client
        worker = client.worker
        openedAt = worker.loop.now
        owner = .fetch(fetch)
        let descriptor = try worker.loop.connect(to: SocketAddress(address))
        super.init(loop: worker.loop, descriptor: descriptor)
        do throws(SystemError) {
            try beginConnecting(to: address)
        } catch {
            owner = .none
            throw error
        }
    }

    /// The last request has gone out, and nothing has come that nobody asked for.
    var isReusable: Bool {
        isOpen && isDrained && !sawHangup && writeError == 0 && (!mayRead || isSilent())
    }

    func attach(to fetch: FetchHandle) { owner = .fetch(fetch) }

    func enterPool(until deadline: Int64) {
        owner = .pool
        isReused = true
        setDeadline(deadline)
        worker.connectionRests(self)
    }

    override var isAtRest: Bool { if case .pool = owner { true } else { false } }
    override func endRest() { client.drop(self) }

    func leavePool() {
        owner = .none
        clearDeadline()
    }

    /// Closes without telling the owner.
    func end() {
        owner = .none
        guard isOpen else { return }
        close()
        worker.releaseConnection()
    }

    override func becameWritable() {
        guard case .fetch(let fetch) = owner else { return }
        let error = pendingError
        guard let tls, error == 0, !loop.isInMemory else { return fetch.connected(error: error) }
        do throws(TLSError) {
            handshake = try UpstreamTLS(tls, on: self, of: worker)
            fetch.handshakeBegan()
            worker.handshakes.add(self)
        } catch {
            fetch.handshakeFailed("\(error)", isPeers: false)
        }
    }

    override func readable() {
        if handshake != nil { return worker.handshakes.add(self) }
        switch owner {
        case .fetch(let fetch): fetch.readable()
        // Whatever an idle connection has to say, it is not an answer to anything.
        case .pool: if !isSilent() { client.drop(self) }
        case .none: break
        }
    }

    override func writeFailed(_ error: Int32) {
        guard case .fetch(let fetch) = owner else { return }
        fetch.sendFailed(error)
        // A response may have come before the connection broke.
        mayRead = true
        scheduleRead()
    }

    override func deadlinePassed() {
        switch owner {
        case .fetch(let fetch): fetch.timedOut()
        case .pool: client.drop(self)
        case .none: break
        }
    }
}

extension FetchConnection: Handshaking {
    func stepHandshake() {
        guard isOpen, let handshake, case .fetch(let fetch) = owner else { return }
        switch handshake.step() {
        case .established:
            self.handshake = nil
            fetch.connected(error: 0)
            if mayRead { scheduleRead() }
        case .wantsRead: mayRead = false
        case .failed(let reason): fetch.handshakeFailed(reason)
        }
    }
}
