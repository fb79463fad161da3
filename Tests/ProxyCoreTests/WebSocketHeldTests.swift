import Testing
import Wire

@testable import ProxyCore

private let all = WebSocketInterest([.text, .binary])
private let allFrames = WebSocketInterest(WebSocketOpcode.allCases)

@Suite("What a WebSocket's direction holds")
struct WebSocketHeldTests {
    /// What of the client's is held.
    private func held(_ fixture: PlaneFixture) -> WebSocketHeld? { fixture.plane[.client].busy?.held }

    /// Where it lies.
    private func place(_ fixture: PlaneFixture) -> UInt? {
        unsafe held(fixture)?.bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
    }

    @Test("what is taken leaves the rest in order, and room for more", arguments: 0..<20)
    func order(_ seed: Int) {
        var random = PlaneRandom(seed: seed)
        var held = WebSocketHeld()
        var model: [UInt8] = []
        var searched = 0
        for _ in 0..<2000 {
            switch random.below(4) {
            case 0:
                let more = (0..<random.below(40)).map { _ in UInt8(random.below(256)) }
                held.append(more.span)
                model += more
            case 1:
                let count = random.below(min(model.count, 12) + 1)
                held.dropFirst(count)
                model.removeFirst(count)
                searched = max(0, searched - count)
            case 2:
                searched += random.below(model.count - searched + 1)
                held.searchedCount = searched
                let length = random.below(searched + 1)
                held.remove(searched - length..<searched)
                model.removeSubrange(searched - length..<searched)
                searched -= length
            default:
                let taken = held.take()
                #expect(held.count == 0)
                held.append(taken)
            }
            #expect(held.count == model.count)
            #expect(held.isEmpty == model.isEmpty)
            #expect(held.first == model.first)
            #expect(held.searchedCount == searched)
            #expect(held.bytes.suffix(held.count) == model[...])
        }
    }

    @Test("what follows a message that hooks wait with stays where it is", arguments: [false, true])
    func staysInPlace(_ isFrames: Bool) throws {
        let fixture = try PlaneFixture(
            messages: { _ in isFrames ? .none : all }, frames: { _ in isFrames ? allFrames : .none })
        fixture.verdict = { _, _ in .waiting }
        let count = 3000
        let messages = (0..<count).map { PlaneFrame.text("\($0)") }
        fixture.receive(messages.bytes(from: .client), from: .client)
        var moves = 0
        var last = place(fixture)
        while let item = fixture.waiting.popLast() {
            fixture.plane.resume(item, .pass)
            let now = place(fixture)
            if now != last { moves += 1 }
            last = now
        }
        #expect(try fixture.take(.upstream) == messages)
        #expect(moves < 10)
        #expect(fixture.isIdle)
    }

    @Test("what a hook for frames makes of one stays where it is while hooks for messages wait with it")
    func gatedStaysInPlace() throws {
        let fixture = try PlaneFixture(messages: { _ in all }, frames: { _ in allFrames })
        let count = 1000
        let parts = (0..<count).map { Array("\($0 * 2 + 1)".utf8) }
        fixture.verdict = { item, _ in item.data == Array("all".utf8) ? .replace(parts) : .waiting }
        fixture.receive(PlaneFrame.text("all").bytes(from: .client), from: .client)
        #expect(fixture.waiting.count == 1)
        while let item = fixture.waiting.popLast() { fixture.plane.resume(item, .pass) }
        #expect(try fixture.take(.upstream).flatMap(\.payload) == parts.flatMap { $0 })
        #expect(fixture.isIdle)
    }

    @Test("answers to pings are looked for in what came since the last look")
    func searchGoesOn() throws {
        let fixture = try PlaneFixture(messages: { _ in all })
        fixture.verdict = { _, _ in .waiting }
        fixture.receive([PlaneFrame.text("m")].bytes(from: .client), from: .client)
        #expect(fixture.plane.ping(.client, payload: [1], token: 1))
        let other = PlaneFrame.pong([2]).bytes(from: .client)
        for count in 1...100 {
            fixture.receive(other, from: .client)
            #expect(held(fixture)?.searchedCount == other.count * count)
        }
        // What has been searched is not lost with what is taken.
        fixture.receive([PlaneFrame.text("n")].bytes(from: .client) + other, from: .client)
        fixture.plane.resume(fixture.waiting.removeFirst(), .pass)
        #expect(held(fixture)?.searchedCount == other.count)
        // A ping may be answered by what came before it.
        #expect(fixture.plane.ping(.client, payload: [2], token: 2))
        fixture.receive(PlaneFrame.pong([3]).bytes(from: .client), from: .client)
        #expect(fixture.pings.map(\.token) == [1, 2])
    }
}
