import Config
import ProxyCore
import Testing
import Wire

@Suite("Variables")
struct VariablesTests {
    /// The values that a template of the given text has, `-` standing for a variable that is missing.
    private func values(
        _ names: [String], of exchange: Exchange
    ) throws -> [String] {
        try names.map { name in
            let index = try #require(
                exchange.runtime.configuration.variables.firstIndex { $0.name == name }, "\(name) is not used"
            )
            return exchange.value(of: VariableID(index: index)).map(text) ?? "-"
        }
    }

    /// A bench whose configuration uses the variables.
    private func bench(_ names: [String], _ more: String = "") throws -> RoutingBench {
        let format = names.map { "${\($0)}" }.joined(separator: " ")
        return try RoutingBench(
            "log_format all '\(format)'; access_log logs/a.log all;\n\(more)\nserver { listen 80; server_name s.test; }"
        )
    }

    @Test(
        "those of a request",
        arguments: [
            ("args", "a=1&b"), ("query_string", "a=1&b"), ("is_args", "?"), ("uri", "/p q"),
            ("document_uri", "/p q"),
            ("request_uri", "/p%20q?a=1&b"), ("request", "POST /p%20q?a=1&b HTTP/1.1"),
            ("request_method", "POST"),
            ("server_protocol", "HTTP/1.1"), ("host", "h.test"), ("content_length", "12"),
            ("content_type", "a/b"),
            ("remote_user", "user"), ("request_body", "-"),
            ("request_id", "0123456789abcdeffedcba9876543210"),
            ("request_length", "250"), ("scheme", "http"), ("https", ""),
            ("binary_remote_addr", "\u{7f}\u{1}\u{2}\u{3}"),
            ("remote_addr", "192.0.2.7"), ("remote_port", "5555"), ("server_addr", "198.51.100.1"),
            ("server_port", "8080"), ("server_name", "s.test"), ("connection", "42"),
            ("connection_requests", "3"),
            ("connection_time", "3.250"), ("pipe", "."),
            ("proxy_add_x_forwarded_for", "1.1.1.1, 2.2.2.2, 192.0.2.7"),
            ("hostname", "machine"), ("nginx_version", "1.2.3"), ("pid", "4711"), ("connections_active", "4"),
            ("connections_reading", "1"), ("connections_writing", "2"), ("connections_waiting", "3"),
            ("msec", "1795470543.250"), ("request_time", "0.250"),
            ("time_local", "23/Nov/2026:21:49:03 +0000"),
            ("time_iso8601", "2026-11-23T21:49:03+00:00"), ("status", "404"), ("bytes_sent", "0"),
            ("body_bytes_sent", "0"), ("request_completion", ""), ("gzip_ratio", "-"),
            ("upstream_cache_status", "-"),
            ("upstream_addr", "-"), ("upstream_status", "-"), ("proxy_host", "-"), ("proxy_port", "-"),
            ("http_x_one", "1, 2"), ("http_x_two", "-"), ("http_cookie", "a=b; c=d; a=e"), ("arg_a", "1"),
            ("arg_b", "-"), ("cookie_a", "b"), ("cookie_c", "d"), ("cookie_d", "-"), ("http_bad_name", "-"),
            ("sent_http_server", "-"), ("upstream_http_server", "-"), ("upstream_trailer_x", "-"),
            ("upstream_cookie_x", "-"), ("sent_trailer_x", "-"),
        ])
    func ofRequest(name: String, value: String) throws {
        let bench = try bench([name])
        bench.client.binaryAddress = [0x7f, 1, 2, 3]
        let exchange = try bench.exchange(
            "/p%20q?a=1&b", host: "H.test:81", method: "POST",
            fields: [
                "Content-Length: 12", "Content-Type: a/b", "Authorization: Basic dXNlcjpwYXNz", "X-One: 1",
                "Cookie: a=b; c=d", "x-one: 2", "Cookie: a=e", "X-Forwarded-For: 1.1.1.1", "Bad_Name: x",
                "X-Forwarded-For: 2.2.2.2",
            ])
        _ = Router.route(exchange)
        exchange.receivedHeadBytes = 238
        exchange.receivedBodyBytes = 12
        #expect(try values([name], of: exchange) == [value])
    }

    @Test(
        "those of a response",
        arguments: [
            ("status", "007"), ("bytes_sent", "150"), ("body_bytes_sent", "50"), ("request_completion", "OK"),
            ("pipe", "p"), ("sent_http_content_type", "text/html"), ("sent_http_x", "1, 2"),
            ("sent_trailer_sum", "abc"), ("sent_http_sum", "-"), ("request_body", "body"),
        ])
    func ofResponse(name: String, value: String) throws {
        let exchange = try bench([name]).exchange("/")
        exchange.status = 7
        exchange.sentHeadBytes = 100
        exchange.sentBodyBytes = 50
        exchange.isComplete = true
        exchange.isPipelined = true
        exchange.requestBody = Array("body".utf8)
        exchange.sentHead = Array("HTTP/1.1 200 X: y\r\nX: 1\r\nContent-Type: text/html\r\nX:2\r\n\r\n".utf8)
        exchange.sentTrailers = Array("Sum: abc\r\n".utf8)
        #expect(try values([name], of: exchange) == [value])
    }

    @Test(
        "those of tries at upstreams are listed, with dashes for what was not reached",
        arguments: [
            ("upstream_addr", "10.0.0.1:80, 10.0.0.2:80 : unix:/s"), ("upstream_status", "502, - : 200"),
            ("upstream_connect_time", "-, 0.005 : 1.234"), ("upstream_header_time", "-, - : 0.000"),
            ("upstream_response_time", "0.100, - : 12.345"), ("upstream_response_length", "0, 0 : 77"),
            ("upstream_bytes_sent", "0, 20 : 30"), ("upstream_bytes_received", "0, 0 : 99"),
            ("proxy_host", "backend:81"), ("proxy_port", "81"),
        ])
    func ofUpstreams(name: String, value: String) throws {
        let exchange = try bench([name]).exchange("/")
        var first = UpstreamAttempt(address: Array("10.0.0.1:80".utf8), startedAt: Moment())
        first.status = 502
        first.responseTime = 100
        var second = UpstreamAttempt(address: Array("10.0.0.2:80".utf8), startedAt: Moment())
        second.connectTime = 5
        second.bytesSent = 20
        var third = UpstreamAttempt(address: Array("unix:/s".utf8), startedAt: Moment())
        third.followsRedirect = true
        third.status = 200
        third.connectTime = 1234
        third.headerTime = 0
        third.responseTime = 12_345
        third.bytesSent = 30
        third.bytesReceived = 99
        third.responseLength = 77
        exchange.attempts = [first, second, third]
        exchange.proxyHost = Array("backend:81".utf8)
        exchange.proxyPort = Array("81".utf8)
        #expect(try values([name], of: exchange) == [value])
    }

    @Test(
        "those of an upstream's response",
        arguments: [
            ("upstream_http_server", "up"), ("upstream_http_x_y", "1, 2"), ("upstream_cookie_id", "7"),
            ("upstream_cookie_path", "-"), ("upstream_http_none", "-"),
        ])
    func ofUpstreamResponse(name: String, value: String) throws {
        let exchange = try bench([name]).exchange("/")
        let head = "HTTP/1.1 200 OK\r\nServer: up\r\nX-Y: 1\r\nSet-Cookie: id=7; Path=/\r\nX-Y: 2\r\n\r\n"
        var parser = ResponseHeadParser()
        let bytes = Array(head.utf8)
        let progress = unsafe parser.parse(
            bytes.span.bytes, isHead: false, maxHead: 4096, into: &exchange.response)
        try #require(progress == .complete(length: bytes.count))
        #expect(try values([name], of: exchange) == [value])
    }

    @Test(
        "credentials that are none have no user",
        arguments: [
            ("Basic dXNlcjpwYXNz", "user"), ("basic   dXNlcjpwYXNz", "user"), ("Basic Og==", "-"),
            ("Basic OnB3", "-"),
            ("Basic dXNlcg==", "-"),
            ("Basic !!!!", "-"), ("Bearer dXNlcjpwYXNz", "-"), ("Basic", "-"), ("Basic dTo=", "u"),
        ])
    func readsUser(credentials: String, user: String) throws {
        let exchange = try bench(["remote_user"]).exchange("/", fields: ["Authorization: \(credentials)"])
        #expect(try values(["remote_user"], of: exchange) == [user])
    }

    @Test(
        "arguments and cookies are found whole and without regard to case",
        arguments: [
            ("a=1&FOO=2&foo=3", "", "2"), ("xfoo=1&foo=", "", ""), ("foo", "", "-"), ("a=foo=1", "", "-"),
            ("&&foo=1", "", "1"), ("", "xfoo=1; FOO=2", "2"), ("", "foo = 3 ; a=b", "3 "), ("", "foo", "-"),
            ("", "a=b;foo=4", "4"),
        ])
    func findsPairs(arguments: String, cookie: String, value: String) throws {
        let name = cookie.isEmpty ? "arg_foo" : "cookie_foo"
        let exchange = try bench([name]).exchange(
            "/?\(arguments)", fields: cookie.isEmpty ? [] : ["Cookie: \(cookie)"])
        _ = Router.route(exchange)
        #expect(try values([name], of: exchange) == [value])
    }

    @Test("a set variable keeps its value through an exchange, and one not set is empty")
    func assigns() throws {
        let bench = try RoutingBench(
            """
            server {
                listen 80;
                set $a "1$uri"; set $a "2$a"; set $b $c;
                if ($arg_c) { set $c $arg_c; }
                location / { return 200 "$a<$b><$c>"; }
            }
            """)
        #expect(try bench.answer("/x?c=3") == "200 21/x<><3>")
        #expect(try bench.answer("/x") == "200 21/x<><>")
    }

    @Test("the variable of a named group that matched nothing is missing, one that is only set is empty")
    func tellsMissingFromEmpty() throws {
        let bench = try RoutingBench(
            """
            log_format f '$group $late';
            server {
                listen 80; access_log logs/a.log f;
                location ~ ^/(?<group>[a-z]+)$ { proxy_pass http://127.0.0.1:9; }
                location / { if ($arg_x) { set $late 1; } proxy_pass http://127.0.0.1:9; }
            }
            """)
        for (target, expected) in [("/abc", ["abc", ""]), ("/1", ["-", ""]), ("/1?x=1", ["-", "1"])] {
            let exchange = try bench.exchange(target)
            _ = Router.route(exchange)
            #expect(try values(["group", "late"], of: exchange) == expected)
        }
    }

    @Test(
        "of a head that was refused without a request line, only what stands for that is known",
        arguments: [
            ("GET /a b c HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a b c HTTP/1.1", "-"),
            ("\r\n\nPUT /", "PUT /", "-"), ("HEAD / x", "HEAD / x", "HEAD"),
            ("G", "G", "-"), ("", "-", "-"), ("\u{1}\u{2}\n", "\u{1}\u{2}", "-"), ("\r\n", "-", "-"),
            ("get /\n", "get /", "-"),
        ])
    func refused(input: String, line: String, method: String) throws {
        let names = [
            "request", "request_method", "uri", "args", "http_host", "host", "request_uri", "request_length",
            "server_protocol",
        ]
        let bench = try bench(names)
        let exchange = Exchange(runtime: bench.runtime, clock: bench.clock)
        exchange.beginRefused(
            Array(input.utf8), listener: 0, client: bench.client, startedAt: Moment(), random: (0, 0))
        #expect(bench.describe(Router.fail(exchange, status: 400), exchange) == "400 page")
        let found = try values(names, of: exchange)
        #expect(found == [line, method, "-", "-", "-", "s.test", "-", String(input.utf8.count), "-"])
    }

    struct Unrefused: Error { var progress: String }

    struct Refused: Sendable, CustomTestStringConvertible {
        var head: String
        /// `$request_method $request_uri $uri $args $host $server_name $server_protocol $http_host $http_x
        /// $content_length`
        var values: String
        /// How much of it is kept.
        var kept = Int.max
        var testDescription: String { head }
    }

    @Test(
        "of a head that was refused behind its request line, what came before the fault is known",
        arguments: [
            Refused(
                head: "GET /a%41?b HTTP/1.1\r\nHost: Other.test:80\r\nX: y\r\nBad : 1\r\n",
                values: "GET /a%41?b /aA b other.test other.test HTTP/1.1 Other.test:80 y -"),
            Refused(
                head: "GET /a%41?b HTTP/1.0\r\nX: y\r\nBad : 1\r\nHost: other.test\r\n\r\n",
                values: "GET /a%41?b /aA b s.test s.test HTTP/1.0 - y -"),
            Refused(
                head: "GET http://other.test/x?b HTTP/1.1\r\nX: y\r\n\r\n",
                values: "GET /x?b /x b other.test other.test HTTP/1.1 - y -"),
            Refused(
                head: "GET / HTTP/1.1\r\nX: y\r\nHost: a b\r\nX: z\r\n\r\n",
                values: "GET / / - s.test s.test HTTP/1.1 a b y -"),
            Refused(
                head: "GET / HTTP/1.1\r\nHost: other.test\r\nHost: other.test\r\n\r\n",
                values: "GET / / - other.test other.test HTTP/1.1 other.test - -"),
            Refused(
                head: "GET / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 5x\r\n\r\n",
                values: "GET / / - nobody.test s.test HTTP/1.1 nobody.test - 5x"),
            // The server without a name is for requests without a host, if there is none in the end.
            Refused(
                head: "GET /a?b HTTP/1.1\r\nX: y\r\n\r\n", values: "GET /a?b /a b   HTTP/1.1 - y -"),
            Refused(
                head: "GET /a?b HTTP/1.1\r\nX: y\r\n : z\r\n\r\n",
                values: "GET /a?b /a b s.test s.test HTTP/1.1 - y -"),
            // What cannot be taken up.
            Refused(
                head: "GET /%zz?b HTTP/1.1\r\nHost: other.test\r\nBad : 1\r\n",
                values: "GET /%zz?b - - s.test s.test HTTP/1.1 other.test - -"),
            Refused(
                head: "OPTIONS * HTTP/1.1\r\nHost: other.test\r\nBad : 1\r\n",
                values: "OPTIONS - - - s.test s.test HTTP/1.1 other.test - -"),
            Refused(
                head: "GET /a?b HTTP/1.1\r\nHost: other.test\r\nX: y\r\nBad : 1\r\n",
                values: "GET /a?b /a b other.test other.test HTTP/1.1 other.test - -", kept: 40),
            Refused(
                head: "GET /a?b HTTP/1.1\r\nHost: other.test\r\nX: y\r\nBad : 1\r\n",
                values: "- - - - s.test s.test HTTP/1.1 - - -", kept: 4),
        ])
    func refusedLate(_ test: Refused) throws {
        let names = [
            "request_method", "request_uri", "uri", "args", "host", "server_name", "server_protocol",
            "http_host", "http_x", "content_length",
        ]
        let bench = try RoutingBench(
            """
            server { listen 80; server_name s.test; location / { return 200 "\(names.map { "$\($0)" }.joined())"; } }
            server { listen 80; server_name other.test; }
            server { listen 80; }
            """)
        let exchange = Exchange(runtime: bench.runtime, clock: bench.clock)
        let bytes = Array(test.head.utf8)
        let progress = exchange.parser.parse(
            RawSpan(_elements: bytes.span), limits: .init(), into: &exchange.request)
        guard case .invalid = progress else { throw Unrefused(progress: "\(progress)") }
        exchange.beginRefused(
            Array(bytes.prefix(test.kept)), listener: 0, client: bench.client, startedAt: Moment(),
            random: (0, 0))
        #expect(try values(names, of: exchange).joined(separator: " ") == test.values)
    }

    @Test("groups of the last match are kept until another expression matches, or a condition fails to match")
    func keepsCaptures() throws {
        let bench = try RoutingBench(
            """
            server {
                listen 80;
                location ~ ^/(.)(.)?$ {
                    set $before "$1-$2-$3";
                    if ($arg_x ~ ^(y)$) { set $after "$1"; }
                    return 200 "$before $1 $after";
                }
            }
            """)
        #expect(try bench.answer("/ab?x=n") == "200 a-b-  ")
        #expect(try bench.answer("/a?x=y") == "200 a-- y y")
    }

    @Test("each row has a name of its own and a line of documentation, and the reference holds all")
    func documents() {
        #expect(VariableTable.names.count == VariableTable.rows.count)
        #expect(VariableTable.rows.allSatisfy { !$0.summary.isEmpty && !$0.summary.contains("\n") })
        let lines = VariableTable.markdown.split(separator: "\n")
        #expect(lines.count == 2 + VariableTable.rows.count + VariableFamily.allCases.count)
        #expect(lines.contains("| `$request_id` | 16 random bytes in hexadecimal, of each request its own |"))
        #expect(lines.contains { $0.hasPrefix("| `$http_NAME` |") })
    }
}
