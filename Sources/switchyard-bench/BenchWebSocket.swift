internal import DemoBackend
internal import EventLoop
internal import HTTP2
internal import TLS
internal import Wire

/// A client's side of a WebSocket: opens it, and then makes round trips as it is told.
class BenchWebSocket: StreamChannel {
    enum State { case opening, open, closing, ended }

    let load: WebSocketLoad
    private(set) var state = State.opening
    /// Round trips under way.
    private(set) var underWay = 0
    private var closesWhenOpen = false
    private var key = ""
    private var headParser = ResponseHeadParser()
    private var head = ResponseHead()
    private var partial: [UInt8] = []
    private var frameParser: WebSocketFrameHeaderParser
    private var frame: WebSocketFrameHeader?
    private var framePosition: Int64 = 0
    private var control: [UInt8] = []
    /// The first message is compared byte for byte; of the others the length is.
    private var first: [UInt8]? = []
    /// While the handshake of TLS is under way.
    private var handshake: TLSSession?
    /// Over a stream of an HTTP/2 connection, in place of a socket.
    private let http2: BenchHTTP2Transport?
    /// With permessage-deflate: of what returns, and the message that does.
    private let inflater: WebSocketInflater?
    private var message: [UInt8] = []

    /// Over a stream of `connection`, if there is one; otherwise the WebSocket has a connection of its own.
    ///
    /// - Throws: the system call that failed.
    init(load: WebSocketLoad, over connection: BenchHTTP2Connection? = nil) throws(SystemError) {
        self.load = load
        inflater = load.deflatePool.map { WebSocketInflater(windowBits: 15, keepsContext: true, pool: $0) }
        frameParser = WebSocketFrameHeaderParser(
            role: .client, allowedReserved: inflater == nil ? 0 : WebSocketFrameHeader.reserved1)
        http2 = connection.map { BenchHTTP2Transport(on: $0) }
        if let connection, let http2 {
            super.init(timerOn: load.run.loop)
            transport = http2
            connection.add(http2, of: self)
            return
        }
        super.init(loop: load.run.loop, descriptor: try Sockets.connect(to: load.address))
        try registerOrClose()
    }

    // MARK: To be overridden

    func opened() {}
    /// So many round trips have ended.
    func returned(_ count: Int) {}
    /// The connection is gone: as it should be after `closeTunnel`, otherwise for this reason.
    func ended(_ failure: String?) {}

    // MARK: For subclasses

    func sendMessages(_ count: Int) {
        guard count > 0 else { return }
        underWay += count
        let frames = load.frames
        send(frames.span.extracting(0..<count * load.frameLength))
    }

    /// Says goodbye, once the tunnel is open, and waits for the peer to close.
    func closeTunnel() {
        closesWhenOpen = true
        guard state == .open else { return }
        state = .closing
        sendControl(.close, [0x03, 0xE8])
    }

    private func finish(_ failure: String?) {
        guard state != .ended else { return }
        let wasClosing = state == .closing
        state = .ended
        close()
        ended(wasClosing ? nil : failure)
    }

    // MARK: Events

    /// The connection to have a stream of is there.
    final func requestStream() {
        http2?.request(fields: openingFields())
        mayWrite = true
    }

    /// Nothing comes of the stream.
    final func streamFailed(_ reason: String) { finish(reason) }

    final override func becameWritable() {
        guard http2 == nil else { return }
        let error = Sockets.pendingError(descriptor)
        guard error == 0 else { return finish(SystemError("connect", code: error).description) }
        Sockets.disableDelay(descriptor)
        guard let tls = load.tls else { return sendOpening() }
        do throws(TLSError) {
            handshake = try tls.begin(on: self)
            stepHandshake()
        } catch {
            finish(error.description)
        }
    }

    private func stepHandshake() {
        guard let tls = load.tls, let session = handshake else { return }
        switch tls.step(session, on: self) {
        case .established:
            handshake = nil
            sendOpening()
        case .wantsRead: break
        case .failed(let reason): finish(reason)
        }
    }

    private func sendOpening() {
        let request =
            "GET \(load.path) HTTP/1.1\r\nHost: \(load.host)\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        send(Array(request.utf8) + openingFields())
    }

    /// Over HTTP/2 no key is wanted (RFC 8441 §5), but Envoy, for one, has none for its backend without.
    private func openingFields() -> [UInt8] {
        key = String(decoding: Base64.encode((0..<16).map { _ in UInt8.random(in: 0...255) }), as: UTF8.self)
        return Array(
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \(key)\r\n\(load.extensions)\r\n".utf8)
    }

    final override func writeFailed(_ error: Int32) { finish(SystemError("send", code: error).description) }

    final override func readable() {
        if handshake != nil { stepHandshake() }
        guard handshake == nil else { return }
        if let http2, state == .opening {
            guard let head = http2.takeHead() else {
                if http2.isOver { finish("the stream was closed") }
                return
            }
            take(head.span)
        }
        let loop = loop
        while isOpen, mayRead {
            switch read() {
            case .bytes(let count):
                loop.withReceived(count) { take($0) }
            case .wouldBlock: return
            case .end: return finish("the connection was closed")
            case .failed(let error): return finish(SystemError("read", code: error).description)
            }
        }
    }

    private func take(_ received: Span<UInt8>) {
        guard state == .opening else { return takeFrames(received) }
        partial.append(copying: received, 0..<received.count)
        let bytes = partial
        let raw = RawSpan(_elements: bytes.span)
        switch headParser.parse(raw, isHead: false, maxHead: 65_536, into: &head) {
        case .incomplete: return
        case .invalid(let violation): return finish("a broken response: \(violation.rawValue)")
        case .complete(let length):
            // RFC 8441 §5: a stream is opened by a 200, without an answer to a key.
            let wanted = http2 == nil ? 101 : 200
            guard head.status == wanted else { return finish("status \(head.status) instead of \(wanted)") }
            guard http2 != nil || isAccepted() else {
                return finish("a 101 without the right Sec-WebSocket-Accept")
            }
            guard inflater == nil || head.firstIndex(of: .secWebSocketExtensions) != nil else {
                return finish("permessage-deflate was not accepted")
            }
            // An idle tunnel holds none of this any more.
            partial = []
            head = ResponseHead()
            key = ""
            state = .open
            opened()
            if closesWhenOpen { closeTunnel() }
            if length < bytes.count { takeFrames(bytes.span.extracting(length...)) }
        }
    }

    private func isAccepted() -> Bool {
        guard let index = head.firstIndex(of: .secWebSocketAccept),
            let accept = WebSocketAccept.value(forKey: key)
        else { return false }
        return head.bytes[head.fields[index].value].elementsEqual(accept.utf8)
    }

    private func takeFrames(_ bytes: Span<UInt8>) {
        var position = 0
        var done = 0
        while isOpen, position < bytes.count || frame?.payloadLength == framePosition {
            guard let current = frame else {
                switch frameParser.parse(RawSpan(_elements: bytes), from: position) {
                case .needsMore: position = bytes.count
                case .invalid(let violation): return finish("a broken frame: \(violation.rawValue)")
                case .header(let header, let end):
                    position = end
                    if let failure = begin(header) { return finish(failure) }
                }
                continue
            }
            let count = Int(min(current.payloadLength - framePosition, Int64(bytes.count - position)))
            if current.opcode.isControl {
                control.append(copying: bytes, position..<position + count)
            } else if inflater != nil {
                message.append(copying: bytes, position..<position + count)
            } else if first != nil {
                first?.append(copying: bytes, position..<position + count)
            }
            position += count
            framePosition += Int64(count)
            guard framePosition == current.payloadLength else { continue }
            frame = nil
            switch current.opcode {
            case .ping: sendControl(.pong, control)
            case .pong: break
            case .close: return closeReceived()
            case .text, .binary, .continuation:
                if let failure = inflateMessage(current) { return finish(failure) }
                if let message = first, message != load.payload {
                    return finish("a message came back changed")
                }
                first = nil
                done += 1
            }
            control = []
        }
        guard isOpen, done > 0 else { return }
        underWay -= done
        returned(done)
    }

    /// Of a message that may be compressed each is inflated: its length is compared, of the first the content.
    private func inflateMessage(_ header: WebSocketFrameHeader) -> String? {
        guard let inflater else { return nil }
        var content: [UInt8] = []
        let limit = load.payload.count
        let compressed = message
        if header.reserved & WebSocketFrameHeader.reserved1 == 0 {
            content = message
        } else if inflater.append(compressed.span, to: &content, limit: limit) != .ok
            || inflater.endMessage(to: &content, limit: limit) != .ok
        {
            return "a message could not be inflated"
        }
        message.removeAll(keepingCapacity: true)
        guard content.count == limit else { return "a message came back as another" }
        if first != nil { first = content }
        return nil
    }

    /// Echoes come back as the frames that were sent.
    private func begin(_ header: WebSocketFrameHeader) -> String? {
        frame = header
        framePosition = 0
        guard !header.opcode.isControl else { return nil }
        guard underWay > 0 else { return "a message that was not asked for" }
        guard header.opcode == .binary, header.isFinal,
            inflater != nil || header.payloadLength == Int64(load.payload.count)
        else {
            return "a message came back as another"
        }
        return nil
    }

    private func closeReceived() {
        if state == .open {
            sendControl(.close, control)
            return finish("the peer closed the tunnel")
        }
        // RFC 6455 §7.1.1: the server is to close first, but one that does not is not waited for.
        shutdownWhenSent()
    }

    private func sendControl(_ opcode: WebSocketOpcode, _ payload: [UInt8]) {
        var bytes: [UInt8] = []
        let key = WebSocketMaskKey(random: UInt32.random(in: 0 ... .max))
        WebSocketFrameHeader(opcode, payloadLength: Int64(payload.count), maskKey: key).append(to: &bytes)
        let start = bytes.count
        bytes += payload
        key.apply(to: &bytes, in: start..<bytes.count)
        send(bytes)
    }
}
