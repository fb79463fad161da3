internal import DemoBackend
internal import EventLoop
internal import Wire

/// What a backend's connections share, being served one at a time.
final class BackendShared {
    fileprivate let answer: [UInt8]
    fileprivate let closingAnswer: [UInt8]
    fileprivate let bodyLength: Int
    /// What one read brings about is sent at once.
    fileprivate var output: [UInt8] = []
    private var sized: [Int: [UInt8]] = [:]

    /// The answer to `/bytes/N`.
    fileprivate func answer(ofSize size: Int) -> [UInt8] {
        if let known = sized[size] { return known }
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: \(size)\r\n\r\n"
        let answer = Array(head.utf8) + (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        sized[size] = answer
        return answer
    }

    init() {
        let line = "Whatever is asked for, these lines are the answer\n"
        let body = Array(String(repeating: line, count: 4).utf8)
        bodyLength = body.count
        let head =
            "HTTP/1.1 200 OK\r\nServer: switchyard-bench\r\nContent-Type: text/plain\r\n"
            + "Content-Length: \(body.count)\r\n"
        answer = Array((head + "\r\n").utf8) + body
        closingAnswer = Array((head + "Connection: close\r\n\r\n").utf8) + body
    }
}

/// One connection to the backend. An idle tunnel holds no buffer, and payload is echoed as it comes rather than
/// message by message.
final class BackendConnection: StreamChannel {
    private enum Mode {
        case requests
        case body(BodyDecoder)
        case frames
        case closing
    }

    private static let maxUnsent = 4 << 20

    private let shared: BackendShared
    private var mode = Mode.requests
    private var headParser = RequestHeadParser()
    private var head = RequestHead()
    /// The start of a head that is not whole.
    private var partial: [UInt8] = []
    // What is compressed is echoed as it is: a window of the receiver's is that of the sender's own.
    private var frameParser = WebSocketFrameHeaderParser(
        role: .server, allowedReserved: WebSocketFrameHeader.reserved1)
    private var frame: WebSocketFrameHeader?
    private var framePosition: Int64 = 0

    init(loop: EventLoop, descriptor: Int32, shared: BackendShared) {
        self.shared = shared
        super.init(loop: loop, descriptor: descriptor)
    }

    override func readable() {
        let loop = loop
        while isOpen, mayRead, unsentBytes < Self.maxUnsent {
            switch read() {
            case .bytes(let count):
                shared.output.removeAll(keepingCapacity: true)
                loop.withReceived(count) { take($0) }
                if !shared.output.isEmpty { send(shared.output) }
                if case .closing = mode { shutdownWhenSent() }
            case .wouldBlock: return
            case .end, .failed: return close()
            }
        }
    }

    override func drained() { if mayRead { scheduleRead() } }

    override func writeFailed(_ error: Int32) { close() }

    private func take(_ received: Span<UInt8>) {
        if partial.isEmpty {
            let taken = process(received)
            if taken < received.count { partial.append(copying: received, taken..<received.count) }
        } else {
            var bytes: [UInt8] = []
            swap(&bytes, &partial)
            bytes.append(copying: received, 0..<received.count)
            let taken = process(bytes.span)
            if taken < bytes.count { partial = Array(bytes[taken...]) }
        }
    }

    /// Goes through `bytes`, and returns where the head starts that they do not hold whole.
    private func process(_ bytes: Span<UInt8>) -> Int {
        var position = 0
        while position < bytes.count {
            switch mode {
            case .requests:
                let rest = RawSpan(_elements: bytes.extracting(position...))
                switch headParser.parse(rest, limits: RequestHeadParser.Limits(), into: &head) {
                case .incomplete: return position
                case .invalid:
                    shared.output.append(
                        contentsOf: "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".utf8)
                    mode = .closing
                case .complete(let length):
                    position += length
                    headParser.reset()
                    begin()
                }
            case .body(var decoder):
                switch decoder.next(RawSpan(_elements: bytes), from: position) {
                case .needsMore: position = bytes.count
                case .payload(let range): position = range.upperBound
                case .end(let consumed): position = consumed
                case .invalid:
                    mode = .closing
                    return bytes.count
                }
                mode = .body(decoder)
                if decoder.isComplete { answer() }
            case .frames: position = echo(bytes, from: position)
            case .closing: position = bytes.count
            }
        }
        return position
    }

    private func begin() {
        if WebSocketHandshake.isRequested(by: head), WebSocketHandshake.violation(in: head) == nil,
            let accept = WebSocketAccept.value(for: head)
        {
            shared.output.append(
                contentsOf: ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: \(accept)\r\n").utf8)
            // Nothing is limited: what comes back must be what was allowed to be sent.
            if let accepted = PermessageDeflate.accept(offersIn: head, PermessageDeflate.Policy()) {
                shared.output.append(contentsOf: "Sec-WebSocket-Extensions: ".utf8)
                shared.output += accepted.value
                shared.output.append(contentsOf: "\r\n".utf8)
            }
            shared.output.append(contentsOf: "\r\n".utf8)
            head = RequestHead()
            mode = .frames
        } else if head.framing.hasBody {
            if head.expectsContinue {
                shared.output.append(contentsOf: ResponseHead.continueHead)
            }
            mode = .body(BodyDecoder(head.framing))
        } else {
            answer()
        }
    }

    private func answer() {
        // HTTP/1.0 clients would want to be told that the connection stays.
        let keepsAlive = head.wantsKeepAlive && head.version >= .v1_1
        let target = String(decoding: head.bytes[head.target], as: UTF8.self)
        if keepsAlive, head.isMethod(.get), target.hasPrefix("/bytes/"),
            let size = Int(target.dropFirst("/bytes/".count)), (0...1 << 24).contains(size)
        {
            shared.output.append(contentsOf: shared.answer(ofSize: size))
            mode = .requests
            return
        }
        shared.output.append(contentsOf: keepsAlive ? shared.answer : shared.closingAnswer)
        if head.isMethod(.head) { shared.output.removeLast(shared.bodyLength) }
        mode = keepsAlive ? .requests : .closing
    }

    /// Sends frames back, unmasked, as far as they have come. Returns the end of what it took.
    private func echo(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var position = start
        while position < bytes.count || frame?.payloadLength == framePosition {
            guard let current = frame else {
                switch frameParser.parse(RawSpan(_elements: bytes), from: position) {
                case .needsMore: return bytes.count
                case .invalid:
                    mode = .closing
                    return bytes.count
                case .header(let header, let end):
                    position = end
                    begin(header)
                }
                continue
            }
            let count = Int(min(current.payloadLength - framePosition, Int64(bytes.count - position)))
            if current.opcode != .pong, count > 0 {
                let outputStart = shared.output.count
                shared.output.append(copying: bytes, position..<position + count)
                // A key repeats after four bytes.
                current.maskKey?.apply(
                    to: &shared.output, in: outputStart..<outputStart + count,
                    position: Int(framePosition & 3))
            }
            position += count
            framePosition += Int64(count)
            guard framePosition == current.payloadLength else { continue }
            frame = nil
            if current.opcode == .close {
                mode = .closing
                return bytes.count
            }
        }
        return position
    }

    private func begin(_ header: WebSocketFrameHeader) {
        frame = header
        framePosition = 0
        // An answer to nothing is not echoed.
        guard header.opcode != .pong else { return }
        var echo = header
        echo.maskKey = nil
        if header.opcode == .ping { echo.opcode = .pong }
        echo.append(to: &shared.output)
    }
}
