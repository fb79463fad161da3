internal import EventLoop
internal import Wire

/// The server's side of a WebSocket: puts messages together and echoes them, or hands them to a chat room.
final class DemoWebSocket {
    private enum State {
        case open
        /// A close frame was sent; nothing else is, and what arrives is dropped.
        case closing
    }

    /// Larger messages close the connection with 1009.
    private static let maxMessage = 16 << 20
    private static let maxChatMessage = 64 * 1024
    /// Members of a chat are pinged, so that those who vanished are missed.
    private static let pingInterval: Int64 = 25_000

    /// The connection holds this in turn until it closes, and lets go then.
    private let connection: DemoConnection
    private let room: ChatRoom?
    private var state = State.open
    private var parser = WebSocketFrameHeaderParser(role: .server)
    private var sequence = WebSocketFrameSequence()
    /// The frame whose payload is being read, and how much of it has been.
    private var frame: WebSocketFrameHeader?
    private var position: Int64 = 0
    private var messageOpcode = WebSocketOpcode.text
    private var message: [UInt8] = []
    private var control: [UInt8] = []
    private var output: [UInt8] = []
    private var awaitsPong = false

    init(connection: DemoConnection, room: ChatRoom?) {
        self.connection = connection
        self.room = room
    }

    func opened() {
        guard let room else { return }
        room.join(self)
        connection.setDeadline(connection.loop.now + Self.pingInterval)
    }

    /// The connection is gone.
    func ended() { room?.leave(self) }

    func deadlinePassed() {
        guard case .open = state, !awaitsPong else { return connection.end() }
        awaitsPong = true
        send(.ping, [])
        connection.setDeadline(connection.loop.now + Self.pingInterval)
    }

    // MARK: Receiving

    /// Takes all of `input`, of which nothing is left over.
    func received(_ input: inout [UInt8]) {
        defer { input.removeAll(keepingCapacity: input.capacity <= 256 * 1024) }
        var offset = 0
        while offset < input.count || frame?.payloadLength == position {
            guard case .open = state, connection.isOpen else { return }
            guard let frame else {
                switch parser.parse(input.rawSpan, from: offset) {
                case .needsMore: return
                case .invalid(let violation): return close(violation.closeCode, violation.rawValue)
                case .header(let header, let end):
                    offset = end
                    guard begin(header) else { return }
                }
                continue
            }
            let count = Int(min(frame.payloadLength - position, Int64(input.count - offset)))
            take(&input, offset..<offset + count, of: frame)
            offset += count
            if position == frame.payloadLength { finish(frame) }
        }
    }

    private func begin(_ header: WebSocketFrameHeader) -> Bool {
        if let violation = sequence.accept(header) {
            close(violation.closeCode, violation.rawValue)
            return false
        }
        let limit = room == nil ? Self.maxMessage : Self.maxChatMessage
        if !header.opcode.isControl, header.payloadLength > Int64(limit - message.count) {
            close(WebSocketCloseCode.messageTooBig, "at most \(limit) bytes")
            return false
        }
        if header.opcode == .text || header.opcode == .binary { messageOpcode = header.opcode }
        frame = header
        position = 0
        return true
    }

    /// Unmasks a part of a frame's payload and adds it to what belongs together.
    private func take(_ input: inout [UInt8], _ range: Range<Int>, of frame: WebSocketFrameHeader) {
        guard !range.isEmpty else { return }
        // A key repeats after four bytes.
        frame.maskKey?.apply(to: &input, in: range, position: Int(position & 3))
        position += Int64(range.count)
        if frame.opcode.isControl {
            control.append(copying: input.span, range)
        } else {
            message.append(copying: input.span, range)
        }
    }

    private func finish(_ frame: WebSocketFrameHeader) {
        self.frame = nil
        position = 0
        switch frame.opcode {
        case .ping: send(.pong, control)
        case .pong: awaitsPong = false
        case .close: closeReceived()
        case .text, .binary, .continuation: if frame.isFinal { finishMessage() }
        }
        if frame.opcode.isControl { control.removeAll(keepingCapacity: true) }
    }

    private func finishMessage() {
        if messageOpcode == .text, !Self.isUTF8(message) {
            return close(WebSocketCloseCode.invalidPayload, "text is not UTF-8")
        }
        if let room {
            room.broadcast(messageOpcode, message)
        } else {
            send(messageOpcode, message)
        }
        message.removeAll(keepingCapacity: message.capacity <= 64 * 1024)
    }

    private func closeReceived() {
        guard control.count >= 2 else {
            // RFC 6455 §5.5.1: a body starts with a code of two bytes.
            return control.isEmpty
                ? close(nil, "") : close(WebSocketCloseCode.protocolError, "half a close code")
        }
        let code = UInt16(control[0]) << 8 | UInt16(control[1])
        guard WebSocketCloseCode.isValidOnWire(code) else {
            return close(WebSocketCloseCode.protocolError, "not a code to close with")
        }
        guard Self.isUTF8(Array(control[2...])) else {
            return close(WebSocketCloseCode.invalidPayload, "the reason is not UTF-8")
        }
        close(code, "")
    }

    private static func isUTF8(_ bytes: [UInt8]) -> Bool { UTF8Validator.accepts(bytes.span) }

    // MARK: Sending

    /// Bytes that the client has not taken yet.
    var unsentBytes: Int { connection.unsentBytes }

    func send(_ opcode: WebSocketOpcode, _ payload: [UInt8]) {
        guard case .open = state, connection.isOpen else { return }
        output.removeAll(keepingCapacity: true)
        WebSocketFrameHeader(opcode, payloadLength: Int64(payload.count)).append(to: &output)
        let header = output
        connection.send(header.span, then: payload.span, then: Span())
    }

    /// Sends a close frame and ends the connection after it: the server is the one to close (RFC 6455 §7.1.1).
    func close(_ code: UInt16?, _ reason: String) {
        var payload: [UInt8] = []
        if let code {
            payload = [UInt8(code >> 8), UInt8(code & 0xFF)] + reason.utf8
        }
        send(.close, payload)
        state = .closing
        room?.leave(self)
        connection.closeWhenSent()
    }
}
