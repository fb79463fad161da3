internal import CNGHTTP2

/// What frames cost a peer as they begin, and what still comes for streams that have ended here.
extension HTTP2Session {
    /// A stream that its client gives up sooner than this, in milliseconds, is one of a rapid reset.
    private static let rapidTime: Int64 = 50

    /// Called for all frames but those that nghttp2 passes over: content for streams that are gone, and the rest of heads for
    /// such.
    func frameBegan(_ type: UInt8, _ id: Int32, flags: UInt8, length: Int) {
        received.known &+= Int64(length &+ HTTP2FrameType.headSize)
        switch HTTP2FrameType(rawValue: type) {
        case .data: break
        case .headers: headersBegan(id, flags: flags)
        case .priority:
            // RFC 9113 §6.3. nghttp2 looks at none of them, as our settings say that priorities are not used.
            if id == 0 { violation = .protocolError }
            charge(.frame)
        case .goAway: charge(.frame)
        case .resetStream: resetBegan(id)
        case .settings: charge(.settings)
        case .ping: if !flood.spendAnswer(.ping) { charge(.ping) }
        case .windowUpdate where flood.spendAnswer(.frame): break
        case .windowUpdate: if id == 0 || find(id) != nil { charge(.frame) } else { chargeLate(.frame) }
        case .continuation: charge(.continuation)
        case .pushPromise, nil: if !flood.spendUnknown(length) { violation = .enhanceYourCalm }
        }
    }

    private func headersBegan(_ id: Int32, flags: UInt8) {
        if role == .server, id > lastBegun {
            guard refusesStreams else { return }
            // After the last GOAWAY it is passed over, with what follows it.
            charge(.reset)
            if flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) == 0 {
                endedEarly(window: options.streamWindow)
            }
        } else if find(id) == nil {
            // RFC 9113 §5.1.1: a stream that was passed over was closed by the one above it, and was never there to have
            // ended.
            if passedOver.contains(where: { $0.contains(id) }) { violation = .protocolError }
            // A response, or trailers: decoded, but read by nobody.
            chargeLate(.frame)
        } else {
            return
        }
        // The rest of such a head is not seen here.
        guard flags & UInt8(NGHTTP2_FLAG_END_HEADERS.rawValue) == 0 else { return }
        for _ in 0..<8 { charge(.continuation) }
    }

    /// A client has begun its stream `id`, and no more begins one below. What it left out since the last is kept in mind, as
    /// far back as there is room.
    func beginsStream(_ id: Int32) {
        let first = lastBegun == 0 ? 1 : lastBegun &+ 2
        if first < id {
            if passedOver.count == Self.maxPassedOver { passedOver.removeFirst() }
            passedOver.append(first..<id)
        }
        lastBegun = id
    }

    private static let maxPassedOver = 8

    private func resetBegan(_ id: Int32) {
        guard let stream = find(id) else { return chargeLate(role == .server ? .reset : .frame) }
        if stream.receiving == .open { stream.receiving = .reset }
        // Of an upstream's there are no more than requests of ours. A client that has its response and gives up the rest of its
        // request does no other thing than one that ends it.
        guard role == .server, !stream.lingers else { return }
        charge(received.at &- stream.beganAt < Self.rapidTime ? .reset : .lateReset)
    }

    func charge(_ cost: HTTP2FloodGuard.Cost) {
        if !flood.spend(cost) { violation = .enhanceYourCalm }
    }

    private func chargeLate(_ cost: HTTP2FloodGuard.Cost) {
        if !flood.spendLate(cost) { violation = .enhanceYourCalm }
    }

    /// What was passed over is charged for, but for what was allowed to come.
    func chargeNoise() {
        let noise = received.bytes &- received.known
        guard noise > 0 else { return }
        received.known = received.bytes
        if !flood.passedOver(noise) { violation = .enhanceYourCalm }
    }

    /// The stream ends here, and the peer may not have known it when it sent what is still to come.
    func endsEarly(_ stream: HTTP2Stream) {
        guard stream.receiving == .open else { return }
        stream.receiving = .givenUp
        // Negative where the stream is not open yet.
        let window = unsafe Int(nghttp2_session_get_stream_local_window_size(session, stream.id))
        if window >= 0 { endedEarly(window: window) }
    }

    func endedEarly(window: Int) {
        let streamWindow = max(Self.initialWindow, options.streamWindow)
        // A peer that has settings of ours may use the larger window before it is known here that it has them.
        let more = settingsAreKnown ? 0 : streamWindow - Self.initialWindow
        flood.endedEarly(window: window + more, of: options.maxConcurrentStreams, streamWindow: streamWindow)
    }

    /// RFC 9113 §6.9.2
    private static let initialWindow = 65_535
}
