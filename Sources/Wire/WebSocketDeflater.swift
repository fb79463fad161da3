/// Deflates the messages of one direction (RFC 7692 §7.2.1).
///
/// A stream takes 6 KB, 2^(windowBits + 2), and 2^(memoryLevel + 9): 262 KB with a window of 15 bits and memory level
/// 8, 40 KB with 12 and 5, 10 KB with 9 and 2. It is borrowed from the pool: with context takeover from the first
/// message to the end of the connection, otherwise while a message is under way. Belongs to a worker, as its pool
/// does.
package final class WebSocketDeflater {
    private let pool: DeflatePool
    private var stream: ZlibStream?
    private let windowBits: UInt8
    private let level: UInt8
    private let memoryLevel: UInt8
    private let keepsContext: Bool
    /// Some byte of a message was taken that has not ended.
    private var isWithinMessage = false

    /// `nil` with a window of fewer than 9 bits, which zlib cannot make: messages then go as they are, which the
    /// extension allows for each of them.
    ///
    /// - Parameters:
    ///   - windowBits: as agreed on, up to 15.
    ///   - keepsContext: whether a message may refer to the ones before.
    ///   - level: 1 (quick)...9 (small).
    ///   - memoryLevel: 1...9, how much memory to spend besides the window.
    ///   - pool: of the worker.
    package init?(windowBits: Int, keepsContext: Bool, level: Int, memoryLevel: Int = 8, pool: DeflatePool) {
        guard windowBits >= 9 else { return nil }
        self.pool = pool
        self.windowBits = UInt8(min(windowBits, 15))
        self.level = UInt8(min(max(level, 1), 9))
        self.memoryLevel = UInt8(min(max(memoryLevel, 1), 9))
        self.keepsContext = keepsContext
    }

    deinit { release() }

    /// Bytes that zlib holds for this direction at the moment.
    package var memory: Int { stream?.memory ?? 0 }

    /// Appends the payload that stands for `message`. With context takeover it has to be sent, even where it came out
    /// longer: the messages behind it may refer to it.
    package func append(message: Span<UInt8>, to output: inout [UInt8]) {
        append(piece: message, isLast: true, to: &output)
    }

    /// The same for a message that comes in pieces. Pieces before the last may give out nothing, or something; what
    /// came out can be taken from `output` in between.
    package func append(piece: Span<UInt8>, isLast: Bool, to output: inout [UInt8]) {
        if !piece.isEmpty { isWithinMessage = true }
        guard isWithinMessage else {
            // RFC 7692 §7.2.3.6: an empty message is the beginning of an empty block. zlib would write nothing, since
            // there is nothing to flush.
            if isLast { output.append(0) }
            return
        }
        let stream = self.stream ?? pool.lend(kind)
        self.stream = stream
        stream.deflate(piece, flushes: isLast, to: &output)
        guard isLast else { return }
        // RFC 7692 §7.2.1: without the 00 00 ff ff that a flush ends with.
        output.removeLast(ZlibStream.flushEnd.count)
        isWithinMessage = false
        if !keepsContext { release() }
    }

    private var kind: ZlibKind {
        .deflate(windowBits: Int(windowBits), level: Int(level), memoryLevel: Int(memoryLevel))
    }

    private func release() {
        guard let stream else { return }
        pool.takeBack(stream)
        self.stream = nil
    }
}
