import Config
import ProxyCore
import Testing
import Wire

@Suite("Responses of our own")
struct ProxyingLocalResponseTests {
    static let own = ProxyingResponseTests.own

    static let tooLargePage = page("400 Request Header Or Cookie Too Large").replacing(
        "<h1>400 Request Header Or Cookie Too Large</h1></center>",
        with: "<h1>400 Bad Request</h1></center>\n<center>Request Header Or Cookie Too Large</center>")

    static func page(_ title: String, _ signature: String = "switchyard/\(Product.version)") -> String {
        """
        <html>
        <head><title>\(title)</title></head>
        <body>
        <center><h1>\(title)</h1></center>
        <hr><center>\(signature)</center>
        </body>
        </html>

        """
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var location: String
        var request = "GET / HTTP/1.1\nHost: client.test\n\n"
        /// The status line.
        var line: String
        /// From `Content-Type` on.
        var fields: String
        var body: String
        var keepsAlive = true
        var testDescription: String { name }
    }

    private static func length(_ body: String) -> Int { body.utf8.count + body.utf8.count { $0 == 10 } }

    static let cases = [
        Case(
            name: "a page of nginx's form", location: "return 404;", line: "404 Not Found",
            fields:
                "Content-Type: text/html\nContent-Length: \(length(page("404 Not Found")))\nConnection: keep-alive\n",
            body: page("404 Not Found")),
        Case(
            name: "a page without the version", location: "return 404; server_tokens off;",
            line: "404 Not Found",
            fields: """
                Content-Type: text/html
                Content-Length: \(length(page("404 Not Found", "switchyard")))
                Connection: keep-alive

                """, body: page("404 Not Found", "switchyard")),
        Case(
            name: "HEAD is told the length of the page", location: "return 404;",
            request: "HEAD / HTTP/1.1\nHost: client.test\n\n", line: "404 Not Found",
            fields:
                "Content-Type: text/html\nContent-Length: \(length(page("404 Not Found")))\nConnection: keep-alive\n",
            body: ""),
        Case(
            name: "after a bad request the connection closes", location: "return 400;",
            line: "400 Bad Request",
            fields:
                "Content-Type: text/html\nContent-Length: \(length(page("400 Bad Request")))\nConnection: close\n",
            body: page("400 Bad Request"), keepsAlive: false),
        Case(
            name: "nginx's 494 is a 400 to clients", location: "return 494;", line: "400 Bad Request",
            fields:
                "Content-Type: text/html\nContent-Length: \(length(tooLargePage))\nConnection: close\n",
            body: tooLargePage, keepsAlive: false),
        Case(
            name: "a redirect that is made absolute stands where nginx puts it", location: "return 301 /x;",
            line: "301 Moved Permanently",
            fields: """
                Content-Type: text/html
                Content-Length: \(length(page("301 Moved Permanently")))
                Location: http://client.test:8080/x
                Connection: keep-alive

                """, body: page("301 Moved Permanently")),
        Case(
            name: "302 is worded as nginx words it", location: "return http://a/b;",
            line: "302 Moved Temporarily",
            fields: """
                Content-Type: text/html
                Content-Length: \(length(page("302 Found")))
                Connection: keep-alive
                Location: http://a/b

                """, body: page("302 Found")),
        Case(
            name: "a text has the default type", location: "return 200 hello;", line: "200 OK",
            fields: "Content-Type: text/plain\nContent-Length: 5\nConnection: keep-alive\n", body: "hello"),
        Case(
            name: "a text has the type of its name", location: "return 200 hi;",
            request: "GET /t.HTML HTTP/1.1\nHost: c\n\n", line: "200 OK",
            fields: "Content-Type: text/html\nContent-Length: 2\nConnection: keep-alive\n", body: "hi"),
        Case(
            name: "an empty 200", location: "return 200;", line: "200 OK",
            fields: "Content-Type: text/plain\nContent-Length: 0\nConnection: keep-alive\n", body: ""),
        Case(
            name: "204 has neither type nor length", location: "return 204;", line: "204 No Content",
            fields: "Connection: keep-alive\n", body: ""),
        Case(
            name: "304 says what a 200 would", location: "return 304 hello;",
            line: "304 Not Modified",
            fields: "Content-Type: text/plain\nContent-Length: 5\nConnection: keep-alive\n", body: ""),
        Case(
            name: "304 without a text, of nothing", location: "return 304;", line: "304 Not Modified",
            fields: "Content-Type: text/plain\nContent-Length: 0\nConnection: keep-alive\n", body: ""),
        Case(
            name: "a status without a page is empty", location: "return 418;", line: "418 ",
            fields: "Content-Length: 0\nConnection: keep-alive\n", body: ""),
        Case(
            name: "add_header and expires apply as elsewhere",
            location: "return 200 ok; add_header X-A $status; expires max;", line: "200 OK",
            fields: """
                Content-Type: text/plain
                Content-Length: 2
                Connection: keep-alive
                Expires: Thu, 31 Dec 2037 23:55:55 GMT
                Cache-Control: max-age=315360000
                X-A: 200

                """, body: "ok"),
        Case(
            name: "add_trailer makes chunks", location: "return 200 hello; add_trailer X-T t;",
            line: "200 OK",
            fields: "Content-Type: text/plain\nTransfer-Encoding: chunked\nConnection: keep-alive\n",
            body: "5\nhello\n0\nX-T: t\n\n"),
    ]

    @Test("whole responses", arguments: cases)
    func response(_ test: Case) throws {
        let fixture = try ProxyingFixture(test.location, request: test.request)
        let (text, facts) = try fixture.local()
        #expect(
            text
                == "HTTP/1.1 \(test.line)\n\(Self.own.replacing("/0.1.0", with: tokens(test)))\(test.fields)\n\(test.body)"
        )
        #expect(facts.keepsAlive == test.keepsAlive)
        #expect(test.line.hasPrefix("\(facts.status) "))
    }

    private func tokens(_ test: Case) -> String {
        test.location.contains("server_tokens off") ? "" : "/\(Product.version)"
    }

    @Test("a head that was too large is a 400 that says so")
    func headTooLarge() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", request: "GET / HTTP/1.1\nHost: c\n\n")
        let (text, facts) = try fixture.local(LocalResponse(status: 494))
        #expect(text.hasPrefix("HTTP/1.1 400 Bad Request\n"))
        #expect(text.contains("<title>400 Request Header Or Cookie Too Large</title>"))
        #expect(facts.status == 400)
        #expect(!facts.keepsAlive)
    }

    @Test("a 426 names the version that is spoken")
    func upgradeRequired() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", request: "GET / HTTP/1.1\nHost: c\n\n")
        let (text, facts) = try fixture.local(WebSocketHandshake.RequestViolation.unsupportedVersion.response)
        #expect(text.hasPrefix("HTTP/1.1 426 Upgrade Required\n"))
        #expect(text.contains("\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\n<html>"))
        #expect(facts.status == 426)
    }

    @Test("the status page is nginx's")
    func stubStatus() throws {
        var counts = ConnectionCounts()
        counts.active = 1
        counts.accepted = 22
        counts.handled = 333
        counts.requests = 4444
        counts.reading = 5
        counts.writing = 6
        counts.waiting = 7
        let response = LocalResponseBuilder.stubStatus(counts)
        #expect(response.contentType?.text == "text/plain")
        #expect(
            response.body?.text
                == "Active connections: 1 \nserver accepts handled requests\n 22 333 4444 \n"
                + "Reading: 5 Writing: 6 Waiting: 7 \n")
    }

    @Test("a response that closes says so")
    func closes() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", request: "GET / HTTP/1.1\nHost: c\n\n")
        var response = LocalResponse(status: 200, body: Array("x".utf8))
        response.closes = true
        let (text, facts) = try fixture.local(response)
        #expect(text.contains("\nConnection: close\n"))
        #expect(!facts.keepsAlive)
    }

    // MARK: Keep-alive

    @Test(
        "keepalive directives decide about the connection",
        arguments: [
            ("", "t", 1, true), ("keepalive_timeout 0;", "t", 1, false),
            ("keepalive_requests 5;", "t", 4, true),
            ("keepalive_requests 5;", "t", 5, false), ("keepalive_time 10s;", "t", 1, false),
            ("keepalive_disable safari;", "Mozilla/5.0 (Mac OS X) AppleWebKit Version/5 Safari/5", 1, false),
            ("keepalive_disable safari;", "Mozilla/5.0 (Mac OS X) AppleWebKit Chrome/5 Safari/5", 1, true),
            ("keepalive_disable none;", "Mozilla/4.0 (compatible; MSIE 6.0; Windows)", 1, true),
            ("keepalive_disable msie6;", "Mozilla/4.0 (compatible; MSIE 6.0; Windows)", 1, false),
            ("keepalive_disable msie6;", "Mozilla/4.0 (compatible; MSIE 6.0; Windows SV1)", 1, true),
            ("keepalive_disable msie6;", "Mozilla/4.0 (compatible; MSIE 7.0; Windows)", 1, true),
            ("keepalive_disable msie6;", "Mozilla/4.0 (compatible; MSIE 6.0) Opera 8", 1, true),
        ])
    func keepAlive(_ settings: String, _ agent: String, _ requests: Int, _ keeps: Bool) throws {
        let fixture = try ProxyingFixture(
            "return 200 x; \(settings)",
            request: "POST / HTTP/1.1\nHost: c\nUser-Agent: \(agent)\nContent-Length: 0\n\n")
        fixture.exchange.client.requests = requests
        fixture.exchange.client.connectedAt = Moment(unix: 0, monotonic: 1_000_000 - 20_000)
        #expect(try fixture.local().facts.keepsAlive == keeps)
    }
}
