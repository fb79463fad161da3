internal import Wire

/// What a script's socket has received and the script has not taken yet. Driven by `ScriptSocket`.
package struct ReceiveBuffer: Sendable {
    package enum Taken: Sendable, Equatable {
        case bytes([UInt8])
        /// The pattern is not met yet: at most `limit` bytes more are to be read before it is asked again.
        case needsMore(limit: Int)
        case failed(SocketFailure)
    }

    /// Bytes of a line, its end not counted.
    package static let maxLine = 64 * 1024
    /// Bytes that are kept in all.
    package static let maxBytes = 1 << 20

    private var bytes: [UInt8] = []
    private var start = 0
    /// No LF stands in front of this position.
    private var searched = 0

    package init() {}

    package var count: Int { bytes.count - start }

    /// At most as many bytes as the last `needsMore` said.
    package mutating func append(_ received: Span<UInt8>) {
        bytes.append(copying: received, 0..<received.count)
    }

    /// Takes what `pattern` asks for. A failure takes nothing: what is there can still be had by another pattern.
    package mutating func take(_ pattern: ReceivePattern) -> Taken {
        switch pattern {
        case .exactly(let wanted):
            guard wanted >= 0 else { return .failed(.invalidArgument("invalid number of bytes")) }
            guard wanted <= Self.maxBytes else { return .failed(.tooLarge) }
            return wanted <= count ? .bytes(remove(wanted)) : .needsMore(limit: wanted - count)
        case .line:
            return takeLine()
        case .available:
            return count > 0 ? .bytes(remove(count)) : .needsMore(limit: Self.maxLine)
        case .untilClosed:
            // One byte more than there may be tells that there is more.
            return count > Self.maxBytes ? .failed(.tooLarge) : .needsMore(limit: Self.maxBytes + 1 - count)
        }
    }

    /// Takes what `pattern` comes to when the peer has ended, `take` having asked for more.
    package mutating func takeAtEnd(_ pattern: ReceivePattern) -> Taken {
        switch pattern {
        case .untilClosed: .bytes(remove(count))
        case .exactly, .line, .available: .failed(.closed)
        }
    }

    private mutating func takeLine() -> Taken {
        var lineFeed = max(searched, start)
        while lineFeed < bytes.count, bytes[lineFeed] != ByteText.lineFeed { lineFeed += 1 }
        guard lineFeed < bytes.count else {
            searched = bytes.count
            // A CR may be the first half of the line's end.
            guard count <= Self.maxLine + 1 else { return .failed(.tooLarge) }
            return .needsMore(limit: Self.maxLine + 2 - count)
        }
        let end = lineFeed > start && bytes[lineFeed - 1] == ByteText.carriageReturn ? lineFeed - 1 : lineFeed
        guard end - start <= Self.maxLine else { return .failed(.tooLarge) }
        let line = Array(bytes[start..<end])
        drop(lineFeed + 1 - start)
        return .bytes(line)
    }

    private mutating func remove(_ length: Int) -> [UInt8] {
        if start == 0, length == bytes.count {
            defer { clear() }
            return bytes
        }
        let taken = Array(bytes[start..<start + length])
        drop(length)
        return taken
    }

    private mutating func drop(_ length: Int) {
        start += length
        if start == bytes.count { return clear() }
        // Moving the rest to the front is paid for by what was taken.
        guard start > bytes.count / 2 else { return }
        bytes.removeFirst(start)
        searched = max(0, searched - start)
        start = 0
    }

    private mutating func clear() {
        bytes = []
        start = 0
        searched = 0
    }
}
