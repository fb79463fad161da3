internal import Digest
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// One end of a WebSocket, a client's or a backend's: puts messages together, and answers pings and close frames as any
/// end does.
final class ScriptedWebSocket: TestWebSocket {
    private enum State {
        case handshake
        case open
        /// A close frame was sent.
        case closing
        case closed
    }

    private let peer: MemoryPeer
    private let run: () -> Void
    private let role: WebSocketRole
    private var state: State
    private var reader = MessageReader()
    private var input: [UInt8] = []
    private var parser: WebSocketFrameHeaderParser
    private var frame: WebSocketFrameHeader?
    private var message: [UInt8] = []
    private var isText = true
    private var events: [TestWebSocketEvent] = []
    private var fault: TestFault?
    private(set) var response: FetchResponse?
    /// Every message is sent back, as it is.
    var echoes = false

    /// The same each time; a real client's is not.
    private static let maskKey = WebSocketMaskKey(0x12, 0x34, 0x56, 0x78)
    /// As RFC 6455 §1.3 has it; the same each time, too.
    private static let key = Array("dGhlIHNhbXBsZSBub25jZQ==".utf8)

    /// A backend's end, after the 101.
    init(server peer: MemoryPeer, proxy run: @escaping () -> Void, first: [UInt8]) {
        self.peer = peer
        self.run = run
        role = .server
        state = .open
        input = first
        parser = WebSocketFrameHeaderParser(role: .server)
        listen()
    }

    /// A client's end, which sends its handshake.
    init(client peer: MemoryPeer, proxy run: @escaping () -> Void, _ handshake: TestHandshake) {
        self.peer = peer
        self.run = run
        role = .client
        state = .handshake
        parser = WebSocketFrameHeaderParser(role: .client)
        var request = TestMessage()
        request.target = handshake.target
        request.fields = handshake.fields
        func add(_ name: String, _ value: [UInt8]) {
            guard !request.has(name) else { return }
            request.fields.append(FetchHeader(Array(name.utf8), value))
        }
        add("Connection", Array("Upgrade".utf8))
        add("Upgrade", Array("websocket".utf8))
        add("Sec-WebSocket-Version", WebSocketHandshake.version)
        add("Sec-WebSocket-Key", Self.key)
        if !handshake.protocols.isEmpty {
            add("Sec-WebSocket-Protocol", Array(handshake.protocols.joined(separator: Array(", ".utf8))))
        }
        listen()
        peer.send(Array(request.request.joined()))
        run()
    }

    /// The value of `Sec-WebSocket-Accept` for a request.
    static func acceptValue(for head: RequestHead) -> [UInt8]? {
        var source: [UInt8] = []
        guard WebSocketHandshake.appendAcceptSource(of: head, to: &source),
            let digest = SHA1.digest(source.span)
        else { return nil }
        return Base64.encode(digest.indices.map { digest[$0] })
    }

    private func listen() {
        // The connection holds its end until it is over, or the proxy is.
        peer.onActivity { _ in self.received() }
    }

    // MARK: Receiving

    private func received() {
        let bytes = peer.receive()
        if case .handshake = state { readHandshake(bytes) } else { input += bytes }
        if response == nil || response?.status == 101 { readFrames() }
        guard peer.sawEnd || peer.wasReset else { return }
        if case .closed = state {} else { events.append(.ended) }
        state = .closed
        if peer.sawEnd { peer.close() }
    }

    private func readHandshake(_ bytes: [UInt8]) {
        reader.append(bytes)
        do throws(TestFault) {
            guard let response = try reader.nextResponse(isHead: false, isEnded: peer.sawEnd) else { return }
            self.response = response
            guard response.status == 101 else {
                state = .closed
                return
            }
            input = reader.takeRest()
            state = .open
        } catch {
            fault = error
            state = .closed
        }
    }

    private func readFrames() {
        var offset = 0
        defer { input.removeFirst(offset) }
        while true {
            if case .closed = state { return }
            if let frame {
                guard frame.payloadLength <= Int64(input.count - offset) else { return }
                let end = offset + Int(frame.payloadLength)
                frame.maskKey?.apply(to: &input, in: offset..<end)
                let payload = Array(input[offset..<end])
                offset = end
                self.frame = nil
                take(frame, payload)
                continue
            }
            switch parser.parse(input.rawSpan, from: offset) {
            case .needsMore:
                // The parser keeps the beginning of a header.
                offset = input.count
                return
            case .invalid(let violation):
                fault = TestFault("a frame is invalid: \(violation.rawValue)")
                state = .closed
                return
            case .header(let header, let end):
                frame = header
                offset = end
            }
        }
    }

    private func take(_ frame: WebSocketFrameHeader, _ payload: [UInt8]) {
        switch frame.opcode {
        case .text, .binary:
            isText = frame.opcode == .text
            message = payload
        case .continuation: message += payload
        case .ping: write(.pong, payload)
        case .pong: break
        case .close: closeReceived(payload)
        }
        guard !frame.opcode.isControl, frame.isFinal else { return }
        if echoes {
            write(isText ? .text : .binary, message)
        } else {
            events.append(.message(message, isText: isText))
        }
        message = []
    }

    private func closeReceived(_ payload: [UInt8]) {
        let code = payload.count >= 2 ? UInt16(payload[0]) << 8 | UInt16(payload[1]) : 1005
        events.append(.close(code: code, reason: Array(payload.dropFirst(2))))
        if case .open = state { write(.close, payload) }
        state = .closed
        // RFC 6455 §7.1.1: the server is the one to close.
        if role == .server { peer.end() }
    }

    // MARK: Sending

    private func write(_ opcode: WebSocketOpcode, _ payload: [UInt8]) {
        var bytes: [UInt8] = []
        let mask = role == .client ? Self.maskKey : nil
        WebSocketFrameHeader(opcode, payloadLength: Int64(payload.count), maskKey: mask).append(to: &bytes)
        let start = bytes.count
        bytes += payload
        mask?.apply(to: &bytes, in: start..<bytes.count)
        peer.send(bytes)
    }

    private func checkOpen() throws(TestFault) {
        if let fault { throw fault }
        switch state {
        case .open: return
        case .handshake: throw TestFault("the handshake has not been answered yet")
        case .closing, .closed:
            if let response, response.status != 101 {
                throw TestFault("the handshake was refused, with status \(response.status)")
            }
            throw TestFault("the WebSocket is closed")
        }
    }

    var isOpen: Bool { if case .open = state { true } else { false } }

    func send(_ data: [UInt8], isText: Bool) throws(TestFault) {
        try checkOpen()
        write(isText ? .text : .binary, data)
        run()
    }

    func takeEvent() -> TestWebSocketEvent? { events.isEmpty ? nil : events.removeFirst() }

    func close(code: UInt16, reason: [UInt8]) throws(TestFault) {
        try checkOpen()
        write(.close, [UInt8(code >> 8), UInt8(code & 0xFF)] + reason)
        state = .closing
        run()
    }

    func reset() {
        state = .closed
        peer.reset()
        run()
    }
}
