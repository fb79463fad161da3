import EventLoop
import Testing

@testable import switchyard_bench

@Suite("Loads at a fixed rate, in steps and compressed", .timeLimit(.minutes(1)))
struct PacedLoadTests {
    @Test(
        "times of a rate are spread over its seconds", arguments: [(1, 1000), (3, 333), (1000, 1), (2500, 0)])
    func times(rate: Int64, second: Int64) {
        #expect(Pacer.time(ofNumber: 0, rate: rate) == 0)
        #expect(Pacer.time(ofNumber: 1, rate: rate) == second)
        #expect(Pacer.time(ofNumber: rate, rate: rate) == 1000)
        #expect(Pacer.time(ofNumber: 60 * rate, rate: rate) == 60_000)
    }

    @Test("a pacer gives out each time once, in order, and none before it is due")
    func pacer() throws {
        let run = try BenchRun(total: 1, timeout: 50)
        var times: [Int64] = []
        var wasEarly = false
        let pacer = Pacer(loop: run.loop, rate: 2000, total: 60) { time in
            times.append(time)
            wasEarly = wasEarly || BenchClock.now() < time
        }
        pacer.begin()
        run.turn { times.count == 60 }
        #expect(!wasEarly)
        #expect(times == times.sorted())
        // Of 2000 a second, 60 take 29 ms and a half.
        #expect(times.last.map { last in times.first.map { last - $0 } } == 29_000_000)
    }

    @Test("requests at a rate are all answered, on as many connections as there are", arguments: [1, 5])
    func requests(connections: Int) throws {
        let run = try BenchRun(total: 100, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        let request = HTTPLoad.request(path: "/any", host: endpoint.host, headers: 10)
        let load = HTTPLoad(run: run, address: endpoint.address, request: request, isOpenLoop: true)
        for _ in 0..<connections { load.open() }
        let started = BenchClock.now()
        Pacer(loop: run.loop, rate: 1000, total: 100, due: load.due).begin()
        run.turn { run.isComplete }
        #expect(run.finished == 100)
        #expect(run.errors == 0)
        #expect(BenchClock.now() - started >= 99_000_000)
        listener.close()
    }

    @Test("what waits for a connection counts from when it was due")
    func waiting() throws {
        let run = try BenchRun(total: 20, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        let request = HTTPLoad.request(path: "/any", host: endpoint.host, headers: 1)
        let load = HTTPLoad(run: run, address: endpoint.address, request: request, isOpenLoop: true)
        let due = BenchClock.now() - 50_000_000
        for _ in 0..<20 { load.due(at: due) }
        load.open()
        run.turn { run.isComplete }
        #expect(run.finished == 20)
        #expect(run.latencies.percentile(0.01) >= 49_000_000)
        listener.close()
    }

    @Test("requests at a rate to which nobody listens fail")
    func refused() throws {
        let run = try BenchRun(total: 10, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        listener.close()
        let load = HTTPLoad(run: run, address: endpoint.address, request: [1], isOpenLoop: true)
        load.open()
        Pacer(loop: run.loop, rate: 1000, total: 10, due: load.due).begin()
        run.turn { run.isComplete }
        #expect(run.errors == 10)
    }

    @Test(
        "compressed messages return as they were", arguments: [(0, 1), (128, 3), (70_000, 2), (300_000, 1)])
    func deflated(size: Int, inFlight: Int) throws {
        let run = try BenchRun(total: 30, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        let load = WebSocketLoad(
            run: run, endpoint: endpoint, path: "/any", size: size, inFlight: inFlight, deflates: true)
        #expect(load.payload.count == size)
        #expect(size < 1000 || load.frameLength < size / 2)
        let socket = try MessageSocket(load: load)
        run.turn { run.isComplete }
        socket.closeTunnel()
        run.turn { socket.state == .ended }
        #expect(run.finished == 30)
        #expect(run.errors == 0)
        listener.close()
    }

    @Test("messages that are to be sent later are, and those that are due count from then")
    func later() throws {
        let run = try BenchRun(total: 12, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        let load = WebSocketLoad(run: run, endpoint: endpoint, path: "/any", size: 10, inFlight: 2)
        let socket = try MessageSocket(load: load, startsAtOnce: false)
        run.turn { socket.state == .open }
        #expect(run.take(2) == 2)
        socket.sendDue(at: BenchClock.now() - 20_000_000)
        socket.sendDue(at: BenchClock.now() - 30_000_000)
        run.turn { run.finished == 2 }
        #expect(socket.underWay == 0)
        #expect(run.latencies.percentile(0.5) >= 19_000_000)
        socket.start()
        run.turn { run.isComplete }
        #expect(run.finished == 12)
        #expect(run.errors == 0)
        socket.closeTunnel()
        run.turn { socket.state == .ended }
        listener.close()
    }

    @Test("WebSockets come and go as often as told")
    func brief() throws {
        let run = try BenchRun(total: 50, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        let load = WebSocketLoad(run: run, endpoint: endpoint, path: "/any", size: 0, inFlight: 1)
        for _ in 0..<4 { BriefSocket.open(load) }
        run.turn { run.isComplete }
        #expect(run.finished == 50)
        #expect(run.errors == 0)
        listener.close()
    }

    @Test("tunnels that were idle make round trips, and are idle again")
    func tunnels() throws {
        let run = try BenchRun(total: 300, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        let load = WebSocketLoad(run: run, endpoint: endpoint, path: "/any", size: 10, inFlight: 1)
        let tunnels = Tunnels(load: load, total: 300, roundTrips: 0)
        tunnels.openMore()
        run.turn { tunnels.settled == 300 }
        tunnels.makeRoundTrips(3)
        #expect(tunnels.settled < 300)
        run.turn { tunnels.settled == 300 }
        tunnels.close()
        run.turn { run.isComplete }
        #expect(run.finished == 300)
        #expect(run.errors == 0)
        listener.close()
    }
}
