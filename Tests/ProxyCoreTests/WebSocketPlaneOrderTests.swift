import ProxyCore
import Testing
import Wire

private let all = WebSocketInterest([.text, .binary])
private let allFrames = WebSocketInterest(WebSocketOpcode.allCases)

/// What goes before what, where hooks wait; and what counts as a sign of life where hooks look at frames.
@Suite("A WebSocket's plane: order and life")
struct WebSocketPlaneOrderTests {
    /// The first of two hooks sends a message, for which the second waits.
    private func fixture(
        frames: Bool = false, _ verdict: WebSocketVerdict, when isDue: @escaping ([UInt8]) -> Bool
    ) throws -> PlaneFixture {
        let fixture = try PlaneFixture(
            messages: { _ in frames ? .none : all }, frames: { _ in frames ? allFrames : .none })
        fixture.verdict = { [unowned fixture] item, _ in
            if item.isInjected { return .waiting }
            guard isDue(item.data) else { return .pass }
            #expect(
                fixture.plane.inject(
                    .text, Array("before".utf8), to: .upstream, firstMessageHook: 1, firstFrameHook: 1))
            return verdict
        }
        return fixture
    }

    @Test("what a hook sends goes before what it was called for, though a later hook waits with it")
    func sentBefore() throws {
        let verdicts: [(WebSocketVerdict, [PlaneFrame])] = [
            (.pass, [.text("it")]), (.drop, []), (.replace([Array("odd".utf8)]), [.text("odd")]),
            (.split([Array("x".utf8), Array("y".utf8)], position: 2), [.text("x"), .text("y")]),
            (.close(code: 4001, reason: []), [.close(4001)]),
        ]
        for isFrame in [false, true] {
            for (verdict, expected) in verdicts {
                let fixture = try fixture(frames: isFrame, verdict) { $0 == Array("it".utf8) }
                fixture.receive([.text("a"), .text("it"), .text("b")].bytes(from: .client), from: .client)
                #expect(try fixture.take(.upstream) == [.text("a")])
                let item = try #require(fixture.waiting.first)
                fixture.plane.resume(item, .pass)
                var rest = [PlaneFrame.text("before")]
                // A frame that is cut is one message still.
                if isFrame, case .split = verdict {
                    rest += [.text("x", isFinal: false), .more("y")]
                } else {
                    rest += expected
                }
                if case .close = verdict {} else { rest.append(.text("b")) }
                #expect(try fixture.take(.upstream) == rest)
                #expect(fixture.plane.endedBy != nil || fixture.isIdle)
            }
        }
    }

    @Test("as above, where the message came in frames")
    func sentBeforeFragments() throws {
        let fixture = try fixture(.pass) { $0 == Array("it is".utf8) }
        let frames = [PlaneFrame.text("it ", isFinal: false), .more("is")]
        fixture.receive(frames.bytes(from: .client), from: .client)
        #expect(try fixture.take(.upstream) == [])
        fixture.plane.resume(try #require(fixture.waiting.first), .pass)
        #expect(try fixture.take(.upstream) == [.text("before")] + frames)
        #expect(fixture.isIdle)
    }

    @Test("as above, where the hook that sends waits too", arguments: [false, true])
    func sentBeforeByOneThatWaits(_ isFrame: Bool) throws {
        let fixture = try fixture(frames: isFrame, .waiting) { _ in true }
        fixture.receive([.text("it")].bytes(from: .client), from: .client)
        #expect(fixture.waiting.count == 2)
        let item = try #require(fixture.waiting.first { !$0.isInjected })
        let sent = try #require(fixture.waiting.first { $0.isInjected })
        fixture.plane.resume(item, .pass)
        #expect(try fixture.take(.upstream) == [])
        fixture.plane.resume(sent, .pass)
        #expect(try fixture.take(.upstream) == [.text("before"), .text("it")])
        #expect(fixture.isIdle)
    }

    /// Hooks at position 1 send something for each message that they see: `c-` and what that is.
    private func echoing(frames: Bool = false, waits: Bool = false) throws -> PlaneFixture {
        let fixture = try PlaneFixture(messages: { _ in all }, frames: { _ in frames ? allFrames : .none })
        fixture.verdict = { [unowned fixture] item, position in
            let text = String(decoding: item.data, as: UTF8.self)
            if item.kind == .message, position == 0, text == "split" {
                return .split([Array("s1".utf8), Array("s2".utf8)], position: 1)
            }
            guard item.kind == .message, position <= 1 else { return .pass }
            if waits { return .waiting }
            Self.echo(item, on: fixture)
            return .pass
        }
        return fixture
    }

    private static func echo(_ item: WebSocketItem, on fixture: PlaneFixture, to side: Side = .upstream) {
        #expect(
            fixture.plane.inject(
                .text, Array("c-".utf8) + item.data, to: side, firstMessageHook: 2, firstFrameHook: 0,
                sender: ObjectIdentifier(item)))
    }

    private func inject(_ text: String, on fixture: PlaneFixture) {
        #expect(
            fixture.plane.inject(
                .text, Array(text.utf8), to: .upstream, firstMessageHook: 1, firstFrameHook: 0))
    }

    @Test(
        "what hooks send goes before each that a message was split into", arguments: [false, true],
        [false, true])
    func sentBeforePieces(_ frames: Bool, _ waits: Bool) throws {
        let fixture = try echoing(frames: frames, waits: waits)
        fixture.receive([.text("split"), .text("m")].bytes(from: .client), from: .client)
        while !fixture.waiting.isEmpty {
            let item = fixture.waiting.removeFirst()
            Self.echo(item, on: fixture)
            fixture.plane.resume(item, .pass)
        }
        #expect(
            try fixture.take(.upstream)
                == ["c-s1", "s1", "c-s2", "s2", "c-m", "m"].map { PlaneFrame.text($0) })
        #expect(fixture.isIdle)
    }

    @Test("what hooks send goes before what was sent that they are called for", arguments: [false, true])
    func sentBeforeSent(_ waits: Bool) throws {
        let fixture = try echoing(waits: waits)
        fixture.receive([.text("x", isFinal: false)].bytes(from: .upstream), from: .upstream)
        for text in ["1", "2"] { inject(text, on: fixture) }
        while !fixture.waiting.isEmpty {
            let item = fixture.waiting.removeFirst()
            // Of a timer: in its turn.
            if item.data == Array("1".utf8) { inject("3", on: fixture) }
            Self.echo(item, on: fixture)
            fixture.plane.resume(item, item.data == Array("2".utf8) ? .drop : .pass)
        }
        let expected = waits ? ["c-1", "1", "c-2", "c-3", "3"] : ["c-1", "1", "c-2", "2"]
        #expect(try fixture.take(.upstream) == expected.map { PlaneFrame.text($0) })
        #expect(fixture.plane.queuedBytes(to: .upstream) == 0)
        #expect(fixture.plane.messages(to: .upstream) == expected.count)
    }

    @Test("what was decided, and waits for what goes before it, is given up with its side")
    func lostBehindSent() throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        fixture.verdict = { [unowned fixture] item, position in
            if position == 2 { return .waiting }
            Self.echo(item, on: fixture)
            return .pass
        }
        inject("1", on: fixture)
        inject("2", on: fixture)
        #expect(fixture.waiting.count == 1)
        #expect(fixture.commons.items.openCount == 2)
        fixture.plane.lost(.client)
        #expect(fixture.commons.items.openCount == 0)
        #expect(fixture.plane.holdsNothing)
    }

    @Test("what was decided is given up with its side; no hook is")
    func lostWithDecision() throws {
        let fixture = try fixture(.pass) { _ in true }
        fixture.receive([.text("it")].bytes(from: .client), from: .client)
        fixture.plane.lost(.client)
        #expect(fixture.cancelled == 1)
        #expect(fixture.commons.items.openCount == 0)
    }

    @Test(
        "hooks that wait with what is for a lost client are given up, and the upstream is read on",
        arguments: ["message", "frame", "sent", "both"], ["lost", "dead"])
    func lostBehindHook(_ kind: String, _ end: String) throws {
        let fixture = try PlaneFixture(
            "websocket_ping_interval 1s; websocket_ping_to client; websocket_pong_timeout 1s;",
            messages: { _ in kind == "frame" ? .none : all },
            frames: { _ in kind == "frame" ? allFrames : .none })
        fixture.verdict = { _, _ in .waiting }
        func inject(_ text: String) {
            #expect(
                fixture.plane.inject(
                    .text, Array(text.utf8), to: .client, firstMessageHook: 0, firstFrameHook: 0))
        }
        switch kind {
        case "message", "both": fixture.receive([.text("a")].bytes(from: .upstream), from: .upstream)
        case "frame":
            fixture.receive([.text("a", isFinal: false), .more("b")].bytes(from: .upstream), from: .upstream)
        default: break
        }
        if kind == "both" || kind == "sent" { for text in ["one", "two"] { inject(text) } }
        let waiting = fixture.waiting.count
        #expect(waiting == (kind == "both" ? 2 : 1))
        fixture.receive([.text("more")].bytes(from: .upstream), from: .upstream)
        if end == "lost" { fixture.plane.lost(.client) } else { fixture.advance(3000) }
        #expect(fixture.cancelled == waiting)
        #expect(fixture.waiting.isEmpty)
        #expect(fixture.commons.items.openCount == 0)
        #expect(try fixture.take(.upstream).last?.opcode == 8)
        #expect(fixture.endings == 0)
        fixture.receive([.text("rest"), .close(1011)].bytes(from: .upstream), from: .upstream)
        #expect(fixture.waiting.isEmpty)
        #expect(fixture.endings == 1)
    }

    // MARK: Answers to pings

    @Test("each answer that lies behind a hook that waits is found", arguments: [false, true])
    func answersBehindHook(_ isTogether: Bool) throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        #expect(fixture.plane.ping(.client, payload: [1], token: 1))
        #expect(fixture.plane.ping(.client, payload: [2], token: 2))
        fixture.verdict = { [unowned fixture] _, _ in
            #expect(fixture.plane.ping(.client, payload: [3], token: 3))
            return .waiting
        }
        let message = [PlaneFrame.text("m")].bytes(from: .client)
        let answers = [PlaneFrame.pong([1]), .pong([2]), .pong([9]), .pong([3])].bytes(from: .client)
        if isTogether {
            fixture.receive(message + answers, from: .client)
        } else {
            fixture.receive(message, from: .client)
            fixture.receive(answers, from: .client)
        }
        #expect(fixture.pings.map(\.token) == [1, 2, 3])
        fixture.plane.resume(try #require(fixture.waiting.first), .pass)
        #expect(try fixture.take(.upstream) == [.text("m"), .pong([9])])
        #expect(fixture.isIdle)
    }

    @Test("answers that hooks go on by, thousands at once")
    func manyAnswers() throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        fixture.verdict = { [unowned fixture] _, _ in
            #expect(fixture.plane.ping(.client, payload: [1], token: 1))
            return .waiting
        }
        fixture.pingAnswered = { [unowned fixture] _ in
            guard !fixture.waiting.isEmpty else { return }
            fixture.plane.resume(fixture.waiting.removeFirst(), .pass)
        }
        let count = 5000
        let pair = [PlaneFrame.text("m"), .pong([1])].bytes(from: .client)
        fixture.receive((0..<count).flatMap { _ in pair }, from: .client)
        #expect(fixture.pings.count == count)
        #expect(try fixture.take(.upstream).count == count)
        #expect(fixture.isIdle)
    }

    // MARK: Idle

    @Test("what hooks for frames leave out puts the idle timeout off all the same")
    func idleDropped() throws {
        for mode in ["messages", "data"] {
            for (frame, isMessage) in [(PlaneFrame.text("m"), true), (.ping("p"), false)] {
                let fixture = try PlaneFixture(
                    "websocket_idle_timeout 1s \(mode);", frames: { _ in allFrames })
                fixture.verdict = { _, _ in .drop }
                for _ in 0..<10 {
                    fixture.receive([frame].bytes(from: .client), from: .client)
                    fixture.advance(400)
                }
                #expect((fixture.plane.endedBy == nil) == (isMessage || mode == "data"))
            }
        }
    }

    @Test(
        "a frame that comes slowly puts the idle timeout off where it is held",
        arguments: ["messages", "data"])
    func idleSlow(_ mode: String) throws {
        let fixture = try PlaneFixture("websocket_idle_timeout 1s \(mode);", frames: { _ in allFrames })
        let bytes = PlaneFrame.text(String(repeating: "x", count: 1000)).bytes(from: .client)
        for start in stride(from: 0, to: bytes.count, by: 100) {
            fixture.receive(Array(bytes[start..<min(start + 100, bytes.count)]), from: .client)
            fixture.advance(400)
        }
        #expect(fixture.plane.endedBy == nil)
        #expect(try fixture.take(.upstream).count == 1)
    }

    @Test("answers to our pings do not put it off, whoever looks at them")
    func idleAnswers() throws {
        let fixture = try PlaneFixture(
            "websocket_idle_timeout 2s data; websocket_ping_interval 1s; websocket_ping_to client;",
            frames: { _ in allFrames })
        for _ in 0..<10 {
            fixture.advance(300)
            for ping in try fixture.take(.client) where ping.opcode == 9 {
                fixture.receive([.pong(ping.payload)].bytes(from: .client), from: .client)
            }
        }
        #expect(fixture.plane.endedBy?.code == 1001)
        #expect(fixture.plane.endedBy.map { String(decoding: $0.reason, as: UTF8.self) } == "idle")
    }

    @Test("reloads put neither pings off nor the answers that are due")
    func pingsAcrossReloads() throws {
        let directives = "websocket_ping_interval 10s; websocket_pong_timeout 6s; websocket_ping_to client;"
        let fixture = try PlaneFixture(directives)
        var pings = 0
        for _ in 0..<8 {
            fixture.advance(2000)
            pings += try fixture.take(.client).count { $0.opcode == 9 }
            fixture.plane.migrate(to: try PlaneFixture.rules(directives, fixture.commons))
            guard fixture.plane.endedBy == nil else { break }
        }
        #expect(pings == 1)
        #expect(fixture.plane.endedBy?.by == .client)
        #expect(fixture.plane.endedBy.map { String(decoding: $0.reason, as: UTF8.self) } == "ping timeout")
    }
}
