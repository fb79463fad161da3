internal import Bytes
internal import EventLoop
internal import Glibc
internal import HTTP2
internal import Wire

/// One stream of an HTTP/2 connection to an upstream in place of a socket: it takes a request as HTTP/1.1 has it, and gives
/// the response so.
final class HTTP2UpstreamTransport: HTTP2StreamTransport {
    private var stream: HTTP2Stream?
    let carrier: HTTP2UpstreamConnection
    /// In milliseconds of the loop's clock.
    let beganAt: Int64
    /// For a request without one.
    private let host: [UInt8]
    private var expectsHead = true
    /// Finds the end of the request's body, and what of it is payload.
    private var body = BodyDecoder(.none)
    /// Payload that the decoder has reported, and the stream had no room for.
    private var payloadLeft = 0

    /// The upstream did nothing for the request, so that it may be made again (RFC 9113 §8.7).
    var wasRefused: Bool { stream?.closeCode == .refusedStream }

    /// What ended the stream, for the error log.
    var fault: HTTP2Fault? { stream?.fault }

    init(on carrier: HTTP2UpstreamConnection, host: [UInt8]) {
        self.carrier = carrier
        self.host = host
        beganAt = carrier.loop.now
        super.init()
    }

    /// The stream is the channel's.
    func attach(_ channel: UpstreamConnection, _ session: HTTP2Session) {
        self.channel = channel
        stream = session.openStream(self)
    }

    /// The connection is made, or could not be.
    func connected() { channel?.becomes(writable: true) }

    // MARK: Writing

    override func flushSoon() { carrier.flushSoon() }

    override var relaySize: Int { stream?.sendSize ?? .max }

    override func take(_ bytes: Span<UInt8>) -> Int {
        guard let stream, !stream.isClosed else { return -1 }
        var offset = 0
        if expectsHead {
            var block = stream.takeBlock()
            // Heads are ours, and written whole.
            guard
                let request = block.readRequest(
                    bytes, scheme: carrier.scheme, host: host)
            else {
                stream.reset(.internalError)
                return -1
            }
            expectsHead = false
            stream.isHead = request.isHead
            stream.send(block, isFinal: true)
            body = BodyDecoder(request.framing)
            if body.isComplete { stream.endSending() }
            offset = request.length
        }
        while offset < bytes.count {
            if payloadLeft > 0 {
                let piece = offset..<min(bytes.count, offset + payloadLeft)
                let count = stream.send(bytes.extracting(piece))
                guard count >= 0 else { return -1 }
                payloadLeft -= count
                offset += count
                if payloadLeft == 0, body.isComplete { endSending(stream) }
                if count < piece.count { return offset }
                continue
            }
            switch body.next(bytes.raw, from: offset) {
            case .needsMore: return bytes.count
            case .payload(let range):
                offset = range.lowerBound
                payloadLeft = range.count
            case .end:
                endSending(stream)
                return bytes.count
            case .invalid:
                // Of our own writing, so it does not happen.
                stream.reset(.internalError)
                return -1
            }
        }
        return offset
    }

    private func endSending(_ stream: HTTP2Stream) {
        if let trailers = body.trailers {
            var lines: [UInt8] = []
            for field in trailers.fields {
                lines += trailers.bytes[field.name] + Text.colon + trailers.bytes[field.value] + Text.lineEnd
            }
            lines += Text.lineEnd
            stream.setTrailers(lines.span)
        }
        stream.endSending()
    }

    // MARK: Reading

    override func read(into buffer: inout MutableSpan<UInt8>) -> Int {
        guard let stream else { return 0 }
        let count = readMessage(of: stream, inChunks: stream.outcome == .request(.chunked), into: &buffer)
        if count > 0 { return count }
        if stream.sawEnd { return 0 }
        return stream.isClosed ? -Int(ECONNRESET) : -Int(EAGAIN)
    }

    override func close(withReset: Bool) {
        channel = nil
        let isGivenUp = stream.map { !$0.isClosed && !$0.sawEnd } ?? false
        stream?.abandon(.cancel)
        carrier.streamEnded(self, givenUp: isGivenUp)
    }

    private enum Text {
        static let colon = Array(": ".utf8)
        static let lineEnd: [UInt8] = [13, 10]
    }
}
