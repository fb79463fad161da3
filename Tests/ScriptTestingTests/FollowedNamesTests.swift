import EventLoop
import ProxyCore
import Testing

@testable import ProxyServer
@testable import ScriptTesting

@Suite("Names of upstream servers that are followed", .timeLimit(.minutes(1)))
struct FollowedNamesTests {
    private static let name = "app.test"
    private static let requestText = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
    private static let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    private static let handshake =
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    private static let agreement =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

    private static func text(_ upstream: String, location: String = "") -> String {
        """
        events {} http {
            map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
            log_format short '$status $upstream_addr';
            access_log /log/access short;
            resolver 192.0.2.53 valid=10s;
            upstream app { \(upstream) }
            server {
                listen 80;
                location / {
                    \(location)
                    proxy_pass http://app;
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                }
            }
        }
        """
    }

    private static func host(_ number: UInt32) -> SocketAddress { .ipv4(0x0A00_0000 + number, port: 0) }

    private func proxy(
        _ upstream: String = "server app.test:9000 resolve;", _ hosts: UInt32..., location: String = ""
    ) throws -> ProxyUnderTest {
        var options = ProxyUnderTest.Options()
        options.names = hosts.isEmpty ? [:] : [Self.name: hosts.map(Self.host)]
        return try ProxyUnderTest(Self.text(upstream, location: location), options: options)
    }

    private func setHosts(_ proxy: ProxyUnderTest, _ hosts: UInt32...) {
        proxy.network.names[Self.name] = hosts.isEmpty ? nil : hosts.map(Self.host)
    }

    private func backend(_ proxy: ProxyUnderTest, _ number: UInt32) -> MemoryBackend {
        proxy.backend(at: Self.host(number).with(port: 9000))
    }

    /// One request, which whoever it comes to answers.
    private func ask(_ proxy: ProxyUnderTest, _ backends: MemoryBackend...) throws {
        let client = try proxy.connect()
        client.send(Self.requestText)
        proxy.run()
        for backend in backends {
            while let server = backend.accept() {
                server.send(Self.answer)
                proxy.run()
            }
        }
        client.close()
        proxy.run()
    }

    /// A WebSocket and its backend's end.
    private func open(
        _ proxy: ProxyUnderTest, _ backend: MemoryBackend
    ) throws -> (client: MemoryPeer, server: MemoryPeer) {
        let client = try proxy.connect()
        client.send(Self.handshake)
        proxy.run()
        let server = try #require(backend.accept())
        server.send(Self.agreement)
        proxy.run()
        _ = client.receive()
        _ = server.receive()
        return (client, server)
    }

    private func log(_ proxy: ProxyUnderTest) -> [String] { proxy.takeLog("/log/access") }

    @Test("addresses are those of the name's last answer, from the time on that it is over")
    func changes() throws {
        let proxy = try proxy("server app.test:9000 resolve;", 1)
        let (first, second) = (backend(proxy, 1), backend(proxy, 2))
        try ask(proxy, first)
        setHosts(proxy, 2)
        proxy.advance(byMilliseconds: 9_999)
        try ask(proxy, first)
        proxy.advance(byMilliseconds: 1)
        try ask(proxy, second)
        setHosts(proxy, 2, 1)
        proxy.advance(byMilliseconds: 10_000)
        try ask(proxy, first, second)
        try ask(proxy, first, second)
        #expect(
            log(proxy) == [
                "200 10.0.0.1:9000", "200 10.0.0.1:9000", "200 10.0.0.2:9000", "200 10.0.0.1:9000",
                "200 10.0.0.2:9000",
            ])
        #expect(proxy.takeErrors().isEmpty)
    }

    @Test("a name without an address keeps nothing from starting, and its servers come when it has some")
    func nothingAtFirst() throws {
        let proxy = try proxy()
        let backend = backend(proxy, 1)
        #expect(proxy.takeErrors().map(\.message) == ["app.test could not be resolved (3: Host not found)"])
        try ask(proxy)
        #expect(log(proxy) == ["502 app"])
        let error = try #require(proxy.takeErrors().first)
        #expect(error.message.hasPrefix("no live upstreams while connecting to upstream"))
        setHosts(proxy, 1)
        proxy.advance(byMilliseconds: 10_000)
        try ask(proxy, backend)
        #expect(log(proxy) == ["200 10.0.0.1:9000"])
    }

    @Test("an answer that a name has no address takes its servers away, and says so at error")
    func gone() throws {
        let proxy = try proxy("server app.test:9000 resolve; server 10.0.0.9:9000 backup;", 1)
        let (first, backup) = (backend(proxy, 1), backend(proxy, 9))
        try ask(proxy, first)
        setHosts(proxy)
        proxy.advance(byMilliseconds: 10_000)
        #expect(
            proxy.takeErrors() == [
                ErrorLine(
                    "1970/01/01 00:00:00 [error] 1#1: app.test could not be resolved (3: Host not found)")
            ])
        try ask(proxy, backup)
        #expect(log(proxy) == ["200 10.0.0.1:9000", "200 10.0.0.9:9000"])
    }

    @Test("a validity of nothing has the name asked for once a second")
    func noBusyLoop() throws {
        let proxy = try proxy("resolver 192.0.2.53 valid=0; server app.test:9000 resolve;", 1)
        setHosts(proxy, 2)
        #expect(proxy.advance(byMilliseconds: 999))
        try ask(proxy, backend(proxy, 1))
        #expect(proxy.advance(byMilliseconds: 1))
        try ask(proxy, backend(proxy, 2))
        #expect(log(proxy) == ["200 10.0.0.1:9000", "200 10.0.0.2:9000"])
    }

    @Test("families are those that the resolver asks for")
    func families() throws {
        let ipv6 = SocketAddress.ipv6(Array(repeating: 0, count: 15) + [1], port: 0)
        var options = ProxyUnderTest.Options()
        options.names = [Self.name: [ipv6, Self.host(1)]]
        for (setting, expected) in [
            ("ipv6=off", ["200 10.0.0.1:9000", "200 10.0.0.1:9000"]),
            ("ipv4=off", ["200 [::1]:9000", "200 [::1]:9000"]),
            ("", ["200 10.0.0.1:9000", "200 [::1]:9000"]),
        ] {
            let proxy = try ProxyUnderTest(
                Self.text("resolver 192.0.2.53 \(setting); server app.test:9000 resolve;"), options: options)
            let backends = (backend(proxy, 1), proxy.backend(at: ipv6.with(port: 9000)))
            for _ in 0..<2 { try ask(proxy, backends.0, backends.1) }
            #expect(log(proxy) == expected)
        }
    }

    @Test("tunnels go on when their address goes, and are counted where it stays")
    func tunnels() throws {
        let proxy = try proxy("least_conn; server app.test:9000 resolve;", 1, 2)
        let (first, second) = (backend(proxy, 1), backend(proxy, 2))
        let one = try open(proxy, first)
        let two = try open(proxy, second)
        setHosts(proxy, 2, 3)
        proxy.advance(byMilliseconds: 10_000)
        let third = backend(proxy, 3)
        // 3 carries nothing, 2 one.
        let three = try open(proxy, third)
        two.client.close()
        two.server.close()
        proxy.run()
        _ = try open(proxy, second)
        one.client.send([0x81, 0x80, 1, 2, 3, 4])
        proxy.run()
        #expect(one.server.receive() == [0x81, 0x80, 1, 2, 3, 4])
        // It was counted while it was away.
        setHosts(proxy, 1, 2, 3, 4)
        proxy.advance(byMilliseconds: 10_000)
        let fourth = backend(proxy, 4)
        _ = try open(proxy, fourth)
        one.server.send([0x81, 0x01, 0x61])
        proxy.run()
        #expect(one.client.receive() == [0x81, 0x01, 0x61])
        let group = proxy.worker.current.peers(ofGroup: 0).group
        #expect(group.peers.map(\.connections) == [1, 1, 1, 1])
        for end in [one, three] {
            end.client.close()
            end.server.close()
        }
        proxy.run()
        #expect(group.peers.map(\.connections) == [0, 1, 0, 1])
    }

    @Test("kept connections to an address that has gone are closed, and those in use when they end")
    func keptConnections() throws {
        let proxy = try proxy("server app.test:9000 resolve; keepalive 8;", 1)
        let first = backend(proxy, 1)
        let clients = try [proxy.connect(), proxy.connect()]
        for client in clients { client.send(Self.requestText) }
        proxy.run()
        let servers = try [#require(first.accept()), #require(first.accept())]
        servers[0].send(Self.answer)
        proxy.run()
        setHosts(proxy, 2)
        proxy.advance(byMilliseconds: 10_000)
        #expect(servers.map(\.isOver) == [true, false], "the one that was kept")
        servers[1].send(Self.answer)
        proxy.run()
        #expect(String(decoding: clients[1].receive(), as: UTF8.self).hasSuffix("hello"))
        #expect(servers[1].isOver)
        setHosts(proxy, 1)
        proxy.advance(byMilliseconds: 10_000)
        #expect(log(proxy) == ["200 10.0.0.1:9000", "200 10.0.0.1:9000"])
    }

    @Test(
        "addresses stay while nobody answers, and the next lookup comes after resolver_timeout, or a second")
    func nobodyAnswers() throws {
        for (timeout, wait) in [("4s", Int64(4_000)), ("10ms", 1_000)] {
            let proxy = try proxy("resolver_timeout \(timeout); server app.test:9000 resolve;", 1)
            let (first, second) = (backend(proxy, 1), backend(proxy, 2))
            proxy.network.silentNames = [Self.name]
            proxy.advance(byMilliseconds: 10_000 + wait)
            #expect(
                proxy.takeErrors().map(\.message)
                    == Array(repeating: "app.test could not be resolved (110: Operation timed out)", count: 2)
            )
            try ask(proxy, first)
            proxy.network.silentNames = []
            setHosts(proxy, 2)
            proxy.advance(byMilliseconds: wait - 1)
            try ask(proxy, first)
            proxy.advance(byMilliseconds: 1)
            try ask(proxy, second)
            #expect(log(proxy) == ["200 10.0.0.1:9000", "200 10.0.0.1:9000", "200 10.0.0.2:9000"])
        }
    }

    @Test("after a reload the former addresses serve until there is an answer")
    func reload() throws {
        let proxy = try proxy("server app.test:9000 resolve;", 1)
        let first = backend(proxy, 1)
        let tunnel = try open(proxy, first)
        proxy.network.silentNames = [Self.name]
        try proxy.reload(
            Self.text("resolver_timeout 5s; server APP.test:9000 resolve; server 10.0.0.9 backup;"))
        try ask(proxy, first)
        proxy.network.silentNames = []
        setHosts(proxy, 2)
        proxy.advance(byMilliseconds: 5_000)
        try ask(proxy, backend(proxy, 2))
        #expect(log(proxy) == ["200 10.0.0.1:9000", "200 10.0.0.2:9000"])
        tunnel.client.close()
        tunnel.server.close()
        proxy.run()
        try proxy.reload(Self.text("server 10.0.0.5:9000;"))
        try ask(proxy, backend(proxy, 5))
        #expect(log(proxy) == ["101 10.0.0.1:9000", "200 10.0.0.5:9000"])
        #expect(proxy.worker.current.names(ofGroup: 0) == nil)
    }

    @Test("what a reload begins with is at the new port, and of the families that the new resolver asks for")
    func takenOver() throws {
        for (change, expected) in [("", "200 10.0.0.1:9001"), ("ipv4=off", "502 app")] {
            let proxy = try proxy("server app.test:9000 resolve;", 1)
            proxy.network.silentNames = [Self.name]
            try proxy.reload(Self.text("resolver 192.0.2.9 \(change); server app.test:9001 resolve;"))
            try ask(proxy, proxy.backend(at: Self.host(1).with(port: 9001)))
            #expect(log(proxy) == [expected])
        }
    }

    @Test("a former generation's tunnels fetch from the addresses of now")
    func formerGeneration() throws {
        let hook = """
            message_by_lua_block {
                local response = sy.fetch{ url = "http://app/" }
                flow.client:send(response and response.body or "none")
                return false
            }
            """
        let proxy = try proxy("server app.test:9000 resolve;", 1, location: hook)
        let (first, second) = (backend(proxy, 1), backend(proxy, 2))
        let tunnel = try open(proxy, first)
        try proxy.reload(Self.text("server 10.0.0.5:9000;"))
        setHosts(proxy, 2)
        proxy.advance(byMilliseconds: 10_000)
        tunnel.client.send([0x81, 0x80, 1, 2, 3, 4])
        proxy.run()
        let fetched = try #require(second.accept())
        fetched.send(Self.answer)
        proxy.run()
        #expect(tunnel.client.receive() == [0x81, 0x05] + Array("hello".utf8))
        #expect(first.accept() == nil)
        tunnel.client.close()
        tunnel.server.close()
        proxy.run()
        _ = proxy.takeErrors()
        setHosts(proxy)
        proxy.advance(byMilliseconds: 100_000)
        #expect(proxy.takeErrors().isEmpty, "nobody asks once the tunnel has ended")
    }

    @Test("lookups end with the generation")
    func ends() throws {
        let proxy = try proxy("server nobody.test resolve;", 1)
        #expect(proxy.takeErrors().count == 1)
        try proxy.reload(Self.text("server 10.0.0.5:9000;"))
        proxy.advance(byMilliseconds: 100_000)
        #expect(proxy.takeErrors().isEmpty)
        let other = try self.proxy("server nobody.test resolve;", 1)
        other.end()
        other.advance(byMilliseconds: 100_000)
        #expect(other.takeErrors().count == 1)
        #expect(other.network.openDescriptors == 0)
    }

    @Test("a service is at its host where nobody says anything of it, and else where its records say")
    func services() throws {
        let proxy = try proxy("server app.test service=http resolve;", 1, 2)
        let first = proxy.backend(at: Self.host(1).with(port: 80))
        let second = proxy.backend(at: Self.host(2).with(port: 80))
        for _ in 0..<2 { try ask(proxy, first, second) }
        proxy.network.names["other.test"] = [Self.host(3)]
        proxy.network.services["_http._tcp.app.test"] = [
            ServiceRecord(priority: 1, weight: 1, port: 8080, target: "other.test"),
            ServiceRecord(priority: 2, weight: 1, port: 8080, target: "app.test"),
        ]
        proxy.advance(byMilliseconds: 10_000)
        try ask(proxy, proxy.backend(at: Self.host(3).with(port: 8080)))
        let lines = ["200 10.0.0.1:80", "200 10.0.0.2:80", "200 10.0.0.3:8080"]
        #expect(log(proxy) == lines)
    }
}
