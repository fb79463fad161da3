package import Wire

/// What is sent between the frames and messages that come.
extension WebSocketPlane {
    /// Sends a message that a script has made; hooks from these positions on see it. Text has to be UTF-8. `sender` is what
    /// the hook that sends it was called for, if that has waited; it goes before that.
    ///
    /// - Returns: false where it cannot be sent: the side was told goodbye, or more waits than may.
    package func inject(
        _ opcode: WebSocketOpcode, _ payload: [UInt8], to side: Side, firstMessageHook: Int,
        firstFrameHook: Int, sender: ObjectIdentifier? = nil
    ) -> Bool {
        guard !isMute(side), ending == nil || ending?.waitsForMessages == true else { return false }
        let busy = busy(side.other)
        guard busy.jobs.isEmpty || busy.jobs.room &+ payload.count <= Self.maxQueued else { return false }
        let job = WebSocketJob(
            opcode: opcode, payload: payload, firstMessageHook: firstMessageHook,
            firstFrameHook: firstFrameHook, isInjected: true)
        if self[side.other].isJudgingJob || isOfWaitingJob(sender, busy) {
            busy.jobs.collect(job)
            return true
        }
        busy.jobs.append(job)
        self[side.other].frames.stopsAtFrames = true
        if !self[side.other].isProcessing { flushWaiting(side.other) }
        return true
    }

    private func isOfWaitingJob(_ sender: ObjectIdentifier?, _ busy: WebSocketBusy) -> Bool {
        guard let sender, let wait = busy.waitingJob else { return false }
        return ObjectIdentifier(wait.item) == sender
    }

    /// The last frame that was sent to a side is not whole.
    func isWithinFrame(to side: Side) -> Bool {
        let direction = self[side.other]
        return !direction.frames.isAtFrameBoundary && !direction.isCollecting
    }

    /// The last message that was sent to a side is not whole.
    private func isWithinMessage(to side: Side) -> Bool {
        let direction = self[side.other]
        guard !direction.isCollecting else { return false }
        return !direction.frames.isAtMessageBoundary
    }

    func flushWaiting(_ side: Side) {
        var out = commons.takeBuffer()
        self[side].isProcessing = true
        sendWaiting(side, into: &out)
        self[side].isProcessing = false
        if !out.isEmpty { transmit(out.span, then: Span(), to: side.other) }
        commons.giveBack(&out)
        settle(side)
    }

    /// Appends what waits to be sent to the other side of `side`, as far as frames allow it now.
    func sendWaiting(_ side: Side, into out: inout [UInt8]) {
        let target = side.other
        appendPings(to: target, into: &out)
        // What came and waits for its hooks has not begun to be sent, so that these can go before it.
        while let busy = self[side].busy, busy.waitingJob == nil, !busy.jobs.isEmpty,
            !isWithinMessage(to: target), let job = busy.jobs.popFirst()
        {
            run(job, side, into: &out)
        }
        if let ending, let told = ending.told, !isMute(target),
            ending.waitsForMessages ? isBetweenMessages(target) : !isWithinFrame(to: target)
        {
            let apart = ending.toldApart.flatMap {
                $0.side == target ? (code: $0.code, reason: $0.reason) : nil
            }
            let told = apart ?? told
            var payload: [UInt8] = []
            if told.code != WebSocketCloseCode.noStatus {
                WebSocketClosePayload.append(code: told.code, reason: told.reason.span, to: &payload)
            }
            WebSocketFraming.append(.close, payload.span, maskKey: maskKey(to: target), to: &out)
            wasTold(target, in: ending)
        }
        let isWaiting =
            self[side].busy.map { !$0.jobs.isEmpty } ?? false || owesPings(to: target)
            || ending?.told != nil && !isMute(target)
        self[side].frames.stopsAtFrames = isWaiting
    }

    /// Nothing that came for a side is on its way to it.
    private func isBetweenMessages(_ side: Side) -> Bool {
        let direction = self[side.other]
        // What is not listened to any more does not come to its end.
        guard !direction.isDeaf else { return !isWithinFrame(to: side) }
        guard !direction.isCollecting, direction.frames.isAtMessageBoundary else { return false }
        guard let busy = direction.busy else { return true }
        return !busy.isWaiting && busy.jobs.isEmpty && busy.gated.isEmpty
    }

    func sendWaiting(_ side: Side, into batch: inout WebSocketBatch) {
        batch.prepare(commons)
        sendWaiting(side, into: &batch.out)
    }

    // MARK: Jobs

    private func run(_ job: WebSocketJob, _ side: Side, into out: inout [UInt8]) {
        if let decided = job.decided { return finish(job, decided.verdict, decided.item, side, into: &out) }
        let isFrame = job.stage == .frame
        let item = commons.items.take(
            isFrame ? .frame : .message, job.opcode, from: side, isInjected: job.isInjected)
        item.data.append(copying: job.payload)
        let interest = isFrame ? rules.frames(from: side) : rules.messages(from: side)
        var verdict = WebSocketVerdict.pass
        if interest.includes(job.opcode, size: job.payload.count), !isMute(side.other) {
            let first = isFrame ? job.firstFrameHook ?? .max : job.firstMessageHook
            // They may have been called within those of a job of the other side, whose own hooks these are not.
            let isWithinOther = self[side.other].isJudgingJob
            self[side.other].isJudgingJob = false
            self[side].isJudgingJob = true
            verdict = owner.judge(item, from: first)
            self[side].isJudgingJob = false
            self[side.other].isJudgingJob = isWithinOther
        }
        if case .waiting = verdict {
            return wait(item, .job(job), side)
        }
        finish(job, verdict, item, side, into: &out)
    }

    /// Does what the hooks have decided of a job, and gives its item back; later, where they have sent something, which
    /// goes before it.
    func finish(
        _ job: WebSocketJob, _ verdict: WebSocketVerdict, _ item: WebSocketItem, _ side: Side,
        into out: inout [UInt8]
    ) {
        if let busy = self[side].busy, busy.jobs.hasSent {
            var job = job
            job.decided = (item, verdict)
            busy.jobs.putSent(before: job)
            self[side].frames.stopsAtFrames = true
            return
        }
        defer { commons.items.giveBack(item) }
        guard !isMute(side.other) else { return }
        switch verdict {
        case .pass, .rewritten: emit(job, item.data, side, into: &out)
        // The frame of a message goes on as one, whatever it is cut into.
        case .replace(let payloads) where job.stage == .frame:
            if !payloads.isEmpty {
                emit(job, payloads.reduce(into: []) { $0.append(copying: $1) }, side, into: &out)
            }
        // Those that have frame hooks before them are put at the head of the queue: the last one first.
        case .replace(let payloads):
            let isQueued = goesToFrameHooks(job, side)
            for payload in isQueued ? payloads.reversed() : payloads { emit(job, payload, side, into: &out) }
        case .split(let payloads, let position):
            queueFirst(
                payloads.map { payload in
                    var job = job
                    job.payload = payload
                    job.firstMessageHook = position
                    job.decided = nil
                    return job
                }, side)
        case .drop, .waiting: break
        case .close(let code, let reason): end(code, reason)
        }
    }

    /// These are the next to be sent.
    func queueFirst(_ jobs: [WebSocketJob], _ side: Side) {
        busy(side).jobs.prepend(jobs)
        self[side].frames.stopsAtFrames = true
    }

    private func goesToFrameHooks(_ job: WebSocketJob, _ side: Side) -> Bool {
        job.stage == .message && job.firstFrameHook != nil && rules.frames(from: side).includes(job.opcode)
    }

    private func emit(_ job: WebSocketJob, _ payload: [UInt8], _ side: Side, into out: inout [UInt8]) {
        if goesToFrameHooks(job, side) {
            var frame = job
            frame.stage = .frame
            frame.decided = nil
            frame.payload = payload
            queueFirst([frame], side)
            return
        }
        self[side].surplus &+= 1
        append(job.opcode, payload.span, wasCompressed: job.wasCompressed, side, to: &out)
    }
}
