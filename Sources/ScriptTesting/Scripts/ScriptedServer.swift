internal import EventLoop
internal import LuaHooks

/// Where a proxy under test connects to.
protocol ScriptedHost: TestHost {
    var backend: MemoryBackend { get }
}

extension ScriptedHost {
    var connections: Int { backend.connections }
    func refuse() { backend.answer = .refuses }
    func staySilent() { backend.answer = .staysSilent }
}

/// A server that sends and receives bytes as the test has it.
final class ScriptedServer: ScriptedHost, TestServer {
    // As a backend's.
    private unowned let proxy: ScriptedProxy
    let backend: MemoryBackend
    fileprivate let handler: TestDataHandler?
    private var waiting: [ScriptedSocket] = []

    init(_ proxy: ScriptedProxy, _ backend: MemoryBackend, _ handler: TestDataHandler?) {
        self.proxy = proxy
        self.backend = backend
        self.handler = handler
        backend.onConnect = { [unowned self] peer in
            self.proxy.keep(peer)
            waiting.append(ScriptedSocket(self, peer))
        }
    }

    func takeConnection() -> (any TestSocket)? { waiting.isEmpty ? nil : waiting.removeFirst() }
    fileprivate func run() { proxy.run() }
}

private final class ScriptedSocket: TestSocket {
    // As a backend's connection.
    private unowned let server: ScriptedServer
    private let peer: MemoryPeer
    var received: [UInt8] = []
    /// Closed by the test.
    private var isOver = false

    init(_ server: ScriptedServer, _ peer: MemoryPeer) {
        self.server = server
        self.peer = peer
        peer.onActivity { _ in self.take() }
    }

    private func take() {
        let bytes = peer.receive()
        received += bytes
        if !bytes.isEmpty, let answer = server.handler?(received) {
            received = []
            peer.send(answer)
        }
        if peer.sawEnd { peer.close() }
    }

    var isClosed: Bool { peer.sawEnd || peer.wasReset }

    func send(_ data: [UInt8]) throws(TestFault) {
        guard !isOver, !isClosed else { throw TestFault("the connection is closed") }
        peer.send(data)
        server.run()
    }

    func close() {
        isOver = true
        peer.close()
        server.run()
    }

    func reset() {
        isOver = true
        peer.reset()
        server.run()
    }
}
