import Config
import Foundation
import ProxyCore
import Testing
import Wire

/// Random messages, cuts, hooks that wait, injections and pings, against a model that knows nothing of the plane.
@Suite("A WebSocket's plane, whatever happens")
struct WebSocketPlanePropertyTests {
    enum Mode: String, CaseIterable {
        case transparent, hooksFromClient, hooksBoth, filtered, frames, framesAndMessages
        case passedDeflate, passedDeflateWithoutContext, clientDeflate, upstreamDeflate, bothDeflate
    }

    private static let seeds =
        ProcessInfo.processInfo.environment["SWITCHYARD_PLANE_SEEDS"].flatMap { Int($0) } ?? 60

    @Test("each direction's messages come complete, in order and valid", arguments: Mode.allCases)
    func everything(_ mode: Mode) throws {
        for seed in 1...Self.seeds { try Run(mode, seed: seed).run() }
    }

    /// One scenario.
    final class Run {
        let mode: Mode
        let seed: Int
        var random: PlaneRandom
        let fixture: PlaneFixture
        /// Frames that a side has yet to send, and what of them is being sent.
        var pending: [Side: [PlaneFrame]] = [.client: [], .upstream: []]
        var current: [Side: [UInt8]] = [.client: [], .upstream: []]
        var received: [Side: [PlaneFrame]] = [.client: [], .upstream: []]
        var expected: [Side: [PlaneFrame]] = [.client: [], .upstream: []]
        var controls: [Side: [PlaneFrame]] = [.client: [], .upstream: []]
        var injected: [Side: [PlaneFrame]] = [.client: [], .upstream: []]
        var deflaters: [Side: WebSocketDeflater] = [:]
        var inflaters: [Side: WebSocketInflater] = [:]
        var foreign: Set<[UInt8]> = []
        var tokens = 0
        let pool = DeflatePool()

        init(_ mode: Mode, seed: Int) throws {
            self.mode = mode
            self.seed = seed
            random = PlaneRandom(seed: seed)
            let all = WebSocketInterest([.text, .binary])
            let controls = WebSocketInterest(WebSocketOpcode.allCases)
            let noContext = PermessageDeflate.Parameters(
                serverNoContextTakeover: true, clientNoContextTakeover: true)
            let parameters = mode == .passedDeflateWithoutContext ? noContext : PermessageDeflate.Parameters()
            fixture = try PlaneFixture(
                random.oneIn(2) ? "websocket_ping_interval 50ms; websocket_pong_timeout 10s;" : "",
                messages: { side in
                    switch mode {
                    case .transparent, .frames, .clientDeflate: .none
                    case .hooksFromClient: side == .client ? all : .none
                    case .filtered: WebSocketInterest([.text], maxSize: 60)
                    default: all
                    }
                },
                frames: { _ in mode == .frames || mode == .framesAndMessages ? controls : .none },
                codecs: Self.codecs(mode, parameters))
            fixture.verdict = { [unowned self] item, position in judge(item, position) }
            fixture.lookTakes = random.pick([0, 400, 1000])
            for side in [Side.client, .upstream] {
                guard Self.compresses(mode, side) else { continue }
                let context = mode != .passedDeflateWithoutContext
                deflaters[side] = WebSocketDeflater(
                    windowBits: 15, keepsContext: context, level: 6, pool: pool)
                inflaters[side] = WebSocketInflater(windowBits: 15, keepsContext: context, pool: pool)
            }
        }

        static func compresses(_ mode: Mode, _ side: Side) -> Bool {
            switch mode {
            case .passedDeflate, .passedDeflateWithoutContext, .bothDeflate: true
            case .clientDeflate: side == .client
            case .upstreamDeflate: side == .upstream
            default: false
            }
        }

        static func codecs(
            _ mode: Mode, _ parameters: PermessageDeflate.Parameters
        ) -> ((DeflatePool) -> WebSocketCodecs)? {
            switch mode {
            case .passedDeflate, .passedDeflateWithoutContext:
                return { pool in
                    WebSocketCodecs(
                        fromClient: WebSocketCodec(passing: parameters, from: .client, pool: pool),
                        fromUpstream: WebSocketCodec(passing: parameters, from: .server, pool: pool))
                }
            case .clientDeflate, .upstreamDeflate, .bothDeflate:
                let client = compresses(mode, .client) ? parameters : nil
                let upstream = compresses(mode, .upstream) ? parameters : nil
                return { pool in
                    WebSocketCodecs(
                        fromClient: WebSocketCodec(
                            source: client, sender: .client, target: upstream, receiver: .server,
                            options: WebSocketDeflateOptions(), pool: pool),
                        fromUpstream: WebSocketCodec(
                            source: upstream, sender: .server, target: client, receiver: .client,
                            options: WebSocketDeflateOptions(), pool: pool))
                }
            default: return nil
            }
        }

        // MARK: Hooks

        /// A message's first letters say what becomes of it.
        func judge(_ item: WebSocketItem, _ position: Int) -> WebSocketVerdict {
            if item.kind == .frame { return random.oneIn(8) ? .waiting : .pass }
            if item.data.first == UInt8(ascii: "W") { return .waiting }
            return Self.verdict(item.data, position)
        }

        static func verdict(_ data: [UInt8], _ position: Int) -> WebSocketVerdict {
            let first = data.first == UInt8(ascii: "W") ? data.dropFirst().first : data.first
            guard position == 0 else { return .pass }
            switch first {
            case UInt8(ascii: "D"): return .drop
            case UInt8(ascii: "R"): return .replace([Array("r".utf8) + data])
            case UInt8(ascii: "S"):
                return .split([Array("one ".utf8) + data, Array("two".utf8)], position: 1)
            default: return .pass
            }
        }

        func sees(_ frame: PlaneFrame, from side: Side) -> Bool {
            switch mode {
            case .transparent, .frames, .clientDeflate: false
            case .hooksFromClient: side == .client
            case .filtered: frame.opcode == 1 && frame.payload.count <= 60
            default: true
            }
        }

        func outcome(of message: PlaneFrame, from side: Side) -> [PlaneFrame] {
            guard sees(message, from: side) else { return [message] }
            func with(_ payload: [UInt8]) -> PlaneFrame {
                var changed = message
                changed.payload = payload
                return changed
            }
            switch Self.verdict(message.payload, 0) {
            case .drop: return []
            case .replace(let payloads), .split(let payloads, _): return payloads.map(with)
            default: return [message]
            }
        }

        // MARK: What peers send

        func write(from side: Side) {
            let letters = random.pick(["P", "P", "P", "D", "R", "S", "WP", "WD", "WR", "WS", "", "é€😀"])
            let size = random.pick([
                0, 1, 3, 40, 120, 125, 126, 200, 300, 3000, random.oneIn(20) ? 70_000 : 5,
            ])
            var payload = Array(letters.utf8)
            while payload.count < size {
                payload += random.oneIn(3) ? Array("ü€😀".utf8) : Array("abc \(random.below(1000))".utf8)
            }
            let message = PlaneFrame(opcode: random.oneIn(2) ? 1 : 2, payload: payload)
            expected[side]? += outcome(of: message, from: side)
            var wire = message
            if let deflater = deflaters[side], !random.oneIn(4) {
                wire.payload = []
                deflater.append(message: payload.span, to: &wire.payload)
                wire.reserved = 4
            }
            append(wire, from: side)
        }

        /// In some fragments, with control frames between them.
        func append(_ message: PlaneFrame, from side: Side) {
            var rest = message.payload[...]
            var isFirst = true
            let count = random.pick([1, 1, 1, 2, 3, 6])
            for index in 0..<count {
                let length = index == count - 1 ? rest.count : random.below(rest.count + 1)
                pending[side]?.append(
                    PlaneFrame(
                        isFinal: index == count - 1, reserved: isFirst ? message.reserved : 0,
                        opcode: isFirst ? message.opcode : 0, payload: Array(rest.prefix(length))))
                rest = rest.dropFirst(length)
                isFirst = false
                if random.oneIn(4) {
                    let text = "foreign \(random.below(1_000_000))"
                    let frame = random.oneIn(2) ? PlaneFrame.ping(text) : .pong(Array(text.utf8))
                    foreign.insert(frame.payload)
                    pending[side]?.append(frame)
                    controls[side]?.append(frame)
                }
            }
        }

        /// Sends some bytes of a side, cut anywhere.
        func deliver(_ side: Side) throws {
            var piece: [UInt8] = []
            let count = random.pick([1, 2, 7, 50, 130, 1000, 100_000])
            while piece.count < count {
                if current[side]?.isEmpty == true {
                    guard pending[side]?.isEmpty == false, let frame = pending[side]?.removeFirst() else {
                        break
                    }
                    current[side] = frame.encoded(
                        maskedBy: side == .client ? (0..<4).map { _ in UInt8(random.below(256)) } : nil)
                }
                let taken = min(count - piece.count, current[side]?.count ?? 0)
                piece += current[side]?.prefix(taken) ?? []
                current[side]?.removeFirst(taken)
            }
            // A direction that is paused is not read.
            guard !piece.isEmpty else { return }
            fixture.receive(piece, from: side)
            try read()
        }

        /// Each peer reads, and answers pings.
        func read() throws {
            for side in [Side.client, .upstream] {
                for frame in try fixture.take(side) {
                    received[side]?.append(frame)
                    guard frame.opcode == 9, !foreign.contains(frame.payload) else { continue }
                    pending[side]?.insert(.pong(frame.payload), at: 0)
                }
            }
        }

        func inject(_ side: Side) {
            let text = "I\(tokens)"
            tokens += 1
            let isSent = fixture.plane.inject(
                .text, Array(text.utf8), to: side, firstMessageHook: 1, firstFrameHook: 1)
            #expect(isSent)
            injected[side]?.append(.text(text))
        }

        func resume() {
            guard !fixture.waiting.isEmpty else { return }
            let item = fixture.waiting.remove(at: random.below(fixture.waiting.count))
            let verdict = item.kind == .frame ? .pass : Self.verdict(item.data, 0)
            fixture.plane.resume(item, verdict)
        }

        // MARK: All of it

        func run() throws {
            var scriptPings = 0
            for _ in 0..<80 {
                let side: Side = random.oneIn(2) ? .client : .upstream
                switch random.below(13) {
                case 12: fixture.goOnAfterRest()
                case 0, 1: write(from: side)
                case 2, 3, 4, 5: try deliver(side)
                case 6: if random.oneIn(2) { inject(side) }
                case 7, 8: resume()
                case 9:
                    fixture.advance(Int64(random.below(40)))
                case 10:
                    scriptPings += 1
                    #expect(fixture.plane.ping(side, payload: nil, token: scriptPings))
                    fixture.now += 1
                default: if random.oneIn(4) { try reload() }
                }
                try read()
            }
            for _ in 0..<100_000 {
                let isQuiet =
                    fixture.waiting.isEmpty && fixture.resting.isEmpty && pending.values.allSatisfy(\.isEmpty)
                    && current.values.allSatisfy(\.isEmpty)
                if isQuiet { break }
                resume()
                fixture.goOnAfterRest()
                try deliver(.client)
                try deliver(.upstream)
            }
            try read()
            #expect(fixture.pings.count == scriptPings, "\(mode) \(seed)")
            for side in [Side.client, .upstream] { try check(side) }
            #expect(fixture.isIdle, "\(mode) \(seed): \(fixture.commons.items.openCount) items")
        }

        func reload() throws {
            // The hooks stay what they are, so that the model holds.
            fixture.plane.migrate(to: fixture.plane.rules)
        }

        /// What `side` has received is what the other sent, by way of the hooks, with the injected in between.
        func check(_ side: Side) throws {
            let (messages, controls) = try (received[side] ?? []).assembled(inflating: inflaters[side])
            let injectedTexts = Set((injected[side] ?? []).map(\.payload))
            let own = messages.filter { !injectedTexts.contains($0.payload) }
            #expect(own == expected[side.other], "\(mode) \(seed) to \(side)")
            #expect(messages.filter { injectedTexts.contains($0.payload) } == injected[side])
            #expect(controls.filter { foreign.contains($0.payload) } == self.controls[side.other])
            #expect(controls.allSatisfy { $0.opcode == 9 || foreign.contains($0.payload) })
            #expect(fixture.plane.messages(to: side) == messages.count)
        }
    }

    // MARK: Cuts

    private static let scenes: [[PlaneFrame]] = [
        [.text("a"), .text("b"), .binary([1, 2, 3])],
        [.text("Hé", isFinal: false), .ping("p"), .more("llo", isFinal: false), .more("")],
        [.text(String(repeating: "x", count: 126)), .close(1000, "bye")],
        [.text("", isFinal: false), .more(""), .text("RR"), .text("D"), .text("S1")],
        [.binary(Array(repeating: 7, count: 400), isFinal: false), .pong([1]), .more("x"), .close(nil)],
        [.text("ok"), PlaneFrame(opcode: 3, payload: [])],
        [.text("ok"), .text("half", isFinal: false), .text("again")],
        [PlaneFrame(opcode: 1, payload: [0x41, 0xff, 0x42]), .text("never")],
    ]

    @Test("what comes out does not depend on the cuts in what comes in", arguments: scenes.indices)
    func cuts(_ index: Int) throws {
        let scene = Self.scenes[index]
        for side in [Side.client, .upstream] {
            for kind in 0..<3 {
                let bytes = scene.bytes(from: side)
                let whole = try Self.result(of: [bytes], from: side, kind)
                for cut in 1..<bytes.count {
                    let result = try Self.result(
                        of: [Array(bytes[..<cut]), Array(bytes[cut...])], from: side, kind)
                    #expect(result == whole, "\(scene) cut at \(cut)")
                }
                #expect(try Self.result(of: bytes.map { [$0] }, from: side, kind) == whole)
            }
        }
    }

    private static func result(of pieces: [[UInt8]], from side: Side, _ kind: Int) throws -> [String] {
        let all = WebSocketInterest([.text, .binary])
        let fixture = try PlaneFixture(
            "websocket_ping_interval 1h;", messages: { _ in kind == 1 ? all : .none },
            frames: { _ in kind == 2 ? WebSocketInterest(WebSocketOpcode.allCases) : .none })
        fixture.verdict = { item, position in
            item.kind == .frame ? .pass : Run.verdict(item.data, position)
        }
        for piece in pieces { fixture.receive(piece, from: side) }
        let ending = fixture.plane.endedBy.map { "\($0.code) by \($0.by)" } ?? "open"
        return try fixture.take(side.other).map(\.description) + ["|"] + fixture.take(side).map(\.description)
            + [ending]
    }
}
