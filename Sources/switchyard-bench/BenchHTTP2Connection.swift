internal import EventLoop
internal import HTTP2

/// A connection of HTTP/2, by prior knowledge, that carries WebSockets (RFC 8441).
final class BenchHTTP2Connection: StreamChannel {
    /// Bytes of a message or more of them that may come before they are read.
    private static let streamWindow = 1 << 20
    private static let outputSize = 64 * 1024

    private let load: WebSocketLoad
    private let session: HTTP2Session
    private var isConnected = false
    private var isOver = false
    /// Those that wait until the peer has said that it takes WebSockets.
    private var waiting: [BenchWebSocket] = []
    /// While streams are told of what came: what they send goes out after that.
    private var isDelivering = false
    private let authority: [UInt8]

    /// - Throws: the system call that failed.
    init(load: WebSocketLoad) throws(SystemError) {
        self.load = load
        authority = Array(load.host.utf8)
        var options = HTTP2Session.Options()
        options.streamWindow = Self.streamWindow
        session = HTTP2Session(
            .client, options, keySeed: (UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max)))
        super.init(loop: load.run.loop, descriptor: try Sockets.connect(to: load.address))
        try registerOrClose()
    }

    func add(_ transport: BenchHTTP2Transport, of socket: BenchWebSocket) {
        transport.attach(socket, session)
        if session.peerTakesExtendedConnect { socket.requestStream() } else { waiting.append(socket) }
    }

    /// The head of a request for a WebSocket, with fields as lines.
    func request(fields: [UInt8]) -> HTTP2FieldBlock {
        var block = HTTP2FieldBlock()
        block.makeWebSocketRequest(
            scheme: Array("http".utf8), authority: authority, path: Array(load.path.utf8), fields: fields)
        return block
    }

    // MARK: Events

    override func becameWritable() {
        let error = Sockets.pendingError(descriptor)
        guard error == 0 else { return finish(SystemError("connect", code: error).description) }
        Sockets.disableDelay(descriptor)
        isConnected = true
        flush()
    }

    override func readable() {
        let loop = loop
        while isOpen, mayRead {
            switch read() {
            case .bytes(let count):
                let failure = loop.withReceived(count) { session.receive($0, now: loop.now) }
                deliver()
                if let failure { return finish("HTTP/2: \(failure)") }
            case .wouldBlock: break
            case .end: return finish("the connection was closed")
            case .failed(let error): return finish(SystemError("read", code: error).description)
            }
        }
        flush()
    }

    /// Tells streams what came, and those that wait whether they can begin.
    private func deliver() {
        isDelivering = true
        if !waiting.isEmpty, session.hasPeerSettings {
            let batch = waiting
            waiting = []
            for socket in batch {
                if session.peerTakesExtendedConnect {
                    socket.requestStream()
                } else {
                    socket.streamFailed("the peer takes no WebSockets over HTTP/2")
                }
            }
        }
        session.deliverChanges()
        isDelivering = false
    }

    /// A stream has something to send. That is done when its channel is through with what it does: it may be told of room
    /// by then, but not while it writes.
    func flushSoon() {
        guard isConnected, isOpen, !isDelivering else { return }
        mayRead = true
        scheduleRead()
    }

    private func flush() {
        guard isConnected, isOpen else { return }
        while isDrained, session.wantsToSend {
            var output: [UInt8] = []
            let isWell = session.send(to: &output, limit: Self.outputSize)
            send(output)
            guard isWell else { return finish("HTTP/2 failed") }
            guard isDrained, isOpen, !output.isEmpty else { return }
            session.outputWasTaken()
            deliver()
        }
    }

    override func drained() { flush() }

    override func writeFailed(_ error: Int32) { finish(SystemError("send", code: error).description) }

    /// Nothing is to be done on it any more.
    func leave() {
        session.refuseStreams()
        flush()
        finish("")
    }

    private func finish(_ reason: String) {
        guard !isOver else { return }
        isOver = true
        isDelivering = true
        let batch = waiting
        waiting = []
        for socket in batch { socket.streamFailed(reason) }
        session.close()
        session.deliverChanges()
        close()
    }
}
