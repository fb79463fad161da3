internal import Bytes
package import Wire

/// Whoever works with a stream.
package protocol HTTP2StreamOwner: AnyObject {
    /// Bytes, an end or a failure came, or there is room to send. Called between the session's own work only, so that
    /// it may use the session.
    func streamChanged(_ change: HTTP2Stream.Change)
}

/// One stream of a session: what has come and was not read yet, and what waits to be sent.
///
/// Both are bounded by flow control: what has come by the window that the peer was given, which opens again by
/// what is read; what is to be sent by the windows that the peer gave, so that all of it can go out as soon as the
/// connection takes it.
package final class HTTP2Stream {
    package struct Change: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let readable = Change(rawValue: 1)
        package static let writable = Change(rawValue: 2)
        /// The stream or its connection ended before its time.
        package static let failed = Change(rawValue: 4)
    }

    /// 0 for a client's stream whose request has not gone out.
    package internal(set) var id: Int32
    /// `nil` once the stream is closed.
    private(set) var session: HTTP2Session?
    /// Held until the stream is abandoned or closed.
    package var owner: (any HTTP2StreamOwner)?

    // MARK: The request

    /// Of the head, whatever has come behind it since.
    package internal(set) var outcome = HTTP2RequestHead.Outcome.request(.plain)
    /// Of a request: its head has come whole.
    var sawHead = false
    /// As over HTTP/1.1; for the owner to take.
    package var head: [UInt8] = []
    /// Where lines stand in `head`, if that is known; empty otherwise.
    var knownLines: [FieldLine] = []
    /// Trailer fields as lines, without the empty one.
    package internal(set) var trailers: [UInt8] = []
    /// Content that is still to come; -1 where only the stream's end says.
    var contentLeft: Int64 = -1

    /// The request is a HEAD, whose answer has no content. A server's stream says it of one that became no head.
    package var isHead = false

    // MARK: A client's stream

    /// nghttp2 has opened it.
    var isOpen = false
    /// The answer's final head has come.
    var sawFinalHead = false
    /// Heads that have come before it.
    var interimHeads: UInt8 = 0

    // MARK: Receiving

    private(set) var inbox: [UInt8] = []
    private var inboxStart = 0
    enum Receiving {
        case open
        /// By the peer; what was received may still wait.
        case ended
        /// By the peer.
        case reset
        /// It has ended here before the peer ended its side, which may not know of that yet.
        case givenUp
    }
    var receiving = Receiving.open
    /// The peer has ended its side; what was received may still wait.
    package var sawEnd: Bool { receiving == .ended }
    /// Of a client's request, in milliseconds.
    var beganAt: Int64 = 0
    /// Once the stream is gone.
    package private(set) var closeCode: HTTP2ErrorCode?
    package var isClosed: Bool { closeCode != nil }
    /// What ended it before its time.
    package internal(set) var fault: HTTP2Fault?

    // MARK: Sending

    private(set) var outbox: [UInt8] = []
    private(set) var outboxStart = 0
    /// A server's response, or a client's request, until that was given to nghttp2.
    var outgoingHead = HTTP2FieldBlock()
    var outgoingTrailers = HTTP2FieldBlock()
    enum Sending { case nothing, head, body, ended }
    var sending = Sending.nothing
    /// How the sending side ends behind what was given.
    enum SendingEnd { case proper, reset(HTTP2ErrorCode) }
    /// Once everything there is to send was given.
    private(set) var sendingEnd: SendingEnd?
    var endsSending: Bool { sendingEnd != nil }
    var resetCode: HTTP2ErrorCode? { if case .reset(let code) = sendingEnd { code } else { nil } }
    /// Nothing was to be sent when the session last asked.
    var isDeferred = false
    var isWaiting = false
    /// Bytes that the stream may take next, for the others to have some, too.
    var share = Int.max
    /// Bytes of content in one frame, at most.
    package var chunkSize = 8192
    /// Nobody reads or writes any more.
    private(set) var isAbandoned = false
    /// A server's response is out, and the rest of the request, if there is any, is for nobody.
    var lingers: Bool { isAbandoned && sending == .ended }
    /// When one that lingers is reset, in milliseconds; `Int64.max` where that is to be said yet.
    var resetAt = Int64.max

    var change: Change = []
    var isTouched = false

    init(id: Int32, session: HTTP2Session) {
        self.id = id
        self.session = session
    }

    // MARK: The session's side

    var unsent: Int { outbox.count &- outboxStart }

    func receive(_ bytes: Span<UInt8>) {
        if inbox.isEmpty, let session { inbox = session.buffers.takeBytes() }
        Self.dropTaken(of: &inbox, upTo: &inboxStart)
        inbox.append(bytes)
    }

    /// More comes before all of `buffer` was taken: what was is not to pile up. Each byte is moved once, on average, at most.
    private static func dropTaken(of buffer: inout [UInt8], upTo start: inout Int) {
        guard start > buffer.count / 2 else { return }
        buffer.removeSubrange(..<start)
        start = 0
    }

    /// The first `count` bytes of what is to be sent go to `output`.
    func moveUnsent(_ count: Int, to output: inout [UInt8]) {
        do {
            let bytes = outbox
            output.append(bytes.span.extracting(outboxStart..<(outboxStart &+ count)))
        }
        outboxStart &+= count
        if outboxStart == outbox.count {
            giveBack(&outbox)
            outboxStart = 0
        }
    }

    private func giveBack(_ buffer: inout [UInt8]) {
        if let session { session.buffers.takeBack(&buffer) } else { buffer = [] }
    }

    /// The stream is gone. Its owner keeps what was received.
    func close(_ code: HTTP2ErrorCode) {
        closeCode = code
        session = nil
    }

    func dropUnsent() -> Int {
        let count = unsent
        outbox = []
        outboxStart = 0
        return count
    }

    // MARK: The owner's side

    package var hasUnread: Bool { inboxStart < inbox.count }
    package var unread: Int { inbox.count &- inboxStart }

    /// Moves what was received into `buffer` from `position` on, at most `limit` bytes. The peer's window opens again by
    /// as many.
    package func read(into buffer: inout MutableSpan<UInt8>, at position: Int, limit: Int) -> Int {
        let count = min(limit, unread)
        guard count > 0 else { return 0 }
        do {
            let bytes = inbox
            buffer.store(bytes.span.extracting(inboxStart..<(inboxStart &+ count)), at: position)
        }
        inboxStart &+= count
        if inboxStart == inbox.count {
            giveBack(&inbox)
            inboxStart = 0
        }
        session?.consumed(count, by: self)
        return count
    }

    /// A final head was given to be sent.
    package var hasBegunSending: Bool { sending != .nothing }

    /// An empty block to make a head in, which `send` takes back.
    package func takeBlock() -> HTTP2FieldBlock { session?.buffers.takeBlock() ?? HTTP2FieldBlock() }

    /// All of `head` was taken.
    package func dropHead() {
        giveBack(&head)
        if let session { session.buffers.takeBack(&knownLines) } else { knownLines = [] }
    }

    /// Gives a request's head to who would read it, where its lines are known.
    ///
    /// - Returns: how many bytes it has; `nil` where it has to be read.
    package func giveHead(
        to parser: inout RequestHeadParser, limits: RequestHeadParser.Limits, into request: inout RequestHead
    ) -> Int? {
        guard !knownLines.isEmpty else { return nil }
        let count = head.count
        let lines = knownLines
        guard parser.take(&head, lines: lines.span, limits: limits, into: &request) else { return nil }
        return count
    }

    /// Sends the head of a response: the final one, or another before it.
    package func send(_ head: consuming HTTP2FieldBlock, isFinal: Bool) {
        session?.send(head, isFinal: isFinal, on: self)
    }

    /// Takes bytes of the response's content, as many as there is room for.
    ///
    /// - Returns: how many; after 0 the owner is told when there is room again. -1 when the stream is gone.
    package func send(_ bytes: Span<UInt8>) -> Int {
        guard !isClosed, let session else { return -1 }
        let count = session.room(for: bytes.count, on: self)
        if count > 0 {
            if outbox.isEmpty { outbox = session.buffers.takeBytes() }
            Self.dropTaken(of: &outbox, upTo: &outboxStart)
            outbox.append(bytes.extracting(..<count))
            session.queued(count, on: self)
            share = .max
        }
        if count < bytes.count { session.wait(self) }
        return count
    }

    /// How many bytes of content it makes sense to have at once for `send`; what there is no room for stays with the owner.
    package var sendSize: Int { session?.sendSize(of: self) ?? HTTP2Session.turn }

    /// Lines that are to follow the content, when it ends.
    package func setTrailers(_ lines: Span<UInt8>) {
        outgoingTrailers.removeAll()
        outgoingTrailers.readTrailers(lines)
    }

    /// Ends the sending side behind what was sent: properly or, with a code, by a reset, as after the answer to a malformed
    /// request.
    package func endSending(resetting code: HTTP2ErrorCode? = nil) {
        guard !endsSending, !isClosed else { return }
        sendingEnd = code.map { .reset($0) } ?? .proper
        session?.queued(0, on: self)
    }

    /// The owner is done with the stream: what was sent still goes out, if the sending side was ended; otherwise the
    /// peer is told that the rest will not come.
    package func abandon(_ code: HTTP2ErrorCode) {
        guard !isAbandoned else { return }
        isAbandoned = true
        owner = nil
        let count = unread
        inbox = []
        inboxStart = 0
        session?.abandoned(self, unread: count, code)
    }

    /// Ends the stream at once.
    package func reset(_ code: HTTP2ErrorCode) { session?.reset(self, code) }
}
