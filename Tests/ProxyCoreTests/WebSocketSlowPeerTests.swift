import ProxyCore
import Testing
import Wire

/// Where a peer takes what it is sent slowly, nobody is found dead or silent for that.
@Suite("A WebSocket whose peer is slow")
struct WebSocketSlowPeerTests {
    private static let times = "proxy_read_timeout 1h; proxy_send_timeout 60s; websocket_close_timeout 5s; "

    @Test(
        "has the time for the answer to a close frame once it has taken that",
        arguments: [Side.client, .upstream])
    func closeBehindMuch(_ side: Side) throws {
        let fixture = try PlaneFixture(Self.times + "websocket_ping_interval 1h;")
        fixture.blocked = [side]
        fixture.receive([.text("much"), .close(1000, "bye")].bytes(from: side), from: side)
        for _ in 0..<6 {
            fixture.advance(8000)
            // It takes some now and then.
            if side == .client { fixture.plane.upstreamTookSome() }
        }
        #expect(fixture.endings == 0)
        #expect(try fixture.take(side).isEmpty)
        fixture.blocked = []
        fixture.plane.drained(side.other)
        fixture.advance(4900)
        #expect(fixture.endings == 0)
        fixture.receive(PlaneFrame.close(1000, "bye").bytes(from: side.other), from: side.other)
        #expect(try fixture.take(side) == [.close(1000, "bye")])
        #expect(fixture.endings == 1)
    }

    @Test("has as long as ever, once it has taken the close frame", arguments: [Side.client, .upstream])
    func noAnswer(_ side: Side) throws {
        let fixture = try PlaneFixture(Self.times + "websocket_ping_interval 1h;")
        fixture.blocked = [side]
        fixture.receive(PlaneFrame.close(1000, "bye").bytes(from: side), from: side)
        fixture.advance(20_000)
        fixture.blocked = []
        fixture.plane.drained(side.other)
        fixture.advance(4900)
        #expect(fixture.endings == 0)
        fixture.advance(200)
        #expect(fixture.endings == 1)
        #expect(try fixture.take(side) == [.close(1000, "bye")])
    }

    @Test("an upstream that takes nothing of what is before its close frame is lost after proxy_send_timeout")
    func stuckUpstream() throws {
        let fixture = try PlaneFixture(Self.times + "websocket_ping_interval 1h;")
        fixture.blocked = [.client]
        fixture.plane.upstreamTookSome()
        fixture.receive([.text("much"), .close(1000, "bye")].bytes(from: .client), from: .client)
        fixture.advance(59_000)
        #expect(fixture.endings == 0)
        fixture.advance(7000)
        #expect(fixture.endings == 1)
        #expect(fixture.plane.isLost(.upstream))
        #expect(try fixture.take(.client) == [.close(1000, "bye")])
    }

    @Test("an upstream that talks on is lost all the same where it takes nothing")
    func stuckTalker() throws {
        let fixture = try PlaneFixture(Self.times + "websocket_ping_interval 1h;")
        fixture.blocked = [.client]
        fixture.plane.lost(.client)
        var seconds = 0
        while fixture.endings == 0, seconds < 100 {
            fixture.receive(PlaneFrame.text("tick").bytes(from: .upstream), from: .upstream)
            fixture.advance(1000)
            seconds += 1
        }
        #expect(60...70 ~= seconds)
    }

    @Test(
        "has the time for the answer to a close frame that the system has yet to bring it",
        arguments: [Side.client, .upstream])
    func closeInTheSystem(_ side: Side) throws {
        let fixture = try PlaneFixture(Self.times + "websocket_ping_interval 1h;")
        fixture.taking = [side.other]
        fixture.receive([.text("much"), .close(1000, "bye")].bytes(from: side), from: side)
        fixture.advance(30_000)
        #expect(fixture.endings == 0)
        #expect(try fixture.take(side).isEmpty)
        fixture.taking = []
        fixture.advance(5100)
        #expect(fixture.endings == 1)
    }

    @Test("one that is lost is not waited for, whatever it has not taken")
    func lostClient() throws {
        let fixture = try PlaneFixture(Self.times + "websocket_ping_interval 1h;")
        fixture.blocked = [.upstream]
        fixture.plane.lost(.client)
        fixture.advance(5100)
        #expect(fixture.endings == 1)
    }

    @Test(
        "is not dead while the ping may not have come to it", arguments: [Side.client, .upstream],
        [true, false])
    func pingBehindMuch(_ side: Side, _ isInSystem: Bool) throws {
        let fixture = try PlaneFixture(
            Self.times + "websocket_ping_interval 10s; websocket_pong_timeout 3s; websocket_ping_to \(side);")
        if isInSystem { fixture.taking = [side] } else { fixture.blocked = [side.other] }
        fixture.plane.upstreamTookSome()
        #expect(fixture.plane.ping(side, payload: [1], token: 7))
        fixture.advance(50_000)
        #expect(fixture.plane.endedBy == nil)
        #expect(fixture.pings.isEmpty)
        fixture.taking = []
        fixture.blocked = []
        fixture.advance(3100)
        #expect(fixture.plane.endedBy?.by == TunnelParty(side))
        #expect(fixture.plane.endedBy?.reason == Array("ping timeout".utf8))
        #expect(fixture.pings.map(\.token) == [7])
    }

    @Test(
        "does not have it idle", arguments: [Side.client, .upstream], ["data", "messages"])
    func idle(_ side: Side, _ counting: String) throws {
        let fixture = try PlaneFixture(Self.times + "websocket_idle_timeout 2s \(counting);")
        fixture.blocked = [side]
        for _ in 0..<5 {
            fixture.advance(1900)
            if side == .client { fixture.plane.upstreamTookSome() }
        }
        #expect(fixture.plane.endedBy == nil)
        fixture.blocked = []
        fixture.plane.drained(side.other)
        fixture.advance(1900)
        #expect(fixture.plane.endedBy == nil)
        fixture.advance(200)
        #expect(fixture.plane.endedBy?.reason == Array("idle".utf8))
    }

    @Test("what scripts have waiting has a bound, though it be empty")
    func emptyMessages() throws {
        let fixture = try PlaneFixture()
        fixture.receive([.text("a", isFinal: false)].bytes(from: .client), from: .client)
        var count = 0
        while count < 100_000,
            fixture.plane.inject(.binary, [], to: .upstream, firstMessageHook: 9, firstFrameHook: 9)
        { count += 1 }
        #expect(count == WebSocketPlane.maxQueued / WebSocketPlane.roomOfMessage + 1)
    }
}
