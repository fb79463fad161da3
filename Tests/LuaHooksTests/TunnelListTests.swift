import Config
import ProxyCore
import Synchronization
import Testing
import Wire

@testable import LuaHooks

@Suite("Tunnels that other workers see")
struct TunnelListTests {
    private static let tag = Array("a".utf8)

    @Test("what is found by a place that another tunnel has taken is of neither")
    func reused() throws {
        let registry = TunnelRegistry()
        let worker = OtherWorker(in: registry)
        let slot = worker.open(1, tags: ["a"])
        let first = try #require(registry.tunnels(tagged: Self.tag, besides: 0).first)
        worker.list.remove(slot)
        #expect(worker.open(2, tags: ["b"]) == slot)
        #expect(worker.list.tags(of: first) == [])
        #expect(worker.list.client(of: first) == nil)
        let order = TunnelOrder(
            tunnel: first, action: .close(code: 1000, reason: []), sender: nil, depth: 0)
        #expect(worker.list.send(order) == .ended)
        #expect(worker.list.take(order) == nil)
        #expect(worker.orders().isEmpty)
        #expect(registry.tunnels(tagged: Self.tag, besides: 0) == [])
    }

    @Test("those with a tag are found once each, in the order in which they were given it")
    func order() {
        let registry = TunnelRegistry()
        let worker = OtherWorker(in: registry)
        let tags = [["a"], ["a", "b"], ["b"], ["c"], []]
        var random = SystemRandomNumberGenerator()
        var open: [(slot: UInt32, number: UInt64, tags: [String])] = []
        for number in 0..<3000 as Range<UInt64> {
            if open.count > 50 || !open.isEmpty && Bool.random(using: &random) {
                worker.list.remove(open.remove(at: Int.random(in: open.indices, using: &random)).slot)
            } else {
                let tags = tags[Int(number) % tags.count]
                open.append((worker.open(number, tags: tags), number, tags))
            }
            for tag in ["a", "b", "c"] where number % 16 < 2 {
                let found = registry.tunnels(tagged: Array(tag.utf8), besides: 0).map(\.id.second)
                #expect(found == open.filter { $0.tags.contains(tag) }.map(\.number))
            }
        }
    }

    @Test("a tunnel that moves to another interpreter stays what it is, and orders find it there")
    func moved() throws {
        let registry = TunnelRegistry()
        let worker = OtherWorker(in: registry)
        let slot = worker.open(1, tags: ["a"], interpreter: 5)
        let tunnel = try #require(registry.tunnels(tagged: nil, besides: 6).first)
        #expect(registry.tunnels(tagged: nil, besides: 5) == [])
        worker.list.move(slot, to: TunnelList.Place(interpreter: 6, flow: 3))
        #expect(registry.tunnels(tagged: nil, besides: 6) == [])
        #expect(registry.tunnels(tagged: Self.tag, besides: 5) == [tunnel])
        let order = TunnelOrder(tunnel: tunnel, action: .tag(Self.tag), sender: nil, depth: 0)
        #expect(worker.list.send(order) == .accepted)
        #expect(worker.list.take(order) == TunnelList.Place(interpreter: 6, flow: 3))
    }

    @Test("the tunnels of a worker that has ended are gone")
    func workerEnds() throws {
        let registry = TunnelRegistry()
        let worker = OtherWorker(in: registry)
        worker.open(1, tags: ["a"])
        let tunnel = try #require(registry.tunnels(tagged: nil, besides: 0).first)
        registry.remove(worker.list)
        #expect(registry.tunnels(tagged: nil, besides: 0) == [])
        #expect(registry.list(of: tunnel) == nil)
    }

    @Test("what is on its way is counted until it has come")
    func underWay() throws {
        let registry = TunnelRegistry()
        let worker = OtherWorker(in: registry)
        worker.open(1, tags: [])
        let tunnel = try #require(registry.tunnels(tagged: nil, besides: 0).first)
        func send(_ bytes: Int) -> TunnelList.Acceptance {
            let payload = [UInt8](repeating: 0, count: bytes)
            return worker.list.send(
                TunnelOrder(
                    tunnel: tunnel, action: .send(payload, isText: false, to: .client), sender: nil, depth: 0)
            )
        }
        // Empty ones take room too.
        var count = 0
        while count < 100_000, send(0) == .accepted { count += 1 }
        #expect(count == WebSocketPlane.maxQueued / 128 + 1)
        for order in worker.orders() { #expect(worker.list.take(order) != nil) }
        #expect(send(WebSocketPlane.maxQueued) == .accepted)
        #expect(send(0) == .full)
        for order in worker.orders() { _ = worker.list.take(order) }
        #expect(send(0) == .accepted)
    }

    @Test("threads read while the worker's own opens and closes tunnels")
    func threads() async {
        let registry = TunnelRegistry()
        let worker = OtherWorker(in: registry)
        for number in 0..<300 { worker.open(UInt64(number), tags: ["a"]) }
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for number in 300..<3000 {
                    let slot = worker.open(UInt64(number), tags: ["a", "b"])
                    if number % 3 != 0 { worker.list.remove(slot) }
                }
                return true
            }
            for _ in 0..<3 {
                group.addTask {
                    var isSound = true
                    for _ in 0..<200 {
                        let found = registry.tunnels(tagged: Self.tag, besides: 0)
                        if found.count < 300 || Set(found).count != found.count { isSound = false }
                        guard let one = found.first else { continue }
                        if worker.list.client(of: one)?.address != Array("192.0.2.9".utf8) { isSound = false }
                        let order = TunnelOrder(
                            tunnel: one, action: .send([1], isText: false, to: .client), sender: nil, depth: 0
                        )
                        if worker.list.send(order) == .accepted { _ = worker.list.take(order) }
                    }
                    return isSound
                }
            }
            for await isSound in group { #expect(isSound) }
        }
        #expect(registry.tunnels(tagged: Self.tag, besides: 0).count == 300 + 900)
        #expect(registry.tunnels(tagged: Array("b".utf8), besides: 0).count == 900)
    }
}

@Suite("What has tags")
struct TagTableTests {
    private static let tag = Array("a".utf8)

    @Test("that one of very many with a tag ends costs no look at all of them")
    func work() {
        var table = TagTable<Int>()
        let count = 10_000
        var live = Set(0..<count)
        var looks = 0
        func isLive(_ member: Int) -> Bool {
            looks += 1
            return live.contains(member)
        }
        for member in 0..<count { table.append(member, to: Self.tag) }
        for member in 0..<count {
            live.remove(member)
            table.noteEnd(of: [Self.tag], isLive: isLive)
        }
        #expect(looks < 4 * count)
        #expect(table.all(Self.tag) { $0 } == [])
    }

    @Test("nor are those looked at again and again that have ended among many more")
    func churn() {
        var table = TagTable<Int>()
        for member in 0..<10_000 { table.append(member, to: [0]) }
        for member in 10_000..<11_000 {
            table.append(member, to: Self.tag)
            if member > 10_000 { table.noteEnd(of: [Self.tag]) { $0 <= 10_000 } }
        }
        var looks = 0
        for _ in 0..<10 {
            let found = table.all(Self.tag) { member -> Int? in
                looks += 1
                return member <= 10_000 ? member : nil
            }
            #expect(found == [10_000])
        }
        #expect(looks == 2 * 1000 + 9)
        #expect(table.all([0]) { $0 }.count == 10_000)
    }
}

/// Two interpreters of one process, each with a tunnel.
@Suite("What a script asks of another interpreter's tunnel")
struct RemoteOrderTests {
    private func fixture(
        _ texts: [(stage: HookStage, text: String, line: Int)], shared: ScriptCommons
    ) throws -> (ScriptFixture, OtherWorker) {
        let scripts = texts.map { text in
            Script.test(
                .hook(text.stage, ScriptText(text: Array(text.text.utf8), file: "a.conf", line: text.line)))
        }
        let made = try ScriptFixture(scripts, shared: shared)
        let worker = OtherWorker(in: shared.tunnels)
        made.host.tunnels = worker.list
        made.isOpenTunnel = true
        return (made, worker)
    }

    private func carryOut(_ worker: OtherWorker, on fixture: ScriptFixture) {
        for order in worker.orders() { carryOut(order, worker, on: fixture) }
    }

    private func carryOut(_ order: TunnelOrder, _ worker: OtherWorker, on fixture: ScriptFixture) {
        guard let place = worker.list.take(order) else { return }
        fixture.interpreter.perform(order, onFlowAt: place.flow)
    }

    private static let texts: [(stage: HookStage, text: String, line: Int)] = [
        (.message, "", 1),
        (
            .request,
            """
            local all = sy.flows() local other = all[#all]
            other.client:send('hi') other.upstream:send_binary('there') other:tag('t')
            other.client:close(4001, 'out') other:close(4002, 'all')
            """, 2
        ),
        (.message, "", 3), (.frame, "", 4),
    ]

    @Test("it is done there in order, and only hooks of scripts behind its own see what it sends")
    func ordered() throws {
        let shared = ScriptCommons()
        let (here, _) = try fixture(Self.texts, shared: shared)
        let (there, worker) = try fixture(Self.texts, shared: shared)
        there.interpreter.list(there.flow, there.exchange)
        _ = here.run()
        #expect(here.host.lines == [])
        #expect(there.events == [])
        carryOut(worker, on: there)
        #expect(
            there.events == [
                "text to client from 1,0: hi", "binary to upstream from 1,0: there", "close client 4001 out",
            ])
        #expect(there.closings.map { "\($0.code) \($0.reason)" } == ["4002 all"])
        #expect(there.flow.tags == [Array("t".utf8)])
        #expect(there.interpreter.openTunnels(tagged: Array("t".utf8)).count == 1)
    }

    @Test("on one worker it is done before the script goes on: nothing is under way that could be overtaken")
    func ownWorker() throws {
        let shared = ScriptCommons()
        let (here, _) = try fixture(
            [
                (
                    .request,
                    "local all = sy.flows() local other = all[#all] print(other.is_remote, other.client:send('hi'))",
                    1
                )
            ],
            shared: shared)
        let (there, worker) = try fixture(Self.texts, shared: shared)
        there.interpreter.list(there.flow, there.exchange)
        here.host.tunnels = worker.list
        here.host.carryOut = { carryOut($0, worker, on: there) }
        here.host.printed = { _ in there.events.append("printed") }
        _ = here.run()
        #expect(here.host.lines == ["[notice] lua: true\ttrue"])
        #expect(there.events == ["text to client from 1,0: hi", "printed"])
        #expect(worker.orders().isEmpty)
    }

    @Test("scripts of another configuration are known by where they stand")
    func otherConfiguration() throws {
        let shared = ScriptCommons()
        let (here, _) = try fixture(Self.texts, shared: shared)
        let (there, worker) = try fixture([(.message, "", 9)] + Self.texts, shared: shared)
        there.interpreter.list(there.flow, there.exchange)
        _ = here.run()
        carryOut(worker, on: there)
        #expect(there.events.first == "text to client from 2,0: hi")
        let (elsewhere, last) = try fixture([(.message, "", 9), (.message, "", 3)], shared: shared)
        there.interpreter.takeOffList(there.flow)
        elsewhere.interpreter.list(elsewhere.flow, elsewhere.exchange)
        _ = here.run()
        carryOut(last, on: elsewhere)
        #expect(elsewhere.events.first == "text to client from 0,0: hi")
    }

    @Test("a tunnel that ends before it is done is left alone, and its place is free")
    func ended() throws {
        let shared = ScriptCommons()
        let (here, _) = try fixture(Self.texts, shared: shared)
        let (there, worker) = try fixture(Self.texts, shared: shared)
        there.interpreter.list(there.flow, there.exchange)
        _ = here.run()
        there.interpreter.end(there.flow)
        carryOut(worker, on: there)
        #expect(there.events == [] && there.closings.isEmpty)
        #expect(shared.tunnels.tunnels(tagged: nil, besides: 0) == [])
    }

    @Test("hooks that send what hooks of other workers see, which send in turn, come to an end")
    func depth() throws {
        let shared = ScriptCommons()
        let (here, worker) = try fixture(Self.texts, shared: shared)
        here.interpreter.list(here.flow, here.exchange)
        let (there, _) = try fixture(
            [
                (
                    .message,
                    "local all = sy.flows() local sent, why = all[#all].client:send('x') print(sent, why)", 1
                )
            ], shared: shared)
        there.interpreter.injectionDepth = 15
        let item = there.interpreter.items.take(.message, .text, from: .client)
        _ = there.interpreter.run(item, of: there.flow, from: 0)
        #expect(worker.orders().map(\.depth) == [15])
        there.interpreter.injectionDepth = 16
        _ = there.interpreter.run(item, of: there.flow, from: 0)
        #expect(
            there.host.lines == [
                "[notice] lua: true\tnil",
                "[notice] lua: nil\thooks send what makes hooks send, 16 deep",
            ])
        #expect(worker.orders().isEmpty)
    }
}
