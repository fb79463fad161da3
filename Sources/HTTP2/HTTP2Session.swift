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
        /// Bytes that a stream takes ahead of the connection, as long as others have not taken much.
        package var maxQueued = 128 * 1024
        /// Bytes that streams take together, but for a few frames of each.
        package var maxQueuedInAll = 512 * 1024

        package init() {}
    }

    package enum Role: Sendable { case server, client }

    /// The fields that are being decoded: of one head or trailer section at a time.
    struct Reading {
        var isTrailers = false
        var trailers = HTTP2TrailerLines()
        var request = HTTP2RequestHead()
        var response = HTTP2ResponseHead()
    }

    /// What has come from the peer.
    struct Received {
        /// In all.
        var bytes: Int64 = 0
        /// Those of them that are accounted for.
        var known: Int64 = 0
        /// When the last came, in milliseconds.
        var at: Int64 = 0
    }

    package let options: Options
    let role: Role
    // Holds because: made in `init`, freed in `deinit`, and never handed out.
    let session: OpaquePointer
    var streams: [Int32: HTTP2Stream] = [:]
    /// The one of them that was last looked for: what is done with one comes in a row.
    var lastFound: HTTP2Stream?
    let buffers: HTTP2Buffers
    var arrivals: [HTTP2Stream] = []
    private var touched: [HTTP2Stream] = []
    private var spareTouched: [HTTP2Stream] = []
    /// Those whose final head was given since the last output.
    private var starting: [HTTP2Stream] = []
    /// Those that have more to send than there was room for, in the order of their turns.
    var waiting: [HTTP2Stream] = []
    /// Those whose responses are out while their requests go on, as they came to be so. Some may have closed since.
    var lingering: [HTTP2Stream] = []
    /// Bytes that streams hold and the connection has not taken.
    var queuedBytes = 0
    var output: [UInt8] = []
    var outputLimit = 0
    var reading = Reading()
    var flood = HTTP2FloodGuard()
    var violation: HTTP2ErrorCode?
    var keyState: (UInt64, UInt64)
    private var isClosed = false
    var received = Received()
    /// The last stream that the peer has begun.
    var lastBegun: Int32 = 0
    /// Streams below that which it has never begun.
    var passedOver: [Range<Int32>] = []
    /// The peer has acknowledged our settings.
    var settingsAreKnown = false
    var refusesStreams = false
    /// Our settings are still to go out, as the first frame there is.
    private var announcesLimit: Bool

    /// Requests that have begun in all.
    package internal(set) var requests = 0
    /// The peer answered the PING of `announceShutdown`.
    package internal(set) var shutdownIsKnown = false
    /// The code of the GOAWAY that the peer sent last.
    var peerGoAway: UInt32?
    package var hasPeerGoAway: Bool { peerGoAway != nil }
    /// What the peer did against the protocol, once that has ended the connection.
    var violationOfPeer: HTTP2Fault?
    /// The peer has said what its limits are.
    package internal(set) var hasPeerSettings = false

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
        announcesLimit = role == .server
        reading.request.limits = options.head
        var made: OpaquePointer?
        // Holds because: it is written before it is read. The session knows nothing of `self` before `set_user_data`.
        let result =
            unsafe role == .server
            ? nghttp2_session_server_new2(&made, Self.callbacks, nil, Self.nghttp2Options)
            : nghttp2_session_client_new2(&made, Self.callbacks, nil, Self.nghttp2Options)
        guard result == 0, let made = unsafe made else { preconditionFailure("out of memory") }
        unsafe session = made
        // Holds because: the session ends in `deinit`, and calls back only from within calls of this object.
        unsafe nghttp2_session_set_user_data(session, Unmanaged.passUnretained(self).toOpaque())
        submitSettings()
    }

    // Holds because: nobody else has the pointer.
    deinit { unsafe nghttp2_session_del(session) }

    private func submitSettings() {
        var entries = [
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.streamWindow),
            (
                NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                role == .server ? options.head.announcedList : options.head.maxList
            ),
        ]
        switch role {
        case .server:
            entries += [
                (
                    NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                    options.maxConcurrentStreams + Self.streamsToRefuse
                ),
                (NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1),  // RFC 8441 §3
                (NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),  // RFC 9218 §2.1
            ]
        // Nothing is to be pushed.
        case .client: entries += [(NGHTTP2_SETTINGS_ENABLE_PUSH, 0)]
        }
        var settings = entries.map {
            nghttp2_settings_entry(settings_id: Int32($0.0.rawValue), value: UInt32(clamping: $0.1))
        }
        // Each stream may use all of its own window, whatever the others do.
        let window = min(
            Int(Int32.max), max(65_535, options.streamWindow.multipliedClamping(options.maxConcurrentStreams))
        )
        // Holds because: the array is as long as said, and is copied by the call.
        unsafe nghttp2_submit_settings(session, 0, &settings, settings.count)
        _ = unsafe nghttp2_session_set_local_window_size(session, 0, 0, Int32(window))
    }

    /// nghttp2 ends the connection over a stream above the limit that it knows of, once the peer has acknowledged it. So it is
    /// told of one that the flood guard does not let anybody reach, and those above the real one are refused here.
    private static let streamsToRefuse = 2 * HTTP2FloodGuard.burst

    /// Puts the real limit into the frame with our settings, which starts at `start` of the output.
    private func announceLimit(from start: Int) {
        announcesLimit = false
        let limit = UInt32(clamping: options.maxConcurrentStreams)
        // RFC 9113 §6.5.1: pairs of an identifier in two bytes and a value in four.
        let identifier = UInt8(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue)
        for entry in stride(from: start + HTTP2FrameType.headSize, to: output.count - 5, by: 6)
        where output[entry] == 0 && output[entry + 1] == identifier {
            for index in 0..<4 {
                output[entry + 2 + index] = UInt8(truncatingIfNeeded: limit >> UInt32(24 - 8 * index))
            }
        }
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
        received.at = now
        // Holds because: the bytes are valid for the call, which keeps none of them.
        let result = unsafe bytes.withUnsafeBufferPointer {
            unsafe nghttp2_session_mem_recv(session, $0.baseAddress, $0.count)
        }
        received.bytes &+= Int64(bytes.count)
        guard result < 0 else {
            chargeNoise()
            return violation ?? (isSwamped ? .enhanceYourCalm : nil)
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
            let start = output.count
            defer { if announcesLimit { announceLimit(from: start) } }
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
        ping()
    }

    /// Asks the peer for a sign of life.
    package func ping() { unsafe nghttp2_submit_ping(session, 0, nil) }

    /// No streams are taken any more; those that there are end as they would.
    package func refuseStreams() {
        refusesStreams = true
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
        return peerStreams
    }

    private var peerStreams: Int {
        unsafe Int(nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// The peer has said that it takes WebSockets on streams (RFC 8441 §3).
    package var peerTakesExtendedConnect: Bool {
        guard !isClosed else { return false }
        return unsafe nghttp2_session_get_remote_settings(
            session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
    }

    /// The next request whose head has come whole. Its stream has no owner yet; it may be closed, where a reset came along with the
    /// head: such a request is for logs alone.
    package func nextRequest() -> HTTP2Stream? {
        arrivals.isEmpty ? nil : arrivals.removeFirst()
    }

    /// A request's head has begun and is not whole.
    package var isInHead: Bool { streams.values.contains { !$0.sawHead } }

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
    ///
    /// - Parameter fault: why, as far as the peer has not said it or nghttp2 found it.
    package func close(_ fault: HTTP2Fault = .gone("the connection was closed")) {
        guard !isClosed else { return }
        isClosed = true
        var cause = violationOfPeer ?? fault
        if violationOfPeer == nil, let code = peerGoAway, code != 0 { cause = .goAway(code) }
        for stream in streams.values {
            stream.fault = stream.fault ?? cause
            end(stream, .cancel)
        }
        for stream in starting where !stream.isClosed {
            stream.fault = cause
            end(stream, .refusedStream)
        }
        streams = [:]
        lastFound = nil
        lingering = []
        waiting = []
        starting = []
        arrivals = []
    }

    /// The peer has ended its sending side: of requests that are not whole nothing more is to come. The others' owners
    /// may look at that.
    package func peerEnded() {
        for stream in streams.values {
            if stream.sawEnd { touch(stream, .readable) } else { giveUp(stream) }
        }
    }

    /// The peer has ended its sending side, and everything was sent that could be: no window will open for the rest.
    package func endBlocked() {
        for stream in streams.values
        where stream.unsent > 0 || stream.isWaiting && room(for: 1, on: stream) <= 0 {
            giveUp(stream)
        }
    }

    private func giveUp(_ stream: HTTP2Stream) {
        let code = HTTP2ErrorCode.cancel
        unsafe nghttp2_submit_rst_stream(session, 0, stream.id, code.rawValue)
        streams[stream.id] = nil
        lastFound = nil
        stream.fault = .gone("the peer ended the connection")
        end(stream, code)
    }

    /// Stops requests whose responses have been out for `lingeringTime`, which nobody needs the rest of (RFC 9113 §8.1). To be
    /// called when the peer has been sent all there was, and at the time that is returned.
    ///
    /// Not at once: a client that finds the reset beside the end of the response may take the request for failed, as curl 7.88
    /// does. Most requests end meanwhile, and need none.
    ///
    /// - Returns: when the next is due, in milliseconds; `nil` for none.
    package func endLingering(now: Int64) -> Int64? {
        guard !lingering.isEmpty else { return nil }
        var next: Int64?
        lingering.removeAll { stream in
            if stream.isClosed { return true }
            if stream.resetAt == .max { stream.resetAt = now &+ Self.lingeringTime }
            guard stream.resetAt <= now else {
                next = min(next ?? .max, stream.resetAt)
                return false
            }
            endsEarly(stream)
            unsafe nghttp2_submit_rst_stream(session, 0, stream.id, HTTP2ErrorCode.noError.rawValue)
            return true
        }
        return next
    }

    /// Milliseconds in which a request may end by itself, once its response is out.
    package static let lingeringTime: Int64 = 50

    /// The stream is gone. What it has received whole can still be read.
    func end(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        let isWhole = stream.sawEnd && stream.sending == .ended
        forget(stream, code)
        touch(stream, isWhole ? .readable : .failed)
    }

    private func forget(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        queuedBytes &-= stream.dropUnsent()
        if stream.unread > 0 { unsafe nghttp2_session_consume_connection(session, stream.unread) }
        stream.close(code)
    }

    func touch(_ stream: HTTP2Stream, _ change: HTTP2Stream.Change) {
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
        let most = min(count, own, all, maxQueued(on: stream) - stream.unsent, stream.share)
        // With others before it, a stream takes no more than a few frames.
        return max(0, waiting.isEmpty ? most : min(most, Self.turn))
    }

    /// Bytes that a stream may have queued: less, the more there are of others, so that a client which asks for much and
    /// reads nothing costs little.
    private func maxQueued(on stream: HTTP2Stream) -> Int {
        let left = options.maxQueuedInAll - (queuedBytes - stream.unsent)
        return max(Self.crowdedTurn, min(options.maxQueued, left / 4))
    }

    /// A few times as many bytes as the peer takes of a stream's content unasked, and those of a frame at least.
    func sendSize(of stream: HTTP2Stream) -> Int {
        guard !isClosed else { return Self.turn }
        let window = unsafe Int(
            nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE))
        // What there is no room for stays with the owner.
        return min(max(Self.turn, 4 * window), maxQueued(on: stream))
    }

    func window(of stream: HTTP2Stream) -> Int {
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
    func wakeWaiting() {
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
    /// Bytes that a stream may have queued at least.
    static let crowdedTurn = 8192
    /// Bytes below which it is not worth letting a stream go on that has more to send.
    static let sliver = 64

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
        stream.outgoingHead = head
        guard isFinal else {
            submitHeaders(flags: 0, on: stream)
            return buffers.takeBack(&stream.outgoingHead)
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
        } else if stream.endsSending, stream.unsent == 0, stream.outgoingTrailers.isEmpty {
            stream.sending = .ended
            submitHeaders(flags: UInt8(NGHTTP2_FLAG_END_STREAM.rawValue), on: stream)
        } else {
            stream.sending = .body
            submitResponse(stream)
        }
        buffers.takeBack(&stream.outgoingHead)
    }

    /// A client's request goes out, where the peer takes it: nghttp2 would keep it until there is room, while other
    /// connections have some.
    private func request(_ stream: HTTP2Stream) {
        guard streams.count < peerStreams else {
            buffers.takeBack(&stream.outgoingHead)
            stream.fault = .tooManyStreams(peerStreams)
            return end(stream, .refusedStream)
        }
        let isWhole = stream.endsSending && stream.unsent == 0 && stream.outgoingTrailers.isEmpty
        stream.sending = .body
        var provider = unsafe nghttp2_data_provider()
        unsafe provider.read_callback = Self.readContent
        // Holds because: see `withFields`; the provider is copied.
        let id = unsafe withFields(stream.outgoingHead) { fields, count in
            unsafe isWhole
                ? nghttp2_submit_request(session, nil, fields, count, nil, nil)
                : nghttp2_submit_request(session, nil, fields, count, &provider, nil)
        }
        buffers.takeBack(&stream.outgoingHead)
        guard id > 0 else { return end(stream, .refusedStream) }
        stream.id = id
        streams[id] = stream
    }

    /// The peer has said how many streams it takes: requests beyond, which have not gone out yet, are to go elsewhere.
    func withdrawExcess() {
        let excess = streams.count - peerStreams
        guard role == .client, excess > 0 else { return }
        let queued = streams.values.filter { !$0.isOpen }.sorted { $0.id > $1.id }
        for stream in queued.prefix(excess) {
            let code = HTTP2ErrorCode.refusedStream
            // It never goes out, as the request does not.
            unsafe nghttp2_submit_rst_stream(session, 0, stream.id, code.rawValue)
            streams[stream.id] = nil
            stream.fault = .tooManyStreams(peerStreams)
            end(stream, code)
        }
        lastFound = nil
    }

    func abandoned(_ stream: HTTP2Stream, unread: Int, _ code: HTTP2ErrorCode) {
        if unread > 0 { unsafe nghttp2_session_consume_connection(session, unread) }
        if stream.isClosed { return }
        switch stream.sending {
        case .ended:
            if stream.sawEnd { break }
            if role == .server { lingering.append(stream) } else { reset(stream, code) }
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
        endsEarly(stream)
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
        _ = unsafe withFields(stream.outgoingHead) { fields, count in
            unsafe nghttp2_submit_headers(session, flags, stream.id, nil, fields, count, nil)
        }
    }

    private func submitResponse(_ stream: HTTP2Stream) {
        var provider = unsafe nghttp2_data_provider()
        unsafe provider.read_callback = Self.readContent
        // Holds because: see `withFields`; the provider is copied.
        _ = unsafe withFields(stream.outgoingHead) { fields, count in
            unsafe nghttp2_submit_response(session, stream.id, fields, count, &provider)
        }
    }

    func submitTrailers(_ stream: HTTP2Stream) -> Bool {
        // Holds because: see `withFields`.
        unsafe withFields(stream.outgoingTrailers) { fields, count in
            unsafe nghttp2_submit_trailer(session, stream.id, fields, count)
        } == 0
    }
}

extension FixedWidthInteger {
    /// The product of two that are not negative, or the largest number there is.
    func multipliedClamping(_ other: Self) -> Self {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
