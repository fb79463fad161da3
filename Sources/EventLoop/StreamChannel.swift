internal import Bytes
internal import Glibc

/// A connected stream: reads through the loop's scratch buffer, and writes that keep what the kernel refuses.
///
/// An idle stream holds no buffer. What could not be written is copied once, and is given back as soon as it
/// has gone out.
open class StreamChannel: Channel {
    package enum ReadResult: Equatable, Sendable {
        /// This many bytes stand in the loop's scratch buffer: `loop.withReceived(count)`.
        case bytes(Int)
        /// Nothing now; `readable` will be called.
        case wouldBlock
        case end
        /// An `errno` value.
        case failed(Int32)
    }

    /// What stands between this channel and its socket, if anything. Set before the first read or write.
    package final var transport: StreamTransport?
    private var unsent: [UInt8] = []
    /// Where that begins which is still to be sent.
    private var unsentStart = 0
    // Small ones together: there is room for those of subclasses behind them.
    /// After what is unsent, the sending side is shut down.
    private var shutsDownWhenSent = false
    /// The kernel has taken all of the last large piece.
    private var takesLargePieces = false
    /// Set by `resetOnClose`.
    private var closesWithReset = false
    /// `becameWritable` was called.
    private var wasWritable = false
    /// An `errno` value, once a write has failed; further writes are dropped.
    package private(set) var writeError: Int32 = 0
    /// Bytes that the write that failed did not take.
    private var lostBytes: UInt32 = 0

    /// Bytes that are read at once where nothing is known of what becomes of them.
    package static let usualReadSize = 128 * 1024

    /// How many bytes to read at once, at most, of what is sent on to this stream: all that the loop's buffer holds while
    /// the kernel takes as much, which makes large bodies a third cheaper; and less for a peer that is slow, since what
    /// it does not take is kept.
    package final var relaySize: Int {
        if let transport { return min(Self.usualReadSize, transport.relaySize) }
        return takesLargePieces ? .max : Self.usualReadSize
    }

    /// Bytes that the kernel has not taken yet, or, once a write has failed, did not take.
    package final var unsentBytes: Int { unsent.count - unsentStart + Int(lostBytes) }
    package final var isDrained: Bool { unsent.isEmpty }

    // MARK: To be overridden

    /// Everything that was waiting has been written.
    open func drained() {}
    /// The kernel has taken everything until now, and something begins to wait. Called while it is being sent.
    open func fellBehind() {}
    /// The kernel took some of what was waiting, but not all.
    open func sentSome() {}
    /// The first write of a new connection can be made. Called once for each `register`.
    open func becameWritable() {}
    /// A write failed, with an `errno` value.
    open func writeFailed(_ error: Int32) {}

    // MARK: Reading

    package final func read(limit: Int = usualReadSize) -> ReadResult {
        if let transport { return read(from: transport, limit: limit) }
        while true {
            let count = loop.read(descriptor, limit: limit)
            if count > 0 {
                // A stream that gave less than was asked for has no more, unless its end is what comes next.
                if count < min(limit, loop.scratchSize) && !sawHangup { mayRead = false }
                return .bytes(count)
            }
            if count == 0 {
                mayRead = false
                return .end
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                mayRead = false
                return .wouldBlock
            default:
                mayRead = false
                return .failed(errno)
            }
        }
    }

    /// What `read` would find on a kernel's socket, where it stays, whatever transport there is.
    package final func peek(limit: Int) -> ReadResult {
        while true {
            let count = loop.peek(descriptor, limit: limit)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            if errno == EINTR { continue }
            return errno == EAGAIN ? .wouldBlock : .failed(errno)
        }
    }

    private func read(from transport: StreamTransport, limit: Int) -> ReadResult {
        let count = loop.read(transport, limit: limit)
        if count > 0 {
            if !transport.mayHoldMore && !sawHangup { mayRead = false }
            return .bytes(count)
        }
        mayRead = false
        if count == 0 { return .end }
        return -count == Int(EAGAIN) ? .wouldBlock : .failed(Int32(-count))
    }

    /// The connection has failed, or the peer has ended its side, whatever there is to read before that.
    package final var isEnding: Bool { sawHangup || transport?.isEnding ?? false }

    /// The connection has failed, or the peer's end is what the next read would find. For whoever does not read for a while.
    package final var isAtEnd: Bool {
        if sawFailure { return true }
        if let transport { return transport.isAtEnd }
        guard sawHangup else { return false }
        if let memory = loop.memory { return memory.unread(descriptor) == 0 }
        switch peek(limit: 1) {
        case .end, .failed: return true
        case .bytes, .wouldBlock: return false
        }
    }

    /// Whether nothing has come that a peer may not say without being asked, for a connection that `mayRead` in a pool. Only
    /// what stands before the socket may have something to say, as TLS has tickets when it likes.
    ///
    /// It reads, as far as the transport has to for that; where something else has come, this is lost.
    package final func isSilent() -> Bool {
        guard transport != nil, case .wouldBlock = read() else { return false }
        return true
    }

    /// As the transport's, if there is one.
    package final var endedImproperly: Bool { transport?.endedImproperly ?? false }

    // MARK: Writing

    package final func send(_ bytes: Span<UInt8>) { send(bytes, then: Span(), then: Span()) }

    package final func send(_ bytes: [UInt8]) { send(bytes.span) }

    /// Sends up to three pieces with one system call. What the kernel does not take is copied and follows when
    /// there is room.
    package final func send(_ first: Span<UInt8>, then second: Span<UInt8>, then third: Span<UInt8>) {
        guard isOpen, writeError == 0 else { return }
        var taken = 0
        if unsent.isEmpty && mayWrite {
            taken = write(first, second, third)
            guard writeError == 0 else { return }
        }
        keep(first, after: taken)
        keep(second, after: taken - first.count)
        keep(third, after: taken - first.count - second.count)
    }

    /// Shuts down the sending side once everything has been sent.
    package final func shutdownWhenSent() {
        guard isOpen else { return }
        if unsent.isEmpty { shutdownWrite() } else { shutsDownWhenSent = true }
    }

    private func shutdownWrite() {
        if let transport { transport.shutdownWrite() } else { loop.shutdownWrite(descriptor) }
    }

    /// For transports over this channel's own socket: ends its sending side.
    final func shutdownSocket() { if isOpen { loop.shutdownWrite(descriptor) } }

    @inline(__always)
    private func keep(_ piece: Span<UInt8>, after taken: Int) {
        let taken = max(0, taken)
        guard taken < piece.count else { return }
        queue(piece.extracting(taken...))
    }

    @inline(never)
    private func queue(_ rest: Span<UInt8>) {
        if unsentStart > unsent.count / 2 {
            // More comes before all is sent: what has been sent is not to pile up.
            unsent.removeSubrange(..<unsentStart)
            unsentStart = 0
        }
        let isFirst = unsent.isEmpty
        unsent.append(rest)
        if isFirst { fellBehind() }
    }

    /// Returns how many bytes the kernel took.
    private func write(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> Int {
        let total = first.count + second.count + third.count
        guard total > 0 else { return 0 }
        if let transport { return write(first, second, third, to: transport) }
        while true {
            let count: Int
            if let memory = loop.memory {
                count = memory.write(descriptor, first, second, third)
            } else {
                count = transmit(first, second, third)
            }
            if count >= 0 {
                if count < total {
                    mayWrite = false
                    takesLargePieces = false
                } else if total >= Self.usualReadSize / 2 {
                    takesLargePieces = true
                }
                return count
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                mayWrite = false
                takesLargePieces = false
                return 0
            default:
                fail(errno, losing: total)
                return 0
            }
        }
    }

    private func write(
        _ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>, to transport: StreamTransport
    ) -> Int {
        let total = first.count + second.count + third.count
        let count = transport.write(first, second, third)
        if count >= 0 {
            if count < total { mayWrite = false }
            return count
        }
        if -count == Int(EAGAIN) { mayWrite = false } else { fail(Int32(-count), losing: total) }
        return 0
    }

    private func transmit(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> Int {
        // What is in one piece takes the kernel less time than a list of pieces.
        if second.isEmpty && third.isEmpty { return transmit(first) }
        if first.isEmpty && third.isEmpty { return transmit(second) }
        // The spans stay valid for the length of the closures, in which the call is made.
        return unsafe first.withUnsafeBytes { first in
            unsafe second.withUnsafeBytes { second in
                unsafe third.withUnsafeBytes { third in unsafe gather(first, second, third) }
            }
        }
    }

    private func transmit(_ bytes: Span<UInt8>) -> Int {
        // As above.
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        }
    }

    private func gather(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, _ third: UnsafeRawBufferPointer
    ) -> Int {
        var pieces: InlineArray<3, iovec> = unsafe [piece(first), piece(second), piece(third)]
        return unsafe withUnsafeMutablePointer(to: &pieces) { pointer in
            unsafe pointer.withMemoryRebound(to: iovec.self, capacity: 3) { pieces in
                var message = unsafe msghdr()
                unsafe message.msg_iov = pieces
                unsafe message.msg_iovlen = 3
                return unsafe sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
            }
        }
    }

    private func piece(_ buffer: UnsafeRawBufferPointer) -> iovec {
        unsafe iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count)
    }

    private func fail(_ error: Int32, losing count: Int) {
        writeError = error
        unsent = []
        unsentStart = 0
        lostBytes = UInt32(clamping: count)
        mayWrite = false
        writeFailed(error)
    }

    /// Closing is to tell the peer that what was sent is not whole, rather than wait for what is unsent.
    package final func resetOnClose() {
        closesWithReset = true
        resetSocketOnClose()
    }

    final override func willClose() {
        guard let transport else { return }
        self.transport = nil
        // What is not sent any more is missed by the peer, which is to be told.
        transport.close(withReset: closesWithReset || !unsent.isEmpty)
    }

    public final override func writable() {
        if !wasWritable {
            wasWritable = true
            becameWritable()
        }
        if let transport, transport.awaitsRoom { transport.roomCame() }
        guard isOpen, !unsent.isEmpty else { return }
        let taken = write(unsent.span.extracting(unsentStart...), Span(), Span())
        guard writeError == 0 else { return }
        unsentStart += taken
        guard unsentStart == unsent.count else {
            if taken > 0 { sentSome() }
            return
        }
        unsent = []
        unsentStart = 0
        if shutsDownWhenSent {
            shutsDownWhenSent = false
            shutdownWrite()
        }
        drained()
    }
}
