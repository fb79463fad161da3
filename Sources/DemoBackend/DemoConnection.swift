internal import EventLoop
internal import Wire

/// One client's connection: requests one after another, or a WebSocket once it was upgraded.
final class DemoConnection: StreamChannel {
    private enum Phase {
        case head
        /// Of the request's body, which is dropped, or sent back by `/echo`.
        case body(BodyDecoder)
        /// Until the deadline.
        case waiting
        case streaming(remaining: Int64)
        case webSocket(DemoWebSocket)
        /// What is unsent goes out, and what arrives is dropped, until the client has closed as well.
        case closing
    }

    /// Bytes that the client has not taken yet, from which on nothing more is read from it.
    private static let maxUnsent = 1 << 20
    /// Bytes that wait for their turn, from which on nothing more is read.
    private static let maxWaiting = 64 * 1024
    private static let streamPiece = 64 * 1024
    private static let piecesPerTurn = 16
    private static let idleTimeout: Int64 = 75_000
    private static let closingTimeout: Int64 = 5_000

    let listener: DemoListener
    private var phase = Phase.head
    private var input: [UInt8] = []
    private var parser = RequestHeadParser()
    private var head = RequestHead()
    private var route: DemoRoute?
    private var keepsAlive = true
    private var inputEnded = false
    private var output: [UInt8] = []

    init(listener: DemoListener, descriptor: Int32) {
        self.listener = listener
        super.init(loop: listener.loop, descriptor: descriptor)
    }

    func start() throws(SystemError) {
        try register()
        setDeadline(loop.now + Self.idleTimeout)
    }

    /// Closes at once.
    func end() {
        if case .webSocket(let webSocket) = phase { webSocket.ended() }
        phase = .closing
        close()
        listener.connectionEnded(self)
    }

    // MARK: Events

    override func readable() {
        let loop = loop
        while isOpen, mayRead, input.count < Self.maxWaiting, unsentBytes < Self.maxUnsent {
            switch read() {
            case .bytes(let count):
                if case .closing = phase { continue }
                loop.withReceived(count) { input.append(copying: $0, 0..<count) }
                process()
            case .wouldBlock: break
            case .end:
                inputEnded = true
                processEnd()
            case .failed: return end()
            }
        }
        process()
    }

    override func drained() {
        if case .closing = phase, inputEnded { return end() }
        proceed()
    }

    override func writeFailed(_ error: Int32) { end() }

    override func deadlinePassed() {
        switch phase {
        case .waiting: respond(.text(200, "Sorry to have kept you waiting.\n"))
        case .webSocket(let webSocket): webSocket.deadlinePassed()
        case .head, .body, .streaming, .closing: return end()
        }
        proceed()
    }

    /// Something that held processing up is over.
    private func proceed() {
        process()
        // What the limits left in the socket.
        if isOpen, mayRead { scheduleRead() }
    }

    private func processEnd() {
        switch phase {
        case .head, .body, .webSocket, .closing: end()
        // The request was whole, so it is answered.
        case .waiting, .streaming: keepsAlive = false
        }
    }

    // MARK: Requests

    /// Goes as far as the input, and the client's reading, allow.
    private func process() {
        var goesOn = true
        var pieces = 0
        while goesOn, isOpen {
            switch phase {
            case .head: goesOn = processHead()
            case .body(let decoder): goesOn = processBody(decoder)
            case .waiting, .closing: goesOn = false
            case .streaming(let remaining):
                goesOn = stream(remaining)
                pieces += 1
                // Others are to have their turn, too.
                if pieces == Self.piecesPerTurn {
                    mayRead = true
                    scheduleRead()
                    return
                }
            case .webSocket(let webSocket):
                // Out of `input` first: closing empties that.
                var bytes: [UInt8] = []
                swap(&bytes, &input)
                webSocket.received(&bytes)
                goesOn = false
            }
        }
    }

    private func processHead() -> Bool {
        // Answers to what is pipelined wait until the client takes the ones before.
        guard !input.isEmpty, unsentBytes < Self.maxUnsent else { return false }
        switch parser.parse(input.rawSpan, limits: RequestHeadParser.Limits(), into: &head) {
        case .incomplete:
            return false
        case .invalid(let violation):
            keepsAlive = false
            respond(.plain(violation.status))
            return false
        case .complete(let length):
            input.removeFirst(length)
            parser.reset()
            // HTTP/1.0 clients would want to be told; they are few, and get a connection for each request.
            keepsAlive = head.wantsKeepAlive && head.version >= .v1_1 && !inputEnded
            setDeadline(loop.now + Self.idleTimeout)
            begin()
            return true
        }
    }

    /// A request's head is whole: finds its route, and answers at once where the body does not matter.
    private func begin() {
        let request = DemoRequest(head)
        route = DemoRoute.find(request.path)
        if let route, route.isWebSocket { return upgrade(route) }
        if head.expectsContinue { send(ResponseHead.continueHead) }
        if route?.action == .echo, request.method == "POST" || request.method == "PUT" {
            var response = DemoResponse(status: 200, contentType: "application/octet-stream", body: .chunked)
            switch head.framing {
            case .length(let length): response.body = .length(length)
            case .none, .untilClose: response.body = .length(0)
            case .chunked: break
            }
            sendHead(response)
        }
        phase = .body(BodyDecoder(head.framing))
    }

    private func processBody(_ decoder: BodyDecoder) -> Bool {
        var decoder = decoder
        let isEcho = route?.action == .echo && !head.isMethod(.get) && !head.isMethod(.head)
        guard unsentBytes < Self.maxUnsent else { return false }
        var position = 0
        while true {
            switch decoder.next(input.rawSpan, from: position) {
            case .needsMore:
                input.removeAll(keepingCapacity: true)
                phase = .body(decoder)
                return false
            case .payload(let range):
                position = range.upperBound
                if isEcho { sendPiece(range, chunked: head.framing == .chunked) }
            case .end(let consumed):
                input.removeFirst(consumed)
                phase = .head
                if isEcho {
                    if head.framing == .chunked { send(ChunkedEncoding.lastChunk) }
                    finishResponse()
                } else {
                    respond()
                }
                return true
            case .invalid:
                keepsAlive = false
                // An answer that has begun can only be broken off.
                if isEcho { closeWhenSent() } else { respond(.plain(400)) }
                return false
            }
        }
    }

    /// Sends a part of the input back.
    private func sendPiece(_ range: Range<Int>, chunked: Bool) {
        let input = input
        guard chunked else { return send(input.span.extracting(range)) }
        output.removeAll(keepingCapacity: true)
        ChunkedEncoding.appendChunkHead(range.count, to: &output)
        let head = output
        let end = ChunkedEncoding.chunkEnd
        send(head.span, then: input.span.extracting(range), then: end.span)
    }

    /// Answers a request whose body has been read.
    private func respond() {
        let request = DemoRequest(head)
        guard let route else { return respond(.plain(404)) }
        guard route.action != .echo, request.method == "GET" || request.method == "HEAD" else {
            var response = DemoResponse.plain(405)
            response.fields = [("Allow", route.methods)]
            return respond(response)
        }
        switch route.action {
        case .page:
            respond(
                DemoResponse(
                    status: 200, contentType: "text/html; charset=utf-8",
                    body: .bytes(Array(DemoPage.html.utf8))))
        case .hello: respond(.text(200, "Hello from Switchyard's demo backend.\n"))
        case .headers: respond(DemoResponse(status: 200, body: .bytes(head.bytes)))
        case .status: respond(.plain(request.pathStatus ?? 404))
        case .slow:
            guard let delay = request.number("ms", default: 1000, in: 0...60_000) else {
                return respond(.plain(400))
            }
            phase = .waiting
            setDeadline(loop.now + delay)
        case .bytes:
            guard let count = request.number("n", default: 1 << 20, in: 0...(1 << 40)) else {
                return respond(.plain(400))
            }
            sendHead(
                DemoResponse(status: 200, contentType: "application/octet-stream", body: .length(count)))
            phase = .streaming(remaining: head.isMethod(.head) ? 0 : count)
        case .echo, .webSocketEcho, .chat: respond(.plain(404))
        }
    }

    private func stream(_ remaining: Int64) -> Bool {
        guard remaining > 0 else {
            finishResponse()
            return true
        }
        // More follows when this has gone out.
        guard isDrained else { return false }
        let count = Int(min(remaining, Int64(Self.streamPiece)))
        let pattern = DemoBytes.pattern
        send(pattern.span.extracting(0..<count))
        setDeadline(loop.now + Self.idleTimeout)
        phase = .streaming(remaining: remaining - Int64(count))
        return true
    }

    // MARK: Responses

    private func respond(_ response: DemoResponse) {
        sendHead(response)
        finishResponse()
    }

    private func sendHead(_ response: DemoResponse) {
        output.removeAll(keepingCapacity: true)
        response.append(
            to: &output, isHead: head.isMethod(.head), keepsAlive: keepsAlive, unixTime: loop.unixNow)
        send(output)
    }

    private func finishResponse() {
        guard isOpen else { return }
        guard keepsAlive else { return closeWhenSent() }
        phase = .head
        setDeadline(loop.now + Self.idleTimeout)
    }

    /// Closing at once would make the client's kernel throw away what it has not read yet, were bytes of the
    /// client still unread here.
    func closeWhenSent() {
        guard isOpen else { return }
        phase = .closing
        input = []
        shutdownWhenSent()
        setDeadline(loop.now + Self.closingTimeout)
        if inputEnded && isDrained { end() } else { scheduleRead() }
    }

    // MARK: WebSocket

    private func upgrade(_ route: DemoRoute) {
        let isRequested = WebSocketHandshake.isRequested(by: head)
        if isRequested, WebSocketHandshake.violation(in: head) == nil,
            let accept = WebSocketAccept.value(for: head)
        {
            var fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \(accept)\r\n"
            if let subprotocol = firstSubprotocol { fields += "Sec-WebSocket-Protocol: \(subprotocol)\r\n" }
            send(Array("HTTP/1.1 101 Switching Protocols\r\nServer: switchyard-demo\r\n\(fields)\r\n".utf8))
            clearDeadline()
            let webSocket = DemoWebSocket(
                connection: self, room: route.action == .chat ? listener.chat : nil)
            phase = .webSocket(webSocket)
            return webSocket.opened()
        }
        // Where a body would end is of no interest to an answer that closes.
        keepsAlive = keepsAlive && !head.framing.hasBody
        let violation = isRequested ? WebSocketHandshake.violation(in: head) : .noUpgradeOption
        var response = DemoResponse.plain(violation == .noUpgradeOption ? 426 : violation?.status ?? 500)
        if response.status == 426 {
            // RFC 9110 §15.5.22: names what is wanted, as an option of the connection.
            response.fields = [
                ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                ("Connection", "Upgrade"),
            ]
        }
        respond(response)
    }

    /// The first protocol that the client offers; this server speaks any.
    private var firstSubprotocol: String? {
        guard let index = head.firstIndex(of: .secWebSocketProtocol) else { return nil }
        var elements = ListElements(head.fields[index])
        guard let element = elements.next(head.bytes.span), isToken(head.bytes.span, element) else {
            return nil
        }
        return String(decoding: head.bytes[element], as: UTF8.self)
    }
}

/// What `/bytes` consists of.
enum DemoBytes {
    /// Lines of 64 bytes, so that a piece missing or out of place is seen.
    static let pattern: [UInt8] = (0..<65_536).map { (index: Int) -> UInt8 in
        index % 64 == 63 ? 10 : UInt8(truncatingIfNeeded: 48 + (index / 64 + index) % 64)
    }
}
