import Config
import ProxyCore
import Testing
import Wire

/// Streams of one side with everything that a plane tells apart, through each kind of hooks, in two pieces cut at every
/// byte, and byte by byte.
@Suite("A WebSocket's plane, under every cut")
struct WebSocketPlaneCutTests {
    struct Scene: CustomStringConvertible, Sendable {
        var description: String
        var frames: [PlaneFrame]
        /// Bytes behind the frames.
        var rest: [UInt8] = []

        init(_ description: String, _ frames: [PlaneFrame], rest: [UInt8] = []) {
            self.description = description
            self.frames = frames
            self.rest = rest
        }
    }

    /// What stands first in a payload says what hooks do: `D` leaves out, `R` replaces, `S` splits, `N` has nothing in its
    /// place, `I` sends something, `X` closes, and `W` before one of these waits first.
    static let scenes: [Scene] = [
        Scene("messages", [.text("a"), .binary([1, 2]), .text("")]),
        Scene("fragments", [.text("a", isFinal: false), .more("b", isFinal: false), .more("c"), .text("d")]),
        Scene(
            "empty fragments", [.text("", isFinal: false), .more("", isFinal: false), .more(""), .text("d")]),
        Scene(
            "control frames within a message",
            [.text("a", isFinal: false), .ping("p"), .pong([1]), .more("b"), .ping("")]),
        Scene("length in two bytes", [.text(String(repeating: "x", count: 126)), .text("b")]),
        Scene(
            "long first fragment", [.text(String(repeating: "y", count: 200), isFinal: false), .more("b")]),
        Scene("long control frame", [.ping(String(repeating: "z", count: 125)), .text("a")]),
        Scene("characters cut by fragments", [cut(1, 0xe2, more: true), cut(0, 0x82, 0xac), .text("€")]),
        Scene("left out", [.text("a"), .text("D"), .text("b")]),
        Scene("all left out", [.text("D"), .binary([68]), .ping("D")]),
        Scene("replaced", [.text("Ra"), .text("R"), .text("c")]),
        Scene("replaced by nothing", [.text("N"), .text("b")]),
        Scene("split", [.text("a"), .text("Sb"), .text("c")]),
        Scene("split fragments", [.text("S", isFinal: false), .ping("p"), .more("R"), .text("c")]),
        Scene(
            "first left out",
            [.text("D", isFinal: false), .more("b", isFinal: false), .more("c"), .text("d")]),
        Scene(
            "last left out", [.text("a", isFinal: false), .more("b", isFinal: false), .more("D"), .text("d")]),
        Scene("middle left out", [.text("a", isFinal: false), .more("D", isFinal: false), .more("c")]),
        Scene("every one left out", [.text("D", isFinal: false), .ping("a"), .more("D"), .text("d")]),
        Scene("hooks that wait", [.text("Wa"), .text("WD"), .text("WR"), .text("b")]),
        Scene(
            "hooks that wait within a message",
            [.text("W", isFinal: false), .ping("W"), .more("W"), .text("b")]),
        Scene("split after a wait", [.text("a"), .text("WS"), .text("c")]),
        Scene(
            "sent by hooks", [.text("a"), .text("I1"), .text("I2", isFinal: false), .more("b"), .text("c")]),
        Scene("sent by hooks that wait", [.text("WI"), .text("b"), .ping("I")]),
        Scene("closed by a hook", [.text("a"), .text("X"), .text("b"), .close(1000)]),
        Scene("closed by a hook within a message", [.text("a", isFinal: false), .ping("X"), .more("b")]),
        Scene("closed by a hook that waits", [.text("a"), .text("WX"), .text("b")]),
        Scene("a close frame", [.text("a"), .close(4000, "ü"), .text("b")]),
        Scene("a close frame without code", [.ping("a"), .close(nil), .ping("b")]),
        Scene("a close frame within a message", [.text("a", isFinal: false), .close(1000), .more("b")]),
        Scene("a close frame behind a hook that waits", [.text("W"), .close(1000)]),
        Scene("a wrong close frame", [.text("a"), PlaneFrame(opcode: 8, payload: [3, 0xed])]),
        Scene(
            "a close frame that is no text", [.text("a"), PlaneFrame(opcode: 8, payload: [3, 0xe8, 0xff])]),
        Scene(
            "an opcode that is none",
            [.text("a"), .text("b", isFinal: false), PlaneFrame(opcode: 5, payload: [])]),
        Scene("a message within another", [.text("a", isFinal: false), .text("b"), .text("c")]),
        Scene("a message within one that is left out", [.text("D", isFinal: false), .text("b"), .text("c")]),
        Scene("a continuation of nothing", [.text("a"), .more("b"), .text("c")]),
        Scene("no text", [.text("a"), cut(1, 0x61, 0xff), .text("c")]),
        Scene("no text at its end", [.text("a"), cut(1, 0xe2, 0x82), .text("c")]),
        Scene("no text in a fragment", [cut(1, 0x61, more: true), .ping("p"), cut(0, 0xc0, more: true)]),
        Scene("a length that is too long", [.text("a")], rest: [0x82, 0xfe, 0, 1, 1, 1, 1, 1]),
        Scene("answers to nobody", [.pong(Array("12345678".utf8)), .pong([])]),
    ]

    private static func cut(_ opcode: UInt8, _ bytes: UInt8..., more: Bool = false) -> PlaneFrame {
        PlaneFrame(isFinal: !more, opcode: opcode, payload: bytes)
    }

    enum Hooks: CaseIterable, Sendable { case none, messages, frames, both }

    @Test("what goes out is the same", arguments: scenes, Hooks.allCases)
    func cuts(_ scene: Scene, _ hooks: Hooks) throws {
        for side in [Side.client, .upstream] {
            let bytes = scene.frames.bytes(from: side) + scene.rest
            let whole = try Self.outcome(of: [bytes[...]], from: side, hooks)
            for cut in 1..<bytes.count {
                let found = try Self.outcome(of: [bytes[..<cut], bytes[cut...]], from: side, hooks)
                #expect(found == whole, "cut at \(cut) from \(side)")
            }
            #expect(
                try Self.outcome(of: bytes.indices.map { bytes[$0...$0] }, from: side, hooks) == whole,
                "byte by byte from \(side)")
        }
    }

    struct Outcome: Equatable {
        var sent: [PlaneFrame]
        var answered: [PlaneFrame]
        var code: UInt16?
        var messages: [Int]
        var isIdle: Bool
    }

    private static func outcome(
        of pieces: [ArraySlice<UInt8>], from side: Side, _ hooks: Hooks
    ) throws -> Outcome {
        let hasMessages = hooks == .messages || hooks == .both
        let hasFrames = hooks == .frames || hooks == .both
        let fixture = try PlaneFixture(
            messages: { _ in hasMessages ? WebSocketInterest([.text, .binary]) : .none },
            frames: { _ in hasFrames ? WebSocketInterest(WebSocketOpcode.allCases) : .none })
        fixture.verdict = { [unowned fixture] item, position in
            guard item.data.first != UInt8(ascii: "W") else { return .waiting }
            return verdict(item, position, in: fixture)
        }
        for piece in pieces {
            fixture.receive(Array(piece), from: side)
            while !fixture.waiting.isEmpty {
                let item = fixture.waiting.removeFirst()
                fixture.plane.resume(item, verdict(item, 0, in: fixture))
            }
        }
        // What is not whole may be held; what is held of hooks may not.
        let outcome = Outcome(
            sent: try fixture.take(side.other), answered: try fixture.take(side),
            code: fixture.plane.endedBy?.code,
            messages: [
                fixture.plane.messages(from: side), fixture.plane.messages(to: side.other),
                fixture.shut.count,
            ], isIdle: fixture.waiting.isEmpty)
        fixture.plane.shutDown()
        #expect(fixture.commons.items.openCount == 0)
        #expect(fixture.plane.holdsNothing)
        return outcome
    }

    private static func verdict(
        _ item: WebSocketItem, _ position: Int, in fixture: PlaneFixture
    ) -> WebSocketVerdict {
        guard position == 0 else { return .pass }
        let letter = item.data.first == UInt8(ascii: "W") ? item.data.dropFirst().first : item.data.first
        switch letter {
        case UInt8(ascii: "D"): return .drop
        case UInt8(ascii: "N"): return .replace([])
        case UInt8(ascii: "R"): return .replace([[114] + item.data])
        case UInt8(ascii: "S") where item.kind == .message:
            return .split([[115] + item.data, [116]], position: 1)
        case UInt8(ascii: "S") where !item.opcode.isControl: return .replace([[115] + item.data, [116]])
        case UInt8(ascii: "X"): return .close(code: 4001, reason: [88])
        case UInt8(ascii: "I"):
            _ = fixture.plane.inject(
                .text, [105], to: item.side.other, firstMessageHook: 9, firstFrameHook: 9)
            return .pass
        default: return .pass
        }
    }
}
