internal import EventLoop
internal import ProxyCore

/// A connection of the fetch client: of a fetch, or idle in the pool.
final class FetchConnection: StreamChannel {
    private enum Owner {
        case none
        case fetch(FetchHandle)
        case pool
    }

    /// Whom it leads to, as requests name it.
    let origin: [UInt8]
    let openedAt: Int64
    /// A request was answered over it before.
    private(set) var isReused = false
    private var owner: Owner
    private unowned let client: FetchClient
    private let worker: Worker

    /// Begins to connect. The caller has reserved the connection, and releases it if this throws.
    ///
    /// - Throws: the call that failed at once.
    init(to address: PeerAddress, origin: [UInt8], for fetch: FetchHandle, client: FetchClient)
        throws(SystemError)
    {
        self.origin = origin
        self.client = client
        worker = client.worker
        openedAt = worker.loop.now
        owner = .fetch(fetch)
        let descriptor = try worker.loop.connect(to: SocketAddress(address))
        super.init(loop: worker.loop, descriptor: descriptor)
        do throws(SystemError) {
            if case .unix = address.endpoint {
            } else {
                disableDelay()
            }
            try register()
        } catch {
            owner = .none
            close()
            throw error
        }
    }

    /// The last request has gone out, and nothing has come that nobody asked for.
    var isReusable: Bool { isOpen && isDrained && !mayRead && !sawHangup && writeError == 0 }

    func attach(to fetch: FetchHandle) { owner = .fetch(fetch) }

    func enterPool(until deadline: Int64) {
        owner = .pool
        isReused = true
        setDeadline(deadline)
    }

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
        if case .fetch(let fetch) = owner { fetch.connected(error: pendingError) }
    }

    override func readable() {
        switch owner {
        case .fetch(let fetch): fetch.readable()
        // Whatever an idle connection has to say, it is not an answer to anything.
        case .pool: client.drop(self)
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
