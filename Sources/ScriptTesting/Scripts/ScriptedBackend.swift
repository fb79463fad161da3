internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// An HTTP server that a proxy under test connects to.
final class ScriptedBackend: ScriptedHost, TestBackend {
    // The proxy holds its backends, and its bench holds it until the test is over, with which scripts let go of both.
    private unowned let proxy: ScriptedProxy
    let backend: MemoryBackend
    private let handler: TestHandler?
    /// Answers what nobody else does: any request with 200, and WebSockets with an echo.
    private let answersAnything: Bool
    private var waiting: [ScriptedRequest] = []

    init(
        _ proxy: ScriptedProxy, _ backend: MemoryBackend, _ handler: TestHandler?,
        answersAnything: Bool = false
    ) {
        self.proxy = proxy
        self.backend = backend
        self.handler = handler
        self.answersAnything = answersAnything
        backend.onConnect = { [unowned self] peer in
            let connection = ScriptedConnection(self, peer)
            self.proxy.keep(peer)
            peer.onActivity { _ in connection.received() }
        }
    }

    func takeRequest() -> (any TestRequest)? { waiting.isEmpty ? nil : waiting.removeFirst() }
    func run() { proxy.run() }
    func send(_ parts: [[UInt8]], by peer: MemoryPeer, isLast: Bool = false) {
        proxy.send(parts, by: peer, isLast: isLast)
    }

    fileprivate func received(_ request: ScriptedRequest) {
        guard !answersAnything else { return answer(request) }
        guard let handler else { return waiting.append(request) }
        let answer = handler(request)
        guard !request.isAnswered else { return }
        if let answer { request.answer(answer) } else { waiting.append(request) }
    }

    private func answer(_ request: ScriptedRequest) {
        guard WebSocketHandshake.isRequested(by: request.head) else { return request.answer(TestMessage()) }
        let fields = request.deflateAcceptance.map { [$0] } ?? []
        request.accept(subprotocol: request.firstSubprotocol, fields: fields)?.echoes = true
    }
}

/// One connection of the proxy to a backend.
private final class ScriptedConnection {
    // As there: its peer, which calls it, is the proxy's.
    unowned let backend: ScriptedBackend
    let peer: MemoryPeer
    private var reader = MessageReader()
    var webSocket: ScriptedWebSocket?

    init(_ backend: ScriptedBackend, _ peer: MemoryPeer) {
        self.backend = backend
        self.peer = peer
    }

    func received() {
        guard webSocket == nil else { return }
        reader.append(peer.receive())
        do throws(TestFault) {
            while webSocket == nil, let request = try reader.nextRequest() {
                backend.received(ScriptedRequest(self, request.head, request.body))
            }
        } catch {
            peer.reset()
        }
        if peer.sawEnd { peer.close() }
    }

    func upgrade(_ request: RequestHead, by response: [UInt8]) -> ScriptedWebSocket {
        let made = ScriptedWebSocket(
            server: peer, proxy: backend.run, request, response, first: reader.takeRest())
        webSocket = made
        return made
    }
}

/// A request that a backend has received.
final class ScriptedRequest: TestRequest {
    private let connection: ScriptedConnection
    let head: RequestHead
    let body: [UInt8]
    private(set) var isAnswered = false

    fileprivate init(_ connection: ScriptedConnection, _ head: RequestHead, _ body: [UInt8]) {
        self.connection = connection
        self.head = head
        self.body = body
    }

    var method: [UInt8] { Array(head.bytes[head.method]) }
    var target: [UInt8] { Array(head.bytes[head.target]) }
    var fields: [FetchHeader] { head.headers }

    var firstSubprotocol: [UInt8]? {
        guard let index = head.firstIndex(of: .secWebSocketProtocol) else { return nil }
        var elements = ListElements(head.fields[index])
        let bytes = head.bytes
        return elements.next(bytes.span).map { Array(bytes[$0]) }
    }

    /// The field that accepts the permessage-deflate that it offers; `nil` where it offers none.
    var deflateAcceptance: FetchHeader? {
        PermessageDeflate.accept(offersIn: head, PermessageDeflate.Policy())
            .map { FetchHeader(Array(ScriptedWebSocket.extensionsField.utf8), $0.value) }
    }

    func respond(_ response: TestMessage) throws(TestFault) {
        try checkUnanswered()
        answer(response)
        connection.backend.run()
    }

    private func checkUnanswered() throws(TestFault) {
        guard !isAnswered else { throw TestFault("the request has been answered") }
        guard !connection.peer.wasReset, !connection.peer.isOver else {
            throw TestFault("the proxy has given the request up")
        }
    }

    func answer(_ response: TestMessage) {
        isAnswered = true
        connection.backend.send(
            response.response(isHead: head.isMethod(.head)), by: connection.peer, isLast: response.asksToClose
        )
    }

    func acceptWebSocket(
        subprotocol: [UInt8]?, fields: [FetchHeader], deflate: Bool
    ) throws(TestFault) -> any TestWebSocket {
        try checkUnanswered()
        var fields = fields
        if deflate {
            guard let acceptance = deflateAcceptance else {
                throw TestFault("deflate: the request does not offer it")
            }
            fields.append(acceptance)
        }
        guard let webSocket = accept(subprotocol: subprotocol, fields: fields) else {
            throw TestFault("the request is no WebSocket handshake")
        }
        connection.backend.run()
        return webSocket
    }

    func accept(subprotocol: [UInt8]?, fields: [FetchHeader]) -> ScriptedWebSocket? {
        guard WebSocketHandshake.violation(in: head) == nil,
            let accept = ScriptedWebSocket.acceptValue(for: head)
        else { return nil }
        isAnswered = true
        var response = TestMessage()
        response.status = 101
        response.fields = [
            FetchHeader(Array("Upgrade".utf8), Array("websocket".utf8)),
            FetchHeader(Array("Connection".utf8), Array("Upgrade".utf8)),
            FetchHeader(Array("Sec-WebSocket-Accept".utf8), accept),
        ]
        if let subprotocol {
            response.fields.append(FetchHeader(Array("Sec-WebSocket-Protocol".utf8), subprotocol))
        }
        response.fields += fields
        let bytes = response.response(isHead: false)
        connection.backend.send(bytes, by: connection.peer)
        return connection.upgrade(head, by: Array(bytes.joined()))
    }

    func reset() {
        isAnswered = true
        connection.peer.reset()
        connection.backend.run()
    }
}
