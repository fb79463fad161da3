internal import Bytes
internal import EventLoop
internal import Glibc
internal import HTTP2
internal import ProxyCore
internal import Wire

/// One stream of an HTTP/2 connection in place of a socket: it gives the request as HTTP/1.1 has it, and takes the
/// response so.
///
/// So whoever reads, answers or tunnels knows nothing of HTTP/2. Of what is written, heads become HEADERS frames, and
/// what follows a final head is content; the end of the sending side is END_STREAM, and to close without it resets the
/// stream.
final class HTTP2Transport: StreamTransport {
    /// Why a request did not become a head, and what it is answered with.
    struct Refusal {
        var status: Int
        var reason: String
        /// The request line, for the log.
        var line: [UInt8]
    }

    let stream: HTTP2Stream
    let connection: HTTP2Connection
    /// `nil` once that is closed.
    private var channel: DownstreamConnection?
    private let kind: HTTP2RequestHead.Kind
    private(set) var refusal: Refusal?
    private var malformation: HTTP2Malformation?
    private var headStart = 0
    /// What ends a body in chunks, once it is known; and how much of it was read.
    private var lastChunk: [UInt8] = []
    private var lastChunkStart = 0
    private var gaveLastChunk = false
    private var expectsHead = true
    /// The response was the 101 that opens a tunnel.
    private var isTunnel = false
    private var response = HTTP2FieldBlock()

    init(_ stream: HTTP2Stream, of connection: HTTP2Connection) {
        self.stream = stream
        self.connection = connection
        var kind = HTTP2RequestHead.Kind.plain
        switch stream.outcome {
        case .request(let known): kind = known
        case .malformed(let malformation):
            self.malformation = malformation
            refusal = Refusal(
                status: 400, reason: "client sent malformed request: \(malformation.message)",
                line: stream.head)
        case .refused(let status):
            refusal = Refusal(
                status: status,
                reason: status == 501 ? "client sent unknown \":protocol\"" : "client sent too large request",
                line: stream.head)
        }
        self.kind = kind
        super.init()
        if refusal != nil { stream.head = [] }
    }

    func attach(_ channel: DownstreamConnection) {
        self.channel = channel
        stream.owner = self
    }

    /// Makes what the parser read of the head what it is: a request over HTTP/2.
    func adapt(_ request: inout RequestHead) {
        request.version = .v2
        // `HTTP/1.1` stands between the target and the end of the line, and is as long.
        let start = request.target.upperBound + 1
        let version = Text.version
        if start + version.count <= request.bytes.count {
            for (index, byte) in version.enumerated() { request.bytes[start + index] = byte }
        }
        // It was never sent.
        if kind == .chunked { request.fields.removeAll { $0.id == .transferEncoding } }
    }

    // MARK: Reading

    override func read(into buffer: inout MutableSpan<UInt8>) -> Int {
        var count = 0
        if headStart < stream.head.count {
            count = min(buffer.count, stream.head.count - headStart)
            let head = stream.head
            buffer.store(head.span.extracting(headStart..<headStart + count), at: 0)
            headStart += count
            if headStart == stream.head.count {
                stream.head = []
                headStart = 0
            }
        }
        switch kind {
        case .plain, .webSocket: count += stream.read(into: &buffer, at: count, limit: buffer.count - count)
        case .chunked: count += readChunk(into: &buffer, at: count)
        }
        if count > 0 {
            // The peer's window may have opened.
            connection.flushSoon()
            return count
        }
        if stream.isClosed, !stream.sawEnd { return -Int(ECONNRESET) }
        // A request that is whole is no end of the client's wish for an answer; that of a tunnel's bytes is.
        return kind == .webSocket && stream.sawEnd ? 0 : -Int(EAGAIN)
    }

    /// What has come, as a chunk.
    private func readChunk(into buffer: inout MutableSpan<UInt8>, at position: Int) -> Int {
        // Around the payload: its size in up to eight digits, and two ends of lines.
        let room = min(buffer.count - position - 12, 1 << 30)
        var count = 0
        if stream.hasUnread, room > 0 {
            var line: [UInt8] = []
            ChunkedEncoding.appendChunkHead(min(room, stream.unread), to: &line)
            buffer.store(line.span, at: position)
            count = line.count
            count += stream.read(into: &buffer, at: position + count, limit: room)
            let lineEnd = Text.lineEnd
            buffer.store(lineEnd.span, at: position + count)
            count += 2
        }
        guard stream.sawEnd, !stream.hasUnread else { return count }
        if !gaveLastChunk {
            gaveLastChunk = true
            lastChunk = Text.lastChunk + stream.trailers + Text.lineEnd
        }
        let rest = min(lastChunk.count - lastChunkStart, buffer.count - position - count)
        guard rest > 0 else { return count }
        let lastChunk = lastChunk
        buffer.store(lastChunk.span.extracting(lastChunkStart..<lastChunkStart + rest), at: position + count)
        lastChunkStart += rest
        return count + rest
    }

    // MARK: Writing

    override func write(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> Int {
        var taken = write(first)
        if taken == first.count, second.count > 0 {
            let count = write(second)
            taken = count < 0 ? count : taken + count
        }
        if taken == first.count + second.count, third.count > 0 {
            let count = write(third)
            taken = count < 0 ? count : taken + count
        }
        if taken < 0 { return -Int(EPIPE) }
        connection.flushSoon()
        return taken == 0 ? -Int(EAGAIN) : taken
    }

    /// - Returns: how much was taken; -1 where the stream is gone.
    private func write(_ bytes: Span<UInt8>) -> Int {
        guard !stream.isClosed else { return -1 }
        var offset = 0
        while expectsHead, offset < bytes.count {
            response.removeAll()
            // Heads are ours, and written whole.
            guard
                let head = response.readResponse(
                    bytes.extracting(offset...), toExtendedConnect: kind == .webSocket)
            else {
                stream.reset(.internalError)
                return -1
            }
            let isFinal = head.status >= 200
            stream.send(response, isFinal: isFinal)
            if isFinal {
                expectsHead = false
                isTunnel = head.isUpgrade
                response = HTTP2FieldBlock()
            }
            offset += head.length
        }
        guard offset < bytes.count else { return offset }
        let count = stream.send(bytes.extracting(offset...))
        return count < 0 ? -1 : offset + count
    }

    override func shutdownWrite() {
        guard stream.hasBegunSending else { return }
        stream.endSending(resetting: malformation == nil ? nil : .protocolError)
        connection.flushSoon()
    }

    override func close(withReset: Bool) {
        channel = nil
        // What is a FIN on a socket (RFC 8441 §5).
        if isTunnel, !withReset { stream.endSending() }
        stream.abandon(malformation == nil ? .internalError : .protocolError)
        connection.streamEnded()
    }

    private enum Text {
        static let version = Array("HTTP/2.0".utf8)
        static let lineEnd: [UInt8] = [13, 10]
        static let lastChunk = Array("0\r\n".utf8)
    }
}

extension HTTP2Transport: HTTP2StreamOwner {
    func streamChanged(_ change: HTTP2Stream.Change) {
        channel?.becomes(
            readable: change.contains(.readable), writable: change.contains(.writable),
            failed: change.contains(.failed))
    }
}
