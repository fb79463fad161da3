internal import EventLoop
internal import Glibc
internal import HTTP2

/// One stream of an HTTP/2 connection in place of a WebSocket's socket. The head of its answer is taken apart from what
/// follows it.
final class BenchHTTP2Transport: StreamTransport, HTTP2StreamOwner {
    private let connection: BenchHTTP2Connection
    private var channel: StreamChannel?
    private var stream: HTTP2Stream?

    init(on connection: BenchHTTP2Connection) {
        self.connection = connection
        super.init()
    }

    func attach(_ channel: StreamChannel, _ session: HTTP2Session) {
        self.channel = channel
        stream = session.openStream(self)
    }

    func request(fields: [UInt8]) {
        stream?.send(connection.request(fields: fields), isFinal: true)
        connection.flushSoon()
    }

    /// The head of the answer as over HTTP/1.1, once it is there.
    func takeHead() -> [UInt8]? {
        guard let stream, !stream.head.isEmpty else { return nil }
        defer { stream.head = [] }
        return stream.head
    }

    var isOver: Bool { stream.map { $0.isClosed || $0.sawEnd } ?? true }

    func streamChanged(_ change: HTTP2Stream.Change) {
        channel?.becomes(
            readable: change.contains(.readable), writable: change.contains(.writable),
            failed: change.contains(.failed))
    }

    // MARK: The channel's side

    override func read(into buffer: inout MutableSpan<UInt8>) -> Int {
        guard let stream else { return 0 }
        let count = stream.read(into: &buffer, at: 0, limit: buffer.count)
        if count > 0 {
            // The peer's window may have opened.
            connection.flushSoon()
            return count
        }
        if stream.sawEnd { return 0 }
        return stream.isClosed ? -Int(ECONNRESET) : -Int(EAGAIN)
    }

    override func write(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> Int {
        guard let stream, !stream.isClosed else { return -Int(EPIPE) }
        var taken = max(0, stream.send(first))
        if taken == first.count, second.count > 0 { taken += max(0, stream.send(second)) }
        if taken == first.count + second.count, third.count > 0 { taken += max(0, stream.send(third)) }
        connection.flushSoon()
        return taken == 0 ? -Int(EAGAIN) : taken
    }

    override func shutdownWrite() {
        stream?.endSending()
        connection.flushSoon()
    }

    override func close(withReset: Bool) {
        channel = nil
        stream?.abandon(.cancel)
        connection.flushSoon()
    }
}
