internal import CNGHTTP2

/// The functions that nghttp2 calls, which only find the session and put arguments into Swift's terms.
extension HTTP2Session {
    // Holds because: made once, and only read afterwards.
    nonisolated(unsafe) static let callbacks: OpaquePointer = {
        var made: OpaquePointer?
        unsafe nghttp2_session_callbacks_new(&made)
        guard let made = unsafe made else { preconditionFailure("out of memory") }
        // Holds because: in every callback, pointers are valid for its length and as long as said beside them, and the user
        // data is the session that makes the call.
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(made) { _, frame, user in
            guard let (session, frame) = unsafe HTTP2Session.unpack(user, frame) else { return 0 }
            let head = unsafe frame.pointee.hd
            let category = unsafe frame.pointee.headers.cat
            let isRead = session.beganHeaders(
                head.stream_id, isRequest: category == NGHTTP2_HCAT_REQUEST,
                endsStream: head.endsStream)
            // The reset that the latter asks for adds nothing to one that was submitted.
            return isRead ? session.verdict : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
        unsafe nghttp2_session_callbacks_set_on_header_callback(made) {
            _, _, name, nameLength, value, valueLength, _, user in
            guard let user = unsafe user, let name = unsafe name, let value = unsafe value else { return 0 }
            // Called for each field, so that no reference is counted.
            unsafe Unmanaged<HTTP2Session>.fromOpaque(user)._withUnsafeGuaranteedRef { session in
                unsafe session.field(
                    Span(_unsafeStart: name, count: nameLength), Span(_unsafeStart: value, count: valueLength)
                )
            }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(made) { _, head, user in
            guard let session = unsafe HTTP2Session.unpack(user), let head = unsafe head else { return 0 }
            unsafe session.frameBegan(
                head.pointee.type, head.pointee.stream_id, flags: head.pointee.flags,
                length: head.pointee.length)
            return session.verdict
        }
        // Frames of unknown types are not unpacked, but are told of as they begin: see `nghttp2Options`.
        unsafe nghttp2_session_callbacks_set_unpack_extension_callback(made) { _, _, _, _ in
            NGHTTP2_ERR_CANCEL.rawValue
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
            switch head.frameType {
            case .data: if head.endsStream { session.sentEnd(head.stream_id) }
            case .headers:
                session.headersSent(head.stream_id)
                if head.endsStream { session.sentEnd(head.stream_id) }
            case .goAway:
                let goAway = unsafe frame.pointee.goaway
                let reason = unsafe UnsafeBufferPointer(
                    start: goAway.opaque_data, count: goAway.opaque_data_len)
                unsafe session.sentGoAway(goAway.error_code, reason: reason.span)
            default: break
            }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_send_data_callback(made) { _, frame, head, length, _, user in
            guard let (session, frame) = unsafe HTTP2Session.unpack(user, frame), let head = unsafe head
            else {
                return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
            }
            let id = unsafe frame.pointee.hd.stream_id
            guard
                unsafe session.appendContent(
                    id, frameHead: Span(_unsafeStart: head, count: HTTP2FrameType.headSize), count: length)
            else { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
            return session.output.count >= session.outputLimit ? NGHTTP2_ERR_PAUSE.rawValue : 0
        }
        return unsafe made
    }()

    // Holds because: made once, and only read afterwards.
    nonisolated(unsafe) static let nghttp2Options: OpaquePointer = {
        var made: OpaquePointer?
        unsafe nghttp2_option_new(&made)
        guard let made = unsafe made else { preconditionFailure("out of memory") }
        unsafe nghttp2_option_set_no_auto_window_update(made, 1)
        // Fields are checked by `HTTP2RequestHead`, whose rules are stricter.
        unsafe nghttp2_option_set_no_http_messaging(made, 1)
        unsafe nghttp2_option_set_max_outbound_ack(made, 500)
        unsafe nghttp2_option_set_no_closed_streams(made, 1)
        // How often streams are reset is for `HTTP2FloodGuard` to judge.
        unsafe nghttp2_option_set_stream_reset_rate_limit(made, 1 << 30, 1 << 30)
        // So that they are told apart from content which comes late.
        for type in HTTP2FrameType.firstUnknown...255 {
            unsafe nghttp2_option_set_user_recv_extension_type(made, type)
        }
        return unsafe made
    }()

    /// Whether nghttp2 is to go on.
    private var verdict: Int32 { violation == nil ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }

    static let readContent: nghttp2_data_source_read_callback = { _, id, _, length, flags, _, user in
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
        switch head.frameType {
        case .data:
            if head.endsStream {
                if let stream = find(head.stream_id) { ended(stream) }
            } else if unsafe head.length <= frame.pointee.data.padlen {
                charge(.sliver)
            } else if let stream = find(head.stream_id), !stream.isAbandoned {
                flood.receivedData()
            }
        case .headers: headersReceived(head.stream_id, endsStream: head.endsStream)
        case .resetStream: unsafe find(head.stream_id)?.fault = .reset(frame.pointee.rst_stream.error_code)
        case .settings: if head.isAcknowledgement { settingsAreKnown = true } else { settingsReceived() }
        case .ping: if head.isAcknowledgement { shutdownIsKnown = true }
        case .goAway: unsafe peerGoAway = frame.pointee.goaway.error_code
        case .windowUpdate: windowOpened(head.stream_id)
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
