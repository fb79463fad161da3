import Config
import ProxyCore
import Testing
import Wire

private let all = WebSocketInterest([.text, .binary])
private let allFrames = WebSocketInterest(WebSocketOpcode.allCases)

/// What a WebSocket's plane holds has a limit; what nobody is to look at has none.
@Suite("What a WebSocket's plane holds")
struct WebSocketPlaneLimitTests {
    private static func codecs(_ pool: DeflatePool) -> WebSocketCodecs {
        WebSocketCodecs(
            fromClient: WebSocketCodec(passing: .init(), from: .client, pool: pool),
            fromUpstream: WebSocketCodec(passing: .init(), from: .server, pool: pool))
    }

    /// The beginning of a frame that says it has 17 MB.
    private static func long(
        _ opcode: UInt8, isFinal: Bool = true, from side: Side, there: Int = 300
    ) -> [UInt8] {
        let first: UInt8 = isFinal ? 128 | opcode : opcode
        let length: [UInt8] = [side == .client ? 255 : 127, 0, 0, 0, 0, 1, 0x10, 0, 0]
        return [first] + length + [UInt8](repeating: 0x61, count: there)
    }

    @Test("frames without payload do not add up without end", arguments: [Side.client, .upstream])
    func emptyFrames(_ side: Side) throws {
        let fixture = try PlaneFixture("websocket_max_message 64k;", messages: { _ in all })
        fixture.receive([.text("a", isFinal: false)].bytes(from: side), from: side)
        let more = [PlaneFrame](repeating: .more("", isFinal: false), count: 1000).bytes(from: side)
        var held = 0
        while fixture.plane.endedBy == nil, held < 1 << 20 {
            fixture.receive(more, from: side)
            held += more.count
        }
        #expect(fixture.plane.endedBy?.code == 1009)
        // 128k for the message twice, and 64k.
        #expect(192 << 10..<200 << 10 ~= held)
        #expect(try fixture.take(side.other) == [.close(1009, "message too big")])
    }

    @Test("messages that are put together take no more than there is room for in all")
    func heldInAll() throws {
        let fixture = try PlaneFixture("websocket_max_held 400k;", messages: { _ in all })
        let held = { fixture.commons.items.heldBytes }
        func text(_ size: Int, isFinal: Bool = false) -> PlaneFrame {
            .text(String(repeating: "a", count: size), isFinal: isFinal)
        }
        fixture.receive([text(150 << 10)].bytes(from: .client), from: .client)
        // With its frames, which go on as they came.
        #expect(300 << 10..<301 << 10 ~= held())
        // A short one has room all the same.
        for _ in 0..<10 {
            let frames: [PlaneFrame] = [text(20_000), .more("b")]
            fixture.receive(frames.bytes(from: .upstream), from: .upstream)
            #expect(try fixture.take(.client) == frames)
        }
        #expect(300 << 10..<301 << 10 ~= held())
        #expect(fixture.plane.endedBy == nil)
        fixture.receive([text(60 << 10)].bytes(from: .upstream), from: .upstream)
        #expect(fixture.plane.endedBy?.code == 1013)
        #expect(try fixture.take(.client) == [.close(1013, "too much is held of messages")])
        fixture.receive([PlaneFrame.close(1000, "")].bytes(from: .client), from: .client)
        fixture.plane.shutDown()
        #expect(held() == 0)
        #expect(fixture.commons.items.openCount == 0)
    }

    @Test(
        "what a hook waits with is held, and what is inflated is bounded as it comes out", arguments: [0, 1])
    func heldInflated(_ limit: Int) throws {
        let fixture = try PlaneFixture(
            "websocket_max_held \(limit)m;", messages: { _ in all }, codecs: Self.codecs)
        fixture.verdict = { _, _ in .waiting }
        let deflater = try #require(
            WebSocketDeflater(windowBits: 15, keepsContext: false, level: 6, pool: DeflatePool()))
        var deflated: [UInt8] = []
        deflater.append(message: [UInt8](repeating: 0, count: 2 << 20).span, to: &deflated)
        let bomb = PlaneFrame(reserved: 4, opcode: 2, payload: deflated)
        fixture.receive([bomb].bytes(from: .client), from: .client)
        if limit == 0 {
            #expect(fixture.commons.items.heldBytes > 2 << 20)
            fixture.plane.resume(try #require(fixture.waiting.last), .drop)
            #expect(fixture.plane.endedBy == nil)
        } else {
            #expect(fixture.plane.endedBy?.code == 1013)
        }
        #expect(fixture.commons.items.heldBytes == 0)
    }

    @Test("compressed blocks without content do not add up without end")
    func emptyBlocks() throws {
        let fixture = try PlaneFixture(messages: { _ in all }, codecs: Self.codecs)
        let blocks = (0..<13_000).flatMap { _ in [0, 0, 0, 0xff, 0xff] as [UInt8] }
        fixture.receive(
            PlaneFrame(isFinal: false, reserved: 4, opcode: 1, payload: blocks).bytes(from: .upstream),
            from: .upstream)
        let more = PlaneFrame(isFinal: false, opcode: 0, payload: blocks).bytes(from: .upstream)
        var held = more.count
        while fixture.plane.endedBy == nil, held < 64 << 20 {
            fixture.receive(more, from: .upstream)
            held += more.count
        }
        #expect(fixture.plane.endedBy?.code == 1009)
        // 16m for the message twice, and 64k.
        #expect(32 << 20..<33 << 20 ~= held)
    }

    /// Messages that get longer by being compressed, in frames of these sizes.
    @Test(
        "what is inflated is measured inflated",
        arguments: [Int.max, 300, 1], ["", "messages", "frames", "drop"])
    func measuredInflated(_ frameSize: Int, _ hooks: String) throws {
        var random = PlaneRandom(seed: frameSize)
        for size in [900, 1000, 1001] {
            let fixture = try PlaneFixture(
                "websocket_max_message 1000;", messages: { _ in hooks == "frames" ? .none : all },
                frames: { _ in hooks == "frames" || hooks == "drop" ? allFrames : .none },
                codecs: hooks == "" ? Self.ended : Self.codecs)
            // Where the first is left out, the next begins the message.
            if hooks == "drop" {
                fixture.verdict = { item, _ in item.data.isEmpty && !item.isFinal ? .drop : .pass }
            }
            let plain = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next() >> 24) }
            let deflater = try #require(
                WebSocketDeflater(windowBits: 15, keepsContext: false, level: 6, pool: DeflatePool()))
            var deflated: [UInt8] = []
            deflater.append(message: plain.span, to: &deflated)
            #expect(deflated.count > size)
            var frames: [PlaneFrame] = []
            if hooks == "drop" {
                frames.append(PlaneFrame(isFinal: false, reserved: 4, opcode: 2, payload: []))
            }
            for start in stride(from: 0, to: deflated.count, by: min(frameSize, deflated.count)) {
                let end = start + min(frameSize, deflated.count - start)
                frames.append(
                    PlaneFrame(
                        isFinal: end == deflated.count, reserved: frames.isEmpty ? 4 : 0,
                        opcode: frames.isEmpty ? 2 : 0, payload: Array(deflated[start..<end])))
            }
            fixture.receive(frames.bytes(from: .client), from: .client)
            #expect(fixture.plane.endedBy?.code == (size > 1000 ? 1009 : nil), "\(size)")
            let sent = try fixture.take(.upstream)
            guard size <= 1000 else { continue }
            let inflater = WebSocketInflater(windowBits: 15, keepsContext: false, pool: DeflatePool())
            #expect(try sent.assembled(inflating: inflater).messages.map(\.payload) == [plain], "\(size)")
        }
    }

    @Test("what nobody inflates is measured on the wire")
    func measuredOnTheWire() throws {
        for (count, code) in [(1000, UInt16?.none), (1001, 1009)] {
            let fixture = try PlaneFixture("websocket_max_message 1000;", reservedBits: 4)
            let frame = PlaneFrame(reserved: 4, opcode: 2, payload: [UInt8](repeating: 0, count: count))
            fixture.receive(frame.bytes(from: .upstream), from: .upstream)
            #expect(fixture.plane.endedBy?.code == code)
        }
    }

    @Test("a message of the longest size in frames of six bytes is none too many")
    func smallFrames() throws {
        let fixture = try PlaneFixture("websocket_max_message 64k;", messages: { _ in all })
        let count = (64 << 10) / 6
        var frames = [PlaneFrame](repeating: .more("sixsix", isFinal: false), count: count)
        frames[0] = .text("sixsix", isFinal: false)
        frames.append(.more(""))
        let bytes = frames.bytes(from: .client)
        fixture.receive(bytes, from: .client)
        #expect(fixture.sent[.upstream] == bytes)
        #expect(fixture.plane.endedBy == nil)
        #expect(fixture.isIdle)
    }

    @Test("frames that no hook asks for go by in pieces, however long", arguments: [Side.client, .upstream])
    func unwantedFrames(_ side: Side) throws {
        let fixture = try PlaneFixture(frames: { _ in WebSocketInterest([.ping]) })
        let bytes = Self.long(2, from: side)
        for start in stride(from: 0, to: bytes.count, by: 100) {
            let end = min(start + 100, bytes.count)
            fixture.receive(Array(bytes[start..<end]), from: side)
            #expect(fixture.sent[side.other] == Array(bytes[..<end]))
        }
        #expect(fixture.plane.endedBy == nil)
        #expect(fixture.plane.holdsNothing)
    }

    @Test("a long frame that no hook asks for takes over the beginning that was left out")
    func unwantedRest() throws {
        let fixture = try PlaneFixture(frames: { _ in WebSocketInterest(WebSocketOpcode.allCases, maxSize: 10)
        })
        fixture.verdict = { item, _ in item.opcode == .text ? .drop : .pass }
        fixture.receive([.text("left out", isFinal: false)].bytes(from: .client), from: .client)
        let rest = PlaneFrame.more(String(repeating: "x", count: 500)).bytes(from: .client)
        for start in stride(from: 0, to: rest.count, by: 9) {
            fixture.receive(Array(rest[start..<min(start + 9, rest.count)]), from: .client)
        }
        fixture.receive(
            [.ping("p"), .text("t", isFinal: false), .more("u")].bytes(from: .client), from: .client)
        #expect(
            try fixture.take(.upstream) == [
                .text(String(repeating: "x", count: 500)), .ping("p"), .text("u"),
            ])
        #expect(fixture.isIdle)
    }

    @Test("the first frame of a message tells that it is too long for hooks")
    func longFirstFrame() throws {
        let fixture = try PlaneFixture(messages: { _ in WebSocketInterest([.text, .binary], maxSize: 65536) })
        let bytes = Self.long(2, isFinal: false, from: .client)
        fixture.receive(bytes, from: .client)
        #expect(fixture.sent[.upstream] == bytes)
        #expect(fixture.plane.endedBy == nil)
    }

    @Test("a later frame of a message tells that it is too long for hooks, and lets go of those before")
    func longLaterFrame() throws {
        let fixture = try PlaneFixture(messages: { _ in WebSocketInterest([.text, .binary], maxSize: 65536) })
        var judged = 0
        fixture.verdict = { _, _ in
            judged += 1
            return .pass
        }
        let bytes =
            [PlaneFrame.text("one", isFinal: false), .more("two", isFinal: false)].bytes(from: .client)
            + Self.long(0, from: .client)
        fixture.receive(bytes, from: .client)
        #expect(fixture.sent[.upstream] == bytes)
        #expect(fixture.plane.endedBy == nil)
        #expect(judged == 0)
        #expect(fixture.commons.items.openCount == 0)
    }

    @Test("what one hook asks of texts is not asked of what another looks at")
    func interestsApart() throws {
        var interest = WebSocketInterest([.text], maxSize: 100)
        interest.add(WebSocketInterest([.binary]))
        #expect(interest.includes(.text, size: 100))
        #expect(!interest.includes(.text, size: 101))
        #expect(interest.includes(.binary, size: 101))
        let fixture = try PlaneFixture(messages: { _ in interest })
        let bytes = Self.long(1, from: .upstream)
        fixture.receive(bytes, from: .upstream)
        #expect(fixture.sent[.client] == bytes)
        #expect(fixture.plane.endedBy == nil)
    }

    // MARK: Other extensions

    private static func ended(_ pool: DeflatePool) -> WebSocketCodecs {
        WebSocketCodecs(
            fromClient: WebSocketCodec(
                source: .init(), sender: .client, target: nil, receiver: .server, options: .init(), pool: pool
            ),
            fromUpstream: WebSocketCodec(
                source: nil, sender: .server, target: .init(), receiver: .client, options: .init(), pool: pool
            ))
    }

    @Test("the bits of another extension go by beside permessage-deflate", arguments: [false, true])
    func otherExtension(_ isTerminated: Bool) throws {
        let fixture = try PlaneFixture(
            messages: { _ in all }, codecs: isTerminated ? Self.ended : Self.codecs, reservedBits: 7)
        fixture.verdict = { item, _ in item.opcode == .binary ? .pass : .drop }
        let frames = [
            PlaneFrame(isFinal: false, reserved: 2, opcode: 1, payload: [0xff]), .ping("p"), .more("end"),
            PlaneFrame(reserved: 3, opcode: 1, payload: [1, 2]),
        ]
        for side in [Side.client, .upstream] {
            fixture.receive(frames.bytes(from: side), from: side)
            #expect(try fixture.take(side.other) == frames)
        }
        // Where permessage-deflate is not in use on a leg, its bit is nobody's.
        if isTerminated {
            fixture.receive(
                PlaneFrame(reserved: 4, opcode: 1, payload: [1]).bytes(from: .upstream), from: .upstream)
        }
        #expect(fixture.plane.endedBy?.code == (isTerminated ? 1002 : nil))
    }

    @Test("behind a compressed message of another extension nothing is inflated any more")
    func compressedByAnother() throws {
        let deflater = try #require(
            WebSocketDeflater(windowBits: 15, keepsContext: true, level: 6, pool: DeflatePool()))
        let fixture = try PlaneFixture(messages: { _ in all }, codecs: Self.codecs, reservedBits: 7)
        var seen: [[UInt8]] = []
        fixture.verdict = { item, _ in
            seen.append(item.data)
            return .pass
        }
        var frames: [PlaneFrame] = []
        for reserved: UInt8 in [4, 6, 4] {
            var frame = PlaneFrame(reserved: reserved, opcode: 1, payload: [])
            deflater.append(message: Array("the same words, the same words".utf8).span, to: &frame.payload)
            frames.append(frame)
        }
        frames.append(.text("plain"))
        fixture.receive(frames.bytes(from: .client), from: .client)
        #expect(try fixture.take(.upstream) == frames)
        #expect(seen == [Array("the same words, the same words".utf8), Array("plain".utf8)])
        #expect(fixture.plane.endedBy == nil)
    }
}
