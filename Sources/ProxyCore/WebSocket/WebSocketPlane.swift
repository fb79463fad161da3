internal import Config
internal import Wire

/// What a WebSocket's plane needs of the world: the tunnel it runs in, or a test in its place.
package protocol WebSocketPlaneOwner: AnyObject {
    /// Sends to a peer, at once or as soon as it takes it.
    func send(_ first: Span<UInt8>, then second: Span<UInt8>, to side: TunnelSide)
    /// Runs the hooks for a message or frame, from the one at `position` on.
    func judge(_ item: WebSocketItem, from position: Int) -> WebSocketVerdict
    /// Gives up the hooks of an item that they wait with.
    func cancel(_ item: WebSocketItem)
    /// A script waits no longer for the answer to its ping. What goes on by that goes on later: bytes are being looked at.
    func pingEnded(_ token: Int, _ outcome: WebSocketPingOutcome)
    /// Nothing is read from this side at present, as the other does not take what it was sent.
    func isBlocked(_ side: TunnelSide) -> Bool
    /// There is much of what a side has sent: `goOnAfterRest` is to be called when others have had their turn.
    func rests(_ side: TunnelSide)
    /// The system has yet to bring a side what it was sent, and did bring it some within the last `milliseconds`.
    func isTaking(_ side: TunnelSide, within milliseconds: Int64) -> Bool
    /// `WebSocketPlane.endedBy` is there from now on, or another.
    func planeBeganToEnd()
    /// `WebSocketPlane.deadline` may be earlier than it was.
    func deadlineMoved()
    /// Nothing will be sent to this side any more.
    func finishSending(to side: TunnelSide)
    /// Both sides have been told, and have answered or will not: what is unsent is to go out, and then both end.
    func planeEnded()
    /// Milliseconds of the monotonic clock.
    var now: Int64 { get }
    /// Microseconds of a clock that does not go back.
    var microseconds: Int64 { get }
}

extension WebSocketPlaneOwner {
    package func planeBeganToEnd() {}
    package func isTaking(_ side: TunnelSide, within milliseconds: Int64) -> Bool { false }
}

/// A WebSocket between a client and an upstream, beyond its bytes: its frames are followed, its messages put together
/// where somebody looks at them, pings are sent and their answers awaited, and it ends by close frames.
///
/// It does no I/O and has no clock: see `WebSocketPlaneOwner`. Whatever the cuts in the bytes, and whatever scripts send
/// in between, each peer receives valid frames in a valid order, whole messages in the order in which they came.
package final class WebSocketPlane {
    package typealias Side = TunnelSide

    // The owner holds the plane, and drives it; others only read its counts.
    package unowned let owner: any WebSocketPlaneOwner
    package private(set) var rules: WebSocketRules
    /// From the client, and from the upstream.
    private var directions: [2 of WebSocketDirection]
    var liveness: WebSocketLiveness
    private var extras: Extras?
    private var bytesToClient: Int64 = 0
    private var bytesToUpstream: Int64 = 0

    /// What most planes have not, most of the time.
    private final class Extras {
        var codecs: WebSocketCodecs?
        var ending: WebSocketEnding?
        var scriptPings: [WebSocketScriptPing] = []
    }

    private var needed: Extras {
        if let extras { return extras }
        let made = Extras()
        extras = made
        return made
    }

    var commons: WebSocketCommons { rules.commons }

    /// `nil` where messages go as they come.
    var codecs: WebSocketCodecs? { extras?.codecs }

    /// How it ends, once it does.
    var ending: WebSocketEnding? {
        get { extras?.ending }
        set {
            guard newValue !== extras?.ending else { return }
            newValue?.upstreamTook = owner.now
            needed.ending = newValue
            owner.planeBeganToEnd()
        }
    }

    /// What scripts have asked to be told of.
    var scriptPings: [WebSocketScriptPing] {
        get { extras?.scriptPings ?? [] }
        set { if extras != nil || !newValue.isEmpty { needed.scriptPings = newValue } }
    }

    /// Bytes that scripts may have waiting to be sent in one direction.
    package static let maxQueued = 1 << 20
    /// What each counts for besides its payload.
    package static let roomOfMessage = 128

    /// `reservedBits` are those that the peers' extensions use, besides what `codecs` says of its own.
    package init(
        _ rules: WebSocketRules, codecs: WebSocketCodecs? = nil, reservedBits: UInt8 = 0,
        owner: any WebSocketPlaneOwner
    ) {
        self.rules = rules
        self.owner = owner
        directions = [
            WebSocketDirection(
                receivedBy: .server,
                allowedReserved: Self.allowedReserved(codecs, .client, others: reservedBits),
                inflates: codecs?[.client].inflater != nil),
            WebSocketDirection(
                receivedBy: .client,
                allowedReserved: Self.allowedReserved(codecs, .upstream, others: reservedBits),
                inflates: codecs?[.upstream].inflater != nil),
        ]
        liveness = WebSocketLiveness(rules, now: owner.now, random: rules.commons.random())
        if let codecs { needed.codecs = codecs }
    }

    /// The bits of other extensions stay theirs beside ours, whose own bit is then for us to allow (RFC 7692 §6).
    private static func allowedReserved(_ codecs: WebSocketCodecs?, _ side: Side, others: UInt8) -> UInt8 {
        guard let codecs else { return others }
        return codecs.reservedBits(from: side) | others & ~WebSocketFrameHeader.reserved1
    }

    subscript(side: Side) -> WebSocketDirection {
        @inline(__always) _read { yield directions[side == .client ? 0 : 1] }
        @inline(__always) _modify { yield &directions[side == .client ? 0 : 1] }
    }

    func busy(_ side: Side) -> WebSocketBusy {
        if let busy = self[side].busy { return busy }
        let busy = WebSocketBusy()
        self[side].busy = busy
        return busy
    }

    // MARK: What its tunnel asks

    /// Nothing is to be read from this side: it rests, or a hook waits with what came from it. But where it waits for this side's
    /// answer to a ping, that is looked for in what follows, as far as to a limit.
    package func isPaused(_ side: Side) -> Bool {
        guard let busy = self[side].busy else { return false }
        if busy.isResting { return true }
        guard busy.isWaiting else { return false }
        return busy.held.count >= Self.maxAhead || !waitsForPong(of: side)
    }

    /// Bytes that are read behind what a hook waits with, for the sake of the answer to its ping.
    private static let maxAhead = 64 * 1024

    /// Messages that came from a side.
    package func messages(from side: Side) -> Int {
        Int(self[side].frames.messages &+ self[side].leftOut)
    }
    /// Messages that were sent to a side.
    package func messages(to side: Side) -> Int {
        let direction = self[side.other]
        let begun = isMute(side) ? ending?[side].messagesBegun : nil
        return Int((begun ?? direction.frames.messages) &+ UInt32(bitPattern: direction.surplus))
    }

    /// Bytes that scripts have sent to a side and that wait for frames to end.
    package func queuedBytes(to side: Side) -> Int { self[side.other].busy?.jobs.bytes ?? 0 }

    /// What zlib holds, in bytes.
    package var deflateMemory: Int { codecs?.memory ?? 0 }

    /// Nothing is kept for either direction: what is left is what an idle WebSocket takes.
    package var holdsNothing: Bool { self[.client].busy == nil && self[.upstream].busy == nil }

    /// Bytes that were sent to a side.
    package func bytesSent(to side: Side) -> Int64 { side == .client ? bytesToClient : bytesToUpstream }

    // MARK: Bytes

    func transmit(_ first: Span<UInt8>, then second: Span<UInt8>, to side: Side) {
        let count = Int64(first.count &+ second.count)
        switch side {
        case .client: bytesToClient &+= count
        case .upstream: bytesToUpstream &+= count
        }
        owner.send(first, then: second, to: side)
    }

    /// Takes what a side has sent.
    package func receive(_ bytes: Span<UInt8>, from side: Side) {
        liveness[side].lastSeen = owner.now
        guard !self[side].isDeaf else { return }
        guard let busy = self[side].busy, busy.isWaiting || !busy.held.isEmpty else {
            return run(bytes, from: side)
        }
        busy.held.append(bytes)
        guard !busy.isWaiting else { return takePongs(from: side) }
        guard !busy.isResting else { return }
        guard busy.held.count < busy.needed else { return runHeld(side) }
        // More of a frame that is held until it is whole; control frames are looked at then.
        if let first = busy.held.first, WebSocketOpcode(rawValue: first & 15)?.isControl == false {
            liveness.noteActivity(from: side)
        }
    }

    /// Goes on with what was held.
    func runHeld(_ side: Side) {
        guard let busy = self[side].busy else { return }
        var held = busy.held.take()
        busy.needed = 0
        busy.isResting = false
        held.dropFirst(take(held.span, from: side))
        if !held.isEmpty, !self[side].isDeaf {
            // It may have been made anew.
            let busy = self.busy(side)
            busy.held = held
            if busy.isWaiting { takePongs(from: side) }
        }
        settle(side)
        if isResting(side) { owner.rests(side) }
    }

    /// It has sent more than was looked at so far, and nothing is in the way.
    package func isResting(_ side: Side) -> Bool {
        // Copied: reading through the subscript any longer takes a frame on the heap.
        guard let busy = self[side].busy else { return false }
        return busy.isResting
    }

    /// Others have had their turn.
    package func goOnAfterRest(_ side: Side) {
        guard let busy = self[side].busy, busy.isResting else { return }
        busy.isResting = false
        // A hook that began to wait meanwhile goes on with what is held.
        guard !busy.isWaiting else { return }
        // Heard only now, it was here before.
        liveness[side].lastSeen = owner.now
        runHeld(side)
    }

    func rest(_ side: Side) {
        let busy = busy(side)
        busy.isResting = true
        busy.needed = 0
    }

    private func run(_ bytes: Span<UInt8>, from side: Side) {
        let taken = take(bytes, from: side)
        if taken < bytes.count, !self[side].isDeaf {
            let busy = busy(side)
            busy.held.append(bytes.extracting(taken...))
            if busy.isWaiting { takePongs(from: side) }
        }
        settle(side)
        if isResting(side) { owner.rests(side) }
    }

    /// - Returns: how many bytes were taken; the rest is to be held.
    private func take(_ bytes: Span<UInt8>, from side: Side) -> Int {
        hasGate(side) ? gate(bytes, from: side) : process(bytes, from: side)
    }

    /// Lets go of what is not needed any more.
    func settle(_ side: Side) {
        if let busy = self[side].busy {
            if busy.isIdle { self[side].busy = nil } else if busy.isWaiting { giveUpWaits(side) }
        }
        endIfOver()
    }

    /// Messages from this side are put together where somebody looks at them.
    private func assembles(_ side: Side) -> Bool { codecs != nil || !rules.messages(from: side).isEmpty }

    /// Works on input as far as it goes.
    ///
    /// - Returns: how many bytes were taken; the rest is to be held.
    private func process(_ bytes: Span<UInt8>, from side: Side) -> Int {
        var batch = WebSocketBatch()
        self[side].isProcessing = true
        let taken = follow(bytes, from: side, mayRest: true, &batch)
        batch.finish(bytes, upTo: taken, for: self, side)
        self[side].isProcessing = false
        if self[side].frames.stopsAtFrames { flushWaiting(side) }
        return taken
    }

    /// Follows what came, or what hooks for frames have made of it, as far as it goes. What is not left out of the batch
    /// goes on.
    ///
    /// - Returns: how many bytes were taken.
    func follow(
        _ bytes: Span<UInt8>, from side: Side, mayRest: Bool = false, _ batch: inout WebSocketBatch
    ) -> Int {
        var patience = WebSocketPatience()
        let passes = !assembles(side) || isMute(side.other)
        var offset = 0
        // Bytes of control frames, and of answers to our pings: neither are messages.
        var (controlBytes, answerBytes) = (0, 0)
        steps: while !self[side].isDeaf {
            if self[side].frames.stopsAtFrames {
                batch.gather(bytes, upTo: offset, for: self, side)
                sendWaiting(side, into: &batch)
            }
            if mayRest, offset > 0, offset < bytes.count, patience.isOver(owner) {
                rest(side)
                break
            }
            if let busy = self[side].busy {
                if busy.isWaiting { break }
                if busy.assembly != nil, !self[side].frames.isAtFrameBoundary {
                    guard offset < bytes.count else { break }
                    collect(bytes, &offset, side, busy, &batch)
                    if codecs != nil { patience.lookNext() }
                    continue
                }
            }
            // Hooks that are gone may have left a message half put together.
            let isCollecting = self[side].isCollecting
            switch self[side].frames.next(
                bytes, &offset, passes: passes && !isCollecting, limits: rules.limits)
            {
            case .end: break steps
            case .cut:
                busy(side).needed = 0
                break steps
            case .boundary: continue
            case .control(let header, let start):
                let end = offset &+ Int(header.payloadLength)
                guard end <= bytes.count else {
                    busy(side).needed = end &- start
                    offset = start
                    break steps
                }
                let payload = offset..<end
                offset = end
                controlBytes &+= end &- start
                if received(header, payload, start..<end, bytes, from: side, &batch) {
                    answerBytes &+= end &- start
                }
            case .data(let header, let start):
                begin(header, from: start, bytes, &offset, side, &batch)
            case .violation(let violation):
                fail(violation.closeCode, violation.rawValue, from: side, bytes, offset, &batch)
            case .tooBig:
                if self[side].frames.isAtFirstFrame, !isMute(side.other) { didNotSend(side) }
                fail(WebSocketCloseCode.messageTooBig, "message too big", from: side, bytes, offset, &batch)
            }
        }
        if offset > (rules.countsMessages ? controlBytes : answerBytes) { liveness.noteActivity(from: side) }
        return offset
    }

    /// A message that came goes no further, and had not begun to. It began before the other side was told goodbye, as none
    /// is counted that begins later.
    func didNotSend(_ side: Side) { self[side].surplus &-= 1 }

    /// Ends it for a breach of the protocol: both peers are told.
    private func fail(
        _ code: UInt16, _ reason: String, from side: Side, _ bytes: Span<UInt8>, _ offset: Int,
        _ batch: inout WebSocketBatch
    ) {
        batch.exclude(offset..<bytes.count, bytes, for: self, side)
        broke(side, code, reason)
    }

    /// Takes a whole control frame, which goes on where it lies unless it was for us.
    ///
    /// - Returns: whether it was an answer to a ping of ours.
    private func received(
        _ header: WebSocketFrameHeader, _ payload: Range<Int>, _ frame: Range<Int>, _ bytes: Span<UInt8>,
        from side: Side, _ batch: inout WebSocketBatch
    ) -> Bool {
        guard header.opcode != .ping else { return false }
        var plain: [UInt8] = []
        plain.append(unmasking: bytes.extracting(payload), with: header.maskKey)
        guard header.opcode == .close else {
            guard takePong(plain, from: side) else { return false }
            batch.exclude(frame, bytes, for: self, side)
            return true
        }
        switch WebSocketClosePayload.parse(plain.span) {
        case .failure(let violation):
            fail(violation.closeCode, violation.rawValue, from: side, bytes, frame.lowerBound, &batch)
        case .success(let close):
            if closeReceived(close, plain, from: side) {
                batch.gather(bytes, upTo: frame.upperBound, for: self, side)
                didPassClose(to: side.other)
            } else {
                batch.exclude(frame, bytes, for: self, side)
            }
        }
        return false
    }

    // MARK: Messages

    /// A frame of a message begins, whose header stands from `start` on.
    private func begin(
        _ header: WebSocketFrameHeader, from start: Int, _ bytes: Span<UInt8>, _ offset: inout Int,
        _ side: Side, _ batch: inout WebSocketBatch
    ) {
        if self[side].isCollecting, let busy = self[side].busy {
            if let assembly = busy.assembly, isTooLongForHooks(assembly, with: header.payloadLength, side) {
                batch.gather(bytes, upTo: start, for: self, side)
                return letGo(assembly, busy, side, &batch)
            }
            batch.exclude(start..<offset, bytes, for: self, side)
            addFrame(header, bytes.extracting(start..<offset), busy, side)
            // An empty frame has no payload that would be collected.
            if header.payloadLength == 0 { collect(bytes, &offset, side, busy, &batch) }
            return
        }
        // The rest of a message that goes by, or what nobody will see.
        if case .continuation = header.opcode { return }
        if isMute(side.other) { return }
        let codec = codecs?[side]
        // What other extensions have had their hands in is theirs, and goes by.
        if header.reserved & ~WebSocketFrameHeader.reserved1 != 0 || header.reserved != 0 && codec == nil {
            guard header.reserved & WebSocketFrameHeader.reserved1 == 0 || codec?.passesUnseen() != false
            else {
                self[side].isCollecting = true
                didNotSend(side)
                return fail(
                    WebSocketCloseCode.protocolError, "compressed message of another extension", from: side,
                    bytes, start, &batch)
            }
            return
        }
        let isCompressed = header.reserved != 0
        if isCompressed, codec?.hasLostTrack == true { return }
        let size = Int(clamping: header.payloadLength)
        let isWanted = rules.messages(from: side).includes(header.opcode, size: isCompressed ? 0 : size)
        let isTransformed = codec.map { $0.isTerminated || isCompressed } ?? false
        guard isWanted || isTransformed else { return }
        guard size <= (isCompressed ? rules.heldLimit : rules.assembledLimit) else {
            self[side].isCollecting = true
            didNotSend(side)
            return fail(
                WebSocketCloseCode.messageTooBig, "message too big", from: side, bytes, start, &batch)
        }
        if header.isFinal, !isTransformed, offset &+ size <= bytes.count {
            let payload = self[side].frames.take(size, of: bytes, &offset)
            return judgeAtOnce(header, payload, start, bytes, side, &batch)
        }
        batch.exclude(start..<offset, bytes, for: self, side)
        let busy = busy(side)
        self[side].isCollecting = true
        busy.assembly = WebSocketAssembly(
            opcode: header.opcode, isCompressed: isCompressed, isWanted: isWanted,
            raw: commons.takeBuffer(), keepsRaw: codec?.passesVerbatim(isCompressed: isCompressed) ?? true,
            item: commons.items.take(.message, header.opcode, from: side))
        addFrame(header, bytes.extracting(start..<offset), busy, side)
        if header.payloadLength == 0 { collect(bytes, &offset, side, busy, &batch) }
    }

    /// A message of one frame that is all there, and goes on where it lies unless hooks say otherwise.
    private func judgeAtOnce(
        _ header: WebSocketFrameHeader, _ payload: Range<Int>, _ start: Int, _ bytes: Span<UInt8>,
        _ side: Side,
        _ batch: inout WebSocketBatch
    ) {
        let item = commons.items.take(.message, header.opcode, from: side)
        item.data.append(unmasking: bytes.extracting(payload), with: header.maskKey)
        if case .text = header.opcode, !item.isUTF8 {
            commons.items.giveBack(item)
            didNotSend(side)
            return fail(
                WebSocketCloseCode.invalidPayload, "text is not UTF-8", from: side, bytes, start, &batch)
        }
        let verdict = owner.judge(item, from: 0)
        // What the hook has sent by itself goes before the message that it was called for.
        if self[side].frames.stopsAtFrames {
            batch.gather(bytes, upTo: start, for: self, side)
            sendWaiting(side, into: &batch)
            if case .pass = verdict, isMute(side.other) { didNotSend(side) }
        }
        if hasToWait(verdict, side) {
            var raw: [UInt8] = []
            raw.append(copying: bytes, start..<payload.upperBound)
            batch.exclude(start..<payload.upperBound, bytes, for: self, side)
            return wait(item, .message(raw: raw, isCompressed: false), side, verdict)
        }
        switch verdict {
        case .pass, .waiting: commons.items.giveBack(item)
        case .drop, .rewritten, .replace, .split, .close:
            batch.exclude(start..<payload.upperBound, bytes, for: self, side)
            batch.prepare(commons)
            apply(verdict, item, isCompressed: false, raw: Span(), side, into: &batch.out)
        }
    }

    private func addFrame(
        _ header: WebSocketFrameHeader, _ encoded: Span<UInt8>, _ busy: WebSocketBusy, _ side: Side
    ) {
        busy.assembly?.maskKey = header.maskKey
        busy.assembly?.position = 0
        busy.assembly?.isLastFrame = header.isFinal
        if busy.assembly?.keepsRaw == true { busy.assembly?.raw.append(copying: encoded, encoded.indices) }
    }

    /// Bytes of a payload that are inflated in one step: to a thousand times as many, where somebody means ill.
    private static let inflatedAtOnce = 1024

    /// Takes what there is of the current frame's payload into the message.
    private func collect(
        _ bytes: Span<UInt8>, _ offset: inout Int, _ side: Side, _ busy: WebSocketBusy,
        _ batch: inout WebSocketBatch
    ) {
        guard var assembly = busy.assembly.take() else { return }
        let range = self[side].frames.take(
            assembly.isCompressed ? Self.inflatedAtOnce : .max, of: bytes, &offset)
        batch.exclude(range, bytes, for: self, side)
        if let breach = assembly.take(bytes.extracting(range), codecs?[side], rules) {
            commons.items.giveBack(assembly.item)
            didNotSend(side)
            return fail(breach.code, breach.reason, from: side, bytes, offset, &batch)
        }
        guard self[side].frames.isAtFrameBoundary, assembly.isLastFrame else {
            busy.assembly = assembly
            return
        }
        if let breach = assembly.finish(codecs?[side], limit: rules.assembledLimit) {
            commons.items.giveBack(assembly.item)
            didNotSend(side)
            return fail(breach.code, breach.reason, from: side, bytes, offset, &batch)
        }
        let item = assembly.item
        var verdict = WebSocketVerdict.pass
        if assembly.isWanted, !isMute(side.other),
            rules.messages(from: side).includes(assembly.opcode, size: item.data.count)
        {
            verdict = owner.judge(item, from: 0)
            if self[side].frames.stopsAtFrames { sendWaiting(side, into: &batch) }
            self[side].isCollecting = false
            if hasToWait(verdict, side) {
                return wait(
                    item, .message(raw: assembly.raw, isCompressed: assembly.isCompressed), side, verdict)
            }
        }
        // Only now: what waits for whole messages waits for this one.
        self[side].isCollecting = false
        let passes = if case .pass = verdict { true } else { false }
        if passes, assembly.keepsRaw, !isMute(side.other), batch.out.isEmpty {
            // A long message is not copied once more.
            transmit(assembly.raw.span, then: Span(), to: side.other)
            commons.items.giveBack(item)
        } else {
            batch.prepare(commons)
            apply(
                verdict, item, isCompressed: assembly.isCompressed, raw: assembly.raw.span, side,
                into: &batch.out)
        }
        commons.giveBack(&assembly.raw)
    }

    /// Whether a message will have more than its hooks look at; only what is not compressed tells, and can be let go of
    /// half-way.
    private func isTooLongForHooks(_ assembly: WebSocketAssembly, with more: Int64, _ side: Side) -> Bool {
        guard assembly.keepsRaw, !assembly.isCompressed else { return false }
        let (size, overflows) = assembly.item.data.count.addingReportingOverflow(Int(clamping: more))
        return overflows || !rules.messages(from: side).includes(assembly.opcode, size: size)
    }

    /// Sends what was held of a message on, whose rest goes by.
    private func letGo(
        _ assembly: WebSocketAssembly, _ busy: WebSocketBusy, _ side: Side, _ batch: inout WebSocketBatch
    ) {
        busy.assembly = nil
        self[side].isCollecting = false
        batch.prepare(commons)
        if isMute(side.other) { didNotSend(side) } else { batch.out.append(copying: assembly.raw) }
        commons.items.giveBack(assembly.item)
    }

    /// Does what a message's hooks have decided, and gives its item back. `raw` is its frames as they came.
    func apply(
        _ verdict: WebSocketVerdict, _ item: WebSocketItem, isCompressed: Bool, raw: Span<UInt8>,
        _ side: Side,
        into out: inout [UInt8]
    ) {
        defer { commons.items.giveBack(item) }
        guard !isMute(side.other) else { return didNotSend(side) }
        let codec = codecs?[side]
        switch verdict {
        case .pass:
            if codec?.passesVerbatim(isCompressed: isCompressed) ?? true {
                out.append(copying: raw, raw.indices)
            } else {
                let data = item.data
                append(item.opcode, data.span, wasCompressed: isCompressed, side, to: &out)
            }
        case .drop:
            if isCompressed { codec?.noteChange(isDrop: true) }
            didNotSend(side)
        case .rewritten:
            if isCompressed { codec?.noteChange(isDrop: false) }
            let data = item.data
            append(item.opcode, data.span, wasCompressed: isCompressed, side, to: &out)
        case .replace(let payloads):
            if isCompressed { codec?.noteChange(isDrop: false) }
            self[side].surplus &+= Int32(truncatingIfNeeded: payloads.count &- 1)
            for payload in payloads {
                append(item.opcode, payload.span, wasCompressed: isCompressed, side, to: &out)
            }
        case .split(let payloads, let position):
            if isCompressed { codec?.noteChange(isDrop: false) }
            didNotSend(side)
            let jobs = payloads.map { payload in
                WebSocketJob(
                    opcode: item.opcode, payload: payload, firstMessageHook: position, isInjected: false,
                    wasCompressed: isCompressed)
            }
            queueFirst(jobs, side)
        case .close(let code, let reason):
            didNotSend(side)
            end(code, reason)
        case .waiting: break
        }
    }

    /// Appends a message that goes to the other side of `side`.
    func append(
        _ opcode: WebSocketOpcode, _ payload: Span<UInt8>, wasCompressed: Bool, _ side: Side,
        to out: inout [UInt8]
    ) {
        let key = maskKey(to: side.other)
        if let codec = codecs?[side] {
            codec.append(opcode, payload, wasCompressed: wasCompressed, maskKey: key, to: &out)
        } else {
            WebSocketFraming.append(opcode, payload, maskKey: key, to: &out)
        }
    }

    /// A fresh one for each frame to a server (RFC 6455 §5.3); none to a client.
    func maskKey(to side: Side) -> WebSocketMaskKey? {
        side == .upstream ? WebSocketMaskKey(random: commons.random()) : nil
    }

    // MARK: Waits

    /// Whether what its hooks have decided of something cannot be done yet: they wait, or what they have sent goes before
    /// it, and waits for the hooks behind them.
    func hasToWait(_ verdict: WebSocketVerdict, _ side: Side) -> Bool {
        if case .waiting = verdict { return true }
        // Copied: reading through the subscript any longer takes a frame on the heap.
        guard let busy = self[side].busy else { return false }
        return busy.waitingJob != nil
    }

    /// Keeps what hooks wait with until `resume`; or, with another verdict than that, until what goes before it is sent.
    func wait(
        _ item: WebSocketItem, _ what: WebSocketWait.What, _ side: Side,
        _ verdict: WebSocketVerdict = .waiting
    ) {
        let isDecided = if case .waiting = verdict { false } else { true }
        // Its side was lost while they ran.
        guard !self[side].isDeaf else {
            if !isDecided { owner.cancel(item) }
            didGiveUp(what, item, side)
            self[side].busy?.jobs.putSent(before: nil)
            return commons.items.giveBack(item)
        }
        let wait = WebSocketWait(item: item, what: what, verdict: isDecided ? verdict : nil)
        if case .job = what { busy(side).waitingJob = wait } else { busy(side).waiting = wait }
    }

    /// The hooks of an item that waited have come to their end.
    package func resume(_ item: WebSocketItem, _ verdict: WebSocketVerdict) {
        let side = item.side
        guard let busy = self[side].busy else { return }
        if case .waiting = verdict { return }
        let wait: WebSocketWait
        if let waiting = busy.waiting, waiting.item === item, waiting.verdict == nil {
            guard busy.waitingJob == nil else {
                busy.waiting?.verdict = verdict
                liveness.noteEndOfWait(with: item, rules, now: owner.now)
                return
            }
            busy.waiting = nil
            wait = waiting
        } else if let waiting = busy.waitingJob, waiting.item === item {
            busy.waitingJob = nil
            wait = waiting
        } else {
            return
        }
        liveness.noteEndOfWait(with: item, rules, now: owner.now)
        var batch = WebSocketBatch(commons)
        self[side].isProcessing = true
        appendPings(to: side.other, into: &batch.out)
        take(verdict, wait, side, &batch)
        if self[side].frames.stopsAtFrames { sendWaiting(side, into: &batch) }
        // What these went before.
        if let busy = self[side].busy, busy.waitingJob == nil, let decided = busy.waiting,
            let verdict = decided.verdict
        {
            busy.waiting = nil
            take(verdict, decided, side, &batch)
            if self[side].frames.stopsAtFrames { sendWaiting(side, into: &batch) }
        }
        goOnWithGated(side, &batch)
        batch.finish(Span(), upTo: 0, for: self, side)
        self[side].isProcessing = false
        if self[side].frames.stopsAtFrames { flushWaiting(side) }
        goOn(side)
    }

    /// Does what was decided of something that waited.
    private func take(
        _ verdict: WebSocketVerdict, _ wait: WebSocketWait, _ side: Side, _ batch: inout WebSocketBatch
    ) {
        switch wait.what {
        case .message(let raw, let isCompressed):
            apply(verdict, wait.item, isCompressed: isCompressed, raw: raw.span, side, into: &batch.out)
        case .frame(let raw, let reserved):
            take(verdict, wait.item, raw.span, reserved, side, &batch)
        case .job(let job):
            finish(job, verdict, wait.item, side, into: &batch.out)
        }
    }

    /// Goes on with what is held, if nothing waits any more.
    private func goOn(_ side: Side) {
        guard !self[side].isDeaf, let busy = self[side].busy, !busy.isWaiting, !busy.held.isEmpty else {
            return settle(side)
        }
        runHeld(side)
    }

    /// Scripts were loaded anew: from the next message on, theirs are the hooks. What they send while they move goes out when
    /// `move` is over, and meets the hooks of all of them.
    package func migrate(to rules: WebSocketRules, _ move: () -> Void = {}) {
        self.rules = rules
        liveness.take(rules, now: owner.now)
        self[.client].isProcessing = true
        self[.upstream].isProcessing = true
        move()
        self[.client].isProcessing = false
        self[.upstream].isProcessing = false
        for side in [Side.client, .upstream] where self[side].frames.stopsAtFrames { flushWaiting(side) }
    }

    /// No message is under way that hooks have seen, or wait with.
    package var isAtMessageBoundary: Bool { isAtMessageBoundary(for: rules) }

    /// As above, nor one whose rest those of `next` would see, without its beginning.
    package func isAtMessageBoundary(for next: WebSocketRules) -> Bool {
        [Side.client, .upstream].allSatisfy { side in
            let direction = self[side]
            if !direction.isDeaf {
                if direction.isCollecting { return false }
                // Hooks for frames, the present ones or the next, are to see all of a message or nothing.
                if hasGate(side) || !next.frames(from: side).isEmpty,
                    direction.frames.isWithinMessage || direction.withheldStart != 0
                {
                    return false
                }
            }
            guard let busy = direction.busy else { return true }
            return !busy.isWaiting && busy.jobs.isEmpty && busy.gated.isEmpty
        }
    }
}
