internal import Digest
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import Wire

/// One end of a WebSocket, a client's or a backend's: puts messages together, and answers pings, unless it is told not
/// to, and close frames as any end does.
final class ScriptedWebSocket: TestWebSocket {
    private enum State {
        case handshake
        case open
        /// A close frame was sent.
        case closing
        case closed
    }

    private struct Arrival {
        /// `nil` for the end of the connection.
        var frame: TestFrame?
        /// What is complete with it, and is lost to those who ask for events when the frame is taken.
        var event: TestWebSocketEvent?

        /// Belongs to no message that it may stand within.
        var isPingOrPong: Bool { frame?.opcode == .ping || frame?.opcode == .pong }
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
    private var isCompressed = false
    /// Where permessage-deflate has been agreed on.
    private var inflater: WebSocketInflater?
    private var deflater: WebSocketDeflater?
    private(set) var extensions: [UInt8]?
    /// A client's handshake.
    private var request = RequestHead()
    private var sequence = WebSocketFrameSequence()
    /// What came and was not taken.
    private var arrivals: [Arrival] = []
    private var fault: TestFault?
    private(set) var response: FetchResponse?
    /// Every message is sent back, as it is, and nobody takes any.
    var echoes = false
    var answersPings = true

    /// The same each time; a real client's is not.
    private static let maskKey = WebSocketMaskKey(0x12, 0x34, 0x56, 0x78)
    /// As RFC 6455 §1.3 has it; the same each time, too.
    private static let key = Array("dGhlIHNhbXBsZSBub25jZQ==".utf8)
    static let extensionsField = "Sec-WebSocket-Extensions"

    /// A backend's end, after the 101. `first` is what came behind the request.
    init(
        server peer: MemoryPeer, proxy run: @escaping () -> Void, _ request: RequestHead, _ response: [UInt8],
        first: [UInt8]
    ) {
        self.peer = peer
        self.run = run
        role = .server
        state = .open
        input = first
        parser = WebSocketFrameHeaderParser(role: .server)
        reader.append(response)
        // A test may send what is no response.
        if (try? reader.nextResponse(isHead: false, isEnded: false)) != nil {
            _ = agree(by: reader.responseHead, to: request)
        }
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
        if handshake.offersDeflate {
            add(Self.extensionsField, PermessageDeflate.offer(PermessageDeflate.Policy()))
        }
        let bytes = Array(request.request.joined())
        var sent = MessageReader()
        sent.append(bytes)
        // A test may send what is no request.
        if let head = try? sent.nextRequestHead() { self.request = head }
        listen()
        peer.send(bytes)
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

    /// Takes to what the 101 says of permessage-deflate, and says whether it may say that.
    private func agree(by response: ResponseHead, to request: RequestHead) -> Bool {
        let fields = response.fields.filter { $0.id == .secWebSocketExtensions }
        if !fields.isEmpty {
            extensions = Array(fields.map { response.bytes[$0.value] }.joined(separator: Array(", ".utf8)))
        }
        switch PermessageDeflate.passed(in: response, to: request) {
        case .none: return true
        case .violation: return false
        case .parameters(let parameters):
            parser = WebSocketFrameHeaderParser(
                role: role, allowedReserved: WebSocketFrameHeader.reserved1)
            let pool = DeflatePool()
            let received = parameters.direction(from: role == .client ? .server : .client)
            inflater = WebSocketInflater(
                windowBits: received.windowBits, keepsContext: received.keepsContext, pool: pool)
            let sent = parameters.direction(from: role)
            deflater = WebSocketDeflater(
                windowBits: sent.windowBits, keepsContext: sent.keepsContext, level: 6, pool: pool)
            return true
        }
    }

    // MARK: Receiving

    private func received() {
        let bytes = peer.receive()
        if case .handshake = state { readHandshake(bytes) } else { input += bytes }
        if response == nil || response?.status == 101 { readFrames() }
        guard peer.sawEnd || peer.wasReset else { return }
        if case .closed = state {} else { arrivals.append(Arrival(event: .ended)) }
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
            guard agree(by: reader.responseHead, to: request) else {
                return fail("the 101 accepts permessage-deflate in a way that was not offered")
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
            case .invalid(let violation): return fail("a frame is invalid: \(violation.rawValue)")
            case .header(let header, let end):
                if let violation = sequence.accept(header) {
                    return fail("a frame is invalid: \(violation.rawValue)")
                }
                frame = header
                offset = end
            }
        }
    }

    /// The proxy has sent what it may not.
    private func fail(_ what: String) {
        fault = TestFault(what)
        state = .closed
    }

    private func take(_ header: WebSocketFrameHeader, _ payload: [UInt8]) {
        var event: TestWebSocketEvent?
        switch header.opcode {
        case .text, .binary:
            isText = header.opcode == .text
            isCompressed = header.reserved & WebSocketFrameHeader.reserved1 != 0
            message = []
            addToMessage(payload, isLast: header.isFinal)
        case .continuation: addToMessage(payload, isLast: header.isFinal)
        case .ping: if answersPings { write(.pong, payload) }
        case .pong: break
        case .close: event = closeReceived(payload)
        }
        // Without a fault it could be inflated.
        if !header.opcode.isControl, header.isFinal, fault == nil {
            event = .message(message, isText: isText)
        }
        guard echoes else {
            let frame = TestFrame(header.opcode, payload, isFinal: header.isFinal)
            return arrivals.append(Arrival(frame: frame, event: event))
        }
        if case .message(let data, _) = event { write([data], isText: isText) }
    }

    private func addToMessage(_ payload: [UInt8], isLast: Bool) {
        guard isCompressed, let inflater else {
            message += payload
            return
        }
        var outcome = inflater.append(payload.span, to: &message, limit: .max)
        if isLast, outcome == .ok { outcome = inflater.endMessage(to: &message, limit: .max) }
        if outcome != .ok { fail("a compressed message cannot be inflated") }
    }

    private func closeReceived(_ payload: [UInt8]) -> TestWebSocketEvent {
        let code = payload.count >= 2 ? UInt16(payload[0]) << 8 | UInt16(payload[1]) : 1005
        if case .open = state { write(.close, payload) }
        state = .closed
        // RFC 6455 §7.1.1: the server is the one to close.
        if role == .server { peer.end() }
        return .close(code: code, reason: Array(payload.dropFirst(2)))
    }

    func takeEvent() throws(TestFault) -> TestWebSocketEvent? {
        guard let index = arrivals.firstIndex(where: { $0.event != nil }) else { return try nothing() }
        let event = arrivals[index].event
        arrivals = arrivals[..<index].filter(\.isPingOrPong) + arrivals[(index + 1)...]
        return event
    }

    func takeFrame(_ opcode: WebSocketOpcode?) throws(TestFault) -> TestFrame? {
        let index = arrivals.firstIndex { arrival in
            arrival.frame.map { opcode == nil || $0.opcode == opcode } ?? false
        }
        guard let index else { return try nothing() }
        return arrivals.remove(at: index).frame
    }

    /// Nothing has come, unless it is no WebSocket that came.
    private func nothing<Arrived>() throws(TestFault) -> Arrived? {
        if let fault { throw fault }
        return nil
    }

    // MARK: Sending

    private func write(
        _ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool = true, reserved: UInt8 = 0
    ) {
        var bytes: [UInt8] = []
        let mask = role == .client ? Self.maskKey : nil
        WebSocketFrameHeader(
            opcode, payloadLength: Int64(payload.count), isFinal: isFinal, reserved: reserved, maskKey: mask
        ).append(to: &bytes)
        let start = bytes.count
        bytes += payload
        mask?.apply(to: &bytes, in: start..<bytes.count)
        peer.send(bytes)
    }

    /// A message, compressed where that has been agreed on.
    private func write(_ fragments: [[UInt8]], isText: Bool) {
        var opcode: WebSocketOpcode = isText ? .text : .binary
        for (position, fragment) in fragments.enumerated() {
            let isLast = position == fragments.count - 1
            var payload = fragment
            if let deflater {
                payload = []
                deflater.append(piece: fragment.span, isLast: isLast, to: &payload)
            }
            // RFC 7692 §6.1: on the first frame only.
            let isMarked = deflater != nil && position == 0
            write(
                opcode, payload, isFinal: isLast,
                reserved: isMarked ? WebSocketFrameHeader.reserved1 : 0)
            opcode = .continuation
        }
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

    func send(_ fragments: [[UInt8]], isText: Bool) throws(TestFault) {
        try checkOpen()
        write(fragments, isText: isText)
        run()
    }

    func send(_ frame: TestFrame) throws(TestFault) {
        try checkOpen()
        write(frame.opcode, frame.payload, isFinal: frame.isFinal)
        if frame.opcode == .close { state = .closing }
        run()
    }

    func close(code: UInt16, reason: [UInt8]) throws(TestFault) {
        let payload = [UInt8(code >> 8), UInt8(code & 0xFF)] + reason
        try send(TestFrame(.close, payload, isFinal: true))
    }

    func reset() {
        state = .closed
        peer.reset()
        run()
    }
}
