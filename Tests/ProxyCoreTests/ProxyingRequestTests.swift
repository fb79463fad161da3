import Config
import ProxyCore
import Testing
import Wire

/// Heads as nginx 1.22 sends them for the same configuration and request, but for the differences that a test's
/// name tells.
@Suite("What goes upstream")
struct ProxyingRequestTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var location: String
        var path = "/"
        var http = ""
        var request: String
        var bodyLength: Int64? = 0
        var head: String
        var testDescription: String { name }
    }

    static let client = "Host: client.test\nUser-Agent: t\nAccept: */*\n"
    static let recipe = """
        proxy_pass http://127.0.0.1:9000; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host $host;
        """
    static let map = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"

    static let cases = [
        Case(
            name: "nginx's defaults come first, then the client's fields in their order",
            location: "proxy_pass http://127.0.0.1:9000;",
            request: "GET /a%20b?x=1 HTTP/1.1\n\(client)Cookie: a=b\n\n",
            head: """
                GET /a%20b?x=1 HTTP/1.0
                Host: 127.0.0.1:9000
                Connection: close
                User-Agent: t
                Accept: */*
                Cookie: a=b


                """),
        Case(
            name: "hop-by-hop fields, those that Connection nominates, and odd names stay behind",
            location: "proxy_pass http://127.0.0.1:9000;",
            request: """
                GET / HTTP/1.1
                \(client)Connection: keep-alive, X-Foo, Cookie, Content-Length, Host
                X-Foo: 1
                Keep-Alive: 3
                TE: trailers
                Trailer: X
                Proxy-Connection: a
                Upgrade: h2c
                HTTP2-Settings: AAA
                Expect: 100-continue
                Cookie: c
                X_under: 1
                A.dot: 1
                X-Foot: 2


                """,
            head: """
                GET / HTTP/1.0
                Host: 127.0.0.1:9000
                Connection: close
                User-Agent: t
                Accept: */*
                Trailer: X
                X-Foot: 2


                """),
        Case(
            name: "a length is told where nginx tells it",
            location: "proxy_pass http://127.0.0.1:9000;",
            request: "POST / HTTP/1.1\n\(client)Content-Length: 3\n\n", bodyLength: 3,
            head: """
                POST / HTTP/1.0
                Host: 127.0.0.1:9000
                Connection: close
                Content-Length: 3
                User-Agent: t
                Accept: */*


                """),
        Case(
            name: "a value over several lines is one line",
            location:
                "proxy_pass http://127.0.0.1:9000; proxy_set_header X \"a\nEvil: b\"; proxy_set_header Y \"c\nd$arg_e\";",
            request: "GET / HTTP/1.0\n\n",
            head: "GET / HTTP/1.0\nX: a Evil: b\nY: c d\nHost: 127.0.0.1:9000\nConnection: close\n\n"),
        Case(
            name: "a length of zero that the client told is told again",
            location: "proxy_pass http://127.0.0.1:9000;",
            request: "POST / HTTP/1.1\nHost: c\nContent-Length: 0\n\n",
            head: "POST / HTTP/1.0\nHost: 127.0.0.1:9000\nConnection: close\nContent-Length: 0\n\n"),
        Case(
            name: "a chunked body that was read whole goes out with its length",
            location: "proxy_pass http://127.0.0.1:9000;",
            request: "POST / HTTP/1.1\nHost: c\nTransfer-Encoding: chunked\n\n", bodyLength: 5,
            head: "POST / HTTP/1.0\nHost: 127.0.0.1:9000\nConnection: close\nContent-Length: 5\n\n"),
        Case(
            name: "a body of unknown length goes out chunked",
            location: "proxy_pass http://127.0.0.1:9000; proxy_http_version 1.1;",
            request: "POST / HTTP/1.1\nHost: c\nTransfer-Encoding: chunked\n\n", bodyLength: nil,
            head: """
                POST / HTTP/1.1
                Host: 127.0.0.1:9000
                Connection: close
                Transfer-Encoding: chunked


                """),
        Case(
            name: "framing is the proxy's even where the configuration names its fields",
            location: """
                proxy_pass http://127.0.0.1:9000; proxy_http_version 1.1;
                proxy_set_header Content-Length 7; proxy_set_header Transfer-Encoding gzip;
                proxy_set_header content-length 8;
                """,
            request: "POST / HTTP/1.1\nHost: c\nContent-Length: 3\n\n", bodyLength: 3,
            head: """
                POST / HTTP/1.1
                Content-Length: 3
                Host: 127.0.0.1:9000
                Connection: close


                """),
        Case(
            name: "fields of the configuration come first as they are written, empty ones not at all",
            location: """
                proxy_pass http://127.0.0.1:9000; proxy_http_version 1.1;
                proxy_set_header Connection ""; proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header x-EMPTY ""; proxy_set_header X-Unset $http_nothing;
                """,
            request: "GET /v HTTP/1.1\n\(client)X-Empty: gone\nx-unset: gone\nConnection: close\n\n",
            head: """
                GET /v HTTP/1.1
                X-Real-IP: 192.0.2.7
                Host: 127.0.0.1:9000
                User-Agent: t
                Accept: */*


                """),
        Case(
            name: "the recipe passes an upgrade on",
            location: recipe, http: map,
            request: """
                GET /chat HTTP/1.1
                \(client)Connection: keep-alive, Upgrade
                Upgrade: websocket
                Sec-WebSocket-Version: 13
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==


                """,
            head: """
                GET /chat HTTP/1.1
                Upgrade: websocket
                Connection: upgrade
                Host: client.test
                User-Agent: t
                Accept: */*
                Sec-WebSocket-Version: 13
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==


                """),
        Case(
            name: "the recipe's map says close without one",
            location: recipe, http: map, request: "GET /chat HTTP/1.1\n\(client)\n",
            head: "GET /chat HTTP/1.1\nConnection: close\nHost: client.test\nUser-Agent: t\nAccept: */*\n\n"),
        Case(
            name: "only protocols that may be tunnelled are offered",
            location: recipe, http: map,
            request: "GET / HTTP/1.1\nHost: c\nConnection: upgrade\nUpgrade: h2c, foo/2, TLS/1.0, bar\n\n",
            head: "GET / HTTP/1.1\nUpgrade: foo/2, bar\nConnection: upgrade\nHost: c\n\n"),
        Case(
            name: "an upgrade that is switched off is not passed on",
            location: recipe + "proxy_upgrade_protocols off;", http: map,
            request: "GET / HTTP/1.1\nHost: c\nConnection: upgrade\nUpgrade: foo\n\n",
            head: "GET / HTTP/1.1\nConnection: upgrade\nHost: c\n\n"),
        Case(
            name: "an Upgrade without the connection option is nothing",
            location: recipe, http: map, request: "GET / HTTP/1.1\nHost: c\nUpgrade: foo\n\n",
            head: "GET / HTTP/1.1\nConnection: upgrade\nHost: c\n\n"),
        Case(
            name: "a body and a method of the configuration replace the client's",
            location: "proxy_pass http://127.0.0.1:9000; proxy_set_body \"hello $arg_a\"; proxy_method POST;",
            request: "GET /s?a=b HTTP/1.1\nHost: c\n\n",
            head: "POST /s?a=b HTTP/1.0\nHost: 127.0.0.1:9000\nConnection: close\nContent-Length: 7\n\n"),
        Case(
            name: "a body that is not passed on has no length",
            location: """
                proxy_pass http://127.0.0.1:9000; proxy_pass_request_body off;
                proxy_set_header Content-Length "";
                """,
            request: "POST / HTTP/1.1\nHost: c\nContent-Length: 3\n\n", bodyLength: 3,
            head: "POST / HTTP/1.0\nHost: 127.0.0.1:9000\nConnection: close\n\n"),
        Case(
            name: "a body that is not passed on is never announced, which nginx does",
            location: "proxy_pass http://127.0.0.1:9000; proxy_pass_request_body off;",
            request: "POST / HTTP/1.1\nHost: c\nContent-Length: 3\n\n", bodyLength: 3,
            head: "POST / HTTP/1.0\nHost: 127.0.0.1:9000\nConnection: close\nContent-Length: 0\n\n"),
        Case(
            name: "without the client's fields the framing remains",
            location: "proxy_pass http://127.0.0.1:9000; proxy_pass_request_headers off;",
            request: "POST / HTTP/1.1\n\(client)Content-Length: 3\n\n", bodyLength: 3,
            head: "POST / HTTP/1.0\nHost: 127.0.0.1:9000\nConnection: close\nContent-Length: 3\n\n"),
        Case(
            name: "white space around values goes, repeated fields stay",
            location: "proxy_pass http://127.0.0.1:9000;",
            request: "GET / HTTP/1.1\nHost: c\nAuthorization:  x  \nX-Dup: 1\nX-Dup:2\nX-Last: 3\n\n",
            head: """
                GET / HTTP/1.0
                Host: 127.0.0.1:9000
                Connection: close
                Authorization: x
                X-Dup: 1
                X-Dup: 2
                X-Last: 3


                """),
        Case(
            name: "a decoded line end cannot begin a field",
            location: "proxy_pass http://127.0.0.1:9000; proxy_set_header X-Path $uri;",
            request: "GET /a%0d%0aX-Evil:%201 HTTP/1.1\nHost: c\n\n",
            head: """
                GET /a%0d%0aX-Evil:%201 HTTP/1.0
                X-Path: /a  X-Evil: 1
                Host: 127.0.0.1:9000
                Connection: close


                """),
    ]

    @Test("heads are nginx's", arguments: cases)
    func head(_ test: Case) throws {
        let fixture = try ProxyingFixture(
            test.location, path: test.path, http: test.http, request: test.request)
        #expect(try fixture.upstream(bodyLength: test.bodyLength).head == test.head)
    }

    @Test(
        "a method that is none does not become one",
        arguments: [("$arg_m", "PATCH"), ("$arg_none", "GET"), ("$uri", "GET")])
    func method(_ template: String, _ method: String) throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; proxy_method \(template);",
            request: "GET /%20HTTP/1.1%0d%0a?m=PATCH HTTP/1.1\nHost: c\n\n")
        #expect(try fixture.upstream().head.hasPrefix("\(method) /%20HTTP/1.1%0d%0a?m=PATCH HTTP/1.0\n"))
    }

    @Test(
        "names with underscores, and odd ones, pass where the server says so",
        arguments: [
            ("", false, false), ("underscores_in_headers on;", true, false),
            ("ignore_invalid_headers off;", true, true),
        ])
    func nameKinds(http: String, underscored: Bool, odd: Bool) throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", http: http,
            request: "GET / HTTP/1.1\nHost: c\nX_under: 1\nA.dot: 2\n\n")
        let head = try fixture.upstream().head
        #expect(head.contains("\nX_under: 1\n") == underscored)
        #expect(head.contains("\nA.dot: 2\n") == odd)
    }

    @Test("HEAD stays HEAD, and is known to have no body in its answer", arguments: ["HEAD", "GET"])
    func headMethod(_ method: String) throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", request: "\(method) / HTTP/1.1\nHost: c\n\n")
        let (head, facts) = try fixture.upstream()
        #expect(head.hasPrefix("\(method) / HTTP/1.0\n"))
        #expect(facts.isHead == (method == "HEAD"))
    }

    @Test(
        "what is said about the connection is known",
        arguments: [
            ("", ConnectionIntent.close), ("proxy_http_version 1.1;", .close),
            ("proxy_http_version 1.1; proxy_set_header Connection '';", .keepAlive),
            ("proxy_http_version 1.1; proxy_set_header Connection keep-alive;", .keepAlive),
            ("proxy_http_version 1.1; proxy_set_header Connection upgrade;", .upgrade),
            ("proxy_http_version 1.1; proxy_set_header Connection 'Upgrade, Close';", .close),
            ("proxy_http_version 1.1; proxy_set_header Connection $http_x;", .keepAlive),
            ("proxy_http_version 1.1; proxy_set_header Connection $http_y;", .close),
            ("proxy_http_version 1.0; proxy_set_header Connection '';", .close),
        ])
    func connection(_ settings: String, _ intent: ConnectionIntent) throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; \(settings)",
            request: "GET / HTTP/1.1\nHost: c\nX: \nY: close\n\n")
        #expect(try fixture.upstream().facts.connection == intent)
    }

    @Test("how the body goes out is told")
    func framing() throws {
        let post = "POST / HTTP/1.1\nHost: c\nTransfer-Encoding: chunked\n\n"
        let modern = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; proxy_http_version 1.1;", request: post)
        #expect(try modern.upstream(bodyLength: nil).facts.framing == .chunked)
        #expect(try modern.upstream(bodyLength: 9).facts.framing == .length(9))
        #expect(try modern.upstream(bodyLength: 0).facts.framing == .none)
        let old = try ProxyingFixture("proxy_pass http://127.0.0.1:9000;", request: post)
        #expect(try old.upstream(bodyLength: nil).facts.framing == .none)
        let replaced = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; proxy_set_body abc;", request: post)
        let facts = try replaced.upstream(bodyLength: nil).facts
        #expect(facts.framing == .length(3))
        #expect(facts.replacementBody?.text == "abc")
    }
}
