internal import COpenSSL
internal import Glibc

/// Says under which context a client's handshake goes on.
package protocol TLSServerPolicy: AnyObject {
    /// Called once, with the client's first message. `nil` rejects the handshake.
    func context(for hello: TLSHello) -> TLSContext?
}

/// One TLS connection over a non-blocking socket, which stays its owner's.
///
/// Calls answer as those of such a socket do. Records are written in batches: what the socket did not take is kept here
/// as ciphertext, and the plaintext in it counts as not taken; as with OpenSSL itself, it must be what the next `write`
/// begins with.
///
/// Confined to its worker's thread.
@safe package final class TLSSession {
    package enum Step: Sendable, Equatable {
        case done
        /// The peer's next message is needed.
        case wantsRead
        /// `use` or `useConfiguredIdentity` is needed.
        case wantsIdentity
        case failed(TLSError)
    }

    package enum ReadResult: Sendable, Equatable {
        case bytes(Int)
        case wouldBlock
        /// With `isProper`, the peer said so, rather than just ended the connection.
        case end(isProper: Bool)
        /// An `errno` value: EPROTO for a breach of the protocol, of which `failure` says more.
        case failed(Int32)
    }

    /// More ciphertext than this does not wait for a peer that takes nothing: its session fails.
    private static let maxAhead = 512 * 1024

    let ssl: OpaquePointer
    package let isServer: Bool
    /// That of the listener: tickets and cached sessions are its matter.
    let initialContext: TLSContext
    package internal(set) var context: TLSContext
    private let scratch: TLSScratch
    /// Until the client's first message.
    package var policy: (any TLSServerPolicy)?
    /// What the client's first message said; without anything where the session is a client's.
    package internal(set) var hello = TLSHello()
    /// Where a client keeps its sessions.
    var resumption: TLSResumption?
    package private(set) var isEstablished = false
    /// The client asked for an OCSP response, and a newer one is to be fetched for those who ask later.
    package var stapleToRefresh: TLSStaple?
    /// Why the session cannot go on.
    package private(set) var failure: TLSError?
    package private(set) var endedProperly = false

    /// Where a server's session stands with what may come before the end of its handshake.
    private enum EarlyData {
        case none
        /// The client's first message will tell.
        case awaited
        /// There is some: its first byte, until that was read.
        case coming(UInt8?)
        /// All of it has come. The handshake ends while something else is read.
        case ended
    }
    private var earlyData = EarlyData.none

    enum IdentityState { case unasked, wanted, given, rejected }
    var identity = IdentityState.unasked

    package enum Rejection: Sendable {
        /// Of the server that the client asks for.
        case ofServer
        /// By `rejectIdentity`.
        case ofIdentity
    }
    /// Why the handshake was ended from here. Its failure says no more than that it was.
    package internal(set) var rejection: Rejection?

    /// Messages of a handshake that came after its end, less those that time has made up for, and the second of the last.
    private var lateMessages: UInt8 = 0
    private var lateMessageAt: UInt32 = 0

    // MARK: The socket

    private let descriptor: Int32
    /// The last read from the socket took everything that there was.
    private var socketIsEmpty = false
    private var trustsShortReads = false
    private var sawEnd = false
    /// An `errno` value, once reading has failed, or more waits to be sent than may.
    private var socketError: Int32 = 0
    /// An `errno` value, once sending has failed. What came before that is still read: an answer may be among it.
    private var sendError: Int32 = 0
    private var gathers = false
    /// Ciphertext that the socket has not taken.
    private var ahead: [UInt8] = []
    private var aheadStart = 0
    /// Bytes of plaintext in `ahead` that the owner still has.
    private var plainAhead = 0
    /// Bytes of plaintext that have gone out since, which the owner still has too.
    private var plainSent = 0

    /// A server's session on a connection that was accepted.
    ///
    /// - Parameters:
    ///   - context: under which it begins.
    ///   - descriptor: of the connection.
    ///   - scratch: the thread's.
    ///   - takesEarlyData: one of the contexts that the handshake may go on under takes early data.
    /// - Throws: when OpenSSL is out of memory.
    package convenience init(
        server context: TLSContext, descriptor: Int32, scratch: TLSScratch, takesEarlyData: Bool = false
    ) throws(TLSError) {
        try self.init(context, descriptor, scratch)
        unsafe SSL_set_accept_state(ssl)
        guard takesEarlyData else { return }
        earlyData = .awaited
        unsafe SSL_set_allow_early_data_cb(ssl, Self.earlyDataOffered, nil)
    }

    /// A client's session.
    ///
    /// - Parameters:
    ///   - context: a client's.
    ///   - descriptor: of a connection that is made.
    ///   - scratch: the thread's.
    ///   - name: the server name to ask for; `nil` for none.
    ///   - resumption: the last session with the same server, and where the next is kept.
    ///   - protocols: offered by ALPN, each of 1 to 255 bytes, the one that is liked best first.
    /// - Throws: when OpenSSL is out of memory, or takes no such name: it is longer than 255 bytes.
    package convenience init(
        client context: TLSContext, descriptor: Int32, scratch: TLSScratch, name: String?,
        resumption: TLSResumption?, protocols: [[UInt8]] = []
    ) throws(TLSError) {
        try self.init(context, descriptor, scratch)
        self.resumption = resumption
        unsafe SSL_set_connect_state(ssl)
        if let name {
            var text = Array(name.utf8CString)
            // The array ends with NUL, and is copied by the call.
            let result = unsafe text.withUnsafeMutableBufferPointer {
                unsafe SSL_ctrl(
                    ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name), $0.baseAddress)
            }
            guard result == 1 else { throw TLSError(taking: "SSL_set_tlsext_host_name(\"\(name)\")") }
        }
        if !protocols.isEmpty {
            let list = protocols.flatMap { [UInt8(truncatingIfNeeded: $0.count)] + $0 }
            // Copied by the call.
            _ = unsafe SSL_set_alpn_protos(ssl, list, UInt32(list.count))
        }
        unsafe resumption?.offer(to: ssl)
    }

    private init(_ context: TLSContext, _ descriptor: Int32, _ scratch: TLSScratch) throws(TLSError) {
        ERR_clear_error()
        guard let ssl = unsafe SSL_new(context.handle) else { throw TLSError(taking: "SSL_new") }
        guard let bio = unsafe BIO_new(SocketBIO.method) else {
            unsafe SSL_free(ssl)
            throw TLSError(taking: "BIO_new")
        }
        unsafe self.ssl = ssl
        self.descriptor = descriptor
        self.scratch = scratch
        self.context = context
        initialContext = context
        isServer = context.role == .server
        unsafe BIO_set_init(bio, 1)
        // The BIO is used only by calls of this session's own, during which it is alive.
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        unsafe SSL_set_bio(ssl, bio, bio)
    }

    deinit {
        // A session that was not ended properly would be struck from the cache, and could not be resumed.
        unsafe SSL_set_quiet_shutdown(ssl, 1)
        if failure == nil, isEstablished {
            unsafe SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        }
        unsafe SSL_free(ssl)
    }

    /// The session that OpenSSL calls back for. `nil` for a connection of another's making.
    static func of(_ ssl: OpaquePointer) -> TLSSession? {
        guard let bio = unsafe SSL_get_rbio(ssl) else { return nil }
        // During the handshake a BIO that gathers stands before the one for writing, but not before this one.
        return unsafe SocketBIO.session(of: bio)
    }

    /// Calls OpenSSL's connection by its handle, which nobody keeps.
    @unsafe func withHandle<Result>(_ body: (OpaquePointer) -> Result) -> Result { unsafe body(ssl) }

    // MARK: Handshake

    package func handshake() -> Step {
        if let failure { return .failed(failure) }
        beginReading(trustsShortReads: false)
        ERR_clear_error()
        var result: Int32 = 0
        if case .awaited = earlyData {
            result = beginEarlyData()
        } else {
            result = unsafe SSL_do_handshake(ssl)
        }
        if result == 1 {
            isEstablished = true
            policy = nil
            return flush() ? .done : .failed(fail("send"))
        }
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ:
            return flush() ? .wantsRead : .failed(fail("send"))
        case SSL_ERROR_WANT_X509_LOOKUP: return .wantsIdentity
        default:
            let error = fail("SSL_do_handshake")
            _ = flush()  // the alert
            return .failed(error)
        }
    }

    /// The handshake is not over: what has come so far may have been sent before, by somebody else (RFC 8446 §8).
    package var isEarly: Bool {
        if case .none = earlyData { return false }
        return unsafe SSL_is_init_finished(ssl) == 0
    }

    /// - Returns: 1 once there is early data, or the handshake is over without any; 0 with OpenSSL's error otherwise.
    private func beginEarlyData() -> Int32 {
        var byte: UInt8 = 0
        var count = 0
        // One byte is asked for, so that whatever there is more of stays where it is.
        switch unsafe SSL_read_early_data(ssl, &byte, 1, &count) {
        case SSL_READ_EARLY_DATA_SUCCESS:
            earlyData = .coming(byte)
            return 1
        case SSL_READ_EARLY_DATA_FINISH:
            earlyData = .none
            return unsafe SSL_do_handshake(ssl)
        default: return 0
        }
    }

    /// Answers the wish for an identity with one, which stands for all that there are where it `isOnly`; else it takes the
    /// place of that of its kind of key.
    ///
    /// - Throws: when the key is not that of the certificate.
    package func use(_ identity: TLSIdentity, isOnly: Bool) throws(TLSError) {
        ERR_clear_error()
        if isOnly { unsafe SSL_certs_clear(ssl) }
        // The connection takes references of its own.
        let result = unsafe SSL_use_cert_and_key(ssl, identity.certificate, identity.key, identity.chain, 1)
        guard result == 1 else { throw TLSError(taking: "SSL_use_PrivateKey") }
        self.identity = .given
    }

    package func useConfiguredIdentity() { identity = .given }
    package func rejectIdentity() {
        identity = .rejected
        rejection = .ofIdentity
    }

    private func fail(_ call: String) -> TLSError {
        if let failure { return failure }
        let error: TLSError
        if ERR_peek_error() != 0 {
            error = TLSError(taking: call)
        } else if socketError != 0 || sendError != 0 {
            let code = socketError != 0 ? socketError : sendError
            error = TLSError(call, reason: "\(code): \(Self.text(of: code))")
        } else {
            error = TLSError(call, reason: sawEnd ? Self.peerClosed : "")
        }
        ERR_clear_error()
        failure = error
        return error
    }

    /// The reason of a handshake's failure when the peer ended the connection.
    package static let peerClosed = "peer closed connection in SSL handshake"

    /// As an `errno` value.
    private var failureCode: Int32 { socketError != 0 ? socketError : EPROTO }

    private static func text(of code: Int32) -> String {
        // The text lives until this thread's next call of it.
        guard let text = unsafe strerror(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }

    // MARK: Messages without data

    /// Such messages at once, and in each second: who renews keys (RFC 8446 §4.6.3) does so after gigabytes.
    private static let mostLateMessages: UInt8 = 64
    private static let lateMessagesInSecond = 2

    /// The failure of a session whose peer sends KeyUpdate after KeyUpdate. Each is 27 bytes, costs as much as a small request,
    /// and is no data that a read would end with.
    package static let flooded = TLSError("SSL_read", reason: "flood of KeyUpdate messages")

    func lateMessageCame() {
        var now = timespec()
        // The value outlives the call.
        unsafe clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
        let second = UInt32(truncatingIfNeeded: now.tv_sec)
        let madeUp = Int(min(second &- lateMessageAt, 128)) * Self.lateMessagesInSecond
        lateMessageAt = second
        // What OpenSSL had begun with may go on when it is told to read no further.
        lateMessages = UInt8(clamping: max(0, Int(lateMessages) - madeUp) + 1)
        guard lateMessages > Self.mostLateMessages, failure == nil else { return }
        failure = Self.flooded
        // OpenSSL reads no further.
        unsafe SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN)
    }

    // MARK: Reading

    private func beginReading(trustsShortReads: Bool) {
        socketIsEmpty = false
        self.trustsShortReads = trustsShortReads
    }

    /// Another read may find bytes before the socket turns readable again.
    package var mayHoldMore: Bool {
        if !socketIsEmpty { return true }
        return unsafe SSL_has_pending(ssl) == 1
    }

    /// Fills `buffer` with what has come.
    ///
    /// - Parameters:
    ///   - buffer: filled from its start on.
    ///   - mayHaveEnded: the socket is known to have been ended by the peer, so that it has something to say even
    ///     when it gave less than was asked for.
    /// - Returns: how much has come, or why nothing has.
    package func read(into buffer: inout MutableSpan<UInt8>, mayHaveEnded: Bool) -> ReadResult {
        guard failure == nil else { return .failed(failureCode) }
        if endedProperly { return .end(isProper: true) }
        beginReading(trustsShortReads: !mayHaveEnded)
        // Bytes and their count come from one span, which is used during the closure alone.
        return unsafe buffer.withUnsafeMutableBufferPointer { unsafe fill($0) }
    }

    private func fill(_ buffer: UnsafeMutableBufferPointer<UInt8>) -> ReadResult {
        var filled = 0
        while filled < buffer.count {
            var count = 0
            ERR_clear_error()
            // `filled` is within the buffer.
            let result = unsafe readOnce(
                buffer.baseAddress.unsafelyUnwrapped + filled, buffer.count - filled, &count)
            if result == 1 {
                filled += count
                if socketIsEmpty, unsafe SSL_has_pending(ssl) == 0 { break }
                continue
            }
            if filled > 0 && !isWantingRead(result) {
                // The end, or the failure, is told at the next call.
                let error = unsafe SSL_get_error(ssl, result)
                if error != SSL_ERROR_ZERO_RETURN { _ = fail("SSL_read") }
                socketIsEmpty = false
                return .bytes(filled)
            }
            if let end = endOfReading(result) { return end }
            break
        }
        _ = flush()
        return filled > 0 ? .bytes(filled) : .wouldBlock
    }

    /// Whether the peer's end is what the next read would find. What else there is stays to be read.
    package func endIsNext() -> Bool {
        guard failure == nil, !endedProperly else { return true }
        if case .coming = earlyData { return false }
        beginReading(trustsShortReads: false)
        var byte: UInt8 = 0
        var count = 0
        ERR_clear_error()
        // There is room for the one byte that is asked for.
        let result = unsafe SSL_peek_ex(ssl, &byte, 1, &count)
        guard result != 1 else { return false }
        return unsafe SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ
    }

    /// As `SSL_read_ex`, early data included.
    @unsafe private func readOnce(
        _ start: UnsafeMutablePointer<UInt8>, _ size: Int, _ count: inout Int
    ) -> Int32 {
        guard case .coming(let byte) = earlyData else {
            return unsafe SSL_read_ex(ssl, start, size, &count)
        }
        if let byte {
            unsafe start.pointee = byte
            count = 1
            earlyData = .coming(nil)
            return 1
        }
        switch unsafe SSL_read_early_data(ssl, start, size, &count) {
        case SSL_READ_EARLY_DATA_SUCCESS: return 1
        case SSL_READ_EARLY_DATA_FINISH:
            earlyData = .ended
            // It may come with some bytes.
            return unsafe count > 0 ? 1 : SSL_read_ex(ssl, start, size, &count)
        default: return 0
        }
    }

    private func isWantingRead(_ result: Int32) -> Bool {
        unsafe SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ
    }

    /// `nil` when there is nothing to read now.
    private func endOfReading(_ result: Int32) -> ReadResult? {
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ:
            socketIsEmpty = true
            return nil
        // Of one that was flooded, OpenSSL takes it that it was ended.
        case SSL_ERROR_ZERO_RETURN where failure == nil:
            endedProperly = !sawEnd
            return .end(isProper: endedProperly)
        default:
            _ = fail("SSL_read")
            let code = failureCode
            _ = flush()  // the alert
            return .failed(code)
        }
    }

    // MARK: Writing

    /// Ciphertext waits for the socket.
    package var hasUnsent: Bool { !ahead.isEmpty }

    /// Takes bytes from the three pieces in their order.
    ///
    /// - Returns: how many, 0 when there is no room; an `errno` value below zero when the session has failed.
    package func write(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> Int {
        guard failure == nil else { return -Int(failureCode) }
        let total = first.count + second.count + third.count
        var done = 0
        guard flush() else { return -Int(sendError) }
        done = min(plainSent, total)
        plainSent = 0
        if !ahead.isEmpty { return done }
        var pieces = Pieces(first, second, third)
        pieces.skip(done)
        while done < total {
            let batch = encrypt(&pieces)
            guard batch >= 0 else { return done > 0 ? done : batch }
            done += batch
            guard ahead.isEmpty else {
                done -= plainAhead
                break
            }
        }
        return done
    }

    /// Encrypts as many records as go out with one call, and sends them.
    private func encrypt(_ pieces: inout Pieces) -> Int {
        let recordSize = context.recordSize
        // What one record needs besides: header, nonce, tag.
        let room = TLSScratch.outputSize - recordSize - 512
        var batch = 0
        gathers = pieces.count > recordSize
        defer { gathers = false }
        while pieces.count > 0 {
            let size = min(recordSize, pieces.count)
            let count = pieces.withNext(size, gatheredIn: scratch) { seal($0) }
            guard count > 0 else {
                scratch.output.removeAll(keepingCapacity: true)
                _ = fail("SSL_write")
                return -Int(failureCode)
            }
            batch += count
            pieces.skip(count)
            if scratch.output.count > room { break }
        }
        if gathers { sendGathered() }
        if sendError != 0 { return -Int(sendError) }
        // At least one byte stays the owner's, so that it comes back.
        if !ahead.isEmpty { plainAhead = batch }
        return batch
    }

    private func seal(_ bytes: Span<UInt8>) -> Int {
        var count = 0
        ERR_clear_error()
        // The bytes are used during the call alone.
        let isEarly = isEarly
        let result = unsafe bytes.withUnsafeBufferPointer {
            unsafe isEarly
                ? SSL_write_early_data(ssl, $0.baseAddress, $0.count, &count)
                : SSL_write_ex(ssl, $0.baseAddress, $0.count, &count)
        }
        return result == 1 ? count : -1
    }

    private func sendGathered() {
        var output: [UInt8] = []
        swap(&output, &scratch.output)
        let sent = transmit(output.span)
        if sent >= 0, sent < output.count { ahead.append(contentsOf: output[sent...]) }
        output.removeAll(keepingCapacity: true)
        swap(&output, &scratch.output)
    }

    /// Sends ciphertext that waits.
    ///
    /// - Returns: false when the connection is broken.
    package func flush() -> Bool {
        guard !ahead.isEmpty else { return sendError == 0 }
        let waiting = ahead.count - aheadStart
        let data = ahead
        let sent = transmit(data.span.extracting(aheadStart...))
        guard sent >= 0 else {
            ahead = []
            aheadStart = 0
            return false
        }
        if sent == waiting {
            ahead = []
            aheadStart = 0
            plainSent += plainAhead
            plainAhead = 0
        } else {
            aheadStart += sent
            // The owner sees progress as it comes, but for one byte.
            let progress = max(0, min(plainAhead - 1, plainAhead * sent / waiting))
            plainAhead -= progress
            plainSent += progress
        }
        return true
    }

    /// - Returns: how many bytes the socket took; -1 when it is broken.
    private func transmit(_ bytes: Span<UInt8>) -> Int {
        guard sendError == 0 else { return -1 }
        while true {
            // The bytes are used during the call alone.
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 { return count }
            switch errno {
            case EINTR: continue
            case EAGAIN: return 0
            default:
                sendError = errno
                return -1
            }
        }
    }

    /// Tells the peer that no more follows. Safe to call again.
    package func sendEnd() {
        guard failure == nil, isEstablished, sendError == 0 else { return }
        ERR_clear_error()
        // What ends the handshake may have come meanwhile; without it, OpenSSL sends no alert.
        if case .ended = earlyData, isEarly { _ = unsafe SSL_do_handshake(ssl) }
        if unsafe SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN == 0 { _ = unsafe SSL_shutdown(ssl) }
        ERR_clear_error()
    }

    // MARK: What OpenSSL asks of the socket

    func receive(_ buffer: UnsafeMutableRawPointer, _ size: Int) -> SocketBIO.Answer {
        if socketIsEmpty { return .wouldBlock }
        while true {
            // OpenSSL's buffer is as long as it says.
            let count = unsafe recv(descriptor, buffer, size, 0)
            if count > 0 {
                if count < size, trustsShortReads { socketIsEmpty = true }
                return .bytes(count)
            }
            if count == 0 {
                sawEnd = true
                return .end
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                socketIsEmpty = true
                return .wouldBlock
            default:
                socketError = errno
                return .failed
            }
        }
    }

    func put(_ bytes: UnsafeRawBufferPointer) -> SocketBIO.Answer {
        // As `receive`.
        let span = unsafe Span<UInt8>(_unsafeBytes: bytes)
        if gathers {
            unsafe scratch.output.append(contentsOf: unsafe bytes)
            return .bytes(span.count)
        }
        guard socketError == 0 else { return .failed }
        var sent = 0
        if ahead.isEmpty || sendError != 0 {
            sent = transmit(span)
            // OpenSSL would not read any more either. Whoever writes is told of the error.
            guard sent >= 0 else { return .bytes(span.count) }
        }
        if sent < span.count {
            guard ahead.count - aheadStart + span.count <= Self.maxAhead else {
                socketError = ENOBUFS
                return .failed
            }
            unsafe ahead.append(contentsOf: unsafe UnsafeRawBufferPointer(rebasing: bytes[sent...]))
        }
        return .bytes(span.count)
    }

    var isAtEnd: Bool { sawEnd }
}
