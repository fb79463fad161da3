/// Inflates the messages of one direction (RFC 7692 §7.2.2).
///
/// A stream takes 7 KB and 2^windowBits, 40 KB with a window of 15 bits. It is borrowed from the pool: with context
/// takeover from the first message to the end of the connection, otherwise while a message is under way. Belongs to
/// a worker, as its pool does.
package final class WebSocketInflater {
    package enum Outcome: Sendable, Equatable {
        case ok
        /// The message has more bytes than its limit, which is as many as were written.
        case tooLarge
        case corrupt
    }

    private let pool: DeflatePool
    private var stream: ZlibStream?
    /// Bytes of the message so far.
    private var written = 0
    private var failure = Outcome.ok
    private let windowBits: UInt8
    private let keepsContext: Bool
    /// Nothing was fed since a stream began: the message has no bytes so far, or none behind a final block.
    private var isFresh = true

    /// - Parameters:
    ///   - windowBits: as agreed on, 8...15. Taken as 9 when it is 8: older releases of zlib deflate with a window
    ///     of 9 bits when they are asked for 8.
    ///   - keepsContext: whether a message can refer to the ones before.
    ///   - pool: of the worker.
    package init(windowBits: Int, keepsContext: Bool, pool: DeflatePool) {
        self.pool = pool
        self.windowBits = UInt8(min(max(windowBits, 9), 15))
        self.keepsContext = keepsContext
    }

    deinit { release() }

    /// Bytes that zlib holds for this direction at the moment.
    package var memory: Int { stream?.memory ?? 0 }

    /// Inflates the next piece of a message's payload, which may be cut anywhere, and appends what comes of it.
    ///
    /// `limit` is how many bytes the whole message may have, pieces before this one included. More is never written,
    /// however much a few bytes of input would stand for. Once anything but `ok` came out, nothing else will: the
    /// connection has to be failed.
    package func append(_ bytes: Span<UInt8>, to output: inout [UInt8], limit: Int) -> Outcome {
        guard failure == .ok else { return failure }
        var position = 0
        while position < bytes.count {
            isFresh = false
            let before = output.count
            let outcome = borrow().inflate(bytes, from: &position, to: &output, limit: limit &- written)
            written &+= output.count &- before
            switch outcome {
            case .done: continue
            case .ended: restart()
            case .full: return fail(.tooLarge)
            case .corrupt: return fail(.corrupt)
            }
        }
        return .ok
    }

    /// Ends a message, of which all pieces were appended: puts back the four bytes that the sender took away.
    package func endMessage(to output: inout [UInt8], limit: Int) -> Outcome {
        guard failure == .ok else { return failure }
        // A payload without a byte, or one that ends with a final block: there is no block that the bytes could end.
        if !isFresh {
            let tail = ZlibStream.flushEnd
            var position = 0
            while position < tail.count {
                let before = output.count
                let outcome = borrow().inflate(
                    tail.span, from: &position, to: &output, limit: limit &- written, stopsAtBlocks: true)
                written &+= output.count &- before
                switch outcome {
                case .done: continue
                // Not behind all four of them: a final block that they end is noticed by the next message.
                case .ended, .corrupt: return fail(.corrupt)
                case .full: return fail(.tooLarge)
                }
            }
            // Otherwise the payload ended within a block, and the next message would be taken for its rest.
            guard borrow().isAtBlock else { return fail(.corrupt) }
        }
        written = 0
        isFresh = true
        if !keepsContext { release() }
        return .ok
    }

    private func borrow() -> ZlibStream {
        if let stream { return stream }
        let stream = pool.lend(.inflate(windowBits: Int(windowBits)))
        self.stream = stream
        return stream
    }

    private func release() {
        guard let stream else { return }
        pool.takeBack(stream)
        self.stream = nil
    }

    /// A block was the last of its stream, which senders may do in a message (RFC 7692 §7.2.3.5). What follows is a
    /// stream of its own, with nothing before it to refer to.
    private func restart() {
        stream?.reset()
        isFresh = true
    }

    private func fail(_ outcome: Outcome) -> Outcome {
        failure = outcome
        release()
        return outcome
    }
}
