import Config
import Foundation
import ProxyCore
import Testing
import Wire

/// Random traffic through hooks that come and go, wait, leave out, replace, split, send and close, while peers close,
/// break rules and are lost. What each peer receives is compared with a model that knows of the plane only which
/// messages and frames it has shown to hooks.
///
/// `SWITCHYARD_PLANE_SEEDS` says how many runs there are of each kind, `SWITCHYARD_PLANE_SEED` from which on.
@Suite("A WebSocket's plane, against a model")
struct WebSocketPlaneModelTests {
    private static func setting(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    private static let seeds = setting("SWITCHYARD_PLANE_SEEDS") ?? 40
    private static let first = setting("SWITCHYARD_PLANE_SEED") ?? 1

    enum Compression: String, CaseIterable {
        case none, passed, passedWithoutContext, client, upstream, both
    }

    @Test("hooks come and go, and nothing is lost, doubled or out of order", arguments: Compression.allCases)
    func delivery(_ compression: Compression) throws {
        for seed in Self.first..<Self.first + Self.seeds {
            try ModelRun(compression, seed: seed, ends: false).run()
        }
    }

    @Test(
        "however it ends, what came before is in order, a close frame is last, and nothing is left behind",
        arguments: Compression.allCases)
    func ends(_ compression: Compression) throws {
        for seed in Self.first..<Self.first + Self.seeds {
            try ModelRun(compression, seed: seed, ends: true).run()
        }
    }
}

private final class ModelRun {
    typealias Compression = WebSocketPlaneModelTests.Compression

    private let compression: Compression
    private let label: String
    private var random: PlaneRandom
    private let fixture: PlaneFixture
    private let ends: Bool

    /// One of the peers.
    private final class Peer {
        /// Frames to be sent, and the rest of the one that is being sent.
        var pending: [PlaneFrame] = []
        var current: [UInt8] = []
        /// What was sent, from the first byte on.
        var wire: [PlaneFrame] = []
        var received: [PlaneFrame] = []
        var deflater: WebSocketDeflater?
        var inflater: WebSocketInflater?
        /// Messages that scripts sent to it.
        var injected: [PlaneFrame] = []
        var hasClosed = false
        var isLost = false
        var isWithinMessage = false
        /// What it sends is no WebSocket any more.
        var isBroken = false
    }

    private let client = Peer()
    private let upstream = Peer()
    /// Payloads that hooks were shown.
    private var judgedMessages: Set<[UInt8]> = []
    /// Sent by hooks that were called for what scripts have sent, or for a piece: before that.
    private var overtaking: Set<[UInt8]> = []
    private var judgedFrames: Set<Shown> = []

    /// A ping and its answer have the same payload.
    private struct Shown: Hashable {
        var side: Side
        var isPong: Bool
        var payload: [UInt8]
    }

    /// Payloads of pings that came from the peers, or were made from such.
    private var foreign: Set<[UInt8]> = []
    private var serial = 0
    private var scriptPings = 0
    private var hasEnded = false
    private let pool = DeflatePool()
    private let ruleSets: [WebSocketRules]

    private func peer(_ side: Side) -> Peer { side == .client ? client : upstream }

    init(_ compression: Compression, seed: Int, ends: Bool) throws {
        self.compression = compression
        self.ends = ends
        label = "\(compression) \(seed)"
        random = PlaneRandom(seed: seed &* 2 &+ (ends ? 1 : 0))
        let parameters = PermessageDeflate.Parameters(
            serverNoContextTakeover: compression == .passedWithoutContext,
            clientNoContextTakeover: compression == .passedWithoutContext)
        let directives =
            random.oneIn(2)
            ? "websocket_ping_interval 300ms; websocket_pong_timeout 5s; websocket_close_timeout 3s;"
            : "websocket_close_timeout 3s;"
        fixture = try PlaneFixture(directives, codecs: Self.codecs(compression, parameters))
        var sets = [try PlaneFixture.rules(directives, fixture.commons)]
        for _ in 0..<3 {
            let messages = [Side.client: Self.messages(&random), .upstream: Self.messages(&random)]
            let frames = [Side.client: Self.frames(&random), .upstream: Self.frames(&random)]
            sets.append(
                try PlaneFixture.rules(
                    directives, fixture.commons, messages: { messages[$0] ?? .none },
                    frames: { frames[$0] ?? .none }))
        }
        ruleSets = sets
        fixture.plane.migrate(to: sets[random.below(4)])
        for side in [Side.client, .upstream] where Self.isCompressed(compression, side) {
            let keepsContext = compression != .passedWithoutContext
            peer(side).deflater = WebSocketDeflater(
                windowBits: 15, keepsContext: keepsContext, level: 6, pool: pool)
            peer(side).inflater = WebSocketInflater(windowBits: 15, keepsContext: keepsContext, pool: pool)
        }
        fixture.verdict = { [unowned self] item, position in judge(item, position) }
    }

    private static func messages(_ random: inout PlaneRandom) -> WebSocketInterest {
        random.pick([
            .none, WebSocketInterest([.text, .binary]), WebSocketInterest([.text, .binary]),
            WebSocketInterest([.text]), WebSocketInterest([.text, .binary], maxSize: 60),
        ])
    }

    private static func frames(_ random: inout PlaneRandom) -> WebSocketInterest {
        random.pick([
            .none, .none, WebSocketInterest(WebSocketOpcode.allCases), WebSocketInterest([.ping, .pong]),
            WebSocketInterest([.text, .binary, .continuation], maxSize: 100),
        ])
    }

    private static func isCompressed(_ compression: Compression, _ side: Side) -> Bool {
        switch compression {
        case .none: false
        case .passed, .passedWithoutContext, .both: true
        case .client: side == .client
        case .upstream: side == .upstream
        }
    }

    private static func codecs(
        _ compression: Compression, _ parameters: PermessageDeflate.Parameters
    ) -> ((DeflatePool) -> WebSocketCodecs)? {
        switch compression {
        case .none: return nil
        case .passed, .passedWithoutContext:
            return { pool in
                WebSocketCodecs(
                    fromClient: WebSocketCodec(passing: parameters, from: .client, pool: pool),
                    fromUpstream: WebSocketCodec(passing: parameters, from: .server, pool: pool))
            }
        case .client, .upstream, .both:
            let client = isCompressed(compression, .client) ? parameters : nil
            let upstream = isCompressed(compression, .upstream) ? parameters : nil
            return { pool in
                WebSocketCodecs(
                    fromClient: WebSocketCodec(
                        source: client, sender: .client, target: upstream, receiver: .server,
                        options: WebSocketDeflateOptions(), pool: pool),
                    fromUpstream: WebSocketCodec(
                        source: upstream, sender: .server, target: client, receiver: .client,
                        options: WebSocketDeflateOptions(), pool: pool))
            }
        }
    }

    // MARK: Hooks

    /// Payloads begin with `#`, a number of their own, and a letter that says what hooks do to them.
    private static func letter(of payload: [UInt8]) -> UInt8? {
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard payload.count > 2, payload[0] == UInt8(ascii: "#"), digits.contains(payload[1]) else {
            return nil
        }
        return payload.dropFirst().first { !digits.contains($0) }
    }

    private static func messageVerdict(_ payload: [UInt8]) -> WebSocketVerdict {
        switch letter(of: payload) {
        case UInt8(ascii: "D"): .drop
        case UInt8(ascii: "R"): .replace([Array("r".utf8) + payload])
        case UInt8(ascii: "N"): .replace([Array("n".utf8) + payload, [], Array("m".utf8) + payload])
        case UInt8(ascii: "S"): .split([Array("s".utf8) + payload, Array("t".utf8) + payload], position: 1)
        case UInt8(ascii: "X"): .close(code: 4009, reason: Array("by a hook".utf8))
        default: .pass
        }
    }

    private static func frameVerdict(_ payload: [UInt8], isControl: Bool) -> WebSocketVerdict {
        switch letter(of: payload) {
        case UInt8(ascii: "d"): .drop
        case UInt8(ascii: "e"): .replace([Array("r".utf8) + payload])
        case UInt8(ascii: "f") where !isControl: .replace([Array("1".utf8) + payload, Array("2".utf8)])
        default: .pass
        }
    }

    private func judge(_ item: WebSocketItem, _ position: Int) -> WebSocketVerdict {
        if item.kind == .message {
            judgedMessages.insert(item.data)
        } else {
            judgedFrames.insert(Shown(side: item.side, isPong: item.opcode == .pong, payload: item.data))
        }
        if position == 1 {
            #expect(item.data.first == UInt8(ascii: "s") || item.data.first == UInt8(ascii: "t"))
        }
        if random.oneIn(12) {
            let target = random.oneIn(2) ? Side.client : .upstream
            inject(target, overtakes: target == item.side.other && (item.isInjected || position == 1))
        }
        return random.oneIn(5) ? .waiting : verdict(of: item)
    }

    private func verdict(of item: WebSocketItem) -> WebSocketVerdict {
        item.kind == .message
            ? Self.messageVerdict(item.data) : Self.frameVerdict(item.data, isControl: item.opcode.isControl)
    }

    // MARK: The model

    private func afterMessageHooks(_ message: PlaneFrame) -> [PlaneFrame] {
        guard judgedMessages.contains(message.payload) else { return [message] }
        switch Self.messageVerdict(message.payload) {
        case .drop, .close: return []
        case .replace(let payloads), .split(let payloads, _):
            return payloads.map { PlaneFrame(opcode: message.opcode, payload: $0) }
        default: return [message]
        }
    }

    private func afterFrameHooks(_ frame: PlaneFrame, from side: Side) -> [UInt8]? {
        guard judgedFrames.contains(Shown(side: side, isPong: frame.opcode == 10, payload: frame.payload))
        else { return frame.payload }
        switch Self.frameVerdict(frame.payload, isControl: frame.opcode >= 8) {
        case .drop: return nil
        case .replace(let payloads): return Array(payloads.joined())
        default: return frame.payload
        }
    }

    /// What the other side is to receive of what a side has put on the wire.
    private func expected(from side: Side) throws -> (messages: [PlaneFrame], controls: [PlaneFrame]) {
        var messages: [PlaneFrame] = []
        var controls: [PlaneFrame] = []
        var open: PlaneFrame?
        var isLeftOut = true
        // Of its own, since the peers' are at what has arrived.
        let inflater = peer(side).deflater.map { _ in
            WebSocketInflater(windowBits: 15, keepsContext: compression != .passedWithoutContext, pool: pool)
        }
        for frame in peer(side).wire {
            guard frame.opcode < 8 else {
                guard frame.opcode != 8, let payload = afterFrameHooks(frame, from: side) else { continue }
                guard frame.opcode == 9 || foreign.contains(frame.payload) else { continue }
                controls.append(PlaneFrame(opcode: frame.opcode, payload: payload))
                continue
            }
            var message = open ?? PlaneFrame(reserved: frame.reserved, opcode: frame.opcode, payload: [])
            if open == nil { isLeftOut = true }
            if let payload = afterFrameHooks(frame, from: side) {
                message.payload += payload
                isLeftOut = false
            }
            open = frame.isFinal ? nil : message
            guard frame.isFinal, !isLeftOut else { continue }
            if message.reserved != 0 {
                var plain: [UInt8] = []
                #expect(inflater?.append(message.payload.span, to: &plain, limit: 1 << 24) == .ok)
                #expect(inflater?.endMessage(to: &plain, limit: 1 << 24) == .ok)
                message = PlaneFrame(opcode: message.opcode, payload: plain)
            }
            messages += afterMessageHooks(message)
        }
        return (messages, controls)
    }

    /// Of a message that a script has sent.
    private func afterHooks(injected message: PlaneFrame, to side: Side) -> [PlaneFrame] {
        afterMessageHooks(message).compactMap { message in
            afterFrameHooks(message, from: side.other).map { PlaneFrame(opcode: message.opcode, payload: $0) }
        }
    }

    // MARK: What peers and scripts do

    private func unique(_ letters: [String]) -> [UInt8] {
        serial += 1
        return Array("#\(serial)\(random.pick(letters))".utf8)
    }

    private func write(from side: Side) {
        let peer = peer(side)
        guard !peer.hasClosed, !peer.isLost, !peer.isBroken else { return }
        let opcode: UInt8 = random.oneIn(2) ? 1 : 2
        let count = random.pick([1, 1, 1, 2, 3, 6])
        var parts: [[UInt8]] = []
        for index in 0..<count {
            var letters = ["P", "P", "P", "d", "e", "f"]
            if index == 0 { letters += ["D", "R", "N", "S", "P"] }
            if index == 0, ends, random.oneIn(6) { letters += ["X"] }
            var part = unique(letters)
            let size = random.pick([0, 0, 8, 60, 118, 120, 130, 900, random.oneIn(20) ? 66_000 : 3])
            while part.count < size { part += Array("ü€😀 \(random.below(100))".utf8) }
            parts.append(part)
        }
        let reserved: UInt8 = peer.deflater != nil && !random.oneIn(4) ? 4 : 0
        if reserved != 0 {
            // Fragments of what is compressed are none of what is not: hooks for frames let it pass.
            var deflated: [UInt8] = []
            peer.deflater?.append(message: Array(parts.joined()).span, to: &deflated)
            parts = (0..<count).map { index in
                let length = index == count - 1 ? deflated.count : random.below(deflated.count + 1)
                defer { deflated.removeFirst(length) }
                return Array(deflated.prefix(length))
            }
        }
        for (index, part) in parts.enumerated() {
            peer.pending.append(
                PlaneFrame(
                    isFinal: index == count - 1, reserved: index == 0 ? reserved : 0,
                    opcode: index == 0 ? opcode : 0, payload: part))
            guard random.oneIn(4) else { continue }
            let control = PlaneFrame(opcode: random.oneIn(2) ? 9 : 10, payload: unique(["P", "P", "d", "e"]))
            foreign.insert(control.payload)
            foreign.insert(Array("r".utf8) + control.payload)
            peer.pending.append(control)
        }
    }

    /// Sends some bytes of a side, cut anywhere.
    private func deliver(_ side: Side) throws {
        let peer = peer(side)
        guard !peer.isLost else { return }
        var piece: [UInt8] = []
        let count = random.pick([1, 2, 7, 50, 130, 1000, 100_000])
        while piece.count < count {
            if peer.current.isEmpty {
                guard !peer.pending.isEmpty else { break }
                let frame = peer.pending.removeFirst()
                peer.wire.append(frame)
                if frame.opcode < 8 { peer.isWithinMessage = !frame.isFinal }
                if frame.opcode == 8 { peer.pending = [] }
                peer.current = frame.encoded(
                    maskedBy: side == .client ? (0..<4).map { _ in UInt8(random.below(256)) } : nil)
            }
            let taken = min(count - piece.count, peer.current.count)
            piece += peer.current.prefix(taken)
            peer.current.removeFirst(taken)
        }
        guard !piece.isEmpty else { return }
        fixture.receive(piece, from: side)
        try read()
    }

    /// Each peer reads, and answers.
    private func read() throws {
        for side in [Side.client, .upstream] {
            let peer = peer(side)
            for frame in try fixture.take(side) {
                peer.received.append(frame)
                guard !peer.hasClosed, !peer.isLost, !peer.isBroken else { continue }
                switch frame.opcode {
                case 9:
                    let place = peer.pending.firstIndex { $0.opcode != 10 } ?? peer.pending.count
                    peer.pending.insert(.pong(frame.payload), at: place)
                case 8:
                    peer.hasClosed = true
                    // It may take part of a message back, but says goodbye; or it may say nothing.
                    if random.oneIn(4) { peer.pending = [] }
                    if !random.oneIn(5) { peer.pending.append(.close(1000)) }
                default: break
                }
            }
        }
    }

    private func inject(_ side: Side, overtakes: Bool = false) {
        let message = PlaneFrame(
            opcode: random.oneIn(2) ? 1 : 2, payload: unique(["P", "D", "R", "N", "S", "d", "e", "f"]))
        peer(side).injected.append(message)
        if overtakes { overtaking.insert(message.payload) }
        let isSent = fixture.plane.inject(
            message.opcode == 1 ? .text : .binary, message.payload, to: side,
            firstMessageHook: 0, firstFrameHook: 0)
        if !hasEnded { #expect(isSent, "\(label)") }
        if !isSent { peer(side).injected.removeAll { $0 == message } }
    }

    private func resume() {
        guard !fixture.waiting.isEmpty else { return }
        let item = fixture.waiting.remove(at: random.below(fixture.waiting.count))
        if random.oneIn(6) { inject(random.oneIn(2) ? .client : .upstream) }
        // What the above has led to may have given it up.
        fixture.plane.resume(item, verdict(of: item))
    }

    private func end() {
        hasEnded = true
        let side: Side = random.oneIn(2) ? .client : .upstream
        let peer = peer(side)
        switch random.below(9) {
        case 0, 1:
            guard !peer.hasClosed, !peer.isBroken, !peer.isLost else { return }
            peer.hasClosed = true
            peer.pending.insert(
                random.oneIn(3) ? .close(nil) : .close(4000, "by a peer"),
                at: random.below(peer.pending.count + 1))
        case 2: fixture.plane.end(4001, Array("by the proxy".utf8))
        case 3: fixture.plane.end(1001, [], atMessages: true)
        case 4: fixture.plane.end(at: fixture.now + Int64(random.below(200)))
        case 5: fixture.plane.end(4002, Array("apart".utf8), of: side)
        case 6:
            peer.isLost = true
            fixture.plane.lost(side)
        case 7:
            guard !peer.hasClosed, !peer.isLost, peer.current.isEmpty else { return }
            peer.isBroken = true
            peer.pending = []
            fixture.receive([0x8b, side == .client ? 0x80 : 0, 1, 2, 3, 4], from: side)
        // It is silent from now on.
        default: peer.isBroken = true
        }
    }

    // MARK: All of it

    func run() throws {
        for _ in 0..<70 {
            let side: Side = random.oneIn(2) ? .client : .upstream
            switch random.below(14) {
            case 0, 1, 2: write(from: side)
            case 3, 4, 5, 6: try deliver(side)
            case 7: inject(side)
            case 8, 9: resume()
            case 10: fixture.advance(Int64(random.below(40)))
            case 11:
                if fixture.plane.ping(
                    side, payload: random.oneIn(2) ? nil : unique(["P"]), token: scriptPings)
                {
                    scriptPings += 1
                } else {
                    #expect(hasEnded)
                }
                fixture.now += 1
            case 12: fixture.plane.migrate(to: ruleSets[random.below(4)])
            default: if ends, random.oneIn(3) { end() }
            }
            try read()
            if fixture.plane.endedBy != nil { hasEnded = true }
        }
        if ends, !hasEnded {
            hasEnded = true
            fixture.plane.end(4001, [])
        }
        for _ in 0..<100_000 {
            let isQuiet =
                fixture.waiting.isEmpty
                && [Side.client, .upstream].allSatisfy {
                    peer($0).isLost || peer($0).pending.isEmpty && peer($0).current.isEmpty
                }
            if isQuiet { break }
            resume()
            try deliver(.client)
            try deliver(.upstream)
        }
        try read()
        if ends { try checkEnd() }
        #expect(fixture.pings.map(\.token).sorted() == Array(0..<scriptPings), "\(label)")
        for side in [Side.client, .upstream] { try check(side) }
        #expect(fixture.isIdle, "\(label): \(fixture.commons.items.openCount) items")
        #expect(fixture.plane.holdsNothing || ends, "\(label)")
    }

    private func checkEnd() throws {
        if fixture.endings == 0 {
            // Pings may find out who is silent; a peer may answer the close frame that follows.
            for _ in 0..<4 {
                fixture.advance(100_000)
                try read()
                for _ in 0..<1000 where fixture.endings == 0 {
                    resume()
                    try deliver(.client)
                    try deliver(.upstream)
                }
            }
        }
        fixture.advance(200_000)
        try read()
        #expect(fixture.endings == 1, "\(label)")
        #expect(fixture.plane.endedBy != nil)
        #expect(fixture.waiting.isEmpty, "\(label)")
        #expect(fixture.plane.holdsNothing, "\(label)")
        for side in [Side.client, .upstream] {
            let received = peer(side).received
            #expect(received.dropLast().allSatisfy { $0.opcode != 8 }, "\(label): after a close frame")
            let mayBeUntold = peer(side).isLost || fixture.sent[side]?.isEmpty == false
            #expect(received.last?.opcode == 8 || mayBeUntold, "\(label): \(side) was not told")
        }
    }

    /// What `side` has received is what the other sent, by way of the hooks, with the injected in between.
    private func check(_ side: Side) throws {
        let peer = peer(side)
        var frames = peer.received
        if ends {
            // The last message may be half.
            if frames.last?.opcode == 8 { frames.removeLast() }
            let data = frames.filter { $0.opcode < 8 }
            if let last = data.last, !last.isFinal {
                let start = frames.lastIndex { $0.opcode == 1 || $0.opcode == 2 } ?? 0
                frames = frames[..<start] + frames[start...].filter { $0.opcode >= 8 }
            }
        }
        let messages: [PlaneFrame]
        let controls: [PlaneFrame]
        do {
            (messages, controls) = try frames.assembled(inflating: peer.inflater)
        } catch {
            Issue.record("\(label) to \(side): \(error) in \(peer.received)")
            return
        }
        let (expectedMessages, expectedControls) = try expected(from: side.other)
        let injected = peer.injected.flatMap { afterHooks(injected: $0, to: side) }
        let ordered = peer.injected.filter { !overtaking.contains($0.payload) }
            .flatMap { afterHooks(injected: $0, to: side) }
        let orderedPayloads = Set(ordered.map(\.payload))
        // All payloads differ, but for those that are empty.
        let injectedPayloads = Set(injected.map(\.payload)).subtracting([[]])
        let own = messages.filter { !injectedPayloads.contains($0.payload) && !$0.payload.isEmpty }
        let sent = messages.filter { !$0.payload.isEmpty && orderedPayloads.contains($0.payload) }
        let wanted = expectedMessages.filter { !$0.payload.isEmpty }
        let wantedSent = ordered.filter { !$0.payload.isEmpty }
        let seen = controls.filter { foreign.contains($0.payload) }
        let ours = controls.filter { !foreign.contains($0.payload) }
        #expect(ours.allSatisfy { $0.opcode == 9 }, "\(label) to \(side): \(ours)")
        guard ends else {
            #expect(own == wanted, "\(label) to \(side)")
            #expect(sent == wantedSent, "\(label) to \(side)")
            #expect(seen == expectedControls, "\(label) to \(side)")
            #expect(messages.count == expectedMessages.count + injected.count)
            #expect(fixture.plane.messages(to: side) == messages.count, "\(label) to \(side)")
            return
        }
        #expect(own == Array(wanted.prefix(own.count)), "\(label) to \(side)")
        #expect(sent == Array(wantedSent.prefix(sent.count)), "\(label) to \(side)")
        #expect(seen == Array(expectedControls.prefix(seen.count)), "\(label) to \(side)")
    }
}
