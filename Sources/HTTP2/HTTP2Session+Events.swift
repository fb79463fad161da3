internal import Bytes
internal import CNGHTTP2
internal import Wire

/// What nghttp2 reports while bytes go in or out: it is kept with the streams, whose owners are told later.
extension HTTP2Session {
    func find(_ id: Int32) -> HTTP2Stream? {
        if let lastFound, lastFound.id == id { return lastFound }
        lastFound = streams[id]
        return lastFound
    }

    /// - Returns: false where there are as many streams as there may be.
    private func began(_ id: Int32, endsStream: Bool) -> Bool {
        beginsStream(id)
        guard streams.count < options.maxConcurrentStreams else {
            // RFC 9113 §5.1.2. A stream is refused sooner than a client can reset it, which must not come cheaper.
            charge(.reset)
            unsafe nghttp2_submit_rst_stream(session, 0, id, HTTP2ErrorCode.refusedStream.rawValue)
            if !endsStream { endedEarly(window: options.streamWindow) }
            return false
        }
        let stream = HTTP2Stream(id: id, session: self)
        stream.beganAt = received.at
        streams[id] = stream
        lastFound = stream
        requests &+= 1
        reading.request.removeAll()
        // One stream after the other would let a long response keep the others waiting (RFC 9218 §10).
        var priority = nghttp2_extpri(urgency: 3, inc: 1)
        // Holds because: it is read during the call.
        unsafe nghttp2_session_change_extpri_stream_priority(session, id, &priority, 1)
        return true
    }

    /// - Returns: false where nobody is to read the head.
    func beganHeaders(_ id: Int32, isRequest: Bool, endsStream: Bool) -> Bool {
        if role == .client {
            reading.response.removeAll()
            reading.trailers.removeAll()
            reading.isTrailers = find(id)?.sawFinalHead ?? false
            return true
        }
        reading.isTrailers = !isRequest
        if isRequest { return began(id, endsStream: endsStream) }
        reading.trailers.removeAll()
        return true
    }

    func field(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        if reading.isTrailers {
            reading.trailers.add(name, value)
        } else if role == .client {
            reading.response.add(name, value, maxSize: options.head.maxList)
        } else {
            reading.request.add(name, value)
        }
    }

    func headersReceived(_ id: Int32, endsStream: Bool) {
        guard let stream = find(id) else { return }
        if reading.isTrailers { return trailersReceived(stream, endsStream: endsStream) }
        if role == .client { return responseReceived(stream, endsStream: endsStream) }
        if endsStream { stream.receiving = .ended }
        stream.sawHead = true
        stream.head = buffers.takeBytes()
        stream.outcome = reading.request.finish(endsStream: endsStream, key: nextKey(), to: &stream.head)
        stream.knownLines = buffers.takeLines()
        reading.request.giveLines(to: &stream.knownLines)
        stream.contentLeft = reading.request.contentLength
        switch stream.outcome {
        case .request: break
        case .refused:
            stream.isHead = reading.request.isHead
            // A few bytes can refer to many that were sent once (RFC 7541 §7.3).
            if reading.request.isHopeless { charge(.reset) }
        case .malformed:
            stream.isHead = reading.request.isHead
            charge(.reset)
        }
        arrivals.append(stream)
    }

    private func responseReceived(_ stream: HTTP2Stream, endsStream: Bool) {
        if reading.response.isInterim {
            // Here as well as where they are read, since all of them may come before any is.
            guard stream.interimHeads < ResponseHead.maxInterimHeads else {
                return malformed(stream, .tooManyInterimHeads)
            }
            guard stream.head.count <= options.head.maxList else { return malformed(stream, .headTooLarge) }
            stream.interimHeads &+= 1
        }
        switch reading.response.finish(endsStream: endsStream, toHead: stream.isHead, to: &stream.head) {
        case .none: return malformed(stream, reading.response.malformation ?? .missingPseudoField)
        case .interim: if endsStream { return malformed(stream, .interimWithEnd) }
        case .final(let isChunked):
            stream.sawFinalHead = true
            stream.outcome = .request(isChunked ? .chunked : .plain)
            stream.contentLeft = reading.response.contentToCome
        }
        if endsStream { ended(stream) } else { touch(stream, .readable) }
    }

    private func trailersReceived(_ stream: HTTP2Stream, endsStream: Bool) {
        guard endsStream else { return malformed(stream, .trailersWithoutEnd) }
        guard !stream.isAbandoned else { return ended(stream) }
        if let malformation = reading.trailers.malformation { return malformed(stream, malformation) }
        stream.trailers = reading.trailers.lines
        ended(stream)
    }

    func dataReceived(_ id: Int32, _ bytes: Span<UInt8>) {
        let found = find(id)
        guard let stream = found, !stream.isAbandoned else {
            unsafe nghttp2_session_consume_connection(session, bytes.count)
            // One that lingers may send what its window has room for, and no more.
            if found?.lingers != true { unsafe nghttp2_session_consume_stream(session, id, bytes.count) }
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

    func ended(_ stream: HTTP2Stream) {
        // How long it was no longer matters: its answer may be on its way (RFC 9113 §8.1).
        guard stream.contentLeft <= 0 || stream.isAbandoned else {
            return malformed(stream, .contentLengthMismatch)
        }
        stream.receiving = .ended
        touch(stream, .readable)
    }

    /// A request that had begun turned out to be malformed.
    private func malformed(_ stream: HTTP2Stream, _ malformation: HTTP2Malformation) {
        // An upstream has no more of them than there are requests of ours.
        if role == .server { charge(.reset) }
        // `outcome` stays what the head said: what came before is to be read as that.
        stream.fault = .malformed(malformation)
        reset(stream, .protocolError)
        touch(stream, .failed)
    }

    func closed(_ id: Int32, _ code: UInt32) {
        lastFound = nil
        guard let stream = streams.removeValue(forKey: id) else { return }
        endsEarly(stream)
        if stream.sending == .ended { flood.completedStream() }
        let reason = HTTP2ErrorCode(rawValue: code) ?? .cancel
        if stream.fault == nil { stream.fault = peerGoAway.map { .goAway($0) } ?? Self.fault(of: reason) }
        end(stream, reason)
    }

    /// Why nghttp2 itself ended a stream, which it was not asked to: the peer broke a rule that is about one stream alone, as
    /// with a window that overflows (RFC 9113 §6.9.1). `nil` where no rule was broken.
    private static func fault(of reason: HTTP2ErrorCode) -> HTTP2Fault? {
        switch reason {
        case .noError, .refusedStream, .cancel: nil
        default: .violation(reason.rawValue, "")
        }
    }

    func settingsReceived() {
        hasPeerSettings = true
        withdrawExcess()
        wakeWaiting()
    }

    func windowOpened(_ id: Int32) {
        if id == 0 { return wakeWaiting() }
        guard let stream = find(id), stream.isWaiting, room(for: 1, on: stream) > 0 else { return }
        if window(of: stream) - stream.unsent < Self.sliver { charge(.sliver) }
        stream.isWaiting = false
        waiting.removeAll { $0 === stream }
        touch(stream, .writable)
    }

    func headersSent(_ id: Int32) {
        guard let stream = find(id) else { return }
        // A client's request has from now on a window of its own.
        stream.isOpen = true
        if role == .server, stream.sending == .body, stream.unsent == 0, let code = stream.resetCode {
            reset(stream, code)
        }
    }

    /// nghttp2 has told the peer that it ends the connection, or we have.
    func sentGoAway(_ code: UInt32, reason: Span<UInt8>) {
        guard code != 0 else { return }
        var text: [UInt8] = []
        text.append(reason)
        violationOfPeer = .violation(code, String(decoding: text, as: UTF8.self))
    }

    /// A frame with END_STREAM has gone out.
    func sentEnd(_ id: Int32) {
        guard let stream = find(id) else { return }
        stream.sending = .ended
        if stream.lingers, !stream.sawEnd { lingering.append(stream) }
    }

    /// How much of a stream's content goes into the next frame, of `room` bytes at most; `nil` for none now.
    func nextContent(_ id: Int32, room: Int) -> (count: Int, isLast: Bool, endsStream: Bool)? {
        guard let stream = find(id) else { return nil }
        let count = min(room, stream.chunkSize, stream.unsent)
        let isLast = stream.endsSending && count == stream.unsent
        if count == 0, !isLast {
            stream.isDeferred = true
            return nil
        }
        var endsStream = isLast
        if isLast, let code = stream.resetCode {
            endsEarly(stream)
            unsafe nghttp2_submit_rst_stream(session, 0, id, code.rawValue)
            endsStream = false
        } else if isLast, !stream.outgoingTrailers.isEmpty {
            endsStream = !submitTrailers(stream)
        }
        return (count, isLast, endsStream)
    }

    func appendContent(_ id: Int32, frameHead: Span<UInt8>, count: Int) -> Bool {
        guard let stream = find(id), stream.unsent >= count else { return false }
        output.append(frameHead)
        // A frame that the peer's window cut short gives no leave to open it by another byte.
        if count >= min(1024, stream.chunkSize) || count == stream.unsent && !stream.isWaiting {
            flood.sentData()
        }
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
