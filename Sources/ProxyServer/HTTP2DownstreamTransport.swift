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
final class HTTP2DownstreamTransport: HTTP2StreamTransport {
    /// Why a request did not become a head, and what it is answered with.
    struct Refusal {
        var status: Int
        var reason: String
        /// The request line, for the log.
        var line: [UInt8]
        /// The request was a HEAD, whether or not the line says so.
        var isHead: Bool
    }

    let stream: HTTP2Stream
    let connection: HTTP2DownstreamConnection
    private let kind: HTTP2RequestHead.Kind
    private(set) var refusal: Refusal?
    private var malformation: HTTP2Malformation?
    private var expectsHead = true
    /// The response was the 101 that opens a tunnel.
    private var isTunnel = false

    init(_ stream: HTTP2Stream, of connection: HTTP2DownstreamConnection) {
        self.stream = stream
        self.connection = connection
        var kind = HTTP2RequestHead.Kind.plain
        switch stream.outcome {
        case .request(let known): kind = known
        case .malformed(let malformation):
            self.malformation = malformation
            refusal = Refusal(
                status: 400, reason: "client sent malformed request: \(malformation.message)",
                line: stream.head, isHead: stream.isHead)
        case .refused(let status):
            refusal = Refusal(
                status: status,
                reason: status == 501 ? "client sent unknown \":protocol\"" : "client sent too large request",
                line: stream.head, isHead: stream.isHead)
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
            var bytes = request.bytes.mutableSpan
            bytes.store(version.span, at: start)
        }
        // It was never sent.
        if kind == .chunked { request.fields.removeAll { $0.id == .transferEncoding } }
    }

    /// As `adapt`, for a head that was refused: a log is to show the request line as one of HTTP/2.
    func adaptLine(of head: inout [UInt8]) {
        guard let lineEnd = head.firstIndex(of: 0x0d), lineEnd >= Text.version.count else { return }
        let start = lineEnd - Text.version.count
        let version = Text.version
        guard head[start..<lineEnd].elementsEqual(Text.http1_1) else { return }
        var bytes = head.mutableSpan
        bytes.store(version.span, at: start)
    }

    // MARK: Reading

    /// Reads the request's head at once, if it is such that it needs no parsing; as `RequestHeadParser.parse` else.
    ///
    /// - Returns: how many bytes of it there were; `nil` where it is to be read.
    func takeHead(of exchange: Exchange, limits: RequestHeadParser.Limits) -> Int? {
        let length = stream.giveHead(to: &exchange.parser, limits: limits, into: &exchange.request)
        if length != nil { stream.dropHead() }
        return length
    }

    /// Content has come and was not read, or may come.
    var hasMore: Bool { !stream.sawEnd || stream.hasUnread || stream.isClosed }

    override var isEnding: Bool { stream.isClosed || stream.sawEnd }
    override var isAtEnd: Bool { stream.isClosed || stream.sawEnd && !stream.hasUnread }

    override func read(into buffer: inout MutableSpan<UInt8>) -> Int {
        let count = readMessage(of: stream, inChunks: kind == .chunked, into: &buffer)
        if count > 0 { return count }
        if stream.isClosed, !stream.sawEnd { return -Int(ECONNRESET) }
        // A request that is whole is no end of the client's wish for an answer; that of a tunnel's bytes is. The
        // connection's end is what it is over HTTP/1.1.
        return stream.sawEnd && (kind == .webSocket || connection.sawEnd) ? 0 : -Int(EAGAIN)
    }

    // MARK: Writing

    override func flushSoon() { connection.flushSoon() }

    override var relaySize: Int { stream.sendSize }

    override func take(_ bytes: Span<UInt8>) -> Int {
        guard !stream.isClosed else { return -1 }
        var offset = 0
        while expectsHead, offset < bytes.count {
            var response = stream.takeBlock()
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
        // What is a FIN on a socket, or a reset (RFC 8441 §5).
        if isTunnel, !withReset { stream.endSending() }
        stream.abandon(malformation != nil ? .protocolError : isTunnel ? .cancel : .internalError)
        connection.streamEnded()
    }

    private enum Text {
        static let version = Array("HTTP/2.0".utf8)
        static let http1_1 = Array("HTTP/1.1".utf8)
    }
}
