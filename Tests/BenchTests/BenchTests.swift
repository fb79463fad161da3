import EventLoop
import Testing

@testable import switchyard_bench

/// A backend on the loop of the run that loads it.
func startBackend(_ run: BenchRun) throws -> (listener: BackendListener, endpoint: Endpoint) {
    let descriptor = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
    let listener = BackendListener(loop: run.loop, descriptor: descriptor)
    try listener.startListening()
    let address = try #require(Sockets.localAddress(descriptor))
    return (listener, try #require(Endpoint(argument: address.description)))
}

/// A server that answers whatever it reads with the same bytes, and may close after each.
private final class CannedListener: ListenerChannel {
    final class Connection: StreamChannel {
        var answer: [UInt8] = []
        var closesAfter = Int.max

        override func readable() {
            while isOpen, mayRead {
                guard case .bytes = read() else { return mayRead ? () : close() }
                if closesAfter == 0 { return close() }
                closesAfter -= 1
                send(answer)
            }
        }
    }

    var answer = ""
    var closesAfter = Int.max

    override func accepted(_ descriptor: Int32, from peer: SocketAddress) {
        let connection = Connection(loop: loop, descriptor: descriptor)
        connection.answer = Array(answer.utf8)
        connection.closesAfter = closesAfter
        try? connection.register()
    }
}

@Suite("HTTP load", .timeLimit(.minutes(1)))
struct HTTPLoadTests {
    @Test("every request is answered by the backend", arguments: [1, 7])
    func answered(connections: Int) throws {
        let run = try BenchRun(total: 300, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        let request = HTTPLoad.request(path: "/any", host: endpoint.host, headers: 10)
        let load = HTTPLoad(run: run, address: endpoint.address, request: request)
        for _ in 0..<connections { load.open() }
        run.turn { run.isComplete }
        #expect(run.finished == 300)
        #expect(run.errors == 0)
        #expect(run.latencies.count == 300)
        listener.close()
    }

    private func load(_ run: BenchRun, answer: String, closesAfter: Int = .max) throws {
        let descriptor = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        let listener = CannedListener(loop: run.loop, descriptor: descriptor)
        listener.answer = answer
        listener.closesAfter = closesAfter
        try listener.startListening()
        let address = try #require(Sockets.localAddress(descriptor))
        let load = HTTPLoad(
            run: run, address: address, request: HTTPLoad.request(path: "/", host: "a", headers: 1))
        load.open()
        run.turn { run.isComplete }
        listener.close()
    }

    @Test(
        "whole answers count, however they are framed",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ])
    func framings(answer: String) throws {
        let run = try BenchRun(total: 5, timeout: 50)
        try load(run, answer: answer)
        #expect(run.finished == 5)
        #expect(run.errors == 0)
    }

    @Test(
        "other answers are errors",
        arguments: [
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 101 Switching\r\n\r\n",
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ])
    func errors(answer: String) throws {
        let run = try BenchRun(total: 3, timeout: 50)
        try load(run, answer: answer)
        #expect(run.finished == 0)
        #expect(run.errors == 3)
    }

    @Test("a request that crosses a close after an answer is sent again")
    func crossing() throws {
        let run = try BenchRun(total: 3, timeout: 50)
        try load(run, answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", closesAfter: 1)
        #expect(run.finished == 3)
        #expect(run.errors == 0)
        #expect(run.retried == 2)
    }

    @Test("a connection that ends without any answer is an error")
    func noAnswer() throws {
        let run = try BenchRun(total: 2, timeout: 50)
        try load(run, answer: "", closesAfter: 0)
        #expect(run.finished == 0)
        #expect(run.errors == 2)
    }

    @Test("when nothing listens, the rest is not tried for long")
    func refused() throws {
        let run = try BenchRun(total: 1_000_000, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        listener.close()
        HTTPLoad(run: run, address: endpoint.address, request: [1]).open()
        run.turn { run.isComplete }
        #expect(run.errors == 1_000_000)
    }

    @Test("time that is up ends a run")
    func timeout() throws {
        let run = try BenchRun(total: 1, timeout: 0.001)
        run.turn { run.isComplete }
        #expect(run.isTimedOut)
        #expect(throws: (any Error).self) { try run.report("requests") }
    }

    @Test("a request has as many fields as it is told")
    func request() {
        for count in [1, 10, 25] {
            let text = String(
                decoding: HTTPLoad.request(path: "/x", host: "h:1", headers: count), as: UTF8.self)
            #expect(text.hasPrefix("GET /x HTTP/1.1\r\nHost: h:1\r\n"))
            #expect(text.hasSuffix("\r\n\r\n"))
            #expect(text.split(separator: "\r\n").count == count + 1)
        }
    }
}

@Suite("WebSocket load", .timeLimit(.minutes(1)))
struct WebSocketLoadTests {
    @Test("every message returns", arguments: [(0, 1), (125, 3), (126, 16), (70_000, 2), (400_000, 4)])
    func messages(size: Int, inFlight: Int) throws {
        let run = try BenchRun(total: 50, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        let load = WebSocketLoad(run: run, endpoint: endpoint, path: "/any", size: size, inFlight: inFlight)
        let sockets = try (0..<3).map { _ in try MessageSocket(load: load) }
        run.turn { run.isComplete }
        sockets.forEach { $0.closeTunnel() }
        run.turn { sockets.allSatisfy { $0.state == .ended } }
        #expect(run.finished == 50)
        #expect(run.errors == 0)
        #expect(!run.isTimedOut)
        listener.close()
    }

    @Test("tunnels are opened, used, held and closed")
    func tunnels() throws {
        let run = try BenchRun(total: 300, timeout: 50)
        let (listener, endpoint) = try startBackend(run)
        let load = WebSocketLoad(run: run, endpoint: endpoint, path: "/any", size: 10, inFlight: 1)
        let tunnels = Tunnels(load: load, total: 300, roundTrips: 2)
        tunnels.openMore()
        run.turn { tunnels.settled == 300 }
        #expect(run.finished == 0)
        tunnels.close()
        run.turn { run.isComplete }
        #expect(run.finished == 300)
        #expect(run.errors == 0)
        listener.close()
    }

    @Test(
        "a server that does not shake hands is an error",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        ])
    func refused(answer: String) throws {
        let run = try BenchRun(total: 1, timeout: 50)
        let descriptor = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        let listener = CannedListener(loop: run.loop, descriptor: descriptor)
        listener.answer = answer
        try listener.startListening()
        let address = try #require(Sockets.localAddress(descriptor))
        let endpoint = try #require(Endpoint(argument: address.description))
        let load = WebSocketLoad(run: run, endpoint: endpoint, path: "/", size: 1, inFlight: 1)
        let socket = try MessageSocket(load: load)
        run.turn { run.isComplete }
        #expect(run.errors == 1)
        #expect(socket.state == .ended)
        listener.close()
    }
}

@Suite("Bench parts")
struct BenchPartTests {
    @Test("a percentile is within a sixty-fourth of the duration, and not above it")
    func histogram() {
        for value in [Int64(0), 1, 63, 64, 65, 127, 128, 1000, 123_456, 9_999_999_999, .max] {
            var histogram = LatencyHistogram()
            histogram.add(nanoseconds: value)
            let found = histogram.percentile(0.5)
            #expect(found <= UInt64(value))
            #expect(UInt64(value) - found <= UInt64(value) / 64)
        }
    }

    @Test("a percentile is that of all durations added")
    func percentiles() {
        var histogram = LatencyHistogram()
        #expect(histogram.percentile(0.99) == 0)
        for value in Int64(1)...60 { histogram.add(nanoseconds: value) }
        #expect(histogram.percentile(0.5) == 30)
        #expect(histogram.percentile(0.99) == 60)
        #expect(histogram.percentile(0) == 1)
        #expect(histogram.percentile(1) == 60)
        histogram.add(nanoseconds: -5)
        #expect(histogram.percentile(0) == 0)
    }

    @Test(
        "an endpoint is read",
        arguments: [
            ("127.0.0.1:80", "127.0.0.1:80"), ("localhost:81", "127.0.0.1:81"), ("[::1]:82", "[::1]:82"),
            ("unix:/tmp/a b", "unix:/tmp/a b"),
        ])
    func endpoint(text: String, description: String) throws {
        #expect(try #require(Endpoint(argument: text)).address.description == description)
    }

    @Test(
        "what is no endpoint is refused",
        arguments: [
            "", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "unix:", "example.test:80",
            "[::1]",
        ])
    func notEndpoint(text: String) {
        #expect(Endpoint(argument: text) == nil)
    }
}
