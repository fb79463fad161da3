internal import Bytes
internal import CNGHTTP2

/// The HTTP/2 of one connection, without I/O or a clock: bytes go in, streams change, bytes come out.
///
/// nghttp2 reads and writes frames, keeps windows and states of streams, and compresses fields. What requests may say is
/// checked by `HTTP2RequestHead`; what a connection may cost without being of use, by `HTTP2FloodGuard`. Windows open
/// again only by what owners of streams have read.
///
/// Nothing is called back while bytes go in or out: what changed is kept, and given out by `nextRequest` and
/// `deliverChanges`, so that whoever is told may use the session at once.
@safe
package final class HTTP2Session {
    package struct Options: Sendable {
        package var maxConcurrentStreams = 128
        /// Bytes of a stream that may come before any are read.
        package var streamWindow = 65_536
        package var head = HTTP2RequestHead.Limits()
        /// Bytes that a stream takes ahead of the connection.
        package var maxQueued = 128 * 1024

        package init() {}
    }

    package enum Role: Sendable { case server, client }

    package let options: Options
    private let role: Role
    // Holds because: made in `init`, freed in `deinit`, and never handed out.
    private let session: OpaquePointer
    private var streams: [Int32: HTTP2Stream] = [:]
    /// The one of them that was last looked for: what is done with one comes in a row.
    private var lastFound: HTTP2Stream?
    let buffers: HTTP2Buffers
    private var arrivals: [HTTP2Stream] = []
    private var touched: [HTTP2Stream] = []
    private var spareTouched: [HTTP2Stream] = []
    /// Those whose final head was given since the last output.
    private var starting: [HTTP2Stream] = []
    /// Those that have more to send than there was room for, in the order of their turns.
    private var waiting: [HTTP2Stream] = []
    /// Bytes that streams hold and the connection has not taken.
    private var queuedBytes = 0
    private var output: [UInt8] = []
    private var outputLimit = 0
    private var requestHead = HTTP2RequestHead()
    private var responseHead = HTTP2ResponseHead()
    private var trailerLines = HTTP2TrailerLines()
    private var isReadingTrailers = false
    private var flood = HTTP2FloodGuard()
    private var violation: HTTP2ErrorCode?
    private var keyState: (UInt64, UInt64)
    private var isClosed = false
    /// Of the peer in all; those of frames that are known; and, of the others, those that were charged for.
    private var receivedBytes: Int64 = 0
    private var knownBytes: Int64 = 0
    private var noiseBytes: Int64 = 0

    /// Requests that have begun in all.
    package private(set) var requests = 0
    /// The peer answered the PING of `announceShutdown`.
    package private(set) var shutdownIsKnown = false
    package private(set) var hasPeerGoAway = false
    /// The peer has said what its limits are.
    package private(set) var hasPeerSettings = false

    /// - Parameters:
    ///   - role: of this side of the connection.
    ///   - options: what the peer is told of limits, and what holds here.
    ///   - keySeed: random, for the keys of WebSocket handshakes.
    ///   - buffers: of the thread that the session is used on.
    package init(
        _ role: Role, _ options: Options, keySeed: (UInt64, UInt64), buffers: HTTP2Buffers = HTTP2Buffers()
    ) {
        self.buffers = buffers
        self.role = role
        self.options = options
        keyState = keySeed
        requestHead.limits = options.head
        var made: OpaquePointer?
        var nghttp2Options: OpaquePointer?
        // Holds because: both are written before they are read, and the options are only read by the call. The session
        // knows nothing of `self` before `set_user_data`.
        unsafe nghttp2_option_new(&nghttp2Options)
        unsafe nghttp2_option_set_no_auto_window_update(nghttp2Options, 1)
        // Fields are checked by `HTTP2RequestHead`, whose rules are stricter.
        unsafe nghttp2_option_set_no_http_messaging(nghttp2Options, 1)
        unsafe nghttp2_option_set_max_outbound_ack(nghttp2Options, 500)
        unsafe nghttp2_option_set_no_closed_streams(nghttp2Options, 1)
        let result =
            unsafe role == .server
            ? nghttp2_session_server_new2(&made, Self.callbacks, nil, nghttp2Options)
            : nghttp2_session_client_new2(&made, Self.callbacks, nil, nghttp2Options)
        unsafe nghttp2_option_del(nghttp2Options)
        guard result == 0, let made = unsafe made else { preconditionFailure("out of memory") }
        unsafe session = made
        // Holds because: the session ends in `deinit`, and calls back only from within calls of this object.
        unsafe nghttp2_session_set_user_data(session, Unmanaged.passUnretained(self).toOpaque())
        submitSettings()
    }

    // Holds because: nobody else has the pointer.
    deinit { unsafe nghttp2_session_del(session) }

    private func submitSettings() {
        var entries: [(Int, Int)] = [(4, options.streamWindow), (6, options.head.maxList)]
        switch role {
        // RFC 8441 §3; RFC 9218 §2.1
        case .server: entries += [(3, options.maxConcurrentStreams), (8, 1), (9, 1)]
        // Nothing is to be pushed.
        case .client: entries += [(2, 0)]
        }
        var settings = entries.map {
            nghttp2_settings_entry(settings_id: Int32($0.0), value: UInt32(clamping: $0.1))
        }
        // Each stream may use all of its own window, whatever the others do.
        let window = min(
            Int(Int32.max), max(65_535, options.streamWindow.multipliedClamping(options.maxConcurrentStreams))
        )
        // Holds because: the array is as long as said, and is copied by the call.
        unsafe nghttp2_submit_settings(session, 0, &settings, settings.count)
        _ = unsafe nghttp2_session_set_local_window_size(session, 0, 0, Int32(window))
    }

    // MARK: The connection's side

    /// Streams that are open.
    package var openStreams: Int { streams.count }
    /// Nothing is to be read or written any more.
    package var isOver: Bool { unsafe nghttp2_session_want_read(session) == 0 && !wantsToSend }
    package var wantsToSend: Bool {
        unsafe !starting.isEmpty || nghttp2_session_want_write(session) != 0
    }
    /// Frames wait that are no content, far more of them than an honest peer lets come up.
    package var isSwamped: Bool {
        unsafe nghttp2_session_get_outbound_queue_size(session) > 1000 + 4 * options.maxConcurrentStreams
    }

    /// Takes what the peer sent.
    ///
    /// - Returns: why the connection must end at once, with a GOAWAY of `goAway(_:)`; `nil` when it goes on.
    package func receive(_ bytes: Span<UInt8>, now: Int64) -> HTTP2ErrorCode? {
        guard !isClosed else { return nil }
        flood.timePassed(now: now)
        // Holds because: the bytes are valid for the call, which keeps none of them.
        let result = unsafe bytes.withUnsafeBufferPointer {
            unsafe nghttp2_session_mem_recv(session, $0.baseAddress, $0.count)
        }
        receivedBytes &+= Int64(bytes.count)
        guard result < 0 else {
            chargeNoise()
            return violation != nil || isSwamped ? .enhanceYourCalm : nil
        }
        if let violation { return violation }
        switch result {
        case Int(NGHTTP2_ERR_FLOODED.rawValue), Int(NGHTTP2_ERR_TOO_MANY_CONTINUATIONS.rawValue):
            return .enhanceYourCalm
        case Int(NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue): return .protocolError
        default: return .internalError
        }
    }

    /// Appends frames to `buffer`, until it holds `limit` bytes or slightly more, or there are none.
    ///
    /// - Returns: false when the connection must be closed as it is.
    package func send(to buffer: inout [UInt8], limit: Int) -> Bool {
        guard !isClosed else { return true }
        for stream in starting { start(stream) }
        starting.removeAll(keepingCapacity: true)
        swap(&buffer, &output)
        defer { swap(&buffer, &output) }
        outputLimit = limit
        while output.count < limit {
            var data: UnsafePointer<UInt8>?
            // Holds because: `data` is valid until the next call of the session, and holds as many bytes as the call says.
            let count = unsafe nghttp2_session_mem_send(session, &data)
            guard count > 0 else { return count == 0 }
            unsafe output.append(Span(_unsafeStart: data.unsafelyUnwrapped, count: count))
        }
        return true
    }

    /// The frame that ends a connection, for one whose session has failed.
    package func goAway(_ code: HTTP2ErrorCode) -> [UInt8] {
        let last = unsafe UInt32(bitPattern: nghttp2_session_get_last_proc_stream_id(session))
        var frame: [UInt8] = [0, 0, 8, 7, 0, 0, 0, 0, 0]
        for value in [last, code.rawValue] {
            for shift in [24, 16, 8, 0] { frame.append(UInt8(truncatingIfNeeded: value >> UInt32(shift))) }
        }
        return frame
    }

    /// Tells the peer to begin no more streams here (RFC 9113 §6.8), and asks it to say that it knows.
    package func announceShutdown() {
        unsafe nghttp2_submit_shutdown_notice(session)
        unsafe nghttp2_submit_ping(session, 0, nil)
    }

    /// No streams are taken any more; those that there are end as they would.
    package func refuseStreams() {
        unsafe nghttp2_submit_goaway(
            session, 0, nghttp2_session_get_last_proc_stream_id(session), 0, nil, 0)
    }

    /// A client's new stream. Its request goes out with the head that is sent on it.
    package func openStream(_ owner: any HTTP2StreamOwner) -> HTTP2Stream {
        let stream = HTTP2Stream(id: 0, session: self)
        stream.owner = owner
        requests &+= 1
        return stream
    }

    /// How many streams the peer takes at a time; 0 when it takes no new ones.
    package var peerLimit: Int {
        guard !isClosed, !hasPeerGoAway, unsafe nghttp2_session_check_request_allowed(session) != 0 else {
            return 0
        }
        return unsafe Int(
            nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// The peer has said that it takes WebSockets on streams (RFC 8441 §3).
    package var peerTakesExtendedConnect: Bool {
        guard !isClosed else { return false }
        return unsafe nghttp2_session_get_remote_settings(
            session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
    }

    /// The next request whose head has come whole. Its stream has no owner yet.
    package func nextRequest() -> HTTP2Stream? {
        while !arrivals.isEmpty {
            let stream = arrivals.removeFirst()
            if !stream.isClosed { return stream }
        }
        return nil
    }

    /// `nextRequest` may have more to give.
    package var hasArrivals: Bool { !arrivals.isEmpty }

    /// Tells owners what has changed.
    package func deliverChanges() {
        // Rounds, since owners make changes: one that is told of room takes it.
        while !touched.isEmpty {
            swap(&touched, &spareTouched)
            for stream in spareTouched {
                stream.isTouched = false
                let change = stream.change
                stream.change = []
                guard !change.isEmpty, let owner = stream.owner else { continue }
                if stream.isClosed { stream.owner = nil }
                owner.streamChanged(change)
            }
            spareTouched.removeAll(keepingCapacity: true)
        }
    }

    /// The connection is gone: owners are told, when changes are next delivered.
    package func close() {
        guard !isClosed else { return }
        isClosed = true
        for stream in streams.values { end(stream, .cancel) }
        for stream in starting where !stream.isClosed { end(stream, .refusedStream) }
        streams = [:]
        lastFound = nil
        waiting = []
        starting = []
        arrivals = []
    }

    /// The stream is gone. What it has received whole can still be read.
    private func end(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        let isWhole = stream.sawEnd && stream.sending == .ended
        forget(stream, code)
        touch(stream, isWhole ? .readable : .failed)
    }

    private func forget(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        queuedBytes &-= stream.dropUnsent()
        if stream.unread > 0 { unsafe nghttp2_session_consume_connection(session, stream.unread) }
        stream.close(code)
    }

    private func touch(_ stream: HTTP2Stream, _ change: HTTP2Stream.Change) {
        stream.change.formUnion(change)
        guard !stream.isTouched else { return }
        stream.isTouched = true
        touched.append(stream)
    }

    // MARK: The streams' side

    /// How many of `count` bytes there is room for now.
    func room(for count: Int, on stream: HTTP2Stream) -> Int {
        guard count > 0, !isClosed else { return 0 }
        let own = window(of: stream) - stream.unsent
        let all = unsafe Int(nghttp2_session_get_remote_window_size(session)) - queuedBytes
        let most = min(count, own, all, options.maxQueued - stream.unsent, stream.share)
        // With others before it, a stream takes no more than a few frames.
        return max(0, waiting.isEmpty ? most : min(most, Self.turn))
    }

    /// A few times as many bytes as the peer takes of a stream's content unasked, and those of a frame at least.
    var sendSize: Int {
        guard !isClosed else { return Self.turn }
        let window = unsafe Int(
            nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE))
        return max(Self.turn, 4 * window)
    }

    private func window(of stream: HTTP2Stream) -> Int {
        // Of a request that is still to go out nghttp2 knows no window.
        if role == .client, stream.id == 0 || !stream.isOpen {
            return unsafe Int(
                nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE))
        }
        return unsafe Int(nghttp2_session_get_stream_remote_window_size(session, stream.id))
    }

    func wait(_ stream: HTTP2Stream) {
        guard !stream.isWaiting else { return }
        stream.isWaiting = true
        waiting.append(stream)
    }

    /// Gives those that wait another chance.
    private func wakeWaiting() {
        guard !waiting.isEmpty, queuedBytes < Int(Int32.max) else { return }
        let batch = waiting
        waiting = []
        // What the connection's window has room for is shared.
        let all = unsafe Int(nghttp2_session_get_remote_window_size(session)) - queuedBytes
        let share = batch.count == 1 ? Int.max : max(Self.turn, all / batch.count)
        var rest: [HTTP2Stream] = []
        for stream in batch {
            stream.share = .max
            if stream.isClosed {
                stream.isWaiting = false
            } else if room(for: 1, on: stream) > 0 {
                stream.isWaiting = false
                stream.share = share
                touch(stream, .writable)
            } else {
                rest.append(stream)
            }
        }
        waiting = rest
    }

    /// Bytes that a stream takes at least, when it is its turn.
    static let turn = 16_384
    /// Bytes below which it is not worth letting a stream go on that has more to send.
    private static let sliver = 64

    /// The connection has taken what was given out: those that held as much as they may get another chance.
    package func outputWasTaken() { wakeWaiting() }

    func queued(_ count: Int, on stream: HTTP2Stream) {
        queuedBytes &+= count
        guard stream.isDeferred else { return }
        stream.isDeferred = false
        unsafe nghttp2_session_resume_data(session, stream.id)
    }

    func consumed(_ count: Int, by stream: HTTP2Stream) {
        // Both fail for nothing but a stream that has closed meanwhile.
        unsafe nghttp2_session_consume_connection(session, count)
        if !stream.isClosed { unsafe nghttp2_session_consume_stream(session, stream.id, count) }
    }

    func send(_ head: consuming HTTP2FieldBlock, isFinal: Bool, on stream: HTTP2Stream) {
        guard !isClosed, stream.sending == .nothing else { return }
        stream.response = head
        guard isFinal else {
            submitHeaders(flags: 0, on: stream)
            return buffers.takeBack(&stream.response)
        }
        stream.sending = .head
        starting.append(stream)
    }

    /// The final head goes out, with the stream's end if there is nothing to follow.
    private func start(_ stream: HTTP2Stream) {
        guard stream.sending == .head, !stream.isClosed else { return }
        if role == .client { return request(stream) }
        if stream.resetCode != nil, stream.unsent == 0 {
            // The reset follows when they are out: see `headersSent`.
            stream.sending = .body
            submitHeaders(flags: 0, on: stream)
        } else if stream.endsSending, stream.unsent == 0, stream.responseTrailers.isEmpty {
            stream.sending = .ended
            submitHeaders(flags: UInt8(NGHTTP2_FLAG_END_STREAM.rawValue), on: stream)
        } else {
            stream.sending = .body
            submitResponse(stream)
        }
        buffers.takeBack(&stream.response)
    }

    /// A client's request goes out.
    private func request(_ stream: HTTP2Stream) {
        let isWhole = stream.endsSending && stream.unsent == 0 && stream.responseTrailers.isEmpty
        stream.sending = .body
        var provider = unsafe nghttp2_data_provider()
        unsafe provider.read_callback = Self.readContent
        // Holds because: see `withFields`; the provider is copied.
        let id = unsafe withFields(stream.response) { fields, count in
            unsafe isWhole
                ? nghttp2_submit_request(session, nil, fields, count, nil, nil)
                : nghttp2_submit_request(session, nil, fields, count, &provider, nil)
        }
        buffers.takeBack(&stream.response)
        guard id > 0 else { return end(stream, .refusedStream) }
        stream.id = id
        streams[id] = stream
    }

    func abandoned(_ stream: HTTP2Stream, unread: Int, _ code: HTTP2ErrorCode) {
        if unread > 0 { unsafe nghttp2_session_consume_connection(session, unread) }
        if stream.isClosed { return }
        switch stream.sending {
        // A request that goes on behind its response is not needed any more (RFC 9113 §8.1).
        case .ended: if !stream.sawEnd { reset(stream, role == .server ? .noError : code) }
        // What there is of the response goes out first. One that is whole stops its request after that: see `sentEnd`.
        case .head, .body:
            // An end that was given is still to go out.
            let hasNothing = stream.sending == .body && stream.unsent == 0 && !stream.endsSending
            if role == .client || hasNothing {
                reset(stream, code)
            } else {
                stream.endSending(resetting: code)
            }
        case .nothing: reset(stream, code)
        }
    }

    func reset(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        guard !isClosed, !stream.isClosed else { return }
        guard stream.id != 0 else { return forget(stream, code) }
        unsafe nghttp2_submit_rst_stream(session, 0, stream.id, code.rawValue)
        streams[stream.id] = nil
        lastFound = nil
        forget(stream, code)
    }

    // MARK: Fields

    private func withFields<Result>(
        _ block: HTTP2FieldBlock, _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result
    ) -> Result {
        let count = block.entries.count
        // Holds because: names and values lie in the block's bytes, which stay where they are during the closures and are
        // copied by the calls that are made in them; nghttp2 does not write through the pointers. There is room for as
        // many pairs as entries, and `count` of them have been made when `body` has them.
        return unsafe block.bytes.withUnsafeBufferPointer { memory in
            guard let start = unsafe UnsafeMutablePointer(mutating: memory.baseAddress), count > 0 else {
                return body(nil, 0)
            }
            return unsafe withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: count) { pairs in
                for (index, entry) in block.entries.enumerated() {
                    let pair = unsafe nghttp2_nv(
                        name: start + entry.nameStart, value: start + entry.valueStart,
                        namelen: entry.nameLength, valuelen: entry.valueLength,
                        flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
                    unsafe pairs.initializeElement(at: index, to: pair)
                }
                return unsafe body(pairs.baseAddress, count)
            }
        }
    }

    private func submitHeaders(flags: UInt8, on stream: HTTP2Stream) {
        // Holds because: see `withFields`.
        _ = unsafe withFields(stream.response) { fields, count in
            unsafe nghttp2_submit_headers(session, flags, stream.id, nil, fields, count, nil)
        }
    }

    private func submitResponse(_ stream: HTTP2Stream) {
        var provider = unsafe nghttp2_data_provider()
        unsafe provider.read_callback = Self.readContent
        // Holds because: see `withFields`; the provider is copied.
        _ = unsafe withFields(stream.response) { fields, count in
            unsafe nghttp2_submit_response(session, stream.id, fields, count, &provider)
        }
    }

    private func submitTrailers(_ stream: HTTP2Stream) -> Bool {
        // Holds because: see `withFields`.
        unsafe withFields(stream.responseTrailers) { fields, count in
            unsafe nghttp2_submit_trailer(session, stream.id, fields, count)
        } == 0
    }

    // MARK: What nghttp2 reports

    private func find(_ id: Int32) -> HTTP2Stream? {
        if let lastFound, lastFound.id == id { return lastFound }
        lastFound = streams[id]
        return lastFound
    }

    private func began(_ id: Int32) {
        let stream = HTTP2Stream(id: id, session: self)
        streams[id] = stream
        lastFound = stream
        requests &+= 1
        requestHead.removeAll()
        // One stream after the other would let a long response keep the others waiting (RFC 9218 §10).
        var priority = nghttp2_extpri(urgency: 3, inc: 1)
        // Holds because: it is read during the call.
        unsafe nghttp2_session_change_extpri_stream_priority(session, id, &priority, 1)
    }

    private func beganHeaders(_ id: Int32, isRequest: Bool) {
        if role == .client {
            responseHead.removeAll()
            trailerLines.removeAll()
            isReadingTrailers = find(id)?.sawFinalHead ?? false
            return
        }
        isReadingTrailers = !isRequest
        if isRequest { began(id) } else { trailerLines.removeAll() }
    }

    private func field(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Int32 {
        if isReadingTrailers {
            trailerLines.add(name, value)
        } else if role == .client {
            responseHead.add(name, value, maxSize: options.head.maxList)
        } else {
            if requestHead.isHopeless { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
            requestHead.add(name, value)
        }
        return 0
    }

    private func headersReceived(_ id: Int32, endsStream: Bool) {
        guard let stream = find(id) else { return }
        if isReadingTrailers { return trailersReceived(stream, endsStream: endsStream) }
        if role == .client { return responseReceived(stream, endsStream: endsStream) }
        stream.sawEnd = endsStream
        stream.head = buffers.takeBytes()
        stream.outcome = requestHead.finish(endsStream: endsStream, key: nextKey(), to: &stream.head)
        stream.knownLines = buffers.takeLines()
        requestHead.giveLines(to: &stream.knownLines)
        stream.contentLeft = requestHead.contentLength
        if case .malformed = stream.outcome { charge(.reset) }
        arrivals.append(stream)
    }

    private func responseReceived(_ stream: HTTP2Stream, endsStream: Bool) {
        switch responseHead.finish(endsStream: endsStream, toHead: stream.isHead, to: &stream.head) {
        case .none: return malformed(stream, .invalidFieldValue)
        case .interim: if endsStream { return malformed(stream, .trailersWithoutEnd) }
        case .final(let isChunked):
            stream.sawFinalHead = true
            stream.outcome = .request(isChunked ? .chunked : .plain)
            // Of a HEAD, a 204 or a 304 it speaks of what does not come.
            stream.contentLeft = endsStream ? -1 : responseHead.contentLength
        }
        if endsStream { ended(stream) } else { touch(stream, .readable) }
    }

    private func trailersReceived(_ stream: HTTP2Stream, endsStream: Bool) {
        guard endsStream else { return malformed(stream, .trailersWithoutEnd) }
        if let malformation = trailerLines.malformation { return malformed(stream, malformation) }
        stream.trailers = trailerLines.lines
        ended(stream)
    }

    private func dataReceived(_ id: Int32, _ bytes: Span<UInt8>) {
        guard let stream = find(id), !stream.isAbandoned else {
            unsafe nghttp2_session_consume_connection(session, bytes.count)
            unsafe nghttp2_session_consume_stream(session, id, bytes.count)
            return
        }
        if stream.contentLeft >= 0 {
            stream.contentLeft &-= Int64(bytes.count)
            guard stream.contentLeft >= 0 else {
                unsafe nghttp2_session_consume_connection(session, bytes.count)
                return malformed(stream, .contentLengthMismatch)
            }
        }
        stream.receive(bytes)
        touch(stream, .readable)
    }

    private func ended(_ stream: HTTP2Stream) {
        guard stream.contentLeft <= 0 else { return malformed(stream, .contentLengthMismatch) }
        stream.sawEnd = true
        touch(stream, .readable)
    }

    /// A request that had begun turned out to be malformed.
    private func malformed(_ stream: HTTP2Stream, _ malformation: HTTP2Malformation) {
        charge(.reset)
        stream.outcome = .malformed(malformation)
        reset(stream, .protocolError)
        touch(stream, .failed)
    }

    private func closed(_ id: Int32, _ code: UInt32) {
        lastFound = nil
        guard let stream = streams.removeValue(forKey: id) else { return }
        if stream.sending == .ended { flood.completedStream() }
        end(stream, HTTP2ErrorCode(rawValue: code) ?? .cancel)
    }

    private func charge(_ cost: HTTP2FloodGuard.Cost) {
        if !flood.spend(cost) { violation = .enhanceYourCalm }
    }

    /// Frames of unknown types, and content for streams that are gone, are passed over by nghttp2, but not without end.
    private func chargeNoise() {
        let unit: Int64 = 256
        let noise = (receivedBytes &- knownBytes &- noiseBytes) / unit
        guard noise > 0 else { return }
        noiseBytes &+= noise &* unit
        if !flood.spend(Int(noise)) { violation = .enhanceYourCalm }
    }

    private func frameBegan(_ type: UInt8, length: Int) {
        knownBytes &+= Int64(length &+ 9)
        switch Int(type) {
        case 0, 1: break
        case 3: charge(.reset)
        case 4: charge(.settings)
        case 6: charge(.ping)
        case 9: charge(.continuation)
        default: charge(.frame)
        }
    }

    private func settingsReceived() {
        hasPeerSettings = true
        wakeWaiting()
    }

    private func windowOpened(_ id: Int32) {
        if id == 0 { return wakeWaiting() }
        guard let stream = find(id), stream.isWaiting, room(for: 1, on: stream) > 0 else { return }
        if window(of: stream) - stream.unsent < Self.sliver { charge(.sliver) }
        stream.isWaiting = false
        waiting.removeAll { $0 === stream }
        touch(stream, .writable)
    }

    private func headersSent(_ id: Int32) {
        guard let stream = find(id) else { return }
        // A client's request has from now on a window of its own.
        stream.isOpen = true
        if role == .server, stream.sending == .body, stream.unsent == 0, let code = stream.resetCode {
            reset(stream, code)
        }
    }

    /// A frame with END_STREAM has gone out.
    private func sentEnd(_ id: Int32) {
        guard let stream = find(id) else { return }
        stream.sending = .ended
        if stream.isAbandoned, !stream.sawEnd {
            // RFC 9113 §8.1: the rest of the request is not needed.
            unsafe nghttp2_submit_rst_stream(session, 0, id, HTTP2ErrorCode.noError.rawValue)
        }
    }

    /// How much of a stream's content goes into the next frame, of `room` bytes at most; `nil` for none now.
    private func nextContent(_ id: Int32, room: Int) -> (count: Int, isLast: Bool, endsStream: Bool)? {
        guard let stream = find(id) else { return nil }
        let count = min(room, stream.chunkSize, stream.unsent)
        let isLast = stream.endsSending && count == stream.unsent
        if count == 0, !isLast {
            stream.isDeferred = true
            return nil
        }
        var endsStream = isLast
        if isLast, let code = stream.resetCode {
            unsafe nghttp2_submit_rst_stream(session, 0, id, code.rawValue)
            endsStream = false
        } else if isLast, !stream.responseTrailers.isEmpty {
            endsStream = !submitTrailers(stream)
        }
        return (count, isLast, endsStream)
    }

    private func appendContent(_ id: Int32, frameHead: Span<UInt8>, count: Int) -> Bool {
        guard let stream = find(id), stream.unsent >= count else { return false }
        output.append(frameHead)
        // A frame that the peer's window cut short gives no leave to open it by another byte.
        if count >= 1024 || count == stream.unsent && !stream.isWaiting { flood.sentData() }
        stream.moveUnsent(count, to: &output)
        queuedBytes &-= count
        return true
    }

    private func nextKey() -> (UInt64, UInt64) {
        // splitmix64, twice: RFC 6455 §4.1 wants a key that is not guessed by accident, not one that is secret.
        keyState.0 &+= 0x9e37_79b9_7f4a_7c15
        keyState.1 &+= 0xbf58_476d_1ce4_e5b9
        return (Self.mixed(keyState.0), Self.mixed(keyState.1))
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }
}

extension HTTP2Session {
    // MARK: Callbacks

    // Holds because: made once, and only read afterwards.
    private nonisolated(unsafe) static let callbacks: OpaquePointer = {
        var made: OpaquePointer?
        unsafe nghttp2_session_callbacks_new(&made)
        guard let made = unsafe made else { preconditionFailure("out of memory") }
        // Holds because: in every callback, pointers are valid for its length and as long as said beside them, and the user
        // data is the session that makes the call.
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(made) { _, frame, user in
            guard let (session, frame) = unsafe HTTP2Session.unpack(user, frame) else { return 0 }
            let category = unsafe frame.pointee.headers.cat
            unsafe session.beganHeaders(
                frame.pointee.hd.stream_id, isRequest: category == NGHTTP2_HCAT_REQUEST)
            return session.verdict
        }
        unsafe nghttp2_session_callbacks_set_on_header_callback(made) {
            _, _, name, nameLength, value, valueLength, _, user in
            guard let user = unsafe user, let name = unsafe name, let value = unsafe value else { return 0 }
            // Called for each field, so that no reference is counted.
            return unsafe Unmanaged<HTTP2Session>.fromOpaque(user)._withUnsafeGuaranteedRef { session in
                unsafe session.field(
                    Span(_unsafeStart: name, count: nameLength), Span(_unsafeStart: value, count: valueLength)
                )
            }
        }
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(made) { _, head, user in
            guard let session = unsafe HTTP2Session.unpack(user), let head = unsafe head else { return 0 }
            unsafe session.frameBegan(
                head.pointee.type, length: head.pointee.length)
            return session.verdict
        }
        unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(made) { _, frame, user in
            guard let (session, frame) = unsafe HTTP2Session.unpack(user, frame) else { return 0 }
            unsafe session.frameReceived(frame)
            return session.verdict
        }
        unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made) {
            _, _, id, data, length, user in
            guard let session = unsafe HTTP2Session.unpack(user), let data = unsafe data else { return 0 }
            unsafe session.dataReceived(id, Span(_unsafeStart: data, count: length))
            return session.verdict
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made) { _, _, _, user in
            guard let session = unsafe HTTP2Session.unpack(user) else { return 0 }
            session.charge(.reset)
            return session.verdict
        }
        unsafe nghttp2_session_callbacks_set_on_stream_close_callback(made) { _, id, code, user in
            guard let session = unsafe HTTP2Session.unpack(user) else { return 0 }
            session.closed(id, code)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_frame_send_callback(made) { _, frame, user in
            guard let (session, frame) = unsafe HTTP2Session.unpack(user, frame) else { return 0 }
            let head = unsafe frame.pointee.hd
            if head.type == 1 { session.headersSent(head.stream_id) }
            if head.type <= 1, head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 {
                session.sentEnd(head.stream_id)
            }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_send_data_callback(made) { _, frame, head, length, _, user in
            guard let (session, frame) = unsafe HTTP2Session.unpack(user, frame), let head = unsafe head
            else {
                return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
            }
            // RFC 9113 §4.1: a frame's head has nine bytes.
            let id = unsafe frame.pointee.hd.stream_id
            guard
                unsafe session.appendContent(id, frameHead: Span(_unsafeStart: head, count: 9), count: length)
            else { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
            return session.output.count >= session.outputLimit ? NGHTTP2_ERR_PAUSE.rawValue : 0
        }
        return unsafe made
    }()

    /// Whether nghttp2 is to go on.
    private var verdict: Int32 { violation == nil ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }

    private static let readContent: nghttp2_data_source_read_callback = { _, id, _, length, flags, _, user in
        // Holds because: see `callbacks`.
        guard let session = unsafe HTTP2Session.unpack(user), let flags = unsafe flags,
            let next = session.nextContent(id, room: length)
        else { return Int(NGHTTP2_ERR_DEFERRED.rawValue) }
        var all = UInt32(NGHTTP2_DATA_FLAG_NO_COPY.rawValue)
        if next.isLast { all |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue) }
        if next.isLast, !next.endsStream { all |= UInt32(NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue) }
        unsafe flags.pointee = all
        return next.count
    }

    private func frameReceived(_ frame: UnsafePointer<nghttp2_frame>) {
        // Holds because: the frame is valid for the call, and its head says which part of the union it is.
        let head = unsafe frame.pointee.hd
        let endsStream = head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        switch Int(head.type) {
        case 0:
            if endsStream {
                if let stream = find(head.stream_id) { ended(stream) }
            } else if unsafe head.length <= frame.pointee.data.padlen {
                charge(.sliver)
            }
        case 1: headersReceived(head.stream_id, endsStream: endsStream)
        case 4: if head.flags & 1 == 0 { settingsReceived() }
        case 6: if head.flags & 1 != 0 { shutdownIsKnown = true }
        case 7: hasPeerGoAway = true
        case 8: windowOpened(head.stream_id)
        default: break
        }
    }

    @unsafe private static func unpack(_ user: UnsafeMutableRawPointer?) -> HTTP2Session? {
        // Holds because: see `callbacks`.
        unsafe user.map { unsafe Unmanaged<HTTP2Session>.fromOpaque($0).takeUnretainedValue() }
    }

    @unsafe private static func unpack(
        _ user: UnsafeMutableRawPointer?, _ frame: UnsafePointer<nghttp2_frame>?
    ) -> (HTTP2Session, UnsafePointer<nghttp2_frame>)? {
        guard let session = unsafe unpack(user), let frame = unsafe frame else { return nil }
        return unsafe (session, frame)
    }
}

extension Int {
    fileprivate func multipliedClamping(_ other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
