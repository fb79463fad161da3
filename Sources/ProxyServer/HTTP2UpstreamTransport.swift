internal import Bytes
internal import EventLoop
internal import Glibc
internal import HTTP2
internal import Wire

/// One stream of an HTTP/2 connection to an upstream in place of a socket: it takes a request as HTTP/1.1 has it, and gives
/// the response so.
final class HTTP2UpstreamTransport: StreamTransport {
    private var stream: HTTP2Stream?
    let carrier: HTTP2UpstreamConnection
    /// `nil` once that is closed.
    private var channel: UpstreamConnection?
    private var expectsHead = true
    /// Finds the end of the request's body, and what of it is payload.
    private var body = BodyDecoder(.none)
    /// Payload that the decoder has reported, and the stream had no room for.
    private var payloadLeft = 0
    private var headStart = 0
    private var lastChunk: [UInt8] = []
    private var lastChunkStart = 0
    private var gaveLastChunk = false

    /// The upstream did nothing for the request, so that it may be made again (RFC 9113 §8.7).
    var wasRefused: Bool { stream?.closeCode == .refusedStream }

    init(on carrier: HTTP2UpstreamConnection) {
        self.carrier = carrier
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
        carrier.flushSoon()
        return taken == 0 ? -Int(EAGAIN) : taken
    }

    /// - Returns: how much was taken; -1 where the stream is gone.
    private func write(_ bytes: Span<UInt8>) -> Int {
        guard let stream, !stream.isClosed else { return -1 }
        var offset = 0
        if expectsHead {
            var block = HTTP2FieldBlock()
            // Heads are ours, and written whole.
            guard
                let request = block.readRequest(
                    bytes, scheme: carrier.tls == nil ? Text.plainScheme : Text.secureScheme)
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
        var count = 0
        if headStart < stream.head.count {
            let head = stream.head
            count = min(buffer.count, head.count - headStart)
            buffer.store(head.span.extracting(headStart..<headStart + count), at: 0)
            headStart += count
            if headStart == head.count {
                stream.head = []
                headStart = 0
            }
        }
        if stream.outcome == .request(.chunked) {
            count += readChunk(of: stream, into: &buffer, at: count)
        } else {
            count += stream.read(into: &buffer, at: count, limit: buffer.count - count)
        }
        if count > 0 {
            carrier.flushSoon()
            return count
        }
        if stream.sawEnd { return 0 }
        return stream.isClosed ? -Int(ECONNRESET) : -Int(EAGAIN)
    }

    /// What has come, as a chunk.
    private func readChunk(
        of stream: HTTP2Stream, into buffer: inout MutableSpan<UInt8>, at position: Int
    ) -> Int {
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
        let bytes = lastChunk
        buffer.store(bytes.span.extracting(lastChunkStart..<lastChunkStart + rest), at: position + count)
        lastChunkStart += rest
        return count + rest
    }

    override func close(withReset: Bool) {
        channel = nil
        stream?.abandon(.cancel)
        carrier.streamEnded(self)
    }

    private enum Text {
        static let plainScheme = Array("http".utf8)
        static let secureScheme = Array("https".utf8)
        static let colon = Array(": ".utf8)
        static let lineEnd: [UInt8] = [13, 10]
        static let lastChunk = Array("0\r\n".utf8)
    }
}

extension HTTP2UpstreamTransport: HTTP2StreamOwner {
    func streamChanged(_ change: HTTP2Stream.Change) {
        channel?.becomes(
            readable: change.contains(.readable), writable: change.contains(.writable),
            failed: change.contains(.failed))
    }
}
