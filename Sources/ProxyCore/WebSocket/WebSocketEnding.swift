internal import Config
internal import Wire

/// How a WebSocket ends: who has said goodbye, and who has been told (RFC 6455 §7).
package final class WebSocketEnding {
    struct Leg {
        /// It was sent a close frame; nothing may follow that.
        var isTold = false
        /// It has sent one.
        var isHeard = false
        /// Its connection is over, or nothing that it says counts.
        var isLost = false
        /// The connection's sending side was shut down.
        var isShut = false
        /// Messages for it that had begun when it was told, or lost: none of those that begin later is sent.
        var messagesBegun: UInt32 = 0

        var isDone: Bool { isLost || isTold && isHeard }
    }

    /// Of the close frame that began it; `noStatus` where that had no code, `abnormal` where there was none.
    package let code: UInt16
    package let reason: [UInt8]
    package let by: TunnelParty
    /// The peer whose doing it is by what the proxy has found: it broke the protocol, or is gone by all appearances.
    package var culprit: TunnelSide?
    /// What the proxy tells those that nobody else has told.
    var told: (code: UInt16, reason: [UInt8])?
    /// What one of them is told instead.
    var toldApart: (side: TunnelSide, code: UInt16, reason: [UInt8])?
    var client = Leg()
    var upstream = Leg()
    /// When it is over at the latest, in milliseconds.
    var due: Int64
    /// When the upstream last took some of what waits for it, or, at the earliest, when this began.
    var upstreamTook: Int64 = 0
    /// The close frames are to stand behind whole messages.
    var waitsForMessages = false
    var isOver = false

    init(code: UInt16, reason: [UInt8], by: TunnelParty, due: Int64) {
        self.code = code
        self.reason = reason
        self.by = by
        self.due = due
    }

    subscript(side: TunnelSide) -> Leg {
        get { side == .client ? client : upstream }
        set { if side == .client { client = newValue } else { upstream = newValue } }
    }

    /// Both sides have said goodbye.
    package var isClean: Bool { client.isHeard && upstream.isHeard }

    /// Nobody knows of it yet: something else may end it before.
    package var isPending: Bool { waitsForMessages && !client.isTold && !upstream.isTold }
}

extension WebSocketPlane {
    /// How it ended, or is about to.
    package var endedBy: WebSocketEnding? { ending }

    /// Nothing more is sent to this side.
    @inline(__always)
    func isMute(_ side: Side) -> Bool {
        guard let ending else { return false }
        let leg = ending[side]
        return leg.isTold || leg.isLost
    }

    private var closeTimeout: Int64 { Int64(rules.settings.closeTimeout) }

    // MARK: The proxy's own reasons

    /// Sends both peers a close frame, as soon as their frames allow it: with `atMessages` not between those of a message,
    /// if that ends within the close timeout. Nothing happens where it is ending already, unless that waits for messages
    /// itself, and this does not.
    package func end(_ code: UInt16, _ reason: [UInt8], atMessages: Bool = false) {
        if let ending, !ending.isPending || atMessages {
            // One peer knows of it. The other, whose message is waited for, is told this, now.
            guard ending.waitsForMessages, !atMessages else { return }
            ending.told = (code, reason)
            ending.waitsForMessages = false
            return tellAll()
        }
        let ending = WebSocketEnding(code: code, reason: reason, by: .proxy, due: owner.now &+ closeTimeout)
        ending.told = (code, reason)
        ending.waitsForMessages = atMessages
        begin(ending)
    }

    /// Has it end with 1001 then, in milliseconds, unless it ends before.
    package func end(at time: Int64) {
        liveness.endsAt = min(liveness.endsAt, time)
        owner.deadlineMoved()
    }

    /// As `end`, with the code and the reason for one side; the other is told 1001.
    package func end(_ code: UInt16, _ reason: [UInt8], of side: Side) {
        if let ending, !ending.isPending {
            guard ending.waitsForMessages else { return }
            ending.toldApart = (side, code, reason)
            ending.waitsForMessages = false
            return tellAll()
        }
        let ending = WebSocketEnding(code: code, reason: reason, by: .proxy, due: owner.now &+ closeTimeout)
        ending.told = (WebSocketCloseCode.goingAway, [])
        ending.toldApart = (side, code, reason)
        begin(ending)
    }

    /// What a side sends is no WebSocket, or nothing that may be: it is told why, and so is the other.
    func broke(_ side: Side, _ code: UInt16, _ reason: String) {
        deafen(side)
        if let ending, !ending.isPending { return goOn(ending) }
        let reason = Array(reason.utf8)
        let ending = WebSocketEnding(code: code, reason: reason, by: .proxy, due: owner.now &+ closeTimeout)
        ending.told = (code, reason)
        ending.culprit = side
        begin(ending)
    }

    /// Nothing more is said to a side, nor waited for.
    package func isDone(with side: Side) -> Bool { ending?[side].isDone ?? false }

    /// Nobody listens at a side any more, by all that is known.
    package func isLost(_ side: Side) -> Bool { ending?[side].isLost ?? false }

    /// A side's close frame is what hooks wait with, or more of what it has sent is to be heard yet: that its end follows is
    /// in order.
    package func hearsOn(_ side: Side) -> Bool {
        guard let busy = self[side].busy else { return false }
        return !busy.held.isEmpty || busy.waiting?.item.opcode == .close
    }

    /// A side sends no more, and may still read. Where its close frame was the last, it is told the answer yet; otherwise it is
    /// as good as lost.
    package func ended(_ side: Side) {
        if ending?[side].isHeard != true { lost(side) }
    }

    /// A side's connection has ended, or failed.
    package func lost(_ side: Side) {
        deafen(side)
        if let ending, !ending.isPending {
            noteMute(side, in: ending)
            ending[side].isLost = true
            goOn(ending)
            return didLose(side)
        }
        let ending = WebSocketEnding(
            code: WebSocketCloseCode.abnormal, reason: [], by: TunnelParty(side),
            due: owner.now &+ closeTimeout)
        noteMute(side, in: ending)
        ending[side].isLost = true
        ending.told = Self.news(ofLost: side, "the connection was lost")
        begin(ending)
        didLose(side)
    }

    private func didLose(_ side: Side) {
        if !self[side.other].isProcessing { settle(side.other) }
    }

    /// What hooks wait with that came for a client which is lost gets nowhere: they are given up, and the upstream is read
    /// on, as its close frame may follow.
    func giveUpWaits(_ side: Side) {
        guard side == .upstream, let ending, ending.client.isLost, let busy = self[side].busy,
            let wait = busy.waitingJob ?? busy.waiting
        else { return }
        forgetJobs(busy)
        if wait.verdict == nil { owner.cancel(wait.item) }
        // As if they had let it by: the order of what follows is looked at as ever.
        resume(wait.item, .pass)
    }

    /// A side is alive no more by all appearances, though its connection has not ended: `why` is what is missing of it.
    func died(_ side: Side, _ why: String) {
        deafen(side)
        let ending = WebSocketEnding(
            code: WebSocketCloseCode.abnormal, reason: Array(why.utf8), by: TunnelParty(side),
            due: owner.now &+ closeTimeout)
        ending.told = Self.news(ofLost: side, why)
        ending.culprit = side
        self.ending = ending
        forgetScriptPings()
        // It may be alive all the same, and read this one day; nobody waits for it.
        sendCloseFrames(to: side)
        noteMute(side, in: ending)
        ending[side].isLost = true
        begin(ending)
        didLose(side)
    }

    /// What the other side is told. 1014 is a gateway's, of its upstream (IANA registry of close codes).
    private static func news(ofLost side: Side, _ what: String) -> (code: UInt16, reason: [UInt8]) {
        switch side {
        case .client: (WebSocketCloseCode.internalError, Array("client: \(what)".utf8))
        case .upstream: (WebSocketCloseCode.badGateway, Array("upstream: \(what)".utf8))
        }
    }

    /// Nobody will answer a peer's close frame any more, so that it is answered here.
    private func goOn(_ ending: WebSocketEnding) {
        guard !ending.isOver else { return }
        if ending.told == nil { ending.told = (ending.code, ending.reason) }
        tellAll()
    }

    private func begin(_ ending: WebSocketEnding) {
        self.ending = ending
        forgetScriptPings()
        owner.deadlineMoved()
        tellAll()
    }

    /// Sends the close frames that may be sent now, and sees to the others.
    private func tellAll() {
        for side in [Side.client, .upstream] {
            guard let ending, ending.told != nil, !isMute(side) else { continue }
            // A frame that its source will not finish: nothing can be said behind that.
            if self[side.other].isDeaf, isWithinFrame(to: side) {
                noteMute(side, in: ending)
                ending[side].isLost = true
                continue
            }
            sendCloseFrames(to: side)
        }
        endIfOver()
    }

    private func sendCloseFrames(to side: Side) {
        self[side.other].frames.stopsAtFrames = true
        if !self[side.other].isProcessing { flushWaiting(side.other) }
    }

    /// Looks at nothing more that comes from a side, and gives up what is held of it.
    private func deafen(_ side: Side) {
        self[side].isDeaf = true
        guard let busy = self[side].busy else { return }
        busy.isResting = false
        for wait in [busy.waiting.take(), busy.waitingJob.take()] {
            guard let wait else { continue }
            if wait.verdict == nil { owner.cancel(wait.item) }
            didGiveUp(wait.what, wait.item, side)
            commons.items.giveBack(wait.item)
        }
        if let assembly = busy.assembly.take() {
            didNotSend(side)
            commons.items.giveBack(assembly.item)
        }
        busy.gated = WebSocketHeld()
        busy.held = WebSocketHeld()
        forgetJobs(busy)
        if busy.isIdle { self[side].busy = nil }
    }

    /// Counts what hooks have waited with for nothing.
    func didGiveUp(_ what: WebSocketWait.What, _ item: WebSocketItem, _ side: Side) {
        switch what {
        case .message: didNotSend(side)
        case .frame: if item.opcode.beginsMessage { self[side].leftOut &+= 1 }
        case .job: break
        }
    }

    /// Nothing more is sent to a side from now on.
    func noteMute(_ side: Side, in ending: WebSocketEnding) {
        guard !ending[side].isTold, !ending[side].isLost else { return }
        ending[side].messagesBegun = self[side.other].frames.messages
    }

    /// A side was sent the proxy's close frame. Once both were, no message is waited for any more, but their answers are.
    func wasTold(_ side: Side, in ending: WebSocketEnding) {
        noteMute(side, in: ending)
        ending[side].isTold = true
        guard ending.waitsForMessages, isMute(side.other) else { return }
        ending.waitsForMessages = false
        ending.due = owner.now &+ closeTimeout
        owner.deadlineMoved()
    }

    private func forgetJobs(_ busy: WebSocketBusy) {
        guard !busy.jobs.isEmpty else { return }
        for item in busy.jobs.removeAll() { commons.items.giveBack(item) }
    }

    private func forgetAll() {
        for side in [Side.client, .upstream] {
            deafen(side)
            self[side].busy = nil
        }
    }

    /// The tunnel is no more.
    package func shutDown() {
        ending?.isOver = true
        forgetScriptPings()
        forgetAll()
    }

    // MARK: A peer's close frame

    /// Takes a valid one, which ends the direction. It goes on to the other side if that has not been told.
    ///
    /// - Returns: whether it goes on.
    func closeReceived(_ close: WebSocketClosePayload, _ payload: [UInt8], from side: Side) -> Bool {
        self[side].isDeaf = true
        let code = close.code ?? WebSocketCloseCode.noStatus
        if let ending, !ending.isPending {
            ending[side].isHeard = true
            guard ending.told == nil, !isMute(side.other) else { return false }
        } else {
            let ending = WebSocketEnding(
                code: code, reason: Array(payload[close.reason]), by: TunnelParty(side),
                due: owner.now &+ closeTimeout)
            ending[side].isHeard = true
            self.ending = ending
            forgetScriptPings()
            owner.deadlineMoved()
        }
        return true
    }

    /// A peer's close frame was sent on.
    func didPassClose(to side: Side) {
        guard let ending else { return }
        noteMute(side, in: ending)
        ending[side].isTold = true
    }

    // MARK: The end

    func timePassed(_ now: Int64, _ ending: WebSocketEnding) {
        guard now >= ending.due, !ending.isOver else { return }
        if owner.isBlocked(.client), !ending.upstream.isLost, now >= ending.upstreamTook &+ rules.sendTimeout
        {
            // It takes nothing any more.
            return lost(.upstream)
        }
        if owes(.client, ending) || owes(.upstream, ending) {
            ending.due = now &+ closeTimeout
            return owner.deadlineMoved()
        }
        if ending.waitsForMessages, !isMute(.client) || !isMute(.upstream) {
            ending.waitsForMessages = false
            ending.due = now &+ closeTimeout
            owner.deadlineMoved()
            return tellAll()
        }
        // One has not answered. The other, which began, is told what it said.
        goOn(ending)
        finish(ending)
    }

    /// A side has yet to take what it was sent, to answer a close frame that stands behind it. A client that takes nothing is
    /// lost once `send_timeout` is over.
    private func owes(_ side: Side, _ ending: WebSocketEnding) -> Bool {
        guard !ending[side].isLost else { return false }
        let timeout = side == .client ? rules.clientSendTimeout : rules.sendTimeout
        return owner.isBlocked(side.other) || owner.isTaking(side, within: timeout)
    }

    /// A side has taken all that it was sent. With its close frame, the time for the answer begins.
    package func drained(_ side: Side) {
        liveness.lastActive = owner.now
        guard let ending, !ending.isOver, ending[side].isTold, !ending[side].isLost else { return }
        ending.due = max(ending.due, owner.now &+ closeTimeout)
        owner.deadlineMoved()
    }

    func endIfOver() {
        // What is being worked on goes out first.
        guard let ending, !ending.isOver, !self[.client].isProcessing, !self[.upstream].isProcessing else {
            return
        }
        for side in [Side.client, .upstream] {
            let leg = ending[side]
            // A server closes first (RFC 6455 §7.1.1); and whoever is not listened to learns that nothing follows.
            guard leg.isTold, leg.isHeard || self[side].isDeaf, !leg.isShut else { continue }
            ending[side].isShut = true
            owner.finishSending(to: side)
        }
        if ending.client.isDone, ending.upstream.isDone { finish(ending) }
    }

    private func finish(_ ending: WebSocketEnding) {
        guard !ending.isOver else { return }
        ending.isOver = true
        forgetAll()
        owner.planeEnded()
    }
}
