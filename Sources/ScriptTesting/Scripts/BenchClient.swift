internal import EventLoop
internal import LuaHooks
internal import ProxyCore

/// A client of a proxy that is tested.
final class BenchClient: TestClient {
    private unowned let proxy: BenchProxy
    private let peer: MemoryPeer
    private var reader = MessageReader()
    /// Whether each request without a response yet is a HEAD.
    private var pending: [Bool] = []

    init(_ proxy: BenchProxy, _ peer: MemoryPeer) {
        self.proxy = proxy
        self.peer = peer
    }

    func send(_ request: TestMessage) {
        pending.append(request.method == Array("HEAD".utf8))
        proxy.send(request.request, by: peer)
        proxy.run()
    }

    func send(_ bytes: [UInt8]) {
        peer.send(bytes)
        proxy.run()
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
