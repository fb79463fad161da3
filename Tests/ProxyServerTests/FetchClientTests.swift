import Config
import EventLoop
import Glibc
import ProxyCore
import Testing
import Wire

@testable import ProxyServer

/// Listens where nobody is answered any more: nobody accepts what the backlog has room for, and that is taken.
private struct FullListener {
    let port: UInt16
    private let descriptors: [Int32]

    init() throws {
        var options = Sockets.ListenOptions()
        options.backlog = 0
        let listener = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: options)
        let address = try #require(Sockets.localAddress(listener))
        port = address.port
        descriptors = try [listener] + (0..<4).map { _ in try Sockets.connect(to: address) }
    }

    func close() { for descriptor in descriptors { Glibc.close(descriptor) } }
}

@Suite("Fetching", .timeLimit(.minutes(1)))
struct FetchClientTests {
    @Test("a fetch sends method, target, headers and body, and gets the response whole")
    func exchange() throws {
        let fixture = try NetworkFixture()
        var seen = ""
        let server = try fixture.serve { connection, request in
            seen = request
            connection.send(
                Array("HTTP/1.1 201 Made\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nyes".utf8))
        }
        var request = FetchRequest(server.url + "/a/b?c=d#e", method: "POST")
        request.headers = [FetchHeader(Array("X-One".utf8), Array("1".utf8))]
        request.body = Array("hello".utf8)
        let response = try fixture.fetch(request).get()
        #expect(
            seen == "POST /a/b?c=d HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\nX-One: 1\r\n"
                + "Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello")
        #expect(response.status == 201)
        #expect(response.reason == Array("Made".utf8))
        #expect(
            response.headers.map { String(decoding: $0.name, as: UTF8.self) } == [
                "X-A", "x-a", "Content-Length",
            ])
        #expect(response.body == Array("yes".utf8))
    }

    @Test("every way of delimiting a body is understood, and only some leave the connection usable")
    func framings() throws {
        let cases: [(response: String, closing: Bool, method: String, body: String, pooled: Int)] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false, "GET", "ab", 1),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", false,
                "GET", "abc", 1
            ),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", true, "GET", "to the end", 0),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false, "HEAD", "", 1),
            ("HTTP/1.1 204 No Content\r\n\r\n", false, "GET", "", 1),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, "GET", "", 1),
            (
                "HTTP/1.1 103 Early\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz", false,
                "GET", "z", 1
            ),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nz", false, "GET", "z", 0),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz and more", false, "GET", "z", 0),
        ]
        for (response, closing, method, body, pooled) in cases {
            let fixture = try NetworkFixture()
            let server = try fixture.serve(response, closing: closing)
            #expect(fixture.fetch(FetchRequest(server.url, method: method)).bodyText == body, "\(response)")
            #expect(fixture.client.idleCount == pooled, "\(response)")
            #expect(fixture.worker.openConnections == pooled, "\(response)")
        }
    }

    @Test("broken responses are failures that say what is wrong, and their connections are closed")
    func brokenResponses() throws {
        let cases: [(response: String, closing: Bool, failure: FetchFailure)] = [
            ("nonsense\r\n\r\n", false, .invalidHead(.invalidStatusLine)),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", false,
                .invalidBody(.invalidChunkSize)
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", true, .closed(.readingBody)),
            ("HTTP/1.1 200", true, .closed(.awaitingHead)),
            ("HTTP/1.1 101 Switching\r\n\r\n", false, .unexpectedStatus(101)),
            (
                "HTTP/1.1 200 OK\r\nX: \(String(repeating: "x", count: 70_000))\r\n\r\n", false,
                .invalidHead(.headTooLarge)
            ),
        ]
        for (response, closing, failure) in cases {
            let fixture = try NetworkFixture()
            let server = try fixture.serve(response, closing: closing)
            #expect(fixture.fetch(FetchRequest(server.url)).failure == failure)
            #expect(fixture.worker.openConnections == 0)
        }
    }

    @Test(
        "a body over the limit is a failure, whether its length is announced or not",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nabcde",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        ])
    func tooLarge(response: String) throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve(response)
        #expect(fixture.fetch(FetchRequest(server.url, maxBody: 4)).failure == .tooLarge(limit: 4))
        #expect(fixture.worker.openConnections == 0)
    }

    @Test("what cannot be asked for fails at once, without a connection")
    func refusedRequests() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve()
        for url in [
            "ftp://a/", "http://", "http://a:99999/", "http://a/b c", "http://a/\r\nX: y", "http://a@b/",
        ] {
            guard case .invalidRequest = fixture.fetch(FetchRequest(url)).failure else {
                Issue.record("\(url) was taken")
                continue
            }
        }
        let headers = [
            ("X-A", "b\r\nc"), ("X-A", "b\u{0}"), ("X A", "b"), ("", "b"), ("Content-Length", "3"),
            ("transfer-encoding", "chunked"),
        ]
        for (name, value) in headers {
            var request = FetchRequest(server.url)
            request.headers = [FetchHeader(Array(name.utf8), Array(value.utf8))]
            guard case .invalidRequest = fixture.fetch(request).failure else {
                Issue.record("\(name): \(value) was taken")
                continue
            }
        }
        fixture.settle()
        #expect(server.connections.isEmpty)
        #expect(fixture.worker.openConnections == 0)
    }

    @Test("a kept connection serves the next request to the same server, and no other's")
    func reuse() throws {
        let fixture = try NetworkFixture()
        let one = try fixture.serve("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
        let two = try fixture.serve("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
        for _ in 0..<3 { #expect(fixture.fetch(FetchRequest(one.url)).bodyText == "1") }
        #expect(fixture.fetch(FetchRequest(two.url)).bodyText == "2")
        #expect(one.connections.count == 1 && one.requests == 3)
        #expect(fixture.client.idleCount == 2)
        fixture.client.closeIdle()
        #expect(fixture.client.idleCount == 0 && fixture.worker.openConnections == 0)
    }

    @Test("no connection is kept when that is not wanted")
    func noKeepalive() throws {
        let fixture = try NetworkFixture()
        var seen = ""
        let server = try fixture.serve { connection, request in
            seen = request
            connection.send(Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8))
        }
        var request = FetchRequest(server.url)
        request.keepalive = false
        #expect(fixture.fetch(request).bodyText == "")
        #expect(seen.contains("Connection: close\r\n"))
        request.keepalive = true
        request.headers = [FetchHeader(Array("connection".utf8), Array("x, Close".utf8))]
        #expect(fixture.fetch(request).bodyText == "")
        #expect(!seen.contains("Connection: "))
        #expect(fixture.client.idleCount == 0 && fixture.worker.openConnections == 0)
    }

    @Test("an idle connection that the server ends leaves the pool")
    func idleEnds() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        _ = fixture.fetch(FetchRequest(server.url))
        #expect(fixture.client.idleCount == 1)
        server.connections[0].close()
        fixture.run { fixture.client.idleCount == 0 }
        #expect(fixture.worker.openConnections == 0)
    }

    @Test("no more connections to one server are kept than the bound says")
    func poolBound() throws {
        let fixture = try NetworkFixture()
        var waiting: [ScriptedConnection] = []
        let server = try fixture.serve { connection, _ in waiting.append(connection) }
        var done = 0
        let count = FetchClient.maxIdlePerOrigin + 4
        for _ in 0..<count {
            _ = try fixture.client.start(FetchRequest(server.url), in: fixture.generation, settings: nil) {
                _ in
                done += 1
            }
        }
        fixture.run { waiting.count == count }
        for connection in waiting {
            connection.send(Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8))
        }
        fixture.run { done == count }
        #expect(fixture.client.idleCount == FetchClient.maxIdlePerOrigin)
        #expect(fixture.worker.openConnections == FetchClient.maxIdlePerOrigin)
    }

    @Test("a request over a kept connection that the server had closed is made again, once, if it may be")
    func stale() throws {
        for (method, isRepeated) in [("GET", true), ("POST", false)] {
            let fixture = try NetworkFixture()
            // Each connection answers its first request, and ends at the second.
            let server = try fixture.serve { connection, _ in
                if connection.requests > 1 { return connection.close() }
                connection.send(Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8))
            }
            _ = fixture.fetch(FetchRequest(server.url))
            let outcome = fixture.fetch(FetchRequest(server.url, method: method))
            #expect((outcome.failure == nil) == isRepeated)
            #expect(server.connections.count == (isRepeated ? 2 : 1))
            #expect(fixture.worker.openConnections == (isRepeated ? 1 : 0))
        }
    }

    @Test("a refused connection is a failure with the system's words")
    func refused() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve()
        server.end()
        let failure = fixture.fetch(FetchRequest(server.url)).failure
        #expect(failure?.message == "connect() failed (111: Connection refused)")
        #expect(
            fixture.fetch(FetchRequest("http://unix:/nowhere/at/all:/x")).failure?.message.contains("2:")
                == true)
        #expect(fixture.worker.openConnections == 0)
    }

    @Test("the time for everything ends a fetch that waits for its response or for the rest of it")
    func timeouts() throws {
        for (text, phase) in [
            ("", FetchFailure.Phase.awaitingHead), ("HTTP/1.1 200 OK\r\n\r\na", .readingBody),
        ] {
            let fixture = try NetworkFixture()
            let server = try fixture.serve(text)
            #expect(fixture.fetch(FetchRequest(server.url, timeout: 30)).failure == .timedOut(phase))
            #expect(fixture.worker.openConnections == 0)
        }
    }

    @Test("a script's time says nothing of a peer, unless that takes longer to connect to than clients wait")
    func shortTimeouts() throws {
        let probe = try NetworkFixture()
        let silent = try probe.serve("")
        let fixture = try NetworkFixture(
            "upstream silent { server 127.0.0.1:\(silent.port); server 127.0.0.2:\(silent.port) backup; }")
        for _ in 0..<3 {
            let failure = fixture.fetch(FetchRequest("http://silent/", timeout: 30)).failure
            #expect(failure == .timedOut(.awaitingHead))
        }
        let group = fixture.generation.peers(ofGroup: 0).group
        #expect(group.peers.map(\.fails) == [0, 0])
        #expect(group.peers.allSatisfy { $0.connections == 0 })
    }

    @Test("a peer that is not connected to in proxy_connect_timeout has failed", arguments: [20, 60_000])
    func connectTimeout(milliseconds: Int) throws {
        let full = try FullListener()
        defer { full.close() }
        let fixture = try NetworkFixture(
            "upstream full { server 127.0.0.1:\(full.port); server 127.0.0.2:1 backup; }")
        var settings = Settings.Values()
        settings.proxyConnectTimeout = milliseconds
        var failure: FetchFailure?
        _ = try fixture.client.start(
            FetchRequest("http://full/", timeout: 50), in: fixture.generation, settings: Settings(settings)
        ) { failure = $0.failure }
        fixture.run { failure != nil }
        let group = fixture.generation.peers(ofGroup: 0).group
        if milliseconds == 20 {
            // Another was asked, which refused.
            #expect(failure == .system(call: "connect", code: ECONNREFUSED, reason: "Connection refused"))
            #expect(group.peers.map(\.fails) == [1, 1])
        } else {
            #expect(failure == .timedOut(.connecting))
            #expect(group.peers.map(\.fails) == [0, 0])
        }
    }

    @Test(
        "the last peer, or the only one, has all the time that the script gives", arguments: ["", "backup"])
    func lastPeer(other: String) throws {
        let full = try FullListener()
        defer { full.close() }
        let server = "server 127.0.0.1:\(full.port)"
        let fixture = try NetworkFixture(
            "upstream full { \(server); \(other.isEmpty ? "" : "\(server) \(other);") }")
        var settings = Settings.Values()
        settings.proxyConnectTimeout = 20
        var failure: FetchFailure?
        let start = fixture.worker.loop.now
        _ = try fixture.client.start(
            FetchRequest("http://full/", timeout: 300), in: fixture.generation, settings: Settings(settings)
        ) { failure = $0.failure }
        fixture.run { failure != nil }
        #expect(failure == .timedOut(.connecting))
        #expect(fixture.worker.loop.now - start >= 300)
    }

    @Test("the time for everything ends a fetch whose server takes nothing")
    func sendTimeout() throws {
        let fixture = try NetworkFixture()
        let listener = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        defer { close(listener) }
        let port = try #require(Sockets.localAddress(listener)).port
        var request = FetchRequest("http://127.0.0.1:\(port)/", method: "PUT", timeout: 50)
        request.body = [UInt8](repeating: 1, count: 16 << 20)
        #expect(fixture.fetch(request).failure == .timedOut(.sending))
        #expect(fixture.worker.openConnections == 0)
    }

    @Test("the time for everything ends a fetch whose name server does not answer")
    func resolveTimeout() throws {
        let silent = try SilentNameServer()
        defer { silent.close() }
        let fixture = try NetworkFixture()
        var settings = Settings.Values()
        settings.resolver = .init(servers: ["127.0.0.1:\(silent.port)"])
        var failure: FetchFailure?
        _ = try fixture.client.start(
            FetchRequest("http://name.test/", timeout: 30), in: fixture.generation,
            settings: Settings(settings)
        ) { failure = $0.failure }
        #expect(fixture.lookups.count == 1)
        fixture.run { failure != nil }
        #expect(failure == .timedOut(.resolving))
        #expect(fixture.lookups.count == 0)
    }

    @Test("the system's names are known without a resolver")
    func systemName() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        #expect(fixture.fetch(FetchRequest("http://localhost:\(server.port)/")).bodyText == "ok")
        #expect(fixture.fetch(FetchRequest("http://LOCALHOST:\(server.port)/")).bodyText == "ok")
        #expect(server.connections.count == 1)
    }

    @Test("an upstream's name stands for its peers, with their balancing and their failures")
    func upstreams() throws {
        let probe = try NetworkFixture()
        let one = try probe.serve("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
        let two = try probe.serve("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
        let fixture = try NetworkFixture(
            """
            upstream both { server 127.0.0.1:\(one.port); server 127.0.0.1:\(two.port); }
            upstream down { server 127.0.0.1:1 down; }
            """)
        func fetch() throws -> Result<FetchResponse, FetchFailure>? {
            var outcome: Result<FetchResponse, FetchFailure>?
            _ = try fixture.client.start(FetchRequest("http://both/"), in: fixture.generation, settings: nil)
            {
                outcome = $0
            }
            while outcome == nil {
                fixture.worker.loop.turn(wait: false)
                probe.worker.loop.turn(wait: false)
            }
            return outcome
        }
        #expect(try (0..<4).map { _ in try fetch()?.bodyText } == ["1", "2", "1", "2"])
        let group = fixture.generation.peers(ofGroup: 0).group
        #expect(group.peers.allSatisfy { $0.connections == 0 })
        // Where nobody listens, the next one is asked.
        one.end()
        fixture.client.closeIdle()
        #expect(try fetch()?.bodyText == "2")
        #expect(group.peers.map(\.fails) == [1, 0])
        #expect(try fetch()?.bodyText == "2")
        two.end()
        fixture.client.closeIdle()
        #expect(try fetch()?.failure != nil)
        #expect(group.peers.allSatisfy { $0.fails > 0 && $0.connections == 0 })
        #expect(fixture.fetch(FetchRequest("http://down/")).failure == .noLivePeers)
    }

    @Test("peers of which none can be connected to are tried one after the other, however many they are")
    func manyPeers() throws {
        let count = 4100
        let servers = (0..<count).map { "server unix:/nowhere/\($0);" }.joined(separator: " ")
        let fixture = try NetworkFixture("upstream big { \(servers) }")
        #expect(
            fixture.fetch(FetchRequest("http://big/")).failure
                == .system(call: "connect", code: ENOENT, reason: "No such file or directory"))
        let group = fixture.generation.peers(ofGroup: 0).group
        #expect(group.peers.allSatisfy { $0.connections == 0 && $0.fails > 0 })
        #expect(fixture.worker.openConnections == 0)
    }

    @Test("a fetch that is cancelled at any stage leaves nothing behind and is not answered")
    func cancellation() throws {
        let silent = try SilentNameServer()
        defer { silent.close() }
        let stages = ["resolving", "connecting", "sending", "awaiting", "reading"]
        for stage in stages {
            let fixture = try NetworkFixture()
            let server = try fixture.serve(stage == "reading" ? "HTTP/1.1 200 OK\r\n\r\na" : "")
            var settings = Settings.Values()
            settings.resolver = .init(servers: ["127.0.0.1:\(silent.port)"])
            var request = FetchRequest(stage == "resolving" ? "http://name.test/" : server.url, method: "PUT")
            if stage == "sending" { request.body = [UInt8](repeating: 0, count: 16 << 20) }
            var isAnswered = false
            var handle: FetchHandle? = try fixture.client.start(
                request, in: fixture.generation, settings: Settings(settings)
            ) { _ in isAnswered = true }
            weak let watched = handle
            switch stage {
            case "resolving": #expect(fixture.lookups.count == 1)
            case "connecting": #expect(fixture.worker.openConnections == 1)
            case "sending":
                fixture.run { server.connections.first.map { !$0.received.isEmpty } ?? false }
                server.connections[0].readsOn = false
            default:
                fixture.run { server.requests == 1 }
                fixture.settle()
            }
            handle?.cancel()
            handle?.cancel()
            handle = nil
            #expect(watched == nil, "\(stage)")
            #expect(fixture.worker.openConnections == 0, "\(stage)")
            #expect(fixture.lookups.count == 0, "\(stage)")
            fixture.settle()
            #expect(!isAnswered, "\(stage)")
        }
    }

    @Test("worker_connections bound fetches too, and an idle connection makes room for another server's")
    func connectionLimit() throws {
        let fixture = try NetworkFixture(connections: 1)
        let one = try fixture.serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        let two = try fixture.serve()
        #expect(fixture.fetch(FetchRequest(one.url)).failure == nil)
        let handle = try fixture.client.start(FetchRequest(two.url), in: fixture.generation, settings: nil) {
            _ in
        }
        #expect(fixture.client.idleCount == 0)
        #expect(fixture.fetch(FetchRequest(one.url)).failure == .noConnections)
        handle.cancel()
        #expect(fixture.worker.openConnections == 0)
    }

    @Test("nothing is kept for a generation that was replaced")
    func retired() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        fixture.generation.retire()
        #expect(fixture.fetch(FetchRequest(server.url)).failure == nil)
        #expect(fixture.client.idleCount == 0 && fixture.worker.openConnections == 0)
    }

    @Test("a completion may start the next fetch, which gets the connection that has just become free")
    func chained() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        var done = 0
        func next() throws {
            _ = try fixture.client.start(FetchRequest(server.url), in: fixture.generation, settings: nil) {
                _ in
                done += 1
                if done < 50 { try? next() }
            }
        }
        try next()
        fixture.run { done == 50 }
        #expect(server.connections.count == 1)
    }
}
