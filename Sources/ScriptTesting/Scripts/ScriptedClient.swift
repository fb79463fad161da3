internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// A client of a proxy that is tested.
final class ScriptedClient: TestClient {
    // The bench holds the proxy until the test is over, with which scripts let go of its clients.
    private unowned let proxy: ScriptedProxy
    private let peer: MemoryPeer
    private var reader = MessageReader()
    /// Whether each request without a response yet is a HEAD.
    private var pending: [Bool] = []
    /// Reads what is sent as bytes; `nil` once that is no request.
    private var sent: MessageReader? = MessageReader()

    init(_ proxy: ScriptedProxy, _ peer: MemoryPeer) {
        self.proxy = proxy
        self.peer = peer
    }

    func send(_ request: TestMessage) {
        pending.append(Method.head.equals(request.method))
        proxy.send(request.request, by: peer)
        proxy.run()
    }

    func send(_ bytes: [UInt8]) {
        noteRequests(in: bytes)
        peer.send(bytes)
        proxy.run()
    }

    private func noteRequests(in bytes: [UInt8]) {
        sent?.append(bytes)
        do throws(TestFault) {
            while let head = try sent?.nextRequestHead() { pending.append(head.isMethod(.head)) }
        } catch {
            // Whatever the proxy makes of it has a body.
            sent = nil
        }
    }

    func takeResponse() throws(TestFault) -> FetchResponse? {
        reader.append(peer.receive())
        let response = try reader.nextResponse(isHead: pending.first ?? false, isEnded: peer.sawEnd)
        if response != nil, !pending.isEmpty { pending.removeFirst() }
        return response
    }

    var isClosed: Bool { peer.isOver || peer.sawEnd || peer.wasReset }

    func close() {
        peer.close()
        proxy.run()
    }

    func reset() {
        peer.reset()
        proxy.run()
    }
}
