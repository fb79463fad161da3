internal import Wire

/// Hooks for frames: a stage of its own, before messages are looked at. It takes whole frames only, and gives out
/// frames in a valid order, whichever of them hooks leave out.
extension WebSocketPlane {
    /// - Returns: how many bytes were taken; the rest is to be held.
    func gate(_ bytes: Span<UInt8>, from side: Side) -> Int {
        var out = commons.takeBuffer()
        var offset = 0
        var isTooBig = false
        frames: while offset < bytes.count {
            switch WebSocketFrameHeaderParser.read(
                bytes, at: offset, as: side == .client ? .server : .client,
                allowedReserved: self[side].frames.allowedReserved)
            {
            case .needsMore:
                break frames
            case .invalid:
                // What reads messages finds the same, and says so.
                out.append(copying: bytes, offset..<bytes.count)
                offset = bytes.count
            case .header(let header, let start):
                guard header.payloadLength <= Int64(rules.assembledLimit) else {
                    isTooBig = true
                    break frames
                }
                let end = start &+ Int(header.payloadLength)
                guard end <= bytes.count else {
                    busy(side).needed = end &- offset
                    break frames
                }
                let raw = bytes.extracting(offset..<end)
                offset = end
                guard rules.frames(from: side).includes(header.opcode, size: end &- start) else {
                    gates[side].append(header, raw, to: &out)
                    if header.opcode == .close { break frames }
                    continue
                }
                let item = commons.items.take(.frame, header.opcode, from: side, isFinal: header.isFinal)
                if let key = header.maskKey {
                    key.append(masking: bytes.extracting(start..<end), to: &item.data)
                } else {
                    item.data.append(copying: bytes, start..<end)
                }
                let verdict = owner.judge(item, from: 0)
                if case .waiting = verdict {
                    var held: [UInt8] = []
                    held.append(copying: raw, raw.indices)
                    let wait = WebSocketWait(item: item, what: .frame(raw: held, reserved: header.reserved))
                    passGated(out, side)
                    // What came before may have met hooks that wait, too; they are over first.
                    if self[side].busy?.waiting == nil {
                        busy(side).waiting = wait
                    } else {
                        busy(side).gateWait = wait
                    }
                    return offset
                }
                take(verdict, item, raw, header.reserved, side, into: &out)
                if header.opcode == .close { break frames }
            }
        }
        passGated(out, side)
        if isTooBig, !self[side].isDeaf {
            broke(side, WebSocketCloseCode.messageTooBig, Array("message too big".utf8))
        }
        return offset
    }

    /// The hooks of a frame that waited have come to their end.
    func gateResumed(
        _ verdict: WebSocketVerdict, _ item: WebSocketItem, _ raw: [UInt8], reserved: UInt8, _ side: Side
    ) {
        var out = commons.takeBuffer()
        take(verdict, item, raw.span, reserved, side, into: &out)
        passGated(out, side)
    }

    /// Goes on with frames whose hooks have had their say.
    func passGated(_ out: consuming [UInt8], _ side: Side) {
        if !out.isEmpty {
            if let busy = self[side].busy, busy.waiting != nil || !busy.gated.isEmpty {
                busy.gated.append(copying: out)
            } else {
                let taken = process(out.span, from: side)
                if taken < out.count, !self[side].isDeaf {
                    busy(side).gated.append(copying: out.span, taken..<out.count)
                }
            }
        }
        commons.giveBack(out)
    }

    private func take(
        _ verdict: WebSocketVerdict, _ item: WebSocketItem, _ raw: Span<UInt8>, _ reserved: UInt8,
        _ side: Side,
        into out: inout [UInt8]
    ) {
        defer { commons.items.giveBack(item) }
        let header = WebSocketFrameHeader(
            item.opcode, payloadLength: Int64(item.data.count), isFinal: item.isFinal, reserved: reserved)
        switch verdict {
        case .pass: gates[side].append(header, raw, to: &out)
        case .drop: gates[side].drop(header, maskKey: maskKey(to: side.other), to: &out)
        case .replace(let payloads), .split(let payloads, _):
            for (index, payload) in payloads.enumerated() {
                var piece = header
                piece.payloadLength = Int64(payload.count)
                if !header.opcode.isControl {
                    piece.isFinal = header.isFinal && index == payloads.count &- 1
                    if index > 0 {
                        piece.opcode = .continuation
                        piece.reserved = 0
                    }
                }
                piece.maskKey = maskKey(to: side.other)
                gates[side].append(piece, payload: payload.span, to: &out)
            }
            if payloads.isEmpty { gates[side].drop(header, maskKey: maskKey(to: side.other), to: &out) }
        case .close(let code, let reason): end(code, reason)
        case .waiting: break
        }
    }
}

/// Which frames of a message were let through, so that those behind them fit (RFC 6455 §5.4).
struct WebSocketGate {
    /// A frame of the message went on that was not its last.
    private var isOpen = false
    /// The first frame was left out: the next takes over what only the first says.
    private var start: (opcode: WebSocketOpcode, reserved: UInt8)?

    /// A frame as it came.
    mutating func append(_ header: WebSocketFrameHeader, _ raw: Span<UInt8>, to out: inout [UInt8]) {
        let first = out.count
        out.append(copying: raw, raw.indices)
        if let start = follow(header) {
            out[first] = (header.isFinal ? 0x80 : 0) | start.reserved &<< 4 | start.opcode.rawValue
        }
    }

    /// One that is written anew.
    mutating func append(_ header: WebSocketFrameHeader, payload: Span<UInt8>, to out: inout [UInt8]) {
        var header = header
        if let start = follow(header) {
            header.opcode = start.opcode
            header.reserved = start.reserved
        }
        WebSocketFraming.append(
            header.opcode, payload, isFinal: header.isFinal, reserved: header.reserved,
            maskKey: header.maskKey,
            to: &out)
    }

    /// One that is left out.
    mutating func drop(_ header: WebSocketFrameHeader, maskKey: WebSocketMaskKey?, to out: inout [UInt8]) {
        switch header.opcode {
        case .close, .ping, .pong: return
        case .text, .binary: start = header.isFinal ? nil : (header.opcode, header.reserved)
        case .continuation:
            guard header.isFinal else { return }
            start = nil
            guard isOpen else { return }
            isOpen = false
            WebSocketFraming.append(.continuation, Span(), maskKey: maskKey, to: &out)
        }
    }

    /// - Returns: what the frame has to begin with in place of its own.
    private mutating func follow(_ header: WebSocketFrameHeader) -> (
        opcode: WebSocketOpcode, reserved: UInt8
    )? {
        guard !header.opcode.isControl else { return nil }
        isOpen = !header.isFinal
        guard header.opcode == .continuation else { return nil }
        return start.take()
    }
}

struct WebSocketGates {
    private var client = WebSocketGate()
    private var upstream = WebSocketGate()

    subscript(side: TunnelStateMachine.Side) -> WebSocketGate {
        get { side == .client ? client : upstream }
        set { if side == .client { client = newValue } else { upstream = newValue } }
    }
}
