import Config
import ProxyCore
import Testing
import Wire

private let allFrames = WebSocketInterest(WebSocketOpcode.allCases)
private let all = WebSocketInterest([.text, .binary])

@Suite("A WebSocket's plane")
struct WebSocketPlaneTests {
    // MARK: Breaches

    struct Breach: CustomStringConvertible, Sendable {
        var name: String
        var frames: [[UInt8]]
        var code: UInt16
        /// Found only where messages are put together.
        var needsHook = false
        var description: String { name }
    }

    /// Bytes that are no WebSocket, as the client sends them or the upstream.
    static func breaches(from side: Side) -> [Breach] {
        let isMasked = side == .client
        func raw(_ first: UInt8, _ second: UInt8, _ rest: [UInt8] = []) -> [UInt8] {
            [first, (isMasked ? 128 : 0) | second] + rest
        }
        func frame(_ frame: PlaneFrame) -> [UInt8] { frame.bytes(from: side) }
        var breaches: [Breach] = []
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as [UInt8] {
            breaches.append(Breach(name: "opcode \(opcode)", frames: [raw(0x80 | opcode, 0)], code: 1002))
        }
        for bit in [0x40, 0x20, 0x10] as [UInt8] {
            breaches.append(Breach(name: "reserved \(bit)", frames: [raw(0x81 | bit, 0)], code: 1002))
            breaches.append(
                Breach(name: "reserved \(bit) in a ping", frames: [raw(0x89 | bit, 0)], code: 1002))
        }
        for opcode in [8, 9, 10] as [UInt8] {
            breaches.append(
                Breach(name: "fragmented control \(opcode)", frames: [raw(opcode, 0)], code: 1002))
            breaches.append(
                Breach(
                    name: "long control \(opcode)", frames: [raw(0x80 | opcode, 126, [0, 126])], code: 1002))
        }
        breaches += [
            Breach(name: "wrong mask", frames: [[0x81, isMasked ? 1 : 0x81, 0x61]], code: 1002),
            Breach(name: "two bytes for 125", frames: [raw(0x82, 126, [0, 125])], code: 1002),
            Breach(name: "two bytes for 0", frames: [raw(0x82, 126, [0, 0])], code: 1002),
            Breach(
                name: "eight bytes for 65535", frames: [raw(0x82, 127, [0, 0, 0, 0, 0, 0, 255, 255])],
                code: 1002),
            Breach(
                name: "the highest bit of a length", frames: [raw(0x82, 127, [128, 0, 0, 0, 0, 0, 0, 0])],
                code: 1002),
            Breach(name: "continuation of nothing", frames: [frame(.more("x"))], code: 1002),
            Breach(
                name: "text in a message", frames: [frame(.text("a", isFinal: false)), frame(.text("b"))],
                code: 1002),
            Breach(
                name: "binary in a message",
                frames: [frame(.text("a", isFinal: false)), frame(.binary([1]))],
                code: 1002),
            Breach(
                name: "continuation after the end", frames: [frame(.text("a")), frame(.more("b"))], code: 1002
            ),
            Breach(
                name: "close of one byte", frames: [frame(PlaneFrame(opcode: 8, payload: [3]))], code: 1002),
            Breach(
                name: "close whose reason is not UTF-8",
                frames: [frame(PlaneFrame(opcode: 8, payload: [3, 0xe8, 0xff]))], code: 1007),
            Breach(
                name: "message above the limit", frames: [frame(.binary(Array(repeating: 1, count: 65_537)))],
                code: 1009),
            Breach(
                name: "fragments above the limit in all",
                frames: [
                    frame(.binary(Array(repeating: 1, count: 40_000), isFinal: false)),
                    frame(PlaneFrame(opcode: 0, payload: Array(repeating: 1, count: 40_000))),
                ], code: 1009),
            Breach(
                name: "too many fragments",
                frames: [frame(.text("a", isFinal: false))]
                    + (0..<16).map { _ in frame(.more("b", isFinal: false)) }, code: 1009),
        ]
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] as [UInt16] {
            breaches.append(Breach(name: "close \(code)", frames: [frame(.close(code))], code: 1002))
        }
        let texts: [(String, [UInt8])] = [
            ("a lone continuation", [0x80]), ("an overlong slash", [0xc0, 0xaf]), ("c1", [0xc1, 0xbf]),
            ("overlong of three", [0xe0, 0x80, 0xaf]), ("overlong of four", [0xf0, 0x80, 0x80, 0xaf]),
            ("a surrogate", [0xed, 0xa0, 0x80]), ("above U+10FFFF", [0xf4, 0x90, 0x80, 0x80]),
            ("f5", [0xf5, 0x80, 0x80, 0x80]), ("five bytes", [0xf8, 0x88, 0x80, 0x80, 0x80]), ("ff", [0xff]),
            ("a cut character", [0x61, 0xe2, 0x82]),
        ]
        for (name, bytes) in texts {
            breaches.append(
                Breach(
                    name: name, frames: [frame(PlaneFrame(opcode: 1, payload: bytes))], code: 1007,
                    needsHook: true))
        }
        breaches.append(
            Breach(
                name: "a character cut by a fragment, and wrong",
                frames: [
                    frame(PlaneFrame(isFinal: false, opcode: 1, payload: [0xe2])),
                    frame(PlaneFrame(isFinal: false, opcode: 0, payload: [0x28])),
                ], code: 1007, needsHook: true))
        return breaches
    }

    @Test(
        "each breach has its code, for both sides, and nothing follows", arguments: [Side.client, .upstream])
    func breaches(_ side: Side) throws {
        let breaches = Self.breaches(from: side)
        #expect(breaches.count >= 60)
        for breach in breaches {
            for kind in 0..<3 where !breach.needsHook || kind == 1 {
                let fixture = try PlaneFixture(
                    "websocket_max_message 64k; websocket_max_fragments 16;",
                    messages: { _ in kind == 1 ? all : .none },
                    frames: { _ in kind == 2 ? WebSocketInterest(WebSocketOpcode.allCases) : .none })
                let place: Comment = "\(breach) from \(side), \(kind)"
                fixture.receive(PlaneFrame.text("before").bytes(from: side), from: side)
                for frame in breach.frames { fixture.receive(frame, from: side) }
                fixture.receive(PlaneFrame.text("after").bytes(from: side), from: side)
                fixture.receive(PlaneFrame.text("other").bytes(from: side.other), from: side.other)
                let own = try fixture.take(side)
                let other = try fixture.take(side.other)
                #expect(own.map(\.opcode) == [8], place)
                #expect(own.last.map(Self.code) == breach.code, place)
                #expect(other.first == .text("before"), place)
                #expect(other.last?.opcode == 8, place)
                #expect(other.last.map(Self.code) == breach.code, place)
                #expect(fixture.plane.endedBy?.code == breach.code, place)
                #expect(fixture.plane.endedBy?.by == .proxy, place)
                // The one that broke it is not listened to, so it is told by the end of the connection.
                #expect(fixture.shut == [side], place)
                fixture.receive(PlaneFrame.close(breach.code).bytes(from: side.other), from: side.other)
                #expect(fixture.endings == 0, place)
                fixture.plane.lost(side)
                #expect(fixture.endings == 1, place)
                #expect(fixture.isIdle, place)
            }
        }
    }

    static func code(_ frame: PlaneFrame) -> UInt16 {
        frame.payload.count < 2 ? 1005 : UInt16(frame.payload[0]) << 8 | UInt16(frame.payload[1])
    }

    // MARK: Ends

    @Test("close frames go both ways with code and reason", arguments: [Side.client, .upstream])
    func handshake(_ side: Side) throws {
        let fixture = try PlaneFixture()
        fixture.receive(PlaneFrame.close(4001, "why").bytes(from: side), from: side)
        #expect(try fixture.take(side.other) == [.close(4001, "why")])
        // What the other still sends arrives.
        fixture.receive(PlaneFrame.text("last").bytes(from: side.other), from: side.other)
        fixture.receive(PlaneFrame.close(4002, "yes").bytes(from: side.other), from: side.other)
        #expect(try fixture.take(side) == [.text("last"), .close(4002, "yes")])
        #expect(fixture.endings == 1)
        let ending = try #require(fixture.plane.endedBy)
        #expect(ending.code == 4001 && ending.reason == Array("why".utf8) && ending.isClean)
        #expect(ending.by == (side == .client ? .client : .upstream))
    }

    @Test("who does not answer is not waited for longer than the close timeout")
    func silence() throws {
        let fixture = try PlaneFixture("websocket_close_timeout 2s;")
        fixture.receive(PlaneFrame.close(1000).bytes(from: .client), from: .client)
        #expect(try fixture.take(.upstream) == [.close(1000)])
        fixture.advance(1999)
        #expect(fixture.endings == 0)
        fixture.advance(1)
        #expect(fixture.endings == 1)
        // The one that began has its answer all the same.
        #expect(try fixture.take(.client) == [.close(1000)])
        #expect(fixture.plane.endedBy?.isClean == false)
    }

    @Test("a lost side is told to the other by cause")
    func lost() throws {
        for (side, code) in [(Side.client, UInt16(1011)), (.upstream, 1014)] {
            let fixture = try PlaneFixture()
            fixture.plane.lost(side)
            #expect(try fixture.take(side.other).map(Self.code) == [code])
            #expect(try fixture.take(side).isEmpty)
            #expect(fixture.endings == 0)
            fixture.receive(PlaneFrame.close(code).bytes(from: side.other), from: side.other)
            #expect(fixture.endings == 1)
            #expect(fixture.plane.endedBy?.code == 1006)
        }
    }

    @Test("a side that ends behind its close frame is told the answer", arguments: [Side.client, .upstream])
    func endBehindClose(_ side: Side) throws {
        let fixture = try PlaneFixture("websocket_close_timeout 2s;")
        fixture.receive(PlaneFrame.close(4001, "why").bytes(from: side), from: side)
        fixture.plane.ended(side)
        #expect(!fixture.plane.isDone(with: side))
        #expect(try fixture.take(side.other) == [.close(4001, "why")])
        #expect(fixture.endings == 0)
        fixture.receive([PlaneFrame.text("last"), .close(4002)].bytes(from: side.other), from: side.other)
        #expect(try fixture.take(side) == [.text("last"), .close(4002)])
        #expect(fixture.plane.isDone(with: side))
        #expect(fixture.endings == 1)
        #expect(fixture.plane.endedBy?.isClean == true)
    }

    @Test("a side that ends behind its close frame is told by whatever ends the wait for the answer")
    func endBehindCloseWithoutAnswer() throws {
        for isLost in [false, true] {
            let fixture = try PlaneFixture("websocket_close_timeout 2s;")
            fixture.receive(PlaneFrame.close(4001).bytes(from: .client), from: .client)
            fixture.plane.ended(.client)
            if isLost { fixture.plane.lost(.upstream) } else { fixture.advance(2000) }
            #expect(try fixture.take(.client) == [.close(4001)])
            #expect(fixture.endings == 1)
        }
    }

    @Test("a side that ends without a close frame is lost", arguments: [Side.client, .upstream])
    func endWithoutClose(_ side: Side) throws {
        let fixture = try PlaneFixture()
        fixture.plane.ended(side)
        #expect(fixture.plane.isDone(with: side))
        #expect(fixture.plane.endedBy?.code == 1006)
        #expect(try fixture.take(side.other).map(Self.code) == [side == .client ? 1011 : 1014])
    }

    @Test("nothing is said within a frame that stays half")
    func halfFrame() throws {
        let fixture = try PlaneFixture()
        let bytes = PlaneFrame.text("never whole").bytes(from: .upstream)
        fixture.receive(Array(bytes.dropLast()), from: .upstream)
        fixture.plane.lost(.upstream)
        #expect(fixture.sent[.client] == Array(bytes.dropLast()))
        #expect(fixture.endings == 1)
    }

    @Test("a close of the proxy's own waits for the frame, and with messages for the message")
    func boundaries() throws {
        for atMessages in [false, true] {
            let fixture = try PlaneFixture("websocket_close_timeout 5s;")
            let first = PlaneFrame.text("one ", isFinal: false).bytes(from: .upstream)
            fixture.receive(Array(first.dropLast(2)), from: .upstream)
            fixture.plane.end(1001, [], atMessages: atMessages)
            #expect(try fixture.take(.upstream) == [.close(1001)])
            fixture.receive(Array(first.suffix(2)), from: .upstream)
            fixture.receive(PlaneFrame.more("two").bytes(from: .upstream), from: .upstream)
            let expected: [PlaneFrame] =
                atMessages
                ? [.text("one ", isFinal: false), .more("two"), .close(1001)]
                : [.text("one ", isFinal: false), .close(1001)]
            #expect(try fixture.take(.client) == expected)
            for side in [Side.client, .upstream] {
                fixture.receive(PlaneFrame.close(1001).bytes(from: side), from: side)
            }
            #expect(fixture.endings == 1)
        }
    }

    @Test("the close timeout counts once, from when both sides have been told", arguments: [0, 3000])
    func oneTimeout(_ wait: Int64) throws {
        let fixture = try PlaneFixture("websocket_close_timeout 5s;")
        if wait > 0 {
            fixture.receive(PlaneFrame.text("a", isFinal: false).bytes(from: .client), from: .client)
        }
        fixture.plane.end(1001, [], atMessages: true)
        if wait > 0 {
            fixture.advance(wait)
            fixture.receive(PlaneFrame.more("b").bytes(from: .client), from: .client)
        }
        #expect(try fixture.take(.client).last == .close(1001))
        #expect(try fixture.take(.upstream).last == .close(1001))
        fixture.advance(4999)
        #expect(fixture.endings == 0)
        fixture.advance(1)
        #expect(fixture.endings == 1)
    }

    @Test("a message that does not end is not waited for longer than the close timeout")
    func endlessMessage() throws {
        let fixture = try PlaneFixture("websocket_close_timeout 5s;")
        fixture.receive(PlaneFrame.text("a", isFinal: false).bytes(from: .upstream), from: .upstream)
        fixture.plane.end(at: fixture.now + 1000)
        fixture.advance(5999)
        #expect(try fixture.take(.client) == [.text("a", isFinal: false)])
        fixture.advance(1)
        #expect(try fixture.take(.client) == [.close(1001)])
        fixture.advance(5000)
        #expect(fixture.endings == 1)
    }

    @Test("what a hook waits with goes out before the end at a message boundary")
    func drainWaits() throws {
        let fixture = try PlaneFixture("", messages: { _ in all })
        fixture.verdict = { _, _ in .waiting }
        fixture.receive(PlaneFrame.text("slow").bytes(from: .client), from: .client)
        fixture.plane.end(at: fixture.now)
        fixture.advance(0)
        #expect(try fixture.take(.upstream).isEmpty)
        #expect(try fixture.take(.client) == [.close(1001)])
        fixture.plane.resume(try #require(fixture.waiting.first), .pass)
        #expect(try fixture.take(.upstream) == [.text("slow"), .close(1001)])
    }

    @Test("a side's loss cancels the hook that waits with what it sent")
    func lossCancels() throws {
        let fixture = try PlaneFixture("", messages: { _ in all })
        fixture.verdict = { _, _ in .waiting }
        fixture.receive(PlaneFrame.text("slow").bytes(from: .client), from: .client)
        #expect(fixture.plane.isPaused(.client) && !fixture.plane.isPaused(.upstream))
        fixture.plane.lost(.client)
        #expect(fixture.cancelled == 1)
        #expect(fixture.commons.items.openCount == 0)
        #expect(try fixture.take(.upstream).map(Self.code) == [1011])
    }

    @Test("a hook closes both, or one with a code of its own")
    func hookCloses() throws {
        let fixture = try PlaneFixture("", messages: { _ in all })
        fixture.verdict = { _, _ in .close(code: 4000, reason: Array("no".utf8)) }
        fixture.receive(
            [PlaneFrame.text("a"), .text("b")].bytes(from: .client), from: .client)
        #expect(try fixture.take(.upstream) == [.close(4000, "no")])
        #expect(try fixture.take(.client) == [.close(4000, "no")])

        let other = try PlaneFixture()
        other.plane.end(4000, Array("kicked".utf8), of: .client)
        #expect(try other.take(.client) == [.close(4000, "kicked")])
        #expect(try other.take(.upstream) == [.close(1001)])
    }

    // MARK: Liveness

    private static let pings = "websocket_ping_interval 10s; websocket_pong_timeout 3s;"

    @Test(
        "a hook that closes on a peer's close frame has heard it: that peer is not waited for",
        arguments: [Side.client, .upstream], [true, false])
    func closesOnClose(_ side: Side, _ waits: Bool) throws {
        let fixture = try PlaneFixture("", frames: { _ in allFrames })
        let verdict = WebSocketVerdict.close(code: 4000, reason: [])
        fixture.verdict = { item, _ in
            if item.opcode != .close { .pass } else if waits { .waiting } else { verdict }
        }
        // Not its end either.
        let frames: [PlaneFrame] = [.text("a", isFinal: false), .close(4111), .more("b")]
        fixture.receive(frames.bytes(from: side), from: side)
        for item in fixture.waiting { fixture.plane.resume(item, verdict) }
        #expect(try fixture.take(side) == [.close(4000)])
        #expect(try fixture.take(side.other) == [frames[0], .close(4000)])
        #expect(fixture.shut == [side])
        fixture.receive([.close(4000)].bytes(from: side.other), from: side.other)
        #expect(fixture.endings == 1)
        #expect(fixture.plane.endedBy?.by == .proxy)
        #expect(fixture.plane.endedBy?.isClean == true)
        #expect(fixture.commons.items.openCount == 0)
    }

    @Test("pings go to both sides, or one; answers go no further, others do")
    func pings() throws {
        for (legs, sides) in [
            ("both", [Side.client, .upstream]), ("client", [.client]), ("upstream", [.upstream]),
        ] {
            let fixture = try PlaneFixture(
                Self.pings + "websocket_ping_to \(legs); proxy_read_timeout 1h;")
            var pinged: Set<Side> = []
            for _ in 0..<4000 {
                fixture.advance(10)
                for side in [Side.client, .upstream] {
                    let ping = try fixture.take(side).first { $0.payload.count == 8 }
                    guard let ping else { continue }
                    #expect(ping.opcode == 9)
                    pinged.insert(side)
                    fixture.now += 2
                    fixture.receive(
                        [.pong([1, 2]), .pong(ping.payload), PlaneFrame.ping("p")].bytes(from: side),
                        from: side)
                    let forwarded = try fixture.take(side.other).filter { $0.payload.count < 8 }
                    #expect(forwarded == [.pong([1, 2]), .ping("p")])
                    #expect((2000...12_000).contains(fixture.plane.roundTrip(side) ?? 0))
                }
            }
            #expect(pinged == Set(sides))
            #expect(fixture.plane.endedBy == nil)
        }
    }

    @Test(
        "a ping that repeats one of ours has its answer from the other side",
        arguments: [Side.client, .upstream])
    func repeatedPing(_ side: Side) throws {
        let fixture = try PlaneFixture(
            "websocket_ping_interval 10s; websocket_pong_timeout 30s; proxy_read_timeout 1h;")
        fixture.advance(10_000)
        let ping = try #require(try fixture.take(side).first { $0.opcode == 9 })
        fixture.sent[side.other] = []
        fixture.receive(ping.bytes(from: side), from: side)
        #expect(try fixture.take(side.other) == [ping])
        fixture.receive(PlaneFrame.pong(ping.payload).bytes(from: side.other), from: side.other)
        #expect(try fixture.take(side) == [.pong(ping.payload)])
        #expect(fixture.plane.roundTrip(side.other) == nil)
        fixture.receive(PlaneFrame.pong(ping.payload).bytes(from: side), from: side)
        #expect(try fixture.take(side.other).isEmpty)
        #expect(fixture.plane.roundTrip(side) != nil)
    }

    @Test("a dead peer is found within interval and timeout; the other side is told why")
    func death() throws {
        for (side, code) in [(Side.client, UInt16(1011)), (.upstream, 1014)] {
            let fixture = try PlaneFixture(Self.pings + "proxy_read_timeout 1h;")
            let start = fixture.now
            while fixture.plane.endedBy == nil, fixture.now < start + 60_000 {
                fixture.advance(10)
                for frame in try fixture.take(side.other) where frame.opcode == 9 {
                    fixture.receive(PlaneFrame.pong(frame.payload).bytes(from: side.other), from: side.other)
                }
                if fixture.plane.endedBy != nil { break }
                fixture.sent[side.other] = []
            }
            #expect(fixture.now - start <= 13_010)
            #expect(fixture.plane.endedBy?.code == 1006)
            #expect(fixture.plane.endedBy?.by == (side == .client ? .client : .upstream))
            #expect(try fixture.take(side).last.map(Self.code) == code)
            _ = code
        }
    }

    @Test("an answer that cannot have been read is waited for")
    func blockedAnswer() throws {
        let fixture = try PlaneFixture(Self.pings + "websocket_ping_to client;")
        fixture.blocked = [.client]
        fixture.advance(30_000)
        #expect(fixture.plane.endedBy == nil)
        fixture.blocked = []
        fixture.advance(3000)
        #expect(fixture.plane.endedBy != nil)
    }

    /// More of a long frame comes from the other side every now and then, behind which a ping to `side` waits.
    private func passSlowly(_ frame: PlaneFrame, to side: Side, on fixture: PlaneFixture) {
        let bytes = frame.bytes(from: side.other)
        for start in stride(from: 0, to: bytes.count, by: 50) {
            fixture.advance(500)
            #expect(fixture.plane.endedBy == nil)
            fixture.receive(Array(bytes[start..<min(start + 50, bytes.count)]), from: side.other)
        }
    }

    @Test(
        "the time to answer a ping begins when it leaves: behind a long frame of the other side",
        arguments: [Side.client, .upstream])
    func pingBehindLongFrame(_ side: Side) throws {
        let fixture = try PlaneFixture(
            "websocket_ping_interval 2s; websocket_pong_timeout 3s; proxy_read_timeout 1h; websocket_ping_to "
                + "\(side == .client ? "client" : "upstream");")
        let frame = PlaneFrame.binary(Array(repeating: 7, count: 1500))
        passSlowly(frame, to: side, on: fixture)
        let sent = try fixture.take(side)
        // One, however many would have been due.
        #expect(sent.map(\.opcode) == [2, 9])
        #expect(sent.first == frame)
        fixture.now += 5
        fixture.receive(PlaneFrame.pong(sent[1].payload).bytes(from: side), from: side)
        #expect(fixture.plane.roundTrip(side) == 5000)
        // One that has left, and is not answered, ends it as ever.
        fixture.advance(6000)
        #expect(fixture.plane.endedBy?.reason == Array("ping timeout".utf8))
    }

    @Test(
        "so does that of a script's ping, whose payload is of when it leaves",
        arguments: [Side.client, .upstream])
    func scriptPingBehindLongFrame(_ side: Side) throws {
        let fixture = try PlaneFixture("websocket_pong_timeout 2s; proxy_read_timeout 1h;")
        fixture.receive(
            Array(PlaneFrame.text("begun", isFinal: false).bytes(from: side.other).dropLast()),
            from: side.other)
        #expect(fixture.plane.ping(side, payload: nil, token: 1))
        #expect(fixture.plane.ping(side, payload: Array("abc".utf8), token: 2))
        #expect(fixture.plane.ping(side, payload: Array("given up".utf8), token: 3))
        fixture.plane.forgetPing(3)
        fixture.advance(10_000)
        #expect(fixture.pings.isEmpty)
        // It answers nothing: no such ping was sent yet.
        fixture.receive(PlaneFrame.pong(Array("abc".utf8)).bytes(from: side), from: side)
        #expect(fixture.pings.isEmpty)
        let bytes = [PlaneFrame.text("begun", isFinal: false), .more("!")].bytes(from: side.other)
        fixture.receive(Array(bytes.suffix(side == .upstream ? 8 : 4)), from: side.other)
        let sent = try fixture.take(side)
        #expect(sent.map(\.opcode) == [1, 9, 9, 0])
        fixture.now += 4
        fixture.receive([.pong(sent[1].payload)].bytes(from: side), from: side)
        #expect(fixture.pings.map(\.token) == [1])
        #expect(fixture.pings.first?.roundTrip == 4000)
        fixture.advance(2000)
        #expect(fixture.pings.map(\.token) == [1, 2])
        #expect(fixture.pings.last?.roundTrip == .some(nil))
    }

    @Test("a ping that waits behind a frame is not sent any more once none are")
    func owedPingForgotten() throws {
        let fixture = try PlaneFixture("websocket_ping_interval 2s; websocket_ping_to client;")
        let bytes = PlaneFrame.text("long").bytes(from: .upstream)
        fixture.receive(Array(bytes[..<4]), from: .upstream)
        fixture.advance(2000)
        fixture.plane.migrate(to: try PlaneFixture.rules("", fixture.commons))
        fixture.receive(Array(bytes[4...]), from: .upstream)
        #expect(try fixture.take(.client) == [.text("long")])
    }

    @Test("the first pings of a thousand that open together are spread over half an interval")
    func spread() throws {
        var times: [Int64] = []
        var random = PlaneRandom(seed: 7)
        for _ in 0..<1000 {
            let fixture = try PlaneFixture(
                "websocket_ping_interval 20s; websocket_ping_to client;",
                random: UInt32(truncatingIfNeeded: random.next()))
            times.append(fixture.plane.deadline - fixture.now)
        }
        #expect(times.allSatisfy { (10_000...20_000).contains($0) })
        for tenth in 0..<10 {
            let count = times.count {
                (Int64(10_000 + tenth * 1000)..<Int64(11_000 + tenth * 1000)).contains($0)
            }
            #expect((60...140).contains(count), "\(tenth): \(count)")
        }
    }

    @Test("an idle WebSocket ends with 1001: without any frame, or without messages")
    func idle() throws {
        for (counts, endsAt) in [("data", Int64(14_000)), ("messages", 10_000)] {
            let fixture = try PlaneFixture("websocket_idle_timeout 10s \(counts);")
            fixture.advance(4000)
            fixture.receive(PlaneFrame.ping("x").bytes(from: .client), from: .client)
            fixture.advance(endsAt - 4001)
            #expect(fixture.plane.endedBy == nil, "\(counts)")
            fixture.advance(1)
            #expect(fixture.plane.endedBy?.code == 1001, "\(counts)")
        }
    }

    @Test("answers to the proxy's own pings are no traffic for the idle timeout")
    func idleWithPings() throws {
        let fixture = try PlaneFixture("websocket_idle_timeout 30s; " + Self.pings)
        for _ in 0..<2999 {
            fixture.advance(10)
            for side in [Side.client, .upstream] {
                for frame in try fixture.take(side) where frame.opcode == 9 {
                    fixture.receive(PlaneFrame.pong(frame.payload).bytes(from: side), from: side)
                }
            }
        }
        #expect(fixture.plane.endedBy == nil)
        fixture.advance(10)
        #expect(fixture.plane.endedBy?.code == 1001)
    }

    @Test("proxy_read_timeout ends it by close frames, and any byte puts that off")
    func readTimeout() throws {
        let fixture = try PlaneFixture("proxy_read_timeout 5s;")
        fixture.advance(4000)
        fixture.receive([0x81], from: .upstream)
        fixture.advance(4999)
        #expect(fixture.plane.endedBy == nil)
        fixture.advance(1)
        #expect(fixture.plane.endedBy?.code == 1001)
    }

    @Test("an upstream that takes nothing of what waits for it is lost after proxy_send_timeout")
    func sendTimeout() throws {
        let fixture = try PlaneFixture(
            "proxy_send_timeout 2s; proxy_read_timeout 1h;", messages: { _ in all })
        // Before that, its silence is of no account.
        fixture.advance(60_000)
        fixture.blocked = [.client]
        fixture.plane.upstreamTookSome()
        fixture.advance(1999)
        fixture.plane.upstreamTookSome()
        // What is not read of it, since a hook waits or the client takes nothing, puts nothing off.
        fixture.verdict = { _, _ in .waiting }
        fixture.receive(PlaneFrame.text("a").bytes(from: .upstream), from: .upstream)
        fixture.blocked = [.client, .upstream]
        #expect(fixture.plane.ping(.client, payload: nil, token: 1))
        fixture.advance(1000)
        fixture.plane.timePassed()
        fixture.advance(999)
        #expect(fixture.plane.endedBy == nil)
        fixture.advance(1)
        #expect(fixture.plane.endedBy?.by == .upstream)
        #expect(fixture.plane.endedBy?.code == 1006)
        #expect(
            try fixture.take(.client).last
                == .close(1014, "upstream: took nothing within proxy_send_timeout"))
    }

    @Test("what the upstream takes within that time counts as traffic, and not for proxy_read_timeout alone")
    func sendTimeoutOver() throws {
        let fixture = try PlaneFixture("proxy_send_timeout 2s; proxy_read_timeout 3s;")
        fixture.blocked = [.client]
        fixture.plane.upstreamTookSome()
        for _ in 0..<10 {
            fixture.advance(1500)
            fixture.plane.upstreamTookSome()
        }
        fixture.blocked = []
        fixture.advance(2999)
        #expect(fixture.plane.endedBy == nil)
        fixture.advance(1)
        #expect(fixture.plane.endedBy?.code == 1001)
    }

    @Test("an answer to a ping of ours is for us, whatever hooks for frames would make of it")
    func answersBeforeFrameHooks() throws {
        let verdicts: [WebSocketVerdict] = [.drop, .replace([[1]]), .waiting, .close(code: 4000, reason: [])]
        for verdict in verdicts {
            let fixture = try PlaneFixture(Self.pings + "proxy_read_timeout 1h;", frames: { _ in allFrames })
            fixture.verdict = { _, _ in verdict }
            for _ in 0..<2000 {
                fixture.advance(10)
                for side in [Side.client, .upstream] {
                    for ping in try fixture.take(side) {
                        #expect(ping.opcode == 9)
                        fixture.receive(PlaneFrame.pong(ping.payload).bytes(from: side), from: side)
                    }
                }
            }
            #expect(fixture.plane.roundTrip(.client) != nil && fixture.plane.roundTrip(.upstream) != nil)
            #expect(fixture.plane.endedBy == nil)
            #expect(fixture.waiting.isEmpty)
            // One that answers nothing of ours is the hooks' as ever.
            fixture.receive(PlaneFrame.pong([7]).bytes(from: .client), from: .client)
            #expect(try fixture.take(.upstream) != [.pong([7])])
        }
    }

    @Test("a script's ping is answered once, or times out")
    func scriptPings() throws {
        let fixture = try PlaneFixture("websocket_pong_timeout 2s;")
        #expect(fixture.plane.ping(.upstream, payload: Array("abc".utf8), token: 1))
        #expect(try fixture.take(.upstream) == [.ping("abc")])
        fixture.now += 3
        fixture.receive(PlaneFrame.pong(Array("abc".utf8)).bytes(from: .upstream), from: .upstream)
        #expect(fixture.pings.map(\.token) == [1] && fixture.pings[0].roundTrip == 3000)
        #expect(try fixture.take(.client).isEmpty)
        #expect(fixture.plane.ping(.client, payload: nil, token: 2))
        fixture.advance(2000)
        #expect(fixture.pings.count == 2 && fixture.pings[1].roundTrip == nil)
        #expect(fixture.plane.endedBy == nil)
        #expect(fixture.plane.ping(.client, payload: nil, token: 3))
        fixture.plane.end(1000, [])
        #expect(fixture.pings.count == 3)
        #expect(!fixture.plane.ping(.client, payload: nil, token: 4))
    }

    @Test("a hook waits for the answer of the side whose message it looks at")
    func pingFromItsOwnDirection() throws {
        for cut in [1, 4, 9, 20] {
            let fixture = try PlaneFixture("", messages: { _ in all })
            fixture.verdict = { [unowned fixture] item, _ in
                guard item.data == Array("ask".utf8) else { return .pass }
                #expect(fixture.plane.ping(.client, payload: Array("abc".utf8), token: 1))
                return .waiting
            }
            fixture.receive(PlaneFrame.text("ask").bytes(from: .client), from: .client)
            #expect(try fixture.take(.client) == [.ping("abc")])
            #expect(!fixture.plane.isPaused(.client))
            let rest: [PlaneFrame] = [
                .text("next"), .pong([9]), .pong(Array("abc".utf8)), .text("last"),
            ]
            let bytes = rest.bytes(from: .client)
            for start in stride(from: 0, to: bytes.count, by: cut) {
                fixture.receive(Array(bytes[start..<min(start + cut, bytes.count)]), from: .client)
            }
            #expect(fixture.pings.map(\.token) == [1])
            #expect(fixture.plane.isPaused(.client))
            #expect(try fixture.take(.upstream).isEmpty)
            fixture.plane.resume(try #require(fixture.waiting.first), .pass)
            #expect(
                try fixture.take(.upstream) == [.text("ask"), .text("next"), .pong([9]), .text("last")])
        }
    }

    @Test(
        "an answer behind more than is read ahead is not waited for by the hook that has it wait there, nor is its peer dead",
        arguments: [false, true])
    func pingBehindMuch(_ isCrossed: Bool) throws {
        let fixture = try PlaneFixture(
            "websocket_ping_interval 1s; websocket_pong_timeout 2s;", messages: { _ in all })
        fixture.verdict = { [unowned fixture] item, _ in
            guard item.data == Array("ask".utf8) else { return .pass }
            let side = isCrossed ? item.side.other : item.side
            #expect(fixture.plane.ping(side, payload: [1], token: item.side == .client ? 1 : 2))
            return .waiting
        }
        let frames = [PlaneFrame.text("ask"), .binary(Array(repeating: 7, count: 100_000)), .pong([1])]
        for side in [Side.client, .upstream] {
            fixture.receive(Array(frames.bytes(from: side).dropLast(3)), from: side)
            #expect(fixture.plane.isPaused(side))
        }
        fixture.advance(1990)
        #expect(fixture.pings.isEmpty)
        fixture.advance(10)
        #expect(fixture.pings.map(\.token) == [1, 2])
        #expect(fixture.pings.allSatisfy { $0.roundTrip == nil })
        fixture.advance(60_000)
        #expect(fixture.plane.endedBy == nil)
        for item in fixture.waiting { fixture.plane.resume(item, .pass) }
        for side in [Side.client, .upstream] {
            fixture.receive(Array(frames.bytes(from: side).suffix(3)), from: side)
            #expect(try fixture.take(side.other).filter { $0.opcode != 9 } == Array(frames.prefix(2)))
        }
    }

    // MARK: Injection

    @Test("what is injected waits for the frame, or the message, that is on its way")
    func injection() throws {
        let fixture = try PlaneFixture()
        let frame = PlaneFrame.text("whole", isFinal: false).bytes(from: .upstream)
        fixture.receive(Array(frame.prefix(4)), from: .upstream)
        #expect(
            fixture.plane.inject(.text, Array("I".utf8), to: .client, firstMessageHook: 0, firstFrameHook: 0))
        #expect(fixture.plane.queuedBytes(to: .client) == 1)
        fixture.receive(Array(frame.dropFirst(4)), from: .upstream)
        fixture.receive(
            [PlaneFrame.ping("p"), .more(" end"), .text("next")].bytes(from: .upstream), from: .upstream)
        #expect(
            try fixture.take(.client) == [
                .text("whole", isFinal: false), .ping("p"), .more(" end"), .text("I"), .text("next"),
            ])
        #expect(fixture.plane.messages(to: .client) == 3 && fixture.plane.messages(from: .upstream) == 2)
    }

    @Test("what a hook sends goes before the message that it was called for")
    func injectionByHook() throws {
        let fixture = try PlaneFixture("", messages: { _ in all })
        fixture.verdict = { [unowned fixture] item, _ in
            guard !item.isInjected else { return .pass }
            for side in [Side.client, .upstream] {
                _ = fixture.plane.inject(
                    .text, Array("I".utf8) + item.data, to: side, firstMessageHook: 1, firstFrameHook: 0)
            }
            return .pass
        }
        fixture.receive([PlaneFrame.text("a"), .text("b")].bytes(from: .client), from: .client)
        #expect(try fixture.take(.upstream) == [.text("Ia"), .text("a"), .text("Ib"), .text("b")])
        #expect(try fixture.take(.client) == [.text("Ia"), .text("Ib")])
    }

    @Test("more than may wait is refused")
    func queueLimit() throws {
        let fixture = try PlaneFixture()
        fixture.receive([0x81], from: .upstream)
        fixture.receive([5], from: .upstream)
        let payload = Array(repeating: UInt8(ascii: "x"), count: 600_000)
        func inject() -> Bool {
            fixture.plane.inject(.text, payload, to: .client, firstMessageHook: 0, firstFrameHook: 0)
        }
        #expect(inject())
        #expect(!inject())
    }

    // MARK: Frames

    @Test("a hook may leave out any frame of a message: what remains is valid")
    func droppedFrames() throws {
        for dropped in 0..<16 {
            let fixture = try PlaneFixture("", frames: { _ in WebSocketInterest(WebSocketOpcode.allCases) })
            var index = 0
            fixture.verdict = { item, _ in
                defer { index += 1 }
                return dropped >> index & 1 == 1 ? .drop : .pass
            }
            let frames: [PlaneFrame] = [
                .text("a", isFinal: false), .more("b", isFinal: false), .more("c", isFinal: false),
                .more("d"),
            ]
            fixture.receive(frames.bytes(from: .client), from: .client)
            fixture.verdict = { _, _ in .pass }
            fixture.receive(PlaneFrame.text("next").bytes(from: .client), from: .client)
            let (messages, _) = try fixture.take(.upstream).assembled()
            let kept = ["a", "b", "c", "d"].enumerated().filter { dropped >> $0.offset & 1 == 0 }.map(
                \.element)
            let expected = kept.isEmpty ? [] : [PlaneFrame.text(kept.joined())]
            #expect(messages == expected + [.text("next")], "\(dropped)")
        }
    }

    @Test("frames are replaced, and split")
    func changedFrames() throws {
        let fixture = try PlaneFixture("", frames: { _ in WebSocketInterest(WebSocketOpcode.allCases) })
        fixture.verdict = { item, _ in
            item.opcode == .ping ? .replace([Array("q".utf8)]) : .replace([Array("x".utf8), Array("y".utf8)])
        }
        fixture.receive(
            [PlaneFrame.text("a", isFinal: false), .ping("p"), .more("b")].bytes(from: .upstream),
            from: .upstream)
        #expect(
            try fixture.take(.client) == [
                .text("x", isFinal: false), .more("y", isFinal: false), .ping("q"),
                .more("x", isFinal: false),
                .more("y"),
            ])
    }

    // MARK: Compression

    static func codecs(_ parameters: PermessageDeflate.Parameters) -> (DeflatePool) -> WebSocketCodecs {
        { pool in
            WebSocketCodecs(
                fromClient: WebSocketCodec(passing: parameters, from: .client, pool: pool),
                fromUpstream: WebSocketCodec(passing: parameters, from: .server, pool: pool))
        }
    }

    @Test("compressed messages that hooks leave alone go on as they came")
    func untouched() throws {
        let pool = DeflatePool()
        let deflater = try #require(
            WebSocketDeflater(windowBits: 15, keepsContext: true, level: 6, pool: pool))
        let fixture = try PlaneFixture("", messages: { _ in all }, codecs: Self.codecs(.init()))
        var seen: [String] = []
        fixture.verdict = { item, _ in
            seen.append(String(decoding: item.data, as: UTF8.self))
            return .pass
        }
        for text in ["hello hello", "hello hello", ""] {
            var frame = PlaneFrame(reserved: 4, opcode: 1, payload: [])
            deflater.append(message: Array(text.utf8).span, to: &frame.payload)
            let bytes = frame.bytes(from: .client)
            fixture.receive(bytes, from: .client)
            #expect(fixture.sent[.upstream] == bytes)
            fixture.sent[.upstream] = []
        }
        #expect(seen == ["hello hello", "hello hello", ""])
    }

    @Test("inflation stops at the limit")
    func bomb() throws {
        let pool = DeflatePool()
        let deflater = try #require(
            WebSocketDeflater(windowBits: 15, keepsContext: true, level: 9, pool: pool))
        let fixture = try PlaneFixture(
            "websocket_max_message 100k;", messages: { _ in all }, codecs: Self.codecs(.init()))
        var judged = 0
        fixture.verdict = { _, _ in
            judged += 1
            return .pass
        }
        var frame = PlaneFrame(reserved: 4, opcode: 2, payload: [])
        deflater.append(message: Array(repeating: 0, count: 50 << 20).span, to: &frame.payload)
        #expect(frame.payload.count < 100_000)
        fixture.receive(frame.bytes(from: .client), from: .client)
        #expect(judged == 0)
        #expect(try fixture.take(.client).map(Self.code) == [1009])
        #expect(try fixture.take(.upstream).map(Self.code) == [1009])
    }

    @Test("corrupt compressed data ends it with 1007")
    func corrupt() throws {
        let fixture = try PlaneFixture("", messages: { _ in all }, codecs: Self.codecs(.init()))
        fixture.receive(
            PlaneFrame(reserved: 4, opcode: 1, payload: [0xff, 0xff, 0xff, 0xff]).bytes(from: .upstream),
            from: .upstream)
        #expect(try fixture.take(.upstream).map(Self.code) == [1007])
    }
}
