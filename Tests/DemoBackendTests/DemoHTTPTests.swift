import EventLoop
import Testing

@testable import DemoBackend

@Suite("Demo backend over HTTP", .timeLimit(.minutes(1)))
struct DemoHTTPTests {
    let fixture: DemoFixture

    init() throws { fixture = try DemoFixture() }

    func get(_ target: String, method: String = "GET", _ fields: String = "") throws -> String {
        try fixture.exchange(
            "\(method) \(target) HTTP/1.1\r\nHost: demo.test\r\nConnection: close\r\n\(fields)\r\n")
    }

    static func body(_ response: String) -> String {
        let bytes = Array(response.utf8)
        return String(decoding: bytes[(bytes.headEnd ?? bytes.count)...], as: UTF8.self)
    }

    @Test(
        "each route answers",
        arguments: [
            ("/", 200, "Switchyard demo"), ("/hello", 200, "Hello from"),
            ("/headers", 200, "GET /headers HTTP/1.1"),
            ("/status/200", 200, "200 OK"), ("/status/503", 503, "503 Service Unavailable"),
            ("/status/599", 599, "599 Status 599"), ("/slow?ms=1", 200, "Sorry"),
            ("/bytes?n=64", 200, "0123456789"),
            ("http://demo.test/hello?a=b", 200, "Hello"), ("http://demo.test", 200, "Switchyard demo"),
            ("/nowhere", 404, "404 Not Found"), ("/status/", 404, "404"), ("/status/100", 404, "404"),
            ("/status/600", 404, "404"), ("/status/abc", 404, "404"), ("/slow?ms=-1", 400, "400"),
            ("/slow?ms=60001", 400, "400"), ("/slow?ms=99999999999999999999", 400, "400"),
            ("/bytes?n=x", 400, "400"),
            ("/echo", 405, "405"), ("/chat", 426, "426"), ("/ws/echo", 426, "426"),
        ])
    func routes(target: String, status: Int, body: String) throws {
        let response = try get(target)
        #expect(response.hasPrefix("HTTP/1.1 \(status) "))
        #expect(Self.body(response).contains(body))
        #expect(response.contains("\r\nConnection: close\r\n"))
    }

    @Test("statuses without content have none", arguments: [204, 205, 304])
    func noContent(status: Int) throws {
        let response = try get("/status/\(status)")
        #expect(response.hasPrefix("HTTP/1.1 \(status) "))
        #expect(Self.body(response).isEmpty)
        #expect(!response.contains("Content-Type"))
    }

    @Test(
        "HEAD tells of a body and sends none", arguments: ["/", "/hello", "/bytes?n=1000000", "/slow?ms=1"])
    func head(target: String) throws {
        let response = try get(target, method: "HEAD")
        #expect(response.hasPrefix("HTTP/1.1 200 "))
        #expect(response.contains("\r\nContent-Length: "))
        #expect(Self.body(response).isEmpty)
    }

    @Test("a method that a route does not have is answered with those it has")
    func methods() throws {
        let response = try get("/hello", method: "DELETE")
        #expect(response.hasPrefix("HTTP/1.1 405 "))
        #expect(response.contains("\r\nAllow: GET, HEAD\r\n"))
        #expect(try get("/echo").contains("\r\nAllow: POST, PUT\r\n"))
    }

    @Test("the head comes back as it arrived")
    func headers() throws {
        let request =
            "GET /headers HTTP/1.1\r\nHOST: demo.test\r\nx-ODD:   spaced  \r\nConnection: close\r\n\r\n"
        #expect(Self.body(try fixture.exchange(request)) == request)
    }

    @Test("a streamed body is whole, also for a client that reads late")
    func bytes() throws {
        let count = 3_000_000
        let client = try fixture.connect()
        client.readsOn = false
        client.send(Array("GET /bytes?n=\(count) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".utf8))
        for _ in 0..<50 { fixture.loop.turn(wait: false) }
        #expect(client.received.isEmpty)
        client.readsOn = true
        client.scheduleRead()
        fixture.run { client.hasEnded }
        let response = client.text
        #expect(response.contains("\r\nContent-Length: \(count)\r\n"))
        let body = client.received.suffix(count)
        let isWhole = body.enumerated().allSatisfy {
            DemoBytes.pattern[$0.offset % DemoBytes.pattern.count] == $0.element
        }
        #expect(isWhole)
        #expect(Self.body(response).utf8.count == count)
    }

    @Test("a body of known length comes back with that length, as it arrives")
    func echo() throws {
        let client = try fixture.connect()
        client.send(Array("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc".utf8))
        fixture.run { client.text.hasSuffix("\r\n\r\nabc") }
        client.send(Array("def".utf8))
        fixture.run { client.text.hasSuffix("\r\n\r\nabcdef") }
        #expect(client.text.contains("\r\nContent-Length: 6\r\n"))
        client.close()
    }

    @Test("a chunked body comes back chunked")
    func chunkedEcho() throws {
        let response = try fixture.exchange(
            "PUT /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nTrailer: t\r\n\r\n")
        #expect(response.contains("\r\nTransfer-Encoding: chunked\r\n"))
        #expect(Self.body(response) == "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
    }

    @Test("a body that nobody wants is read and dropped")
    func droppedBody() throws {
        let body = String(repeating: "x", count: 300_000)
        let response = try fixture.exchange(
            "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                + "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        #expect(response.hasPrefix("HTTP/1.1 404 "))
        #expect(response.contains("HTTP/1.1 200 OK"))
    }

    @Test("a client that waits is told to continue")
    func continues() throws {
        let client = try fixture.connect()
        client.send(
            Array("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".utf8))
        fixture.run { client.text.contains("HTTP/1.1 200 OK") }
        #expect(client.text.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"))
        client.close()
    }

    @Test("pipelined requests are answered in order, a slow one too")
    func pipelining() throws {
        let targets = ["/hello", "/slow?ms=5", "/status/404", "/bytes?n=70000"]
        let requests = targets.map { "GET \($0) HTTP/1.1\r\nHost: a\r\n\r\n" }.joined()
        let response = try fixture.exchange(
            requests + "GET /status/418 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        let statuses = response.split(separator: "HTTP/1.1 ").map { $0.prefix(3) }
        #expect(statuses == ["200", "200", "404", "200", "418"])
    }

    @Test("a head may arrive a byte at a time")
    func byteByByte() throws {
        let client = try fixture.connect()
        for byte in "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".utf8 {
            client.send([byte])
            fixture.loop.turn(wait: false)
        }
        fixture.run { client.hasEnded }
        #expect(client.text.hasPrefix("HTTP/1.1 200 OK"))
    }

    @Test(
        "what is no request is refused, and the connection closed",
        arguments: [
            ("GET /hello HTTP/1.1\r\n\r\n", 400), ("GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ])
    func refused(request: String, status: Int) throws {
        let response = try fixture.exchange(request)
        #expect(response.hasPrefix("HTTP/1.1 \(status) "))
        #expect(response.contains("\r\nConnection: close\r\n"))
    }

    @Test("an echo of a body that breaks is broken off")
    func brokenEcho() throws {
        let response = try fixture.exchange(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n")
        #expect(Self.body(response) == "1\r\na\r\n")
    }

    @Test("a client that has sent all it will is still answered")
    func halfClose() throws {
        let client = try fixture.connect()
        client.send(Array("GET /slow?ms=5 HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        client.shutdownWhenSent()
        fixture.run { client.hasEnded }
        #expect(client.text.hasPrefix("HTTP/1.1 200 OK"))
    }

    @Test("an HTTP/1.0 client is answered, and its connection closed", arguments: ["close", "keep-alive"])
    func oldVersion(connection: String) throws {
        let response = try fixture.exchange("GET /hello HTTP/1.0\r\nConnection: \(connection)\r\n\r\n")
        #expect(response.hasPrefix("HTTP/1.1 200 OK"))
        #expect(response.contains("\r\nConnection: close\r\n"))
    }

    @Test("a closed server closes its connections, and lets go of them")
    func closing() throws {
        let clients = try [fixture.connect(), fixture.webSocket("/chat")]
        fixture.run { fixture.server.connectionCount == 2 }
        fixture.server.close()
        #expect(fixture.server.connectionCount == 0)
        fixture.run { clients.allSatisfy(\.hasEnded) }
    }

    @Test("every button of the page leads to a route")
    func page() {
        let attributes = DemoPage.html.split(separator: "data-get=\"").dropFirst().map {
            $0.prefix { $0 != "\"" }
        }
        #expect(attributes.count >= 6)
        for target in attributes {
            #expect(DemoRoute.find("/" + target.prefix { $0 != "?" }) != nil, "\(target)")
        }
        #expect(Set(DemoServer.thingsToTry.map(\.target)).count == DemoRoute.all.count)
    }

    @Test(
        "dates are written as RFC 9110 has them",
        arguments: [
            (Int64(0), "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
        ])
    func dates(seconds: Int64, text: String) {
        #expect(HTTPDate.text(seconds) == text)
    }
}
