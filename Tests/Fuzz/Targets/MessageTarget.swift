import Config
import ProxyCore
import Wire

/// What a WebSocket's plane sends does not depend on the cuts in what it gets, and is valid whatever that is.
///
/// The first byte says who sends (bit 0: the upstream), which hooks there are (bits 1 and 2: messages, frames), how
/// messages are compressed (bits 3...5), and whether there are limits and pings (bits 6 and 7). What stands first in a
/// payload says what hooks do with it: `D` leaves out, `R` replaces, `S` splits, `I` sends something, `X` closes, and `W`
/// before one of these waits first.
enum MessageTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        guard let mode = input.first else { return }
        let bytes = Array(input.dropFirst())
        var choices = Choices(input)
        let whole = Scene(mode).outcome(of: [bytes[...]])
        let cut = choices.cut(bytes.count)
        let parts = Scene(mode).outcome(of: [bytes[..<cut], bytes[cut...]])
        check(whole == parts, "cut at \(cut) what goes out is\n\(parts)\nand whole\n\(whole)")
        guard bytes.count < 100 else { return }
        let single = Scene(mode).outcome(of: bytes.indices.map { bytes[$0...$0] })
        check(whole == single, "byte by byte what goes out is\n\(single)\nand whole\n\(whole)")
    }

    private typealias Side = TunnelSide

    private struct Outcome: Equatable {
        var sent: [WebSocketReader.Frame]
        var answered: [WebSocketReader.Frame]
        var code: UInt16?
        var messages: [Int]
    }

    /// A plane between two peers, of which one speaks.
    private final class Scene: WebSocketPlaneOwner {
        private let mode: UInt8
        private let side: Side
        private let commons: WebSocketCommons
        private var made: WebSocketPlane?
        private var sent: [Side: [UInt8]] = [:]
        private var waiting: [WebSocketItem] = []
        private var shut: [Side] = []
        private var endings = 0
        let now: Int64 = 1_000_000
        /// Each look finds that others are to have their turn.
        var microseconds: Int64 {
            looks += 1
            return (now + looks) * 1000
        }
        private var looks: Int64 = 0
        private var resting: [Side] = []

        init(_ mode: UInt8) {
            self.mode = mode
            side = mode & 1 == 0 ? .client : .upstream
            var key: UInt32 = 1
            commons = WebSocketCommons {
                key = key &* 1_664_525 &+ 1_013_904_223
                return key
            }
            let hasMessages = mode & 2 != 0
            let hasFrames = mode & 4 != 0
            let rules = WebSocketRules(
                Self.settings[Int(mode >> 6)], commons: commons,
                messages: { _ in hasMessages ? WebSocketInterest([.text, .binary]) : .none },
                frames: { _ in hasFrames ? WebSocketInterest(WebSocketOpcode.allCases) : .none })
            made = WebSocketPlane(rules, codecs: Self.codecs(mode, commons.deflatePool), owner: self)
        }

        private static let settings: [Settings.Values] = [
            "", "websocket_max_message 60; websocket_max_fragments 3;", "websocket_ping_interval 50ms;",
            "websocket_idle_timeout 1s; websocket_max_message 200;",
        ].map { directives in
            let text = "events {} http { server { listen 127.0.0.1:80; \(directives) return 200; } }"
            let result = Configuration.parse(text, builtinVariables: VariableTable.names)
            guard let configuration = result.configuration else { fatalError("\(result.diagnostics)") }
            return configuration.listeners[0].defaultServer.settings.values
        }

        private static func codecs(_ mode: UInt8, _ pool: DeflatePool) -> WebSocketCodecs? {
            let kind = mode >> 3 & 7
            let parameters = PermessageDeflate.Parameters(
                serverNoContextTakeover: kind == 2, clientNoContextTakeover: kind == 2)
            switch kind {
            case 1, 2:
                return WebSocketCodecs(
                    fromClient: WebSocketCodec(passing: parameters, from: .client, pool: pool),
                    fromUpstream: WebSocketCodec(passing: parameters, from: .server, pool: pool))
            case 3, 4, 5:
                let client = kind != 4 ? parameters : nil
                let upstream = kind != 3 ? parameters : nil
                return WebSocketCodecs(
                    fromClient: WebSocketCodec(
                        source: client, sender: .client, target: upstream, receiver: .server,
                        options: WebSocketDeflateOptions(), pool: pool),
                    fromUpstream: WebSocketCodec(
                        source: upstream, sender: .server, target: client, receiver: .client,
                        options: WebSocketDeflateOptions(), pool: pool))
            default: return nil
            }
        }

        private var plane: WebSocketPlane {
            guard let made else { fatalError("no plane") }
            return made
        }

        // MARK: All of it

        func outcome(of pieces: [ArraySlice<UInt8>]) -> Outcome {
            for piece in pieces {
                plane.receive(Array(piece).span, from: side)
                while !waiting.isEmpty || !resting.isEmpty {
                    if let side = resting.popLast() {
                        plane.goOnAfterRest(side)
                    } else {
                        let item = waiting.removeFirst()
                        plane.resume(item, verdict(item, 0))
                    }
                }
            }
            let outcome = Outcome(
                sent: withoutReasons(frames(to: side.other)), answered: withoutReasons(frames(to: side)),
                code: plane.endedBy?.code,
                messages: [plane.messages(from: side), plane.messages(to: side.other), shut.count, endings])
            plane.shutDown()
            check(commons.items.openCount == 0, "\(commons.items.openCount) items are left")
            check(plane.holdsNothing, "something is held behind the end")
            return outcome
        }

        /// What is wrong in two ways may be found to be so in either, which only words tell apart.
        private func withoutReasons(_ frames: [WebSocketReader.Frame]) -> [WebSocketReader.Frame] {
            frames.map { frame in
                var bare = frame
                if frame.opcode == 8 { bare.payload = Array(frame.payload.prefix(2)) }
                return bare
            }
        }

        private func frames(to side: Side) -> [WebSocketReader.Frame] {
            guard let frames = WebSocketReader.frames(sent[side] ?? [], isMasked: side == .upstream) else {
                fatalError("a property does not hold: no frames are sent to \(side): \(sent[side] ?? [])")
            }
            check(
                WebSocketReader.areInOrder(
                    frames, allowedReserved: plane.deflateMemory >= 0 && mode >> 3 & 7 != 0 ? 4 : 0),
                "frames to \(side) are in no order: \(frames)")
            return frames
        }

        // MARK: WebSocketPlaneOwner

        func send(_ first: Span<UInt8>, then second: Span<UInt8>, to side: Side) {
            for index in first.indices { sent[side, default: []].append(first[index]) }
            for index in second.indices { sent[side, default: []].append(second[index]) }
        }

        func judge(_ item: WebSocketItem, from position: Int) -> WebSocketVerdict {
            guard item.data.first != UInt8(ascii: "W") else {
                waiting.append(item)
                return .waiting
            }
            return verdict(item, position)
        }

        private func verdict(_ item: WebSocketItem, _ position: Int) -> WebSocketVerdict {
            guard position == 0 else { return .pass }
            let letter = item.data.first == UInt8(ascii: "W") ? item.data.dropFirst().first : item.data.first
            switch letter {
            case UInt8(ascii: "D"): return .drop
            case UInt8(ascii: "N"): return .replace([])
            case UInt8(ascii: "R"): return .replace([[114] + item.data.prefix(50)])
            case UInt8(ascii: "S") where item.kind == .message:
                return .split([[115] + item.data, [116]], position: 1)
            case UInt8(ascii: "S") where !item.opcode.isControl: return .replace([[115] + item.data, [116]])
            case UInt8(ascii: "X"): return .close(code: 4001, reason: [88])
            case UInt8(ascii: "I"):
                _ = plane.inject(.text, [105], to: item.side.other, firstMessageHook: 9, firstFrameHook: 9)
                return .pass
            default: return .pass
            }
        }

        func cancel(_ item: WebSocketItem) { waiting.removeAll { $0 === item } }
        func pingEnded(_ token: Int, _ outcome: WebSocketPingOutcome) {}
        func isBlocked(_ side: Side) -> Bool { false }
        func rests(_ side: Side) { resting.append(side) }
        func deadlineMoved() {}
        func finishSending(to side: Side) { shut.append(side) }
        func planeEnded() { endings += 1 }
    }
}
