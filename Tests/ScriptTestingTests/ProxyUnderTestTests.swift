import EventLoop
import Foundation
import Testing

@testable import ProxyServer
@testable import ScriptTesting

@Suite("A proxy on a network in memory", .timeLimit(.minutes(1)))
struct ProxyUnderTestTests {
    private static let recipe = """
        map $http_upgrade $connection_upgrade { default upgrade; '' close; }
        log_format short '$status $request_uri $upstream_addr';
        access_log /log/access short;
        upstream app { server app.test:9000; keepalive 4; keepalive_requests 2000; }
        server {
            listen 80;
            proxy_http_version 1.1;
            location / {
                proxy_pass http://app;
                proxy_set_header Connection "";
                proxy_read_timeout 10s;
            }
            location /ws {
                proxy_pass http://app;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
            }
        }
        """

    private static let app = SocketAddress.ipv4(0x0A00_0001, port: 9000)

    private func proxy(_ http: String = recipe, bufferSize: Int = 64 * 1024) throws -> ProxyUnderTest {
        var options = ProxyUnderTest.Options()
        options.names = ["app.test": [Self.app.with(port: 0)]]
        options.bufferSize = bufferSize
        return try ProxyUnderTest("events {} http { \(http) }", options: options)
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private func request(_ path: String = "/", _ more: String = "") -> String {
        "GET \(path) HTTP/1.1\r\nHost: a.test\r\n\(more)\r\n"
    }

    /// The fields of a WebSocket's.
    /// A client whose WebSocket the backend has accepted, and perhaps reads nothing of.
    private func openWebSocket(
        through proxy: ProxyUnderTest, to backend: MemoryBackend, isRead: Bool = true
    ) throws -> MemoryPeer {
        let client = try proxy.connect()
        client.send(request("/", Self.handshake))
        proxy.run()
        let server = try #require(backend.accept())
        server.isReading = isRead
        server.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        proxy.run()
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 101 "))
        return client
    }

    private static let handshake =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

    private static let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

    @Test("requests go to the backend and their answers come back, over connections that are kept")
    func keepAlive() throws {
        let proxy = try proxy()
        let backend = proxy.backend(at: Self.app)
        let client = try proxy.connect()
        var server: MemoryPeer?
        for number in 1...3 {
            client.send(request("/\(number)"))
            proxy.run()
            server = server ?? backend.accept()
            let seen = text(try #require(server).receive())
            #expect(seen.hasPrefix("GET /\(number) HTTP/1.1\r\n"))
            #expect(seen.contains("Host: app\r\n"))
            server?.send(Self.answer)
            proxy.run()
            let received = text(client.receive())
            #expect(received.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(received.hasSuffix("\r\n\r\nhello"))
        }
        #expect(backend.connections == 1)
        #expect(!client.isOver)
        #expect(
            proxy.takeLog("/log/access") == [
                "200 /1 10.0.0.1:9000", "200 /2 10.0.0.1:9000", "200 /3 10.0.0.1:9000",
            ])
        #expect(proxy.takeErrors().isEmpty)
    }

    @Test("an upgraded connection carries bytes both ways, and the end of either side")
    func upgrade() throws {
        let proxy = try proxy()
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.send(request("/ws", Self.handshake))
        proxy.run()
        let server = try #require(backend.accept())
        #expect(text(server.receive()).contains("Upgrade: websocket\r\n"))
        server.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        proxy.run()
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 101 "))
        client.send([0x81, 0x80, 1, 2, 3, 4])
        server.send([0x81, 0x02, 0x68, 0x69])
        proxy.run()
        #expect(server.receive() == [0x81, 0x80, 1, 2, 3, 4])
        #expect(client.receive() == [0x81, 0x02, 0x68, 0x69])
        server.close()
        proxy.run()
        #expect(client.sawEnd)
        client.close()
        proxy.run()
        #expect(proxy.takeLog("/log/access") == ["101 /ws 10.0.0.1:9000"])
    }

    @Test("a WebSocket's client is answered its own key, where the backend is sent another")
    func otherKey() throws {
        let other = "location /ws { proxy_set_header Sec-WebSocket-Key AAAAAAAAAAAAAAAAAAAAAA==;"
        let proxy = try proxy(Self.recipe.replacing("location /ws {", with: other))
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.send(request("/ws", Self.handshake))
        proxy.run()
        let server = try #require(backend.accept())
        #expect(text(server.receive()).contains("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"))
        server.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n")
        proxy.run()
        #expect(text(client.receive()).contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
    }

    @Test("an error page for a handshake asks its backend for no upgrade, and takes none")
    func upgradeOnErrorPage() throws {
        let proxy = try proxy(
            """
            map $http_upgrade $connection_upgrade { default upgrade; '' close; }
            server {
                listen 80;
                proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
                error_page 500 @page;
                location / { return 500; }
                location @page { proxy_pass http://app.test:9000; }
            }
            """)
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.send(request("/", Self.handshake))
        proxy.run()
        let server = try #require(backend.accept())
        #expect(!text(server.receive()).contains("Upgrade: websocket"))
        server.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        server.send([0x81, 0x02, 0x68, 0x69])
        proxy.run()
        let received = client.receive()
        #expect(text(received).hasPrefix("HTTP/1.1 50"))
        #expect(!received.contains(0x81))
    }

    @Test("proxy_read_timeout passes by the clock alone: 504, at its time and not before")
    func readTimeout() throws {
        let proxy = try proxy()
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.send(request())
        proxy.run()
        let server = try #require(backend.accept())
        proxy.advance(byMilliseconds: 9_999)
        #expect(client.receive().isEmpty)
        proxy.advance(byMilliseconds: 1)
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 504 "))
        #expect(server.isOver)
        let errors = proxy.takeErrors()
        #expect(errors.map(\.level) == ["error"])
        #expect(errors.first?.message.contains("upstream timed out (110: ") == true)
    }

    @Test("a backend that is silent from the start makes proxy_connect_timeout pass")
    func connectTimeout() throws {
        let proxy = try proxy()
        proxy.backend().answer = .staysSilent
        let client = try proxy.connect()
        client.send(request())
        proxy.advance(byMilliseconds: 59_999)
        #expect(client.receive().isEmpty)
        proxy.advance(byMilliseconds: 1)
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 504 "))
        #expect(proxy.takeErrors().first?.message.contains("while connecting to upstream") == true)
    }

    @Test(
        "an upstream that takes a little all the time is not timed out, whatever waits for it",
        arguments: [900, 1100])
    func slowUpload(pause: Int64) throws {
        let proxy = try proxy(
            """
            server {
                listen 80;
                location / { proxy_pass http://10.0.0.1:9000; proxy_http_version 1.1; proxy_send_timeout 1s; }
            }
            """, bufferSize: 8 * 1024)
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n")
        proxy.run()
        let server = try #require(backend.accept())
        server.isReading = false
        client.send([UInt8](repeating: 120, count: 100_000))
        proxy.run()
        var taken = 0
        for _ in 0..<20 where !server.isOver {
            proxy.advance(byMilliseconds: pause)
            taken += server.receive().count
        }
        guard pause == 900 else {
            #expect(text(client.receive()).hasPrefix("HTTP/1.1 504 "))
            return
        }
        #expect(taken > 100_000)
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        proxy.run()
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 200 "))
    }

    private static let slowReaders = """
        client_body_timeout 2s;
        server {
            listen 80;
            proxy_http_version 1.1;
            location /read { proxy_pass http://10.0.0.1:9000; request_by_lua_block { sy.sleep(2.9) flow.req:body() } }
            location /at-once { proxy_pass http://10.0.0.1:9000; request_by_lua_block { sy.sleep(2) flow.req:body() } }
            location /passed { proxy_pass http://10.0.0.1:9000; request_by_lua_block { sy.sleep(2.9) } }
        }
        """

    @Test("the time for a body begins when somebody reads it", arguments: ["/read", "/at-once", "/passed"])
    func bodyIsReadLate(path: String) throws {
        let proxy = try proxy(Self.slowReaders)
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.send("POST \(path) HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n")
        if path == "/at-once" { client.send("hello") }
        proxy.advance(byMilliseconds: 4200)
        client.send("hello")
        proxy.run()
        let server = try #require(backend.accept())
        #expect(text(server.receive()).hasSuffix("\r\n\r\nhello"))
    }

    @Test("a body that does not come in time is not waited for", arguments: ["/read", "/passed"])
    func bodyDoesNotCome(path: String) throws {
        let proxy = try proxy(Self.slowReaders)
        _ = proxy.backend()
        let client = try proxy.connect()
        client.send("POST \(path) HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n")
        proxy.advance(byMilliseconds: 4899)
        #expect(client.receive().isEmpty)
        proxy.advance(byMilliseconds: 1)
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 408 "))
    }

    @Test("a client that breaks off ends its exchange: 499, and the backend's connection goes")
    func clientVanishes() throws {
        let proxy = try proxy()
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.send(request("/gone"))
        proxy.run()
        let server = try #require(backend.accept())
        client.reset()
        proxy.run()
        #expect(server.isOver)
        #expect(proxy.takeLog("/log/access") == ["499 /gone 10.0.0.1:9000"])
    }

    private static let uploads = """
        log_format short '$status $request_uri';
        access_log /log/access short;
        server {
            listen 80;
            location /whole { proxy_pass http://10.0.0.1:9000; proxy_set_header X-Body $request_body; }
            location /ignoring { proxy_pass http://10.0.0.1:9000; proxy_http_version 1.1; proxy_ignore_client_abort on; }
            location /read { request_by_lua_block { flow.req:body() } }
            location / { proxy_pass http://10.0.0.1:9000; proxy_http_version 1.1; }
        }
        """

    @Test(
        "a client that leaves within its body is logged as a bad request",
        arguments: ["/", "/whole", "/ignoring", "/read"], [false, true])
    func clientLeavesItsBody(path: String, byReset: Bool) throws {
        let proxy = try proxy(Self.uploads)
        _ = proxy.backend()
        let client = try proxy.connect()
        client.send("POST \(path) HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nhello")
        proxy.run()
        if byReset { client.reset() } else { client.close() }
        proxy.run()
        #expect(proxy.takeLog("/log/access") == ["400 \(path)"])
    }

    @Test("a backend that breaks off in the middle of a response breaks that off for the client")
    func backendResets() throws {
        let proxy = try proxy()
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.send(request())
        proxy.run()
        let server = try #require(backend.accept())
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        proxy.run()
        #expect(text(client.receive()).hasSuffix("\r\n\r\nhalf"))
        server.reset()
        proxy.run()
        #expect(client.isOver || client.sawEnd)
        let errors = proxy.takeErrors()
        #expect(errors.count == 1)
        #expect(errors.first?.message.contains("104: Connection reset by peer") == true, "\(errors)")
    }

    @Test("a connection that is refused is a 502, heard of only after the attempt began")
    func refused() throws {
        let proxy = try proxy()
        let client = try proxy.connect()
        client.send(request())
        proxy.run()
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 502 "))
        #expect(proxy.takeErrors().contains { $0.message.contains("111: Connection refused") })
    }

    @Test("a client that does not read holds the backend back once the buffers are full")
    func backpressure() throws {
        let proxy = try proxy(bufferSize: 1_000)
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.isReading = false
        client.send(request())
        proxy.run()
        let server = try #require(backend.accept())
        let body = [UInt8](repeating: 0x2E, count: 1 << 20)
        server.send("HTTP/1.1 200 OK\r\nContent-Length: \(body.count)\r\n\r\n")
        server.send(body)
        proxy.run()
        let held = server.unread
        #expect(held > body.count / 2)
        proxy.run()
        #expect(server.unread == held)
        #expect(client.receive().count == 1_000)
        proxy.run()
        client.isReading = true
        var received = 0
        while true {
            proxy.run()
            let more = client.receive().count
            if more == 0 { break }
            received += more
        }
        #expect(server.unread == 0)
        #expect(received > body.count - 1_000)
        #expect(proxy.takeLog("/log/access") == ["200 / 10.0.0.1:9000"])
    }

    @Test(
        "a backend that takes nothing ends a tunnel after proxy_send_timeout, whoever looks at its frames",
        arguments: ["", "websocket_ping_interval 1h;", "message_by_lua_block { }"])
    func tunnelBackpressure(_ directives: String) throws {
        let proxy = try proxy(
            """
            server {
                listen 80;
                proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection upgrade;
                proxy_send_timeout 2s;
                proxy_read_timeout 1h;
                \(directives)
                location / { proxy_pass http://app.test:9000; }
            }
            """, bufferSize: 1024)
        let backend = proxy.backend()
        let client = try openWebSocket(through: proxy, to: backend, isRead: false)
        proxy.advance(byMilliseconds: 60_000)
        let message: [UInt8] = [0x82, 0xFE, 0x40, 0, 0, 0, 0, 0] + Array(repeating: 0, count: 0x4000)
        client.send(message)
        proxy.run()
        proxy.advance(byMilliseconds: 1999)
        #expect(client.receive().isEmpty && !client.sawEnd && !client.wasReset)
        proxy.advance(byMilliseconds: 1)
        let told = client.receive()
        #expect(client.sawEnd || client.wasReset || told.starts(with: [0x88, 50, 0x03, 0xF6]))
    }

    @Test("names in variables mean what the test says")
    func names() throws {
        let proxy = try proxy(
            """
            server {
                listen 80;
                resolver 192.0.2.53;
                location / { proxy_pass http://$arg_host:9000; }
            }
            """)
        let backend = proxy.backend(at: Self.app)
        backend.onConnect = { server in
            server.onActivity { if !$0.receive().isEmpty { $0.send(Self.answer) } }
        }
        let client = try proxy.connect()
        client.send(request("/?host=app.test"))
        proxy.run()
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 200 "))
        client.send(request("/?host=other.test"))
        proxy.run()
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 502 "))
        let errors = proxy.takeErrors()
        #expect(
            errors.first?.message.contains("could not be resolved (3: Host not found)") == true, "\(errors)")
    }

    @Test("a variable and a hook that reads it may stand on one line; circles are found at run time")
    func variableOnOneLine() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID()).lua")
        defer { try? FileManager.default.removeItem(at: file) }
        let text =
            "return { request = function(flow) return flow:respond{ body = flow.var.plug .. '.' } end, "
            + "variables = { plug = function(flow) return 'p' end, own = function(flow) return flow.var.own end } }"
        try text.write(to: file, atomically: true, encoding: .utf8)
        let locations = "location / { return 200 $plug$own; } location /hook { proxy_pass http://app.test; }"
        let proxy = try proxy("server { listen 80; plugin \(file.path); \(locations) }")
        for (path, body) in [("/", "p"), ("/hook", "p.")] {
            let client = try proxy.connect()
            client.send(request(path))
            proxy.run()
            #expect(self.text(client.receive()).hasSuffix("\r\n\r\n" + body))
        }
    }

    @Test(
        "a name without a resolver is named",
        arguments: [
            "proxy_pass http://$arg_host:9000;",
            "request_by_lua_block { flow:route('http://' .. flow.var.arg_host .. ':9000') } proxy_pass http://127.0.0.1;",
        ])
    func noResolver(_ directives: String) throws {
        let proxy = try proxy("server { listen 80; location / { \(directives) } }")
        let client = try proxy.connect()
        client.send(request("/?host=App.test"))
        proxy.run()
        #expect(text(client.receive()).hasPrefix("HTTP/1.1 502 "))
        let errors = proxy.takeErrors()
        #expect(errors.count == 1)
        #expect(
            errors.first?.message.hasPrefix("no resolver defined to resolve app.test, client: ") == true,
            "\(errors)")
    }

    @Test("a reload takes new requests, and a fault in it leaves what runs alone")
    func reload() throws {
        let proxy = try proxy("server { listen 80; return 200 one; }")
        let client = try proxy.connect()
        #expect(throws: LoadFailure.self) { try proxy.reload("events {} http { server { lisen 81; } }") }
        client.send(request())
        proxy.run()
        #expect(text(client.receive()).hasSuffix("one"))
        try proxy.reload("events {} http { server { listen 80; listen 81; return 200 two; } }")
        client.send(request())
        proxy.run()
        #expect(text(client.receive()).hasSuffix("two"))
        let other = try proxy.connect(port: 81)
        try proxy.reload("events {} http { server { listen 80; return 200 three; } }")
        // It has asked for nothing yet, and is still answered, as before.
        #expect(!other.sawEnd)
        other.send(request())
        proxy.run()
        #expect(text(other.receive()).hasSuffix("two"))
        #expect(other.sawEnd)
        #expect(throws: SystemError.self) { _ = try proxy.connect(port: 81) }
    }

    @Test("a reload says which shared dictionaries begin empty, and why")
    func dictionaries() throws {
        func text(_ size: String, _ other: String = "") -> String {
            "error_log /var/log/e.log notice; events {} http { lua_shared_dict kept 1m; lua_shared_dict rates \(size); "
                + "\(other) server { listen 80; return 200 one; } }"
        }
        let proxy = try ProxyUnderTest(text("1m"))
        #expect(proxy.takeErrors().isEmpty)
        try proxy.reload(text("1m", "lua_shared_dict new 1m;"))
        #expect(proxy.takeErrors().isEmpty)
        try proxy.reload(text("2m"))
        #expect(
            proxy.takeErrors() == [
                ErrorLine(
                    "2026/11/23 21:59:44 [notice] 1#1: lua_shared_dict \"rates\" begins empty: its size was 1048576 and "
                        + "is 2097152 bytes")
            ])
    }

    @Test("a drain answers what is under way, and then nothing is left")
    func drain() throws {
        let proxy = try proxy()
        let backend = proxy.backend()
        let client = try proxy.connect()
        client.send(request())
        proxy.run()
        proxy.drain()
        #expect(throws: SystemError.self) { _ = try proxy.connect() }
        try #require(backend.accept()).send(Self.answer)
        proxy.run()
        #expect(text(client.receive()).contains("Connection: close\r\n"))
        client.close()
        proxy.run()
        proxy.end()
        #expect(proxy.network.openDescriptors == 0)
    }

    @Test("a thousand exchanges leave the connections that are kept, and the end leaves nothing")
    func thousand() throws {
        weak var worker: Worker?
        do {
            let proxy = try proxy()
            worker = proxy.worker
            let backend = proxy.backend()
            backend.onConnect = { server in
                server.onActivity { if !$0.receive().isEmpty { $0.send(Self.answer) } }
            }
            for number in 1...1_000 {
                let client = try proxy.connect()
                client.send(request("/\(number)"))
                proxy.run()
                #expect(client.receive().suffix(5) == Array("hello".utf8))
                client.close()
                proxy.run()
            }
            #expect(proxy.takeLog("/log/access").count == 1_000)
            #expect(backend.connections == 1)
            // The listener and the backend's connection.
            #expect(proxy.network.openDescriptors == 2)
            proxy.end()
            #expect(proxy.network.openDescriptors == 0)
        }
        #expect(worker == nil)
    }

    @Test("a close hook that waits when all ends keeps nothing", arguments: [false, true])
    func waitingCloseHook(_ reloads: Bool) throws {
        let configuration = """
            server {
                listen 80;
                proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection upgrade;
                close_by_lua_block { sy.sleep(100) }
                location / { proxy_pass http://app.test:9000; }
            }
            """
        weak var scripts: WorkerScripts?
        do {
            let proxy = try proxy(configuration)
            scripts = proxy.worker.scriptRoster.all.first
            #expect(scripts != nil)
            let backend = proxy.backend()
            let client = try openWebSocket(through: proxy, to: backend)
            client.close()
            proxy.run()
            if reloads { try proxy.reload("events {} http { \(configuration) }") }
            proxy.end()
        }
        #expect(scripts == nil)
    }

    @Test("scripts find a tunnel that stayed with an older configuration, and what they ask of it is done")
    func remoteFlows() throws {
        let configuration = """
            server {
                listen 80;
                proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection upgrade;
                open_by_lua_block { flow:tag("a") flow:after(1000, function() end) }
                request_by_lua_block {
                    if flow.req.path == "/end" then sy.flows{ tag = "a" }[1]:close(4001, "end") end
                    if flow.req.path ~= "/ask" then return end
                    local text = ""
                    for _, one in ipairs(sy.flows{ tag = "a" }) do
                        text = text .. tostring(one.is_remote) .. " " .. tostring(one.client:send("hi")) .. ";"
                    end
                    return flow:respond{ body = text .. #sy.flows() }
                }
                location / { proxy_pass http://app.test:9000; }
            }
            """
        weak var worker: Worker?
        do {
            let proxy = try proxy(configuration)
            worker = proxy.worker
            func ask() throws -> String {
                let client = try proxy.connect()
                client.send(request("/ask"))
                proxy.run()
                defer { client.close() }
                return text(client.receive()).split(separator: "\r\n").last.map { String($0) } ?? ""
            }
            let backend = proxy.backend()
            let client = try openWebSocket(through: proxy, to: backend)
            #expect(try ask() == "false true;1")
            #expect(client.receive() == [0x81, 2] + Array("hi".utf8))
            try proxy.reload("events {} http { \(configuration) }")
            #expect(try ask() == "true true;1")
            #expect(client.receive() == [0x81, 2] + Array("hi".utf8))
            let other = try proxy.connect()
            other.send(request("/end"))
            proxy.run()
            #expect(client.receive() == [0x88, 5, 0x0F, 0xA1] + Array("end".utf8))
            // The client has not answered: the tunnel stands, but is none to send on.
            #expect(try ask() == "0")
            client.close()
            other.close()
            proxy.run()
            #expect(try ask() == "0")
            proxy.end()
        }
        #expect(worker == nil)
    }

    @Test("each proxy is one of its own; a hundred of them are made, used and gone")
    func many() throws {
        for _ in 0..<100 {
            weak var worker: Worker?
            do {
                let proxy = try proxy("server { listen 80; return 204; }")
                worker = proxy.worker
                let client = try proxy.connect()
                client.send(request())
                proxy.run()
                #expect(text(client.receive()).hasPrefix("HTTP/1.1 204 "))
            }
            #expect(worker == nil)
        }
    }
}
