import Config
import ProxyCore
import Testing
import Wire

private let all = WebSocketInterest([.text, .binary])
private let allFrames = WebSocketInterest(WebSocketOpcode.allCases)

/// What meets at the same moment: hooks that come, go, wait or send, ends, losses, and what is half sent.
@Suite("A WebSocket's plane, at its edges")
struct WebSocketPlaneEdgeTests {
    // MARK: Hooks that come and go

    @Test("a message that is half put together goes on whole when hooks go", arguments: [false, true])
    func hooksGo(_ isWithinFrame: Bool) throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        fixture.verdict = { _, _ in .drop }
        let bytes = [PlaneFrame.text("one ", isFinal: false), .ping("p"), .more("two"), .text("three")]
            .bytes(from: .client)
        let cut = isWithinFrame ? 8 : 10
        fixture.receive(Array(bytes[..<cut]), from: .client)
        fixture.plane.migrate(to: try PlaneFixture.rules("", fixture.commons))
        fixture.receive(Array(bytes[cut...]), from: .client)
        let frames = try fixture.take(.upstream)
        #expect(try frames.assembled().messages == [.text("one two"), .text("three")])
        #expect(fixture.isIdle)
    }

    @Test("hooks that come see the next message; what is injected waits for the one before")
    func hooksCome() throws {
        let fixture = try PlaneFixture()
        var seen: [[UInt8]] = []
        fixture.verdict = { item, _ in
            seen.append(item.data)
            return .pass
        }
        fixture.receive([.text("one ", isFinal: false)].bytes(from: .client), from: .client)
        fixture.plane.migrate(to: try PlaneFixture.rules("", fixture.commons, messages: { _ in all }))
        #expect(
            fixture.plane.inject(
                .text, Array("in".utf8), to: .upstream, firstMessageHook: 9, firstFrameHook: 9))
        fixture.receive([.more("two"), .text("three")].bytes(from: .client), from: .client)
        let frames = try fixture.take(.upstream)
        #expect(try frames.assembled().messages == [.text("one two"), .text("in"), .text("three")])
        #expect(seen.last == Array("three".utf8))
        #expect(!seen.contains(Array("two".utf8)))
    }

    @Test("hooks that go and come again within a message that they did not look at see the next one")
    func hooksGoAndCome() throws {
        let fixture = try PlaneFixture()
        let short = try PlaneFixture.rules("", fixture.commons, messages: { _ in WebSocketInterest([.text]) })
        fixture.verdict = { _, _ in .replace([Array("seen".utf8)]) }
        fixture.plane.migrate(to: short)
        fixture.receive([.binary([1], isFinal: false)].bytes(from: .client), from: .client)
        fixture.plane.migrate(to: try PlaneFixture.rules("", fixture.commons))
        fixture.receive([.more("x")].bytes(from: .client), from: .client)
        fixture.plane.migrate(to: short)
        fixture.receive([.text("y")].bytes(from: .client), from: .client)
        #expect(
            try fixture.take(.upstream) == [.binary([1], isFinal: false), .more("x"), .text("seen")])
    }

    @Test("hooks for frames that come within a frame see the next one", arguments: [Side.client, .upstream])
    func frameHooksCome(_ side: Side) throws {
        let fixture = try PlaneFixture()
        var seen = 0
        fixture.verdict = { _, _ in
            seen += 1
            return .pass
        }
        let bytes = [PlaneFrame.text("a long text"), .ping("p")].bytes(from: side)
        fixture.receive(Array(bytes[..<9]), from: side)
        fixture.plane.migrate(to: try PlaneFixture.rules("", fixture.commons, frames: { _ in allFrames }))
        fixture.receive(Array(bytes[9...]), from: side)
        #expect(try fixture.take(side.other) == [.text("a long text"), .ping("p")])
        #expect(seen == 1)
    }

    @Test("hooks for frames are not to come while a message passes whose beginning they have not seen")
    func boundaryForFrameHooks() throws {
        let fixture = try PlaneFixture(messages: { _ in .none })
        let next = try PlaneFixture.rules("", fixture.commons, frames: { $0 == .client ? allFrames : .none })
        fixture.receive([.text("a", isFinal: false)].bytes(from: .upstream), from: .upstream)
        #expect(fixture.plane.isAtMessageBoundary(for: next))
        fixture.receive([.text("a", isFinal: false)].bytes(from: .client), from: .client)
        #expect(fixture.plane.isAtMessageBoundary)
        #expect(!fixture.plane.isAtMessageBoundary(for: next))
        fixture.receive([.more("b")].bytes(from: .client), from: .client)
        #expect(fixture.plane.isAtMessageBoundary(for: next))
    }

    @Test("a message whose beginning hooks for frames left out stays valid when they go")
    func frameHooksGo() throws {
        let fixture = try PlaneFixture(frames: { _ in allFrames })
        fixture.verdict = { item, _ in item.data.first == UInt8(ascii: "D") ? .drop : .pass }
        fixture.receive([.text("D1", isFinal: false)].bytes(from: .client), from: .client)
        #expect(!fixture.plane.isAtMessageBoundary)
        fixture.plane.migrate(to: try PlaneFixture.rules("", fixture.commons))
        fixture.receive(
            [.more("D2", isFinal: false), .more("3"), .text("D4")].bytes(from: .client), from: .client)
        #expect(
            try fixture.take(.upstream) == [.text("D2", isFinal: false), .more("3"), .text("D4")])
        #expect(fixture.plane.endedBy == nil)
    }

    // MARK: Breaches and losses where something is half done

    @Test(
        "a message that is declared too long for hooks ends it, and nothing of it goes on",
        arguments: [Side.client, .upstream])
    func declaredTooLong(_ side: Side) throws {
        for kind in 0..<2 {
            let fixture = try PlaneFixture(
                messages: { _ in kind == 0 ? all : .none }, frames: { _ in kind == 1 ? allFrames : .none })
            let mask: UInt8 = side == .client ? 128 : 0
            let header: [UInt8] = [0x82, mask | 127, 0, 0, 0, 0, 1, 0, 0, 1]
            fixture.receive(
                [.text("a")].bytes(from: side) + header + (side == .client ? [1, 2, 3, 4] : []) + [5],
                from: side)
            #expect(try fixture.take(side.other) == [.text("a"), .close(1009, "message too big")])
            #expect(try fixture.take(side) == [.close(1009, "message too big")])
        }
    }

    @Test("whoever is left is told, though a message for it was half put together", arguments: [5, 8])
    func lostWhileCollecting(_ cut: Int) throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        let bytes = [PlaneFrame.text("half", isFinal: false)].bytes(from: .client)
        fixture.receive(Array(bytes[..<cut]), from: .client)
        fixture.plane.lost(.client)
        #expect(try fixture.take(.upstream) == [.close(1011, "client: the connection was lost")])
        fixture.receive([.close(1011)].bytes(from: .upstream), from: .upstream)
        #expect(fixture.endings == 1)
        #expect(fixture.isIdle)
    }

    @Test("a side that is lost is sent nothing more")
    func nothingForTheLost() throws {
        let fixture = try PlaneFixture()
        fixture.plane.lost(.client)
        fixture.receive([.text("a"), .close(1000)].bytes(from: .upstream), from: .upstream)
        #expect(try fixture.take(.client) == [])
        #expect(fixture.endings == 1)
    }

    @Test("a hook that runs when its side is lost, and wants to wait, is given up")
    func lostWhileJudged() throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        fixture.verdict = { _, _ in
            fixture.plane.lost(.client)
            return .waiting
        }
        fixture.receive([.text("a"), .text("b")].bytes(from: .client), from: .client)
        #expect(fixture.cancelled == 1)
        #expect(fixture.isIdle)
        #expect(try fixture.take(.upstream) == [.close(1011, "client: the connection was lost")])
    }

    // MARK: Ends that meet

    @Test("who closes is answered at once when the other is lost", arguments: [Side.client, .upstream])
    func closerIsAnswered(_ side: Side) throws {
        let fixture = try PlaneFixture()
        fixture.receive([.close(4001, "bye")].bytes(from: side), from: side)
        #expect(try fixture.take(side.other) == [.close(4001, "bye")])
        fixture.plane.lost(side.other)
        #expect(try fixture.take(side) == [.close(4001, "bye")])
        #expect(fixture.endings == 1)
        #expect(fixture.plane.endedBy?.isClean == false)
    }

    @Test("who closes is answered when the other answers with nonsense", arguments: [Side.client, .upstream])
    func closerIsAnsweredForNonsense(_ side: Side) throws {
        let fixture = try PlaneFixture()
        fixture.receive([.close(nil)].bytes(from: side), from: side)
        fixture.receive([0xff, 0xff], from: side.other)
        #expect(try fixture.take(side) == [.close(nil)])
        #expect(try fixture.take(side.other) == [.close(nil)])
        #expect(fixture.shut.contains(side.other))
        #expect(fixture.endings == 0)
        fixture.plane.lost(side.other)
        #expect(fixture.endings == 1)
    }

    @Test("a close frame overtakes an end that nobody knows of yet", arguments: [Side.client, .upstream])
    func closeBeforePendingEnd(_ side: Side) throws {
        let fixture = try PlaneFixture()
        for side in [Side.client, .upstream] {
            fixture.receive([.text("a", isFinal: false)].bytes(from: side), from: side)
        }
        fixture.plane.end(1001, [], atMessages: true)
        fixture.receive([.close(4002, "mine")].bytes(from: side), from: side)
        #expect(try fixture.take(side.other) == [.text("a", isFinal: false), .close(4002, "mine")])
        fixture.receive([.more("b"), .close(4002)].bytes(from: side.other), from: side.other)
        #expect(try fixture.take(side) == [.text("a", isFinal: false), .more("b"), .close(4002)])
        #expect(fixture.plane.endedBy?.code == 4002)
        #expect(fixture.plane.endedBy?.by == (side == .client ? .client : .upstream))
        #expect(fixture.plane.endedBy?.isClean == true)
        #expect(fixture.endings == 1)
    }

    @Test("a breach, or a loss, overtakes an end that nobody knows of yet")
    func breachBeforePendingEnd() throws {
        for isLost in [false, true] {
            let fixture = try PlaneFixture()
            for side in [Side.client, .upstream] {
                fixture.receive([.text("a", isFinal: false)].bytes(from: side), from: side)
            }
            fixture.plane.end(1001, [], atMessages: true)
            if isLost {
                fixture.plane.lost(.upstream)
                #expect(try fixture.take(.client).last == .close(1014, "upstream: the connection was lost"))
            } else {
                fixture.receive([0x83, 0x80], from: .client)
                #expect(try fixture.take(.client).last == .close(1002, "reserved opcode"))
                #expect(try fixture.take(.upstream).last == .close(1002, "reserved opcode"))
            }
        }
    }

    @Test("a script's end overtakes one that nobody knows of yet, and that none", arguments: 0..<3)
    func scriptBeforePendingEnd(_ kind: Int) throws {
        let fixture = try PlaneFixture(messages: { kind == 0 && $0 == .client ? all : .none })
        fixture.verdict = { _, _ in .close(code: 4000, reason: Array("mine".utf8)) }
        fixture.receive([.text("a", isFinal: false)].bytes(from: .client), from: .client)
        fixture.receive([.text("c", isFinal: false)].bytes(from: .upstream), from: .upstream)
        fixture.plane.end(1001, [], atMessages: true)
        switch kind {
        case 0: fixture.receive([.more("b")].bytes(from: .client), from: .client)
        case 1: fixture.plane.end(4000, Array("mine".utf8))
        default: fixture.plane.end(4000, Array("mine".utf8), of: .client)
        }
        #expect(try fixture.take(.client).last == .close(4000, "mine"))
        #expect(try fixture.take(.upstream).last == (kind == 2 ? .close(1001) : .close(4000, "mine")))
        #expect(fixture.plane.endedBy?.code == 4000)
        fixture.plane.end(1001, [], atMessages: true)
        fixture.plane.end(4001, [])
        #expect(fixture.plane.endedBy?.code == 4000)
    }

    @Test(
        "an end that waits for messages stands behind the one that hooks have just seen",
        arguments: [false, true])
    func seenBeforePendingEnd(_ waits: Bool) throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        fixture.verdict = { _, _ in waits ? .waiting : .pass }
        let message = [PlaneFrame.text("a", isFinal: false), .more("b")]
        fixture.receive([message[0]].bytes(from: .client), from: .client)
        fixture.plane.end(1001, [], atMessages: true)
        fixture.receive([message[1]].bytes(from: .client), from: .client)
        if waits { fixture.plane.resume(fixture.waiting.removeFirst(), .pass) }
        #expect(try fixture.take(.upstream) == message + [.close(1001)])
    }

    @Test("a script's end is told to whoever does not know of the one that waits", arguments: 0..<4)
    func scriptBeforeHalfToldEnd(_ kind: Int) throws {
        let fixture = try PlaneFixture(messages: { _ in kind == 0 ? all : .none })
        fixture.verdict = { _, _ in .close(code: 4000, reason: Array("mine".utf8)) }
        fixture.receive([.text("a", isFinal: false)].bytes(from: .client), from: .client)
        fixture.plane.end(1001, [], atMessages: true)
        #expect(try fixture.take(.client) == [.close(1001)])
        switch kind {
        case 0: fixture.receive([.more("b")].bytes(from: .client), from: .client)
        case 1: fixture.plane.end(4000, Array("mine".utf8))
        case 2: fixture.plane.end(4000, Array("mine".utf8), of: .upstream)
        default: fixture.plane.end(4000, Array("mine".utf8), of: .client)
        }
        #expect(try fixture.take(.upstream).last == (kind == 3 ? .close(1001) : .close(4000, "mine")))
        fixture.plane.end(4001, [])
        #expect(try fixture.take(.client) == [])
        #expect(fixture.plane.endedBy?.code == 1001)
    }

    @Test("at the close timeout what hooks wait with is given up")
    func timeoutGivesUp() throws {
        let fixture = try PlaneFixture("websocket_close_timeout 2s;", messages: { _ in all })
        fixture.verdict = { _, _ in .waiting }
        fixture.receive([.text("a")].bytes(from: .client), from: .client)
        fixture.receive([.text("b", isFinal: false)].bytes(from: .upstream), from: .upstream)
        fixture.plane.end(4000, [])
        fixture.advance(2000)
        #expect(fixture.endings == 1)
        #expect(fixture.cancelled == 1)
        #expect(fixture.isIdle)
        // What comes after that is nobody's.
        fixture.receive([.text("c")].bytes(from: .upstream), from: .upstream)
        fixture.plane.lost(.client)
        #expect(fixture.waiting.isEmpty)
        #expect(fixture.endings == 1)
    }

    @Test("what follows the message that a hook closes for is seen by no hook")
    func nothingAfterClosing() throws {
        for kind in 0..<2 {
            let fixture = try PlaneFixture(
                messages: { _ in kind == 0 ? all : .none }, frames: { _ in kind == 1 ? allFrames : .none })
            var seen = 0
            fixture.verdict = { item, _ in
                seen += 1
                return item.data.first == UInt8(ascii: "X") ? .close(code: 4003, reason: []) : .pass
            }
            fixture.receive(
                [.text("a"), .text("b"), .text("X"), .text("c")].bytes(from: .client), from: .client)
            #expect(seen == 3)
            #expect(try fixture.take(.upstream) == [.text("a"), .text("b"), .close(4003)])
            #expect(try fixture.take(.client) == [.close(4003)])
            fixture.receive([.text("d"), .close(4003)].bytes(from: .client), from: .client)
            #expect(seen == 3)
            #expect(fixture.isIdle)
        }
    }

    // MARK: Sending while hooks run or wait

    @Test("what a hook for frames sends stands before its frame, whatever else came in the same read")
    func injectionByFrameHook() throws {
        let fixture = try PlaneFixture(frames: { _ in allFrames })
        fixture.verdict = { item, _ in
            guard item.data.first == UInt8(ascii: "I") else { return .pass }
            #expect(
                fixture.plane.inject(
                    .text, Array("in".utf8), to: .upstream, firstMessageHook: 9, firstFrameHook: 9))
            return .pass
        }
        fixture.receive(
            [.text("a"), .text("I", isFinal: false), .more("b"), .text("I2")].bytes(from: .client),
            from: .client)
        #expect(
            try fixture.take(.upstream) == [
                .text("a"), .text("in"), .text("I", isFinal: false), .more("b"), .text("in"), .text("I2"),
            ])
    }

    @Test("what a hook sends while it waits goes before the message that it was called for")
    func injectionWhileWaiting() throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        fixture.verdict = { _, _ in .waiting }
        fixture.receive([.text("a"), .text("b")].bytes(from: .client), from: .client)
        func inject(_ text: String) -> Bool {
            fixture.plane.inject(
                .text, Array(text.utf8), to: .upstream, firstMessageHook: 9, firstFrameHook: 9)
        }
        fixture.verdict = { _, position in position == 9 ? .pass : .waiting }
        #expect(inject("one"))
        #expect(try fixture.take(.upstream) == [.text("one")])
        #expect(inject("two"))
        fixture.plane.resume(fixture.waiting.removeFirst(), .pass)
        #expect(try fixture.take(.upstream) == [.text("two"), .text("a")])
        fixture.plane.resume(fixture.waiting.removeFirst(), .drop)
        #expect(fixture.isIdle)
    }

    @Test(
        "the hooks of a message and of an injected one wait at the same time; that is sent first",
        arguments: [false, true])
    func bothWait(_ isMessageFirst: Bool) throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        fixture.verdict = { item, _ in item.data.first == UInt8(ascii: "W") ? .waiting : .pass }
        fixture.receive([.text("W"), .text("after")].bytes(from: .client), from: .client)
        #expect(
            fixture.plane.inject(
                .text, Array("W2".utf8), to: .upstream, firstMessageHook: 0, firstFrameHook: 0))
        #expect(fixture.waiting.count == 2)
        let items = isMessageFirst ? fixture.waiting : fixture.waiting.reversed()
        fixture.waiting = []
        for item in items {
            fixture.plane.resume(item, item.isInjected ? .replace([Array("in".utf8)]) : .pass)
        }
        #expect(try fixture.take(.upstream) == [.text("in"), .text("W"), .text("after")])
        #expect(fixture.isIdle)
    }

    @Test("thousands of small messages may wait, and go out in order")
    func manyJobs() throws {
        let fixture = try PlaneFixture()
        fixture.receive([.text("a", isFinal: false)].bytes(from: .client), from: .client)
        let clock = ContinuousClock()
        let time = try clock.measure {
            for number in 0..<8000 {
                guard
                    fixture.plane.inject(
                        .binary, [UInt8(number & 255), UInt8(number >> 8 & 255)], to: .upstream,
                        firstMessageHook: 9, firstFrameHook: 9)
                else { throw PlaneFrame.Invalid(reason: "refused") }
            }
            #expect(fixture.plane.queuedBytes(to: .upstream) == 16_000)
            fixture.receive([.more("b")].bytes(from: .client), from: .client)
        }
        #expect(time < .seconds(5))
        #expect(fixture.plane.queuedBytes(to: .upstream) == 0)
        let frames = try fixture.take(.upstream)
        #expect(frames.count == 8002)
        #expect(frames.last == .binary([0x3f, 0x1f]))
    }

    @Test("a control frame that a hook makes too long is cut to what one may have")
    func longControl() throws {
        let fixture = try PlaneFixture(frames: { _ in allFrames })
        fixture.verdict = { _, _ in .replace([Array(repeating: 65, count: 200)]) }
        fixture.receive([.ping("a")].bytes(from: .client), from: .client)
        #expect(try fixture.take(.upstream) == [.ping(String(repeating: "A", count: 125))])
    }

    @Test("an injected message that a hook for frames cuts into pieces is one message yet")
    func injectedPieces() throws {
        let fixture = try PlaneFixture(frames: { _ in allFrames })
        fixture.verdict = { _, _ in .replace([Array("one ".utf8), Array("two".utf8)]) }
        #expect(fixture.plane.inject(.text, [65], to: .client, firstMessageHook: 0, firstFrameHook: 0))
        #expect(try fixture.take(.client).assembled().messages == [.text("one two")])
        #expect(fixture.plane.messages(to: .client) == 1)
    }

    // MARK: Counts

    @Test("what comes for whom nothing is sent any more is not counted as sent", arguments: [false, true])
    func countsAfterTheEnd(_ hasHooks: Bool) throws {
        let fixture = try PlaneFixture(messages: { _ in hasHooks ? all : .none })
        fixture.receive([.text("a")].bytes(from: .client), from: .client)
        fixture.plane.end(4000, [])
        fixture.receive((0..<5).map { .text("late \($0)") }.bytes(from: .client), from: .client)
        #expect(fixture.plane.messages(from: .client) == 6)
        #expect(fixture.plane.messages(to: .upstream) == 1)
        fixture.receive([.text("b")].bytes(from: .upstream), from: .upstream)
        fixture.plane.lost(.client)
        fixture.receive([.text("c"), .close(4000)].bytes(from: .upstream), from: .upstream)
        #expect(fixture.endings == 1)
        #expect(fixture.plane.messages(from: .upstream) == 2)
        #expect(fixture.plane.messages(to: .client) == 0)
    }

    @Test("a message that its hooks' close, or a breach, ends at is not counted as sent", arguments: 0..<7)
    func countsOfTheLast(_ kind: Int) throws {
        let fixture = try PlaneFixture(
            kind == 1 || kind == 2 ? "websocket_max_message 10;" : "",
            messages: { _ in kind == 1 ? .none : all })
        fixture.receive([.text("a")].bytes(from: .client), from: .client)
        let long = String(repeating: "x", count: 8)
        switch kind {
        case 0: fixture.receive([PlaneFrame(opcode: 1, payload: [0xff])].bytes(from: .client), from: .client)
        case 1: fixture.receive([.text(long + long)].bytes(from: .client), from: .client)
        case 2:
            fixture.receive([.text(long, isFinal: false), .more(long)].bytes(from: .client), from: .client)
        case 3:
            let half = PlaneFrame(isFinal: false, opcode: 1, payload: [0xff])
            fixture.receive([half].bytes(from: .client), from: .client)
        case 4:
            fixture.verdict = { _, _ in .waiting }
            fixture.receive([.text("b")].bytes(from: .client), from: .client)
            fixture.plane.lost(.client)
        case 5:
            fixture.receive([.text("b", isFinal: false)].bytes(from: .client), from: .client)
            fixture.plane.lost(.client)
        default:
            // Its hook lets it by, but has closed before.
            fixture.verdict = { [unowned fixture] _, _ in
                fixture.plane.end(4000, [])
                return .pass
            }
            fixture.receive([.text("b")].bytes(from: .client), from: .client)
        }
        #expect(fixture.plane.endedBy != nil)
        #expect(fixture.plane.messages(from: .client) == 2)
        #expect(fixture.plane.messages(to: .upstream) == 1)
        #expect(try fixture.take(.upstream).count { $0.opcode < 8 } == 1)
    }

    @Test("messages that hooks for frames leave out have come, and were not sent")
    func countsOfLeftOut() throws {
        let fixture = try PlaneFixture(frames: { _ in allFrames })
        fixture.verdict = { item, _ in
            switch item.data.first {
            case UInt8(ascii: "D"): .drop
            case UInt8(ascii: "W"): .waiting
            default: .pass
            }
        }
        fixture.receive(
            [
                .text("D"), .text("D", isFinal: false), .more("D"), .text("D", isFinal: false), .more("a"),
                .text("b", isFinal: false), .more("D"), .text("c"),
            ].bytes(from: .client), from: .client)
        #expect(fixture.plane.messages(from: .client) == 5)
        #expect(fixture.plane.messages(to: .upstream) == 3)
        fixture.receive([.text("W")].bytes(from: .client), from: .client)
        fixture.plane.lost(.client)
        #expect(fixture.plane.messages(from: .client) == 6)
        #expect(fixture.plane.messages(to: .upstream) == 3)
    }

    // MARK: Liveness

    @Test("who sends a long frame is not dead, though its answer stands behind that")
    func slowFrame() throws {
        let fixture = try PlaneFixture(
            "websocket_ping_interval 20s; websocket_pong_timeout 10s; websocket_ping_to client;")
        let bytes = [PlaneFrame.binary(Array(repeating: 1, count: 1000))].bytes(from: .client)
        for byte in bytes.prefix(60) {
            fixture.receive([byte], from: .client)
            fixture.advance(2000)
        }
        #expect(fixture.plane.endedBy == nil)
        fixture.advance(10_000)
        #expect(fixture.plane.endedBy?.by == .client)
    }

    @Test("the time that a hook waits is not the peers' silence")
    func hookTakesTime() throws {
        let fixture = try PlaneFixture(
            "proxy_read_timeout 30s; websocket_idle_timeout 20s messages;", messages: { _ in all })
        fixture.verdict = { _, _ in .waiting }
        fixture.receive([.text("a")].bytes(from: .client), from: .client)
        fixture.advance(100_000)
        #expect(fixture.plane.endedBy == nil)
        fixture.plane.resume(fixture.waiting.removeFirst(), .pass)
        fixture.advance(19_000)
        #expect(fixture.plane.endedBy == nil)
        fixture.advance(30_000)
        #expect(fixture.plane.endedBy?.code == 1001)
    }

    @Test("timeouts count from when hooks let go of what came", arguments: ["message", "frame", "sent"])
    func hookTakesLessThanTimeout(_ kind: String) throws {
        for directives in ["proxy_read_timeout 20s;", "websocket_idle_timeout 20s;"] {
            let fixture = try PlaneFixture(
                directives, messages: { _ in kind == "frame" ? .none : all },
                frames: { _ in kind == "frame" ? allFrames : .none })
            fixture.verdict = { _, _ in .waiting }
            fixture.advance(5000)
            if kind == "sent" {
                #expect(
                    fixture.plane.inject(.text, [97], to: .client, firstMessageHook: 0, firstFrameHook: 0))
            } else {
                fixture.receive([.text("a")].bytes(from: .client), from: .client)
            }
            fixture.advance(kind == "sent" ? 14_000 : 19_000)
            fixture.plane.resume(fixture.waiting.removeFirst(), .pass)
            fixture.advance(19_000)
            #expect((fixture.plane.endedBy == nil) == (kind != "sent"))
            fixture.advance(2000)
            #expect(fixture.plane.endedBy?.code == 1001)
        }
    }

    @Test("one answer may be for several pings of scripts, and each is told once")
    func answerForSeveral() throws {
        let fixture = try PlaneFixture()
        for (token, text) in ["a", "b", "b", "c"].enumerated() {
            #expect(fixture.plane.ping(.upstream, payload: Array(text.utf8), token: token))
            fixture.now += 1
        }
        fixture.receive([.pong(Array("b".utf8))].bytes(from: .upstream), from: .upstream)
        #expect(fixture.pings.map(\.token) == [0, 1])
        #expect(fixture.pings.map(\.roundTrip) == [4000, 3000])
        fixture.receive(
            [.pong(Array("b".utf8)), .pong(Array("b".utf8))].bytes(from: .upstream), from: .upstream)
        #expect(fixture.pings.map(\.token) == [0, 1, 2])
        // The third one answers nothing of ours.
        #expect(try fixture.take(.client) == [.pong(Array("b".utf8))])
    }

    @Test("pings of the same moment, which look the same, are each told of an answer")
    func pingsOfOneMoment() throws {
        let fixture = try PlaneFixture()
        for token in 1...3 { #expect(fixture.plane.ping(.client, payload: nil, token: token)) }
        let pings = try fixture.take(.client)
        #expect(Set(pings.map(\.payload)).count == 1)
        fixture.now += 1
        fixture.receive([.pong(pings[0].payload)].bytes(from: .client), from: .client)
        #expect(fixture.pings.map(\.token) == [1])
        for _ in 0..<2 { fixture.receive([.pong(pings[0].payload)].bytes(from: .client), from: .client) }
        #expect(fixture.pings.map(\.token) == [1, 2, 3])
        #expect(fixture.pings.allSatisfy { $0.roundTrip == 1000 })
        #expect(try fixture.take(.upstream) == [])
    }

    @Test("an answer that comes too late goes no further either")
    func lateAnswer() throws {
        let fixture = try PlaneFixture("websocket_pong_timeout 1s;")
        #expect(fixture.plane.ping(.upstream, payload: Array("mine".utf8), token: 1))
        fixture.advance(1000)
        #expect(fixture.pings.map(\.token) == [1])
        #expect(fixture.plane.deadline > fixture.now + 10_000)
        fixture.receive(
            [.pong(Array("mine".utf8)), .pong(Array("mine".utf8))].bytes(from: .upstream), from: .upstream)
        #expect(fixture.pings.count == 1)
        #expect(try fixture.take(.client) == [.pong(Array("mine".utf8))])
        // Nor one that comes while it ends.
        #expect(fixture.plane.ping(.upstream, payload: Array("mine".utf8), token: 2))
        fixture.receive([.close(1000)].bytes(from: .client), from: .client)
        #expect(fixture.pings.map(\.token) == [1, 2])
        fixture.receive([.pong(Array("mine".utf8))].bytes(from: .upstream), from: .upstream)
        #expect(try fixture.take(.client) == [])
    }

    @Test("an answer is not looked for in the rest of a message that is half put together")
    func pongLookalike() throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        fixture.verdict = { item, _ in item.isInjected ? .waiting : .pass }
        // The second half of the payload looks like a pong.
        let lookalike: [UInt8] = [0x8a, 1, 120]
        let bytes = PlaneFrame.binary([7, 7, 7] + lookalike).bytes(from: .upstream)
        fixture.receive(Array(bytes.dropLast(3)), from: .upstream)
        #expect(fixture.plane.inject(.text, [65], to: .client, firstMessageHook: 0, firstFrameHook: 0))
        #expect(fixture.plane.ping(.upstream, payload: [120], token: 1))
        fixture.receive(lookalike, from: .upstream)
        #expect(fixture.pings.isEmpty)
        fixture.plane.resume(fixture.waiting.removeFirst(), .pass)
        #expect(try fixture.take(.client) == [.text("A"), .binary([7, 7, 7] + lookalike)])
        #expect(fixture.plane.ping(.upstream, payload: nil, token: 2))
    }
}
