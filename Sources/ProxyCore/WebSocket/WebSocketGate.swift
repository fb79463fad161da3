internal import Wire

/// Hooks for frames: a stage of its own, before messages are looked at. It takes whole frames only, and gives out
/// frames in a valid order, whichever of them hooks leave out.
extension WebSocketPlane {
    /// Frames from this side pass by hooks, or have to until the message is over whose first frame these left out.
    func hasGate(_ side: Side) -> Bool { !rules.frames(from: side).isEmpty || self[side].withheldStart != 0 }

    /// - Returns: how many bytes were taken; the rest is to be held.
    func gate(_ bytes: Span<UInt8>, from side: Side) -> Int {
        var batch = WebSocketBatch()
        var offset = 0
        self[side].isProcessing = true
        // The rest of a frame that began when there were no hooks for frames.
        if self[side].frames.payloadLeft > 0 {
            let end = Int(min(Int64(bytes.count), self[side].frames.payloadLeft))
            offset = pass(bytes.extracting(0..<end), side, &batch)
        }
        var patience = WebSocketPatience()
        while !self[side].isDeaf, self[side].busy?.isWaiting != true, offset < bytes.count {
            if offset > 0, patience.isOver(owner) {
                rest(side)
                break
            }
            let taken = takeFrame(bytes.extracting(offset...), from: side, &batch)
            guard taken > 0 else { break }
            offset &+= taken
        }
        batch.finish(Span(), upTo: 0, for: self, side)
        self[side].isProcessing = false
        if self[side].frames.stopsAtFrames { flushWaiting(side) }
        return offset
    }

    /// Takes the frame that `bytes` begin with.
    ///
    /// - Returns: how long it is; 0 where it is not whole.
    private func takeFrame(_ bytes: Span<UInt8>, from side: Side, _ batch: inout WebSocketBatch) -> Int {
        switch WebSocketFrameHeaderParser.read(
            bytes, at: 0, as: side == .client ? .server : .client,
            allowedReserved: self[side].frames.allowedReserved)
        {
        case .needsMore:
            busy(side).needed = 0
            return 0
        case .invalid(let violation):
            broke(side, violation.closeCode, violation.rawValue)
            return 0
        case .header(let header, let start):
            // Whatever hooks have done to the frames before it.
            let isWithinMessage = self[side].frames.isWithinMessage || self[side].withheldStart != 0
            if let violation = header.orderViolation(isWithinMessage: isWithinMessage) {
                broke(side, violation.closeCode, violation.rawValue)
                return 0
            }
            let size = Int(clamping: header.payloadLength)
            let isWanted =
                rules.frames(from: side).includes(header.opcode, size: size) && !isMute(side.other)
            if !header.opcode.isControl {
                liveness.noteActivity(from: side)
                guard isWanted else {
                    // As much as there is: the rest goes the way of one that began without hooks.
                    let end = size > bytes.count &- start ? bytes.count : start &+ size
                    passAsIs(bytes.extracting(0..<end), header, side, &batch)
                    return end
                }
                guard size <= rules.assembledLimit || size <= rules.heldLimit && isInflated(header, side)
                else {
                    if header.opcode.beginsMessage { self[side].leftOut &+= 1 }
                    broke(side, WebSocketCloseCode.messageTooBig, "message too big")
                    return 0
                }
            }
            let end = start &+ size
            guard end <= bytes.count else {
                busy(side).needed = end
                return 0
            }
            let raw = bytes.extracting(0..<end)
            guard isWanted else {
                passAsIs(raw, header, side, &batch)
                return end
            }
            let item = commons.items.take(
                .frame, header.opcode, from: side, isFinal: header.isFinal, isCoded: header.reserved != 0)
            item.data.append(unmasking: bytes.extracting(start..<end), with: header.maskKey)
            // An answer to a ping of ours is for us alone, as the ping was.
            if case .pong = header.opcode, isOurs(item.data, from: side) {
                commons.items.giveBack(item)
                passAsIs(raw, header, side, &batch)
                return end
            }
            if !rules.countsMessages { liveness.noteActivity(from: side) }
            let verdict = owner.judge(item, from: 0)
            // What the hook has sent by itself goes before the frame that it was called for.
            if self[side].frames.stopsAtFrames { sendWaiting(side, into: &batch) }
            if hasToWait(verdict, side) {
                var held: [UInt8] = []
                held.append(copying: raw, raw.indices)
                wait(item, .frame(raw: held, reserved: header.reserved), side, verdict)
            } else {
                take(verdict, item, raw, header.reserved, side, &batch)
            }
            return end
        }
    }

    /// The frame is one of a message that is inflated behind these hooks, and measured then.
    private func isInflated(_ header: WebSocketFrameHeader, _ side: Side) -> Bool {
        let withheld = self[side].withheldStart
        if withheld == 0, case .continuation = header.opcode { return self[side].frames.isInflated }
        guard codecs?[side].inflater != nil else { return false }
        return (withheld == 0 ? header.reserved : withheld &>> 4) == WebSocketFrameHeader.reserved1
    }

    /// Does what a frame's hooks have decided, and gives its item back. `raw` is the frame as it came.
    func take(
        _ verdict: WebSocketVerdict, _ item: WebSocketItem, _ raw: Span<UInt8>, _ reserved: UInt8,
        _ side: Side, _ batch: inout WebSocketBatch
    ) {
        defer { commons.items.giveBack(item) }
        let header = WebSocketFrameHeader(
            item.opcode, payloadLength: Int64(item.data.count), isFinal: item.isFinal, reserved: reserved)
        switch verdict {
        case .pass: passAsIs(raw, header, side, &batch)
        case .rewritten: replace(header, [item.data], side, &batch)
        case .replace(let payloads) where !payloads.isEmpty: replace(header, payloads, side, &batch)
        case .split(let payloads, _) where !payloads.isEmpty: replace(header, payloads, side, &batch)
        case .drop, .replace, .split: leaveOut(header, side, &batch)
        case .close(let code, let reason):
            // What was sent of the message stays half; nothing but the close frame follows.
            if item.opcode.beginsMessage { self[side].leftOut &+= 1 }
            // A close frame was heard though it goes no further: no answer to ours follows it.
            let isGoodbye = item.opcode == .close
            if isGoodbye { self[side].isDeaf = true }
            end(code, reason)
            if isGoodbye { ending?[side].isHeard = true }
            if self[side].frames.stopsAtFrames { sendWaiting(side, into: &batch) }
        case .waiting: break
        }
    }

    private func passAsIs(
        _ raw: Span<UInt8>, _ header: WebSocketFrameHeader, _ side: Side, _ batch: inout WebSocketBatch
    ) {
        guard self[side].withheldStart != 0, !header.opcode.isControl, raw.count > 0 else {
            return _ = pass(raw, side, &batch)
        }
        // RFC 6455 §5.4: what remains of the message begins as it did.
        var frame: [UInt8] = [(header.isFinal ? 0x80 : 0) | self[side].withheldStart]
        frame.append(copying: raw, 1..<raw.count)
        self[side].withheldStart = 0
        self[side].leftOut &-= 1
        _ = pass(frame.span, side, &batch)
    }

    private func replace(
        _ header: WebSocketFrameHeader, _ payloads: [[UInt8]], _ side: Side, _ batch: inout WebSocketBatch
    ) {
        var frames: [UInt8] = []
        for (index, payload) in payloads.enumerated() {
            let maskKey = maskKey(to: side.other)
            guard !header.opcode.isControl else {
                WebSocketFraming.append(
                    header.opcode,
                    payload.span.extracting(first: Int(WebSocketFrameHeader.maxControlPayload)),
                    maskKey: maskKey, to: &frames)
                continue
            }
            var start = header.reserved &<< 4 | header.opcode.rawValue
            if index > 0 {
                start = 0
            } else if self[side].withheldStart != 0 {
                start = self[side].withheldStart
                self[side].withheldStart = 0
                self[side].leftOut &-= 1
            }
            WebSocketFraming.append(
                WebSocketOpcode(rawValue: start & 15) ?? .continuation, payload.span,
                isFinal: header.isFinal && index == payloads.count &- 1, reserved: start &>> 4,
                maskKey: maskKey, to: &frames)
        }
        _ = pass(frames.span, side, &batch)
    }

    private func leaveOut(_ header: WebSocketFrameHeader, _ side: Side, _ batch: inout WebSocketBatch) {
        switch header.opcode {
        case .close, .ping, .pong: return
        case .text, .binary:
            self[side].leftOut &+= 1
            self[side].withheldStart = header.isFinal ? 0 : header.reserved &<< 4 | header.opcode.rawValue
        case .continuation:
            guard header.isFinal else { return }
            guard self[side].withheldStart == 0 else { return self[side].withheldStart = 0 }
            // What was sent of the message has to end.
            var frame: [UInt8] = []
            WebSocketFraming.append(.continuation, Span(), maskKey: maskKey(to: side.other), to: &frame)
            _ = pass(frame.span, side, &batch)
        }
    }

    /// Goes on with frames whose hooks have had their say. What cannot, since a hook waits, is kept.
    ///
    /// - Returns: how many bytes these are.
    private func pass(_ frames: Span<UInt8>, _ side: Side, _ batch: inout WebSocketBatch) -> Int {
        let taken = follow(frames, side, &batch)
        if taken < frames.count, !self[side].isDeaf {
            busy(side).gated.append(frames.extracting(taken...))
        }
        return frames.count
    }

    /// Goes on with frames as far as hooks for messages let it.
    ///
    /// - Returns: how many bytes were taken.
    private func follow(_ frames: Span<UInt8>, _ side: Side, _ batch: inout WebSocketBatch) -> Int {
        let taken = follow(frames, from: side, &batch)
        batch.close(frames, upTo: taken, for: self, side)
        return taken
    }

    /// Goes on with frames that have been kept, as far as hooks for messages let it.
    func goOnWithGated(_ side: Side, _ batch: inout WebSocketBatch) {
        guard let busy = self[side].busy, !busy.isWaiting, !busy.gated.isEmpty else { return }
        var gated = busy.gated.take()
        gated.dropFirst(follow(gated.span, side, &batch))
        if !gated.isEmpty, !self[side].isDeaf { self.busy(side).gated.append(gated) }
    }
}
