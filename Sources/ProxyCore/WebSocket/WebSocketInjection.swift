package import Wire

/// What is sent between the frames and messages that come.
extension WebSocketPlane {
    /// Sends a message that a script has made; hooks from these positions on see it.
    ///
    /// - Returns: false where it cannot be sent: the side was told goodbye, or more waits than may.
    package func inject(
        _ opcode: WebSocketOpcode, _ payload: [UInt8], to side: Side, firstMessageHook: Int,
        firstFrameHook: Int
    ) -> Bool {
        guard !isTold(side), ending == nil || ending?.waitsForMessages == true else { return false }
        let busy = busy(side.other)
        guard busy.jobs.isEmpty || busy.jobBytes &+ payload.count <= Self.maxQueued else { return false }
        busy.jobs.append(
            WebSocketJob(
                opcode: opcode, payload: payload, firstMessageHook: firstMessageHook,
                firstFrameHook: firstFrameHook, isInjected: true))
        busy.jobBytes &+= payload.count
        self[side.other].frames.stopsAtFrames = true
        if !self[side.other].isProcessing { flushWaiting(side.other) }
        return true
    }

    /// Sends a control frame as soon as no other is in the middle.
    func sendControl(_ opcode: WebSocketOpcode, _ payload: Span<UInt8>, to side: Side) {
        guard !isTold(side) else { return }
        let source = side.other
        if self[source].isProcessing || isWithinFrame(to: side) {
            WebSocketFraming.append(opcode, payload, maskKey: maskKey(to: side), to: &busy(source).controls)
            self[source].frames.stopsAtFrames = true
            return
        }
        var frame: [UInt8] = []
        WebSocketFraming.append(opcode, payload, maskKey: maskKey(to: side), to: &frame)
        transmit(frame.span, then: Span(), to: side)
    }

    /// The last frame that was sent to a side is not whole.
    func isWithinFrame(to side: Side) -> Bool {
        let direction = self[side.other]
        return !direction.frames.isAtFrameBoundary && !direction.isCollecting
    }

    /// The last message that was sent to a side is not whole.
    private func isWithinMessage(to side: Side) -> Bool {
        if isWithinFrame(to: side) { return true }
        let direction = self[side.other]
        if direction.isPassing { return true }
        let isPutTogether = codecs != nil || !rules.messages(from: side.other).isEmpty
        return !isPutTogether && direction.frames.isWithinMessage
    }

    func flushWaiting(_ side: Side) {
        var out = commons.takeBuffer()
        self[side].isProcessing = true
        sendWaiting(side, into: &out)
        self[side].isProcessing = false
        if !out.isEmpty { transmit(out.span, then: Span(), to: side.other) }
        commons.giveBack(out)
        settle(side)
    }

    /// Appends what waits to be sent to the other side of `side`, as far as frames allow it now.
    func sendWaiting(_ side: Side, into out: inout [UInt8]) {
        let target = side.other
        sendControls(side, into: &out)
        while let busy = self[side].busy, busy.waiting == nil, !busy.jobs.isEmpty,
            !isWithinMessage(to: target)
        {
            let job = busy.jobs.removeFirst()
            busy.jobBytes &-= job.payload.count
            run(job, side, into: &out)
        }
        if let ending, let told = ending.told, !ending[target].isTold, !ending[target].isLost,
            ending.waitsForMessages ? isBetweenMessages(target) : !isWithinFrame(to: target)
        {
            let apart = ending.toldApart.flatMap {
                $0.side == target ? (code: $0.code, reason: $0.reason) : nil
            }
            let told = apart ?? told
            var payload: [UInt8] = []
            if told.code != 1005 {
                WebSocketClosePayload.append(code: told.code, reason: told.reason.span, to: &payload)
            }
            WebSocketFraming.append(.close, payload.span, maskKey: maskKey(to: target), to: &out)
            ending[target].isTold = true
        }
        let isWaiting =
            self[side].busy.map { !$0.jobs.isEmpty || !$0.controls.isEmpty } ?? false
            || ending.map { $0.told != nil && !$0[target].isTold && !$0[target].isLost } ?? false
        self[side].frames.stopsAtFrames = isWaiting
    }

    /// Nothing that came for a side is on its way to it.
    private func isBetweenMessages(_ side: Side) -> Bool {
        let direction = self[side.other]
        return !isWithinMessage(to: side) && direction.busy?.waiting == nil
            && direction.busy?.assembly == nil && direction.busy?.jobs.isEmpty ?? true
    }

    func sendControls(_ side: Side, into out: inout [UInt8]) {
        guard let busy = self[side].busy, !busy.controls.isEmpty, !isWithinFrame(to: side.other) else {
            return
        }
        if !isTold(side.other) { out.append(copying: busy.controls) }
        busy.controls = []
    }

    // MARK: Jobs

    private func run(_ job: WebSocketJob, _ side: Side, into out: inout [UInt8]) {
        let isFrame = job.stage == .frame
        let item = commons.items.take(
            isFrame ? .frame : .message, job.opcode, from: side, isInjected: job.isInjected)
        item.data.append(copying: job.payload)
        let interest = isFrame ? rules.frames(from: side) : rules.messages(from: side)
        var verdict = WebSocketVerdict.pass
        if interest.includes(job.opcode, size: job.payload.count) {
            let first = isFrame ? job.firstFrameHook ?? .max : job.firstMessageHook
            verdict = owner.judge(item, from: first)
        }
        if case .waiting = verdict {
            busy(side).waiting = WebSocketWait(item: item, what: .job(job))
            return
        }
        finish(job, verdict, item, side, into: &out)
    }

    /// Does what the hooks have decided of a job, and gives its item back.
    func finish(
        _ job: WebSocketJob, _ verdict: WebSocketVerdict, _ item: WebSocketItem, _ side: Side,
        into out: inout [UInt8]
    ) {
        defer { commons.items.giveBack(item) }
        guard !isTold(side.other) else { return }
        switch verdict {
        case .pass: emit(job, item.data, side, into: &out)
        // Those that have frame hooks before them are put at the head of the queue: the last one first.
        case .replace(let payloads):
            let isQueued = goesToFrameHooks(job, side)
            for payload in isQueued ? payloads.reversed() : payloads { emit(job, payload, side, into: &out) }
        case .split(let payloads, let position):
            let busy = busy(side)
            busy.jobs.insert(
                contentsOf: payloads.map { payload in
                    var job = job
                    job.payload = payload
                    job.firstMessageHook = position
                    return job
                }, at: 0)
            busy.jobBytes &+= payloads.reduce(0) { $0 &+ $1.count }
        case .drop, .waiting: break
        case .close(let code, let reason): end(code, reason)
        }
    }

    private func goesToFrameHooks(_ job: WebSocketJob, _ side: Side) -> Bool {
        job.stage == .message && job.firstFrameHook != nil && rules.frames(from: side).includes(job.opcode)
    }

    private func emit(_ job: WebSocketJob, _ payload: [UInt8], _ side: Side, into out: inout [UInt8]) {
        if goesToFrameHooks(job, side) {
            var frame = job
            frame.stage = .frame
            frame.payload = payload
            let busy = busy(side)
            busy.jobs.insert(frame, at: 0)
            busy.jobBytes &+= payload.count
            return
        }
        self[side].surplus &+= 1
        append(job.opcode, payload.span, wasCompressed: job.wasCompressed, side, to: &out)
    }
}
