import Config
import ProxyCore
import Testing
import Wire

private let allFrames = WebSocketInterest(WebSocketOpcode.allCases)
private let all = WebSocketInterest([.text, .binary])

/// What one side has sent is worked on for a while, then others have their turn.
@Suite("A WebSocket's plane, in turns")
struct WebSocketTurnsTests {
    @Test("messages that take long leave others their turn, and go on in order", arguments: [false, true])
    func rests(_ hasGate: Bool) throws {
        let fixture = try PlaneFixture(
            messages: { _ in hasGate ? .none : all }, frames: { _ in hasGate ? allFrames : .none })
        // What the clock says from one look to the next.
        fixture.lookTakes = 400
        var judged = 0
        fixture.verdict = { _, _ in
            judged += 1
            return .pass
        }
        let messages = (0..<100).map { PlaneFrame.text("\($0)") }
        fixture.receive(messages.bytes(from: .client), from: .client)
        // It looks after the first, the fourth, the sixteenth and the thirty-second.
        #expect(judged == 32)
        #expect(fixture.resting == [.client])
        #expect(fixture.plane.isPaused(.client))
        #expect(!fixture.plane.isPaused(.upstream))
        #expect(try fixture.take(.upstream) == Array(messages.prefix(32)))
        // What comes meanwhile is behind the rest.
        fixture.receive(PlaneFrame.text("last").bytes(from: .client), from: .client)
        #expect(judged == 32)
        while !fixture.resting.isEmpty { fixture.goOnAfterRest() }
        #expect(try fixture.take(.upstream) == messages.dropFirst(32) + [.text("last")])
        #expect(!fixture.plane.isPaused(.client))
        #expect(fixture.plane.holdsNothing)
    }

    @Test("a message of which much rests is sent whole before the close frame that waits for its end")
    func restsBeforeEnd() throws {
        let fixture = try PlaneFixture(frames: { _ in allFrames })
        fixture.lookTakes = 400
        fixture.receive(PlaneFrame.text("begun", isFinal: false).bytes(from: .client), from: .client)
        fixture.plane.end(1001, [], atMessages: true)
        let rest = (0..<100).map { PlaneFrame.more("\($0)", isFinal: $0 == 99) }
        fixture.receive(rest.bytes(from: .client), from: .client)
        #expect(fixture.resting == [.client])
        while !fixture.resting.isEmpty { fixture.goOnAfterRest() }
        let sent = try fixture.take(.upstream)
        #expect(sent == [.text("begun", isFinal: false)] + rest + [.close(1001)])
    }

    @Test("a message that inflates to a thousand times its size is inflated in steps")
    func inflatesInSteps() throws {
        let parameters = PermessageDeflate.Parameters()
        let fixture = try PlaneFixture(messages: { _ in all }, codecs: WebSocketPlaneTests.codecs(parameters))
        fixture.lookTakes = 1000
        var seen: [UInt8] = []
        fixture.verdict = { item, _ in
            seen = item.data
            return .pass
        }
        let deflater = try #require(
            WebSocketDeflater(windowBits: 15, keepsContext: true, level: 9, pool: DeflatePool()))
        let plain = [UInt8](repeating: 7, count: 4 << 20)
        var packed: [UInt8] = []
        deflater.append(message: plain.span, to: &packed)
        var frame = PlaneFrame.binary(packed)
        frame.reserved = 4
        fixture.receive(frame.bytes(from: .client), from: .client)
        var rests = 0
        while !fixture.resting.isEmpty {
            #expect(seen.isEmpty)
            rests += 1
            fixture.goOnAfterRest()
        }
        // Two steps at a time at most.
        #expect(rests >= packed.count / 2048)
        #expect(seen == plain)
    }
}
