import Config
import ProxyCore
import Testing
import Wire

/// Heads as nginx 1.22 sends them but for `Server`, unless a test's name tells a difference.
@Suite("What goes to the client")
struct ProxyingResponseTests {
    static let own = "Server: switchyard/\(Product.version)\nDate: Mon, 01 Jan 2024 00:00:00 GMT\n"
    static let full = """
        HTTP/1.1 200 Fine
        Server: b
        Date: Sun, 31 Dec 2023 00:00:00 GMT
        X-One: 1
        Content-Type: text/x;charset=a
        Last-Modified: Sun, 31 Dec 2023 23:00:00 GMT
        ETag: "a"
        Set-Cookie: a
        Set-Cookie: b
        Connection: close, X-Hop
        X-Hop: 1
        Keep-Alive: timeout=3
        X-Accel-Foo: 1
        X-Accel-Expires: 1
        X-Pad: 1
        Content-Length: 2
        X-Hide: 1
        Upgrade: h2c


        """
    static let rest = """
        X-One: 1
        Last-Modified: Sun, 31 Dec 2023 23:00:00 GMT
        ETag: "a"
        Set-Cookie: a
        Set-Cookie: b
        X-Accel-Foo: 1
        X-Hide: 1

        """

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var settings = ""
        var request = "GET / HTTP/1.1\nHost: client.test\n\n"
        var response: String
        var head: String
        var framing = BodyFraming.length(2)
        var keepsAlive = true
        var testDescription: String { name }
    }

    static let old = "GET / HTTP/1.0\nHost: client.test\n\n"
    static let headRequest = "HEAD / HTTP/1.1\nHost: client.test\n\n"
    static let empty = "Content-Length: 0\nConnection: keep-alive\n"

    static let cases = [
        Case(
            name: "ours first, then the upstream's without hidden, hop-by-hop and nominated ones",
            response: full,
            head: """
                HTTP/1.1 200 Fine
                \(own)Content-Type: text/x;charset=a
                Content-Length: 2
                Connection: keep-alive
                \(rest)

                """),
        Case(
            name: "an HTTP/1.0 client's connection closes", request: old, response: full,
            head: """
                HTTP/1.1 200 Fine
                \(own)Content-Type: text/x;charset=a
                Content-Length: 2
                Connection: close
                \(rest)

                """, keepsAlive: false),
        Case(
            name: "an HTTP/1.0 client may ask to keep it",
            request: "GET / HTTP/1.0\nHost: c\nConnection: keep-alive\n\n", response: full,
            head: """
                HTTP/1.1 200 Fine
                \(own)Content-Type: text/x;charset=a
                Content-Length: 2
                Connection: keep-alive
                \(rest)

                """),
        Case(
            name: "proxy_pass_header and proxy_hide_header",
            settings: "proxy_pass_header Server; proxy_pass_header Date; proxy_hide_header X-hide;",
            response: full,
            head: """
                HTTP/1.1 200 Fine
                Content-Type: text/x;charset=a
                Content-Length: 2
                Connection: keep-alive
                Server: b
                Date: Sun, 31 Dec 2023 00:00:00 GMT
                X-One: 1
                Last-Modified: Sun, 31 Dec 2023 23:00:00 GMT
                ETag: "a"
                Set-Cookie: a
                Set-Cookie: b
                X-Accel-Foo: 1


                """),
        Case(
            name: "Server and Date are left out where an upstream whose are to be passed has none",
            settings: "proxy_pass_header Server; proxy_pass_header Date;",
            response: "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
            head: "HTTP/1.1 200 OK\nContent-Length: 2\nConnection: keep-alive\n\n"),
        Case(
            name: "each by itself", settings: "proxy_pass_header Server;",
            response: "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
            head: """
                HTTP/1.1 200 OK
                Date: Mon, 01 Jan 2024 00:00:00 GMT
                Content-Length: 2
                Connection: keep-alive


                """),
        Case(
            name: "the second argument of keepalive_timeout is told", settings: "keepalive_timeout 30 20;",
            response: "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
            head:
                "HTTP/1.1 200 OK\n\(own)Content-Length: 2\nConnection: keep-alive\nKeep-Alive: timeout=20\n\n"
        ),
        Case(
            name: "server_tokens off", settings: "server_tokens off;",
            response: "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
            head: """
                HTTP/1.1 200 OK
                Server: switchyard
                Date: Mon, 01 Jan 2024 00:00:00 GMT
                Content-Length: 2
                Connection: keep-alive


                """),
        Case(
            name: "an unknown length goes out in chunks", response: "HTTP/1.1 200 OK\n\n",
            head: "HTTP/1.1 200 OK\n\(own)Transfer-Encoding: chunked\nConnection: keep-alive\n\n",
            framing: .chunked),
        Case(
            name: "chunks stay chunks",
            response: "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: X-T\n\n",
            head:
                "HTTP/1.1 200 OK\n\(own)Transfer-Encoding: chunked\nConnection: keep-alive\nTrailer: X-T\n\n",
            framing: .chunked),
        Case(
            name: "an HTTP/1.0 client is told the end by closing", request: old,
            response: "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: X-T\n\n",
            head: "HTTP/1.1 200 OK\n\(own)Connection: close\n\n", framing: .untilClose, keepsAlive: false),
        Case(
            name: "chunked_transfer_encoding off", settings: "chunked_transfer_encoding off;",
            response: "HTTP/1.1 200 OK\n\n", head: "HTTP/1.1 200 OK\n\(own)Connection: close\n\n",
            framing: .untilClose, keepsAlive: false),
        Case(
            name: "HEAD tells the length of what does not follow", request: headRequest,
            response: "HTTP/1.1 200 OK\nContent-Length: 9\n\n",
            head: "HTTP/1.1 200 OK\n\(own)Content-Length: 9\nConnection: keep-alive\n\n", framing: .none),
        Case(
            name: "HEAD without a length keeps the connection", request: headRequest,
            response: "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n",
            head: "HTTP/1.1 200 OK\n\(own)Connection: keep-alive\n\n", framing: .none),
        Case(
            name: "204 has no length, though nginx passes one on",
            response: "HTTP/1.1 204 No Content\nContent-Length: 0\n\n",
            head: "HTTP/1.1 204 No Content\n\(own)Connection: keep-alive\n\n", framing: .none),
        Case(
            name: "304 tells the length that it would have",
            response: "HTTP/1.1 304 Not Modified\nContent-Length: 5\nETag: x\n\n",
            head: "HTTP/1.1 304 Not Modified\n\(own)Content-Length: 5\nConnection: keep-alive\nETag: x\n\n",
            framing: .none),
        Case(
            name: "the space behind a status stays, though nginx drops it",
            response: "HTTP/1.1 299 \nContent-Length: 0\n\n", head: "HTTP/1.1 299 \n\(own)\(empty)\n",
            framing: .length(0)),
        Case(
            name: "add_header and expires come last",
            settings:
                "add_header X-A b; add_header X-B $request_method always; add_header X-C ''; expires 1h;",
            response: "HTTP/1.1 200 OK\nContent-Length: 0\nA: b\n\n",
            head: """
                HTTP/1.1 200 OK
                \(own)\(empty)A: b
                Expires: Mon, 01 Jan 2024 01:00:00 GMT
                Cache-Control: max-age=3600
                X-A: b
                X-B: GET


                """, framing: .length(0)),
        Case(
            name: "an error has only what is said to be always",
            settings: "add_header X-A b; add_header X-B c always; expires 1h;",
            response: "HTTP/1.1 404 NF\nContent-Length: 0\nCache-Control: a\n\n",
            head: "HTTP/1.1 404 NF\n\(own)\(empty)Cache-Control: a\nX-B: c\n\n", framing: .length(0)),
        Case(
            name: "expires takes the place of what the upstream says", settings: "expires 1h;",
            response: """
                HTTP/1.1 200 OK
                Expires: x
                Cache-Control: a
                A: b
                Cache-Control: c
                Content-Length: 0


                """,
            head: """
                HTTP/1.1 200 OK
                \(own)\(empty)Expires: Mon, 01 Jan 2024 01:00:00 GMT
                Cache-Control: max-age=3600
                A: b


                """, framing: .length(0)),
        Case(
            name: "add_header replaces ETag and Last-Modified, and adds to others",
            settings: "add_header ETag n; add_header Last-Modified m; add_header X-One 2;",
            response: """
                HTTP/1.1 200 OK
                ETag: o
                Last-Modified: p
                X-One: 1
                Content-Length: 0


                """,
            head: "HTTP/1.1 200 OK\n\(own)\(empty)X-One: 1\nETag: n\nLast-Modified: m\nX-One: 2\n\n",
            framing: .length(0)),
        Case(
            name: "add_trailer makes chunks of a known length", settings: "add_trailer X-T t;",
            response: "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
            head: "HTTP/1.1 200 OK\n\(own)Transfer-Encoding: chunked\nConnection: keep-alive\n\n",
            framing: .chunked),
        Case(
            name: "add_trailer is nothing to an HTTP/1.0 client", settings: "add_trailer X-T t;",
            request: old,
            response: "HTTP/1.1 200 OK\nContent-Length: 2\n\n",
            head: "HTTP/1.1 200 OK\n\(own)Content-Length: 2\nConnection: close\n\n", keepsAlive: false),
        Case(
            name: "a 101 keeps what the change of protocol needs",
            response: """
                HTTP/1.1 101 Sw
                Connection: upgrade
                Upgrade: websocket
                Sec-WebSocket-Accept: x
                Content-Length: 3
                X: y


                """,
            head: """
                HTTP/1.1 101 Sw
                \(own)Connection: upgrade
                Upgrade: websocket
                Sec-WebSocket-Accept: x
                X: y


                """, framing: .none, keepsAlive: false),
        Case(
            name: "a 426 keeps what it asks for",
            response: "HTTP/1.1 426 Up\nConnection: upgrade\nUpgrade: foo\nContent-Length: 0\n\n",
            head: "HTTP/1.1 426 Up\n\(own)\(empty)Upgrade: foo\n\n", framing: .length(0)),
    ]

    @Test("heads are nginx's", arguments: cases)
    func head(_ test: Case) throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; \(test.settings)", request: test.request)
        let (head, facts) = try fixture.downstream(test.response)
        #expect(head == test.head)
        #expect(facts.framing == test.framing)
        #expect(facts.keepsAlive == test.keepsAlive)
        #expect(facts.sendsTrailers == (test.framing == .chunked))
        #expect(fixture.exchange.status == facts.status)
    }

    @Test("a driver that will close says so")
    func drain() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", request: "GET / HTTP/1.1\nHost: c\n\n")
        let (head, facts) = try fixture.downstream(
            "HTTP/1.1 200 OK\nContent-Length: 2\n\n", mayKeepAlive: false)
        #expect(head.contains("\nConnection: close\n"))
        #expect(!facts.keepsAlive)
    }

    @Test("an error page's response has the status that it is for")
    func errorPage() throws {
        let fixture = try ProxyingFixture(
            "error_page 404 =410 /error-page; return 404;", request: "GET / HTTP/1.1\nHost: c\n\n")
        let (head, facts) = try fixture.downstream("HTTP/1.1 200 Upstream's\nContent-Length: 2\n\n")
        #expect(head.hasPrefix("HTTP/1.1 410 Gone\n"))
        #expect(facts.status == 410)
    }

    // MARK: Redirects

    struct Redirect: Sendable, CustomTestStringConvertible {
        var location: String
        var path = "/"
        var from: String
        var to: String
        var testDescription: String { "\(location) \(from)" }
    }

    static let redirects = [
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000/base/;", path: "/red/",
            from: "http://127.0.0.1:9000/base/x",
            to: "http://client.test:8080/red/x"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000/base/;", path: "/red/",
            from: "http://127.0.0.1:9000/nope",
            to: "http://127.0.0.1:9000/nope"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000/base/;", path: "/red/", from: "http://other/",
            to: "http://other/"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000/base/;", path: "/red/", from: "/rel", to: "/rel"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000;", path: "/red/", from: "http://127.0.0.1:9000/z",
            to: "http://client.test:8080/z"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000; absolute_redirect off;", path: "/red/",
            from: "http://127.0.0.1:9000/z", to: "/z"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000; port_in_redirect off;", path: "/red/",
            from: "http://127.0.0.1:9000/z", to: "http://client.test/z"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000; proxy_redirect off;", path: "/red/",
            from: "http://127.0.0.1:9000/z", to: "http://127.0.0.1:9000/z"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000; proxy_redirect http://a/ http://$host/b/;",
            path: "/red/",
            from: "http://a/c", to: "http://client.test/b/c"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000; proxy_redirect http://$arg_h/ http://b/;",
            path: "/red/",
            from: "http://a/c", to: "http://b/c"),
        Redirect(
            location: "proxy_pass http://127.0.0.1:9000; proxy_redirect ~*^http://(.)/(.+)$ https://$2.$1/;",
            path: "/red/", from: "HTTP://a/c", to: "https://c.a/"),
        Redirect(
            location: """
                proxy_pass http://127.0.0.1:9000; proxy_redirect http://x/ http://first/;
                proxy_redirect http://a/ http://second/; proxy_redirect http://a/c http://third/;
                """, path: "/red/", from: "http://a/c", to: "http://second/c"),
    ]

    @Test("proxy_redirect rewrites Location and Refresh", arguments: redirects)
    func redirect(_ test: Redirect) throws {
        let fixture = try ProxyingFixture(
            test.location, path: test.path, request: "GET /red/?h=a HTTP/1.1\nHost: client.test\n\n")
        let response =
            "HTTP/1.1 302 Go\nX: y\nLocation: \(test.from)\nRefresh: 5; URL=\(test.from)\nContent-Length: 0\n\n"
        let head = try fixture.downstream(response).head
        let lines = head.split(separator: "\n")
        #expect(lines.filter { $0.hasPrefix("Location:") } == ["Location: \(test.to)"])
        // What was made absolute in Location is left as it is in Refresh.
        let relative = test.to.replacing("http://client.test:8080/", with: "/")
            .replacing("http://client.test/z", with: "/z")
        #expect(lines.filter { $0.hasPrefix("Refresh:") } == ["Refresh: 5; URL=\(relative)"])
    }

    @Test("a redirect made absolute stands where nginx puts it")
    func absoluteOrder() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", request: "GET / HTTP/1.1\nHost: client.test\n\n")
        let head = try fixture.downstream(
            "HTTP/1.1 302 Go\nLocation: http://127.0.0.1:9000/z\nX: y\nContent-Length: 0\n\n"
        ).head
        #expect(
            head == """
                HTTP/1.1 302 Go
                \(Self.own)Content-Length: 0
                Location: http://client.test:8080/z
                Connection: keep-alive
                X: y


                """)
    }

    // MARK: expires

    @Test(
        "expires in all its forms",
        arguments: [
            ("epoch", "Thu, 01 Jan 1970 00:00:01 GMT", "no-cache"),
            ("max", "Thu, 31 Dec 2037 23:55:55 GMT", "max-age=315360000"),
            ("0", "Mon, 01 Jan 2024 00:00:00 GMT", "max-age=0"),
            ("-1", "Sun, 31 Dec 2023 23:59:59 GMT", "no-cache"),
            ("1d", "Tue, 02 Jan 2024 00:00:00 GMT", "max-age=86400"),
            ("modified +2h", "Mon, 01 Jan 2024 01:00:00 GMT", "max-age=3600"),
            ("modified +1m", "Sun, 31 Dec 2023 23:01:00 GMT", "no-cache"),
            ("@15h30m", "Mon, 01 Jan 2024 15:30:00 GMT", "max-age=55800"),
            ("@24h", "Tue, 02 Jan 2024 00:00:00 GMT", "max-age=86400"),
            ("$arg_w", "Tue, 02 Jan 2024 00:00:00 GMT", "max-age=86400"),
            ("$arg_e", "Mon, 01 Jan 2024 01:30:00 GMT", "max-age=5400"),
            ("$arg_m", "Thu, 31 Dec 2037 23:55:55 GMT", "max-age=315360000"),
            ("$arg_n", "Sun, 31 Dec 2023 23:59:00 GMT", "no-cache"),
            ("$arg_d", "Mon, 01 Jan 2024 12:00:00 GMT", "max-age=43200"),
        ])
    func expires(_ setting: String, _ expires: String, _ cacheControl: String) throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; expires \(setting);",
            request: "GET /?e=1h30m&m=max&n=-60&d=@12h&w=@24h HTTP/1.1\nHost: c\n\n")
        let head = try fixture.downstream(Self.full).head
        #expect(head.hasSuffix("\nExpires: \(expires)\nCache-Control: \(cacheControl)\n\n"))
    }

    @Test(
        "expires that says nothing leaves the fields alone",
        arguments: ["off", "$arg_o", "$arg_none", "$arg_bad"])
    func noExpires(_ setting: String) throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; expires \(setting);",
            request: "GET /?o=off&bad=1x HTTP/1.1\nHost: c\n\n")
        let head = try fixture.downstream("HTTP/1.1 200 OK\nContent-Length: 2\nCache-Control: a\n\n").head
        #expect(head.hasSuffix("\nCache-Control: a\n\n"))
        #expect(!head.contains("Expires"))
    }

    // MARK: 1xx and trailers

    @Test("a 103 goes on as it is, to clients that know 1xx", arguments: ["1.1", "1.0"])
    func interim(_ version: String) throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", request: "GET / HTTP/\(version)\nHost: c\n\n")
        try fixture.receive(
            "HTTP/1.1 103 Early Hints\nLink: </a>\nServer: b\nConnection: x-a\nX-A: 1\nUpgrade: y\n\n")
        let plan = ProxyPlan(fixture.exchange.location.settings.values, pass: try fixture.pass())
        var head: [UInt8] = []
        DownstreamResponseBuilder.appendInterim(
            fixture.exchange.response, for: fixture.exchange, plan: plan, to: &head)
        #expect(head.text == (version == "1.1" ? "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" : ""))
    }

    @Test("trailers: the upstream's that may be, then the configuration's")
    func trailers() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; add_trailer X-Sum $request_method; add_trailer X-None '';",
            request: "GET / HTTP/1.1\nHost: c\n\n")
        _ = try fixture.downstream("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n")
        try fixture.receive(
            "HTTP/1.1 200 OK\nX-T: 1\nContent-Length: 5\nServer: x\nConnection: y\nX-U:  2\n\n")
        var section = TrailerSection()
        section.bytes = fixture.exchange.response.bytes
        section.fields = fixture.exchange.response.fields
        fixture.exchange.responseTrailers = section
        let plan = ProxyPlan(fixture.exchange.location.settings.values, pass: try fixture.pass())
        var lines: [UInt8] = []
        DownstreamResponseBuilder.appendTrailers(for: fixture.exchange, plan: plan, to: &lines)
        #expect(lines.text == "X-T: 1\r\nX-U: 2\r\nX-Sum: GET\r\n\r\n")
    }
}

@Suite("Bodies that the client does not expect")
struct ProxyingFramingTests {
    struct Case: Sendable {
        var settings = ""
        var method = "GET"
        var upstreamMethod: String?
        var response: String
        var framing: BodyFraming
        var length: String?
    }

    @Test(
        "the client's method and the status sent decide, not what the upstream did",
        arguments: [
            // The upstream was asked with another method than the client's.
            Case(
                settings: "proxy_method HEAD;", upstreamMethod: "HEAD",
                response: "HTTP/1.1 200 OK\nContent-Length: 9\n\n", framing: .length(0), length: "0"),
            Case(
                settings: "proxy_method GET;", method: "HEAD", upstreamMethod: "GET",
                response: "HTTP/1.1 200 OK\nContent-Length: 9\n\n", framing: .none, length: "9"),
            Case(
                settings: "proxy_method GET;", method: "HEAD", upstreamMethod: "GET",
                response: "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", framing: .none, length: nil),
            // The status is another than the upstream's.
            Case(
                settings: "error_page 404 =410 /error-page; return 404;", response: "HTTP/1.1 204 No\n\n",
                framing: .length(0), length: "0"),
            Case(
                settings: "error_page 404 =204 /error-page; return 404;",
                response: "HTTP/1.1 200 OK\nContent-Length: 9\n\n", framing: .none, length: nil),
        ])
    func framing(_ test: Case) throws {
        let pass = test.settings.contains("return") ? "" : "proxy_pass http://127.0.0.1:9000;"
        let fixture = try ProxyingFixture(
            "\(pass) \(test.settings)", request: "\(test.method) / HTTP/1.1\nHost: c\n\n")
        let (head, facts) = try fixture.downstream(
            test.response, toMethod: test.upstreamMethod ?? test.method)
        #expect(facts.framing == test.framing)
        #expect(facts.keepsAlive)
        let lengths = head.split(separator: "\n").filter { $0.hasPrefix("Content-Length: ") }
        #expect(lengths == (test.length.map { ["Content-Length: \($0)"] } ?? []))
    }
}

@Suite("A response that a script has edited")
struct EditedResponseTests {
    @Test("a status of the script's has its own reason, not the upstream's")
    func status() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", request: "GET / HTTP/1.1\nHost: c\n\n")
        try fixture.receive("HTTP/1.1 200 Fine\nContent-Length: 9\n\n")
        fixture.exchange.setResponseStatus(403)
        let plan = ProxyPlan(fixture.exchange.location.settings.values, pass: try fixture.pass())
        var head: [UInt8] = []
        let facts = DownstreamResponseBuilder.append(
            for: fixture.exchange, plan: plan, mayKeepAlive: true, to: &head)
        #expect(head.text.hasPrefix("HTTP/1.1 403 Forbidden\r\n"))
        #expect(facts.status == 403 && facts.framing == .length(9))
    }
}

@Suite("Plans of locations")
struct ProxyPlanTests {
    @Test("a plan is made once for a location and a proxy_pass")
    func cache() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;", request: "GET / HTTP/1.1\nHost: c\n\n")
        let other = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; proxy_set_header Upgrade x;",
            request: "GET / HTTP/1.1\nHost: c\n\n")
        let cache = ProxyPlanCache(fixture.configuration)
        let first = cache.plan(for: fixture.exchange.location, try fixture.pass())
        let second = cache.plan(for: other.exchange.location, try other.pass())
        #expect(first !== second)
        #expect(cache.plan(for: fixture.exchange.location, try fixture.pass()) === first)
        #expect(cache.plan(for: other.exchange.location, try other.pass()) === second)
        #expect(cache.plan(for: other.exchange.location, try other.pass()) === second)
        #expect(!first.request.mayUpgrade)
        #expect(second.request.mayUpgrade)
    }
}
