internal import Config
internal import Wire

/// When something is due on a WebSocket: pings, their answers, its end for want of traffic. Milliseconds of the
/// monotonic clock, `never` where nothing is.
struct WebSocketLiveness {
    static let never = Int64.max

    struct Leg {
        var nextPing = WebSocketLiveness.never
        /// When the oldest ping that has no answer should have had one.
        var pongDue = WebSocketLiveness.never
        /// When it last gave a sign of life: bytes came, or, for the upstream, it took some that had waited for it.
        var lastSeen: Int64
        /// Of the last ping that was answered, in microseconds; 0 before.
        var roundTrip: UInt32 = 0
        /// A ping is to be sent as soon as no frame is in its way.
        var isPingOwed = false
    }

    var client: Leg
    var upstream: Leg
    /// What `websocket_idle_timeout` counts from.
    var lastActive: Int64
    /// The tunnel is to end then, as its worker or its scripts do.
    var endsAt = WebSocketLiveness.never
    /// Begins the payloads of our pings to a client, and by `key(of:)` to an upstream, which tells their answers from others.
    private let key: UInt32

    init(_ rules: WebSocketRules, now: Int64, random: UInt32) {
        client = Leg(lastSeen: now)
        upstream = Leg(lastSeen: now)
        lastActive = now
        key = random
        take(rules, now: now)
    }

    /// What came last from a side puts `websocket_idle_timeout` off.
    mutating func noteActivity(from side: TunnelSide) {
        lastActive = max(lastActive, self[side].lastSeen)
    }

    /// Time that hooks take is not the peers': what came counts as if it came when they let go of it. What scripts send
    /// did not come.
    mutating func noteEndOfWait(with item: WebSocketItem, _ rules: WebSocketRules, now: Int64) {
        guard !item.isInjected else { return }
        self[item.side].lastSeen = now
        // A pong may answer a ping of ours.
        if !item.opcode.isControl || !rules.countsMessages && item.opcode != .pong { lastActive = now }
    }

    subscript(side: TunnelSide) -> Leg {
        @inline(__always)
        get { side == .client ? client : upstream }
        @inline(__always)
        _modify {
            switch side {
            case .client: yield &client
            case .upstream: yield &upstream
            }
        }
    }

    /// Begins to send pings as `rules` have it, or ends to.
    ///
    /// The first comes after half an interval to a whole one: of connections that were made together, as after a
    /// restart, the pings spread. Where pings are sent already none is put off by that, however often rules are taken.
    mutating func take(_ rules: WebSocketRules, now: Int64) {
        let interval = Int64(rules.settings.pingInterval)
        for (side, leg) in [(TunnelSide.client, WebSocketLegs.client), (.upstream, .upstream)] {
            guard interval > 0, rules.settings.pingTo.contains(leg) else {
                self[side].nextPing = Self.never
                self[side].pongDue = Self.never
                self[side].isPingOwed = false
                continue
            }
            let spread = UInt64(key(of: side)) &* UInt64(interval &- interval / 2)
            self[side].nextPing = min(self[side].nextPing, now &+ interval / 2 &+ Int64(spread &>> 32))
        }
    }

    static let pingLength = 8

    /// One for each side: a peer may ping the other with what it was pinged with, whose answer is for it.
    private func key(of side: TunnelSide) -> UInt32 { side == .client ? key : key ^ 0x5bd1_e995 }

    /// The payload of a ping: the side's key, and when it was sent, in microseconds that wrap.
    func pingPayload(to side: TunnelSide, microseconds: Int64) -> [UInt8] {
        let key = key(of: side)
        let time = UInt32(truncatingIfNeeded: microseconds)
        return (0..<8).map { index in
            let word = index < 4 ? key : time
            return UInt8(truncatingIfNeeded: word &>> UInt32((3 &- index & 3) &* 8))
        }
    }

    /// When a ping with this payload was sent to a side, if it is one of ours.
    func sentTime(ofPing payload: [UInt8], to side: TunnelSide) -> UInt32? {
        guard payload.count == Self.pingLength else { return nil }
        func word(_ start: Int) -> UInt32 {
            (start..<start + 4).reduce(0) { $0 &<< 8 | UInt32(payload[$1]) }
        }
        return word(0) == key(of: side) ? word(4) : nil
    }
}

/// What came of a ping that a script sent.
package enum WebSocketPingOutcome: Sendable, Equatable {
    /// After this many microseconds; at least 1.
    case answered(Int)
    /// Not within `websocket_pong_timeout`.
    case timedOut
    /// The WebSocket began to end before.
    case closing
}

/// A ping that a script waits for the answer of.
struct WebSocketScriptPing {
    var side: TunnelSide
    /// `nil` where it is to be one of ours, and has not been sent.
    var payload: [UInt8]?
    /// The script's own; `nil` once nobody waits for the answer any more, which goes no further all the same.
    var token: Int?
    /// In microseconds when it was sent, and in milliseconds when the answer is due; `nil` while a frame is in its way.
    var sent: (at: Int64, due: Int64)?

    /// Whether a pong with this payload, from this side, is the answer.
    func isAnswered(by payload: [UInt8], from side: TunnelSide) -> Bool {
        self.side == side && sent != nil && self.payload == payload
    }
}

/// Pings, and what follows from the lack of answers and of traffic.
extension WebSocketPlane {
    /// `timePassed` is to be called then.
    package var deadline: Int64 {
        if let ending { return ending.isOver ? WebSocketLiveness.never : ending.due }
        var deadline = min(
            liveness.client.nextPing, liveness.client.pongDue, liveness.upstream.nextPing,
            liveness.upstream.pongDue, liveness.endsAt)
        deadline = min(deadline, trafficDue)
        let idle = Int64(rules.settings.idleTimeout)
        if idle > 0 { deadline = min(deadline, liveness.lastActive &+ idle) }
        for case (_?, let sent?) in scriptPings.lazy.map({ ($0.token, $0.sent) }) {
            deadline = min(deadline, sent.due)
        }
        return deadline
    }

    /// When something has to have come from one of them; or, where the upstream does not take what it was sent, when it has to
    /// have taken some.
    private var trafficDue: Int64 {
        owner.isBlocked(.client)
            ? liveness.upstream.lastSeen &+ rules.sendTimeout
            : max(liveness.client.lastSeen, liveness.upstream.lastSeen) &+ rules.readTimeout
    }

    /// The upstream took some of what waits for it, or has taken everything until now, when something begins to wait.
    package func upstreamTookSome() {
        liveness.upstream.lastSeen = owner.now
        ending?.upstreamTook = owner.now
        owner.deadlineMoved()
    }

    /// The round trip of the last ping that a side has answered, in microseconds.
    package func roundTrip(_ side: Side) -> Int? {
        let roundTrip = liveness[side].roundTrip
        return roundTrip > 0 ? Int(roundTrip) : nil
    }

    package func timePassed() {
        let now = owner.now
        if let ending { return timePassed(now, ending) }
        // What waits for the upstream it has to take, whatever it is not read for.
        let isStuck = owner.isBlocked(.client)
        // Time that hooks take is not the peers'.
        for side in [Side.client, .upstream] where self[side].busy?.isWaiting == true {
            if side == .client || !isStuck { liveness[side].lastSeen = now }
            liveness.lastActive = now
        }
        // Nor is the time for which the upstream is not read, as the client takes nothing.
        if owner.isBlocked(.upstream), !isStuck { liveness.upstream.lastSeen = now }
        // Whoever is not read for that may have much to say.
        if isStuck || owner.isBlocked(.upstream) { liveness.lastActive = now }
        if now >= trafficDue {
            guard !isStuck else { return died(.upstream, "took nothing within proxy_send_timeout") }
            return end(WebSocketCloseCode.goingAway, Array("nothing came within proxy_read_timeout".utf8))
        }
        let idle = Int64(rules.settings.idleTimeout)
        if idle > 0, now >= liveness.lastActive &+ idle {
            return end(WebSocketCloseCode.goingAway, Array("idle".utf8))
        }
        if now >= liveness.endsAt {
            liveness.endsAt = WebSocketLiveness.never
            return end(WebSocketCloseCode.goingAway, [], atMessages: true)
        }
        for side in [Side.client, .upstream] where ending == nil { timePassed(now, on: side) }
        while let index = scriptPings.firstIndex(where: { $0.token != nil && now >= $0.sent?.due ?? .max }) {
            let timeout = Int64(rules.settings.pongTimeout)
            let side = scriptPings[index].side
            // A hook that a side is not read for may be what waits for this ping, itself or by way of others: it cannot be
            // waited for in turn.
            if isResting(side) || mayAnswerYet(side, within: timeout) {
                scriptPings[index].sent?.due = now &+ timeout
            } else if let token = forgetPing(at: index) {
                owner.pingEnded(token, .timedOut)
            }
        }
    }

    /// A ping that has no answer in time may not have come to a side, behind what that has yet to take; or the answer may lie
    /// where it is not read, behind what the other side does not take. How long that takes is for the timeouts of sending.
    private func mayAnswerYet(_ side: Side, within timeout: Int64) -> Bool {
        owner.isBlocked(side) || owner.isBlocked(side.other) || owner.isTaking(side, within: timeout)
    }

    private func timePassed(_ now: Int64, on side: Side) {
        let timeout = Int64(rules.settings.pongTimeout)
        if now >= liveness[side].pongDue {
            // Who sends is not dead: the answer may stand behind a long frame, or a long queue.
            let heardUntil = liveness[side].lastSeen &+ timeout
            if now < heardUntil {
                liveness[side].pongDue = heardUntil
            } else if isPaused(side) || mayAnswerYet(side, within: timeout) {
                // Paused, the answer may lie behind what a hook waits with.
                liveness[side].pongDue = now &+ timeout
            } else {
                return died(side, "ping timeout")
            }
        }
        guard now >= liveness[side].nextPing else { return }
        liveness[side].nextPing = now &+ Int64(rules.settings.pingInterval)
        liveness[side].isPingOwed = true
        sendPings(to: side)
    }

    /// Sends a ping for a script, which `pingEnded` tells of the answer. Its payload is of up to 125 bytes, and one of
    /// ours where it is `nil`.
    ///
    /// - Returns: whether it could be sent.
    package func ping(_ side: Side, payload: [UInt8]?, token: Int) -> Bool {
        guard ending == nil, scriptPings.count(where: { $0.token != nil }) < 64 else { return false }
        scriptPings.append(WebSocketScriptPing(side: side, payload: payload, token: token))
        sendPings(to: side)
        return true
    }

    /// Pings wait to be sent to a side.
    func owesPings(to side: Side) -> Bool {
        guard !isMute(side) else { return false }
        return liveness[side].isPingOwed || scriptPings.contains { $0.side == side && $0.sent == nil }
    }

    /// Sends the pings that a side is owed, or has them wait for the end of the frame that is in their way.
    private func sendPings(to side: Side) {
        guard !self[side.other].isProcessing, !isWithinFrame(to: side) else {
            self[side.other].frames.stopsAtFrames = true
            return
        }
        var frames: [UInt8] = []
        appendPings(to: side, into: &frames)
        if !frames.isEmpty { transmit(frames.span, then: Span(), to: side) }
    }

    /// Appends the pings that a side is owed, unless a frame is in their way.
    ///
    /// Only now the time for the answers begins: what a frame keeps from its peer is not the peer's to answer. That the peer
    /// takes nothing of such a frame is for the timeouts of sending to find out, that the frame's sender has fallen
    /// silent for those of what it sends.
    func appendPings(to side: Side, into out: inout [UInt8]) {
        guard owesPings(to: side), !isWithinFrame(to: side) else { return }
        let microseconds = owner.microseconds
        // Not from `now`: the turn may have been going on for long, and the peer is to have all of its time.
        let due = microseconds / 1000 &+ Int64(rules.settings.pongTimeout)
        let ours = liveness.pingPayload(to: side, microseconds: microseconds)
        if liveness[side].isPingOwed {
            liveness[side].isPingOwed = false
            if liveness[side].pongDue == WebSocketLiveness.never { liveness[side].pongDue = due }
            WebSocketFraming.append(.ping, ours.span, maskKey: maskKey(to: side), to: &out)
        }
        for index in scriptPings.indices
        where scriptPings[index].side == side && scriptPings[index].sent == nil {
            let payload = scriptPings[index].payload ?? ours
            scriptPings[index].payload = payload
            scriptPings[index].sent = (microseconds, due)
            // What is held may be taken for its answer.
            self[side].busy?.held.searchedCount = 0
            WebSocketFraming.append(.ping, payload.span, maskKey: maskKey(to: side), to: &out)
        }
        owner.deadlineMoved()
    }

    /// A script does not wait for its ping any more.
    package func forgetPing(_ token: Int) {
        if let index = scriptPings.firstIndex(where: { $0.token == token }) { _ = forgetPing(at: index) }
    }

    /// Late answers that are looked out for.
    private static let maxForgotten = 16

    private func forgetPing(at index: Int) -> Int? {
        guard let token = scriptPings[index].token.take() else { return nil }
        // Those with our payload are known by that, and those that have not been sent are not answered.
        let ping = scriptPings[index]
        let isOurs = ping.payload.map { liveness.sentTime(ofPing: $0, to: ping.side) != nil } ?? true
        if isOurs || ping.sent == nil { scriptPings.remove(at: index) }
        if scriptPings.count(where: { $0.token == nil }) > Self.maxForgotten,
            let oldest = scriptPings.firstIndex(where: { $0.token == nil })
        {
            scriptPings.remove(at: oldest)
        }
        return token
    }

    /// Takes a pong: an answer to a ping of ours goes no further.
    ///
    /// - Returns: whether it was one.
    func takePong(_ payload: [UInt8], from side: Side) -> Bool {
        var isOurs = false
        if let sentTime = liveness.sentTime(ofPing: payload, to: side) {
            isOurs = true
            let roundTrip = UInt32(truncatingIfNeeded: owner.microseconds) &- sentTime
            liveness[side].roundTrip = max(1, roundTrip)
            liveness[side].pongDue = WebSocketLiveness.never
        }
        guard let last = scriptPings.firstIndex(where: { $0.isAnswered(by: payload, from: side) }) else {
            return isOurs
        }
        // RFC 6455 §5.5.3: one answer may be for several pings, the latest of which it repeats. Where those before it
        // are only late, as behind a hook, they go no further either.
        let ping = scriptPings.remove(at: last)
        let earlier = scriptPings[..<last].filter { $0.side == side && $0.token != nil && $0.sent != nil }
        for ping in earlier { if let token = ping.token { forgetPing(token) } }
        let microseconds = owner.microseconds
        for ping in earlier + [ping] {
            guard let token = ping.token, let sent = ping.sent else { continue }
            let roundTrip = max(1, microseconds &- sent.at)
            liveness[side].roundTrip = UInt32(clamping: roundTrip)
            owner.pingEnded(token, .answered(Int(roundTrip)))
        }
        return true
    }

    /// Takes answers to pings of ours out of what is held behind a hook that waits, which may be for one of them.
    ///
    /// Hooks may go on by each, and with them what is held: whoever holds something anew by that is looked at here.
    func takePongs(from side: Side) {
        guard !self[side].isTakingPongs else { return }
        self[side].isTakingPongs = true
        // The rest of a message that is put together may be what is held.
        while let busy = self[side].busy, busy.isWaiting, waitsForPong(of: side),
            self[side].frames.isAtFrameBoundary, let pong = removePong(busy, from: side)
        {
            _ = takePong(pong, from: side)
        }
        self[side].isTakingPongs = false
    }

    /// Removes the first answer to a ping of ours from what is held.
    ///
    /// - Returns: its payload.
    private func removePong(_ busy: WebSocketBusy, from side: Side) -> [UInt8]? {
        let role: WebSocketRole = side == .client ? .server : .client
        let reserved = self[side].frames.allowedReserved
        // Taken, so that it is not copied when something is left out.
        var held = busy.held.take()
        defer { busy.held = held }
        while case .header(let header, let start) = WebSocketFrameHeaderParser.read(
            held.span, at: held.searchedCount, as: role, allowedReserved: reserved),
            header.payloadLength <= Int64(held.count - start)
        {
            let frame = held.searchedCount..<start + Int(header.payloadLength)
            held.searchedCount = frame.upperBound
            guard header.opcode == .pong else { continue }
            var payload: [UInt8] = []
            payload.append(
                unmasking: held.span.extracting(start..<frame.upperBound), with: header.maskKey)
            guard isOurs(payload, from: side) else { continue }
            held.remove(frame)
            return payload
        }
        return nil
    }

    /// Whether a pong with this payload answers a ping of ours.
    func isOurs(_ payload: [UInt8], from side: Side) -> Bool {
        liveness.sentTime(ofPing: payload, to: side) != nil
            || scriptPings.contains { $0.isAnswered(by: payload, from: side) }
    }

    /// A script waits for this side's answer.
    func waitsForPong(of side: Side) -> Bool {
        scriptPings.contains { $0.side == side && $0.token != nil }
    }

    func forgetScriptPings() {
        while let index = scriptPings.firstIndex(where: { $0.token != nil }) {
            if let token = forgetPing(at: index) { owner.pingEnded(token, .closing) }
        }
    }
}
