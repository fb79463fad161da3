internal import Bytes
internal import EventLoop
internal import Glibc
internal import HTTP2
internal import Wire

/// What the streams of both legs have in common as transports: a message that comes is read as HTTP/1.1 has it, and
/// what is written goes to the stream piece by piece.
class HTTP2StreamTransport: StreamTransport, HTTP2StreamOwner {
    /// Whose bytes these are; `nil` once that is closed.
    final var channel: StreamChannel?
    private var headStart = 0
    /// What ends a body in chunks, once it is known; and how much of it was read.
    private var lastChunk: [UInt8] = []
    private var lastChunkStart = 0
    private var gaveLastChunk = false

    // MARK: To be overridden

    /// The connection is to send what its streams have to send.
    func flushSoon() {}
    /// Takes bytes of the message that is sent.
    ///
    /// - Returns: how many; -1 where the stream is gone.
    func take(_ bytes: Span<UInt8>) -> Int { 0 }

    // MARK: Writing

    final override func write(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> Int {
        var taken = take(first)
        if taken == first.count, second.count > 0 {
            let count = take(second)
            taken = count < 0 ? count : taken + count
        }
        if taken == first.count + second.count, third.count > 0 {
            let count = take(third)
            taken = count < 0 ? count : taken + count
        }
        if taken < 0 { return -Int(EPIPE) }
        flushSoon()
        return taken == 0 ? -Int(EAGAIN) : taken
    }

    // MARK: Reading

    /// Reads the head and the content of the message that comes; the latter in chunks where its length is not known.
    ///
    /// - Returns: how many bytes.
    final func readMessage(
        of stream: HTTP2Stream, inChunks: Bool, into buffer: inout MutableSpan<UInt8>
    ) -> Int {
        var count = readHead(of: stream, into: &buffer)
        if inChunks {
            count += readChunk(of: stream, into: &buffer, at: count)
        } else {
            count += stream.read(into: &buffer, at: count, limit: buffer.count - count)
        }
        // The peer's window may have opened.
        if count > 0 { flushSoon() }
        return count
    }

    private func readHead(of stream: HTTP2Stream, into buffer: inout MutableSpan<UInt8>) -> Int {
        let count = min(buffer.count, stream.head.count - headStart)
        guard count > 0 else { return 0 }
        do {
            let head = stream.head
            buffer.store(head.span.extracting(headStart..<headStart + count), at: 0)
        }
        headStart += count
        if headStart == stream.head.count {
            stream.dropHead()
            headStart = 0
        }
        return count
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
            let chunkEnd = ChunkedEncoding.chunkEnd
            buffer.store(chunkEnd.span, at: position + count)
            count += chunkEnd.count
        }
        guard stream.sawEnd, !stream.hasUnread else { return count }
        if !gaveLastChunk {
            gaveLastChunk = true
            lastChunk = ChunkedEncoding.lastChunkLine + stream.trailers + ChunkedEncoding.chunkEnd
        }
        let rest = min(lastChunk.count - lastChunkStart, buffer.count - position - count)
        guard rest > 0 else { return count }
        let bytes = lastChunk
        buffer.store(bytes.span.extracting(lastChunkStart..<lastChunkStart + rest), at: position + count)
        lastChunkStart += rest
        return count + rest
    }

    // MARK: The stream's side

    final func streamChanged(_ change: HTTP2Stream.Change) {
        channel?.becomes(
            readable: change.contains(.readable), writable: change.contains(.writable),
            failed: change.contains(.failed))
    }
}
