import ProxyCore
import Testing

@Suite("Errors and internal redirects")
struct RoutingErrorPageTests {
    private static let pages = """
        server {
            listen 80;
            location /int { internal; return 200 "int $uri $args $request_method"; }
            location /priv/ {
                internal;
                location /priv/in/ { return 200 in; location ~ x$ { return 200 inmost; } }
            }
            location /topriv { rewrite ^/topriv(.*) /priv/in$1 last; }
            location /toint { rewrite ^ /int last; }
            location /e1 { error_page 404 /int; return 404; }
            location /e2 { error_page 404 =200 /int?q=1; return 404; }
            location /e3 { error_page 404 = /int; return 404; }
            location /e4 { error_page 404 = @named; return 404; }
            location /e5 { error_page 404 http://e/; return 404; }
            location /e6 { error_page 404 =301 http://e/; return 404; }
            location /e7 { error_page 404 =303 rel; return 404; }
            location /e8 { error_page 404 = /e8; return 404; }
            location /e9 { recursive_error_pages on; error_page 404 /e9; return 404; }
            location /ea { error_page 404 @missing; return 404; }
            location /eb { error_page 302 /int; return 302 /foo; }
            location /ec { error_page 404 =204 /int; return 404; }
            location /ed { error_page 404 /ed404; return 404; }
            location /ed404 { internal; return 403; }
            location /ee { error_page 404 = /ee2; return 404; }
            location /ee2 { error_page 403 /int; return 403; }
            location /ef { error_page 404 /ef2; return 404; }
            location /ef2 { return 301 /moved; }
            location /eg { error_page 404 /eg2; return 404; }
            location /eg2 { return 200; }
            location /eh { error_page 404 @proxied; return 404; }
            location /ei { error_page 404 /ei2/x; return 404; }
            location /ei2/ { proxy_pass http://127.0.0.1:9/up/; }
            location /ej { recursive_error_pages on; error_page 404 /ej2; return 404; }
            location /ej2 { error_page 403 =200 /int; return 403; }
            location /ek { error_page 404 "/int?u=$uri"; return 404; }
            location @named { return 200 "named $uri $request_method"; }
            location @proxied { proxy_pass http://127.0.0.1:9; }
        }
        """

    @Test(
        "error_page leads where nginx leads",
        arguments: [
            ("/int", "404 page"), ("/priv/", "404 page"), ("/priv/in/", "404 page"),
            ("/priv/in/x", "404 page"),
            ("/topriv/", "200 in"), ("/topriv/x", "200 inmost"), ("/toint?x=1", "200 int /int x=1 GET"),
            ("/e1?o=1", "404 int /int  GET"),
            ("/e2?o=1", "200 int /int q=1 GET"), ("/e3?o=1", "200 int /int  GET"),
            ("/e4?o=1", "200 named /e4 GET"),
            ("/e5", "302 -> http://e/"), ("/e6", "301 -> http://e/"), ("/e7", "303 -> rel"),
            ("/e8", "404 page"),
            ("/e9", "500 page"), ("/ea", "500 page"),
            ("/eb", "302 -> http://main.test:8080/foo int /int  GET"), ("/ec", "204 int /int  GET"),
            ("/ed", "403 page"), ("/ee", "403 page"), ("/ef", "301 -> http://main.test:8080/moved"),
            ("/eg", "404"),
            ("/eh?o=1", "GET /eh?o=1 at 127.0.0.1:9 as 404"),
            ("/ei?o=1", "GET /ei2/x at 127.0.0.1:9 changed as 404"),
            ("/ej", "200 int /int  GET"), ("/ek", "404 int /int u=/ek GET"),
        ])
    func leads(target: String, answer: String) throws {
        #expect(try RoutingBench(Self.pages).answer(target) == answer)
    }

    @Test("the method becomes GET on the way to a page, but not to a named location")
    func changesMethod() throws {
        let bench = try RoutingBench(Self.pages)
        #expect(try bench.answer("/e1", method: "POST") == "404 int /int  GET")
        #expect(try bench.answer("/e1", method: "HEAD") == "404 int /int  HEAD")
        #expect(try bench.answer("/e4", method: "POST") == "200 named /e4 POST")
    }

    @Test("the driver's errors find their page, or none")
    func findsPages() throws {
        let bench = try RoutingBench(
            """
            server {
                listen 80;
                location / { error_page 502 504 =503 @down; proxy_pass http://127.0.0.1:9; }
                location @down { return 200 "down $uri"; }
            }
            """)
        let exchange = try bench.exchange("/x")
        #expect(bench.describe(Router.route(exchange), exchange) == "GET /x at 127.0.0.1:9")
        #expect(Router.errorPage(exchange, status: 500) == nil)
        let page = try #require(Router.errorPage(exchange, status: 502))
        #expect(bench.describe(page, exchange) == "503 down /x")
        #expect(bench.describe(Router.fail(exchange, status: 504), exchange) == "504 page")
    }

    @Test("nginx's own statuses become 400 unless a page is given for them")
    func mapsInternalStatuses() throws {
        let bench = try RoutingBench("server { listen 80; location / { return 200; } }")
        let exchange = try bench.exchange("/")
        #expect(bench.describe(Router.fail(exchange, status: 494), exchange) == "494 page")
        #expect(exchange.errorStatus == 400)
        #expect(exchange.closesConnection)

        let paged = try RoutingBench("server { listen 80; error_page 494 =431 http://h/; }")
        let other = try paged.exchange("/")
        #expect(paged.describe(Router.fail(other, status: 494), other) == "302 -> http://h/")
    }

    @Test(
        "after some errors the connection is not used again",
        arguments: [
            (400, true), (404, false), (413, true), (500, true), (501, true), (502, false), (504, false),
        ])
    func closes(status: Int, closes: Bool) throws {
        let bench = try RoutingBench("server { listen 80; }")
        guard case .respond(let response) = Router.fail(try bench.exchange("/"), status: status) else {
            Issue.record("no response")
            return
        }
        #expect(response.closes == closes)
    }

    @Test("a URI may be entered from outside, with arguments or by name")
    func redirectsInternally() throws {
        let bench = try RoutingBench(Self.pages)
        let exchange = try bench.exchange("/e1?o=1")
        #expect(
            bench.describe(Router.redirect(exchange, toURI: Array("/int?a".utf8)), exchange)
                == "200 int /int a GET")
        let other = try bench.exchange("/e1?o=1")
        _ = Router.route(other)
        #expect(
            bench.describe(Router.redirect(other, toURI: Array("@named".utf8)), other).hasSuffix(
                "named /int GET"))
    }

    @Test(
        "a URI as a client writes it is decoded first",
        arguments: [
            ("/in%74?a%20b", "200 int /int a%20b GET"), ("/x/../int", "200 int /int  GET"),
            ("/%zz", "500 page"),
            ("/../int", "500 page"), ("/a%00", "500 page"),
        ])
    func redirectsEscaped(_ uri: String, _ expected: String) throws {
        let bench = try RoutingBench(Self.pages)
        let exchange = try bench.exchange("/e1?o=1")
        #expect(
            bench.describe(Router.redirect(exchange, toEscapedURI: Array(uri.utf8)), exchange) == expected)
    }

    // MARK: What may be asked

    private static let limits = """
        server {
            listen 80;
            location /le { set $v outer; limit_except GET { deny all; } return 200 "le $v"; }
            location /lh { limit_except HEAD { deny all; } return 200 lh; }
            location /lp { return 200 outer; limit_except GET { allow all; } proxy_pass http://127.0.0.1:9; }
            location /li {
                limit_except GET { deny all; }
                if ($arg_x) { set $y 1; }
                proxy_pass http://127.0.0.1:9;
            }
            location /mb { client_max_body_size 5; error_page 413 /mb2; proxy_pass http://127.0.0.1:9; }
            location /mb2 { client_max_body_size 5; return 200 "mb2 $request_method"; }
            location /any { client_max_body_size 0; proxy_pass http://127.0.0.1:9; }
        }
        """

    @Test(
        "limit_except applies to other methods, in place of the location",
        arguments: [
            ("/le", "GET", "200 le outer"), ("/le", "HEAD", "200 le outer"), ("/le", "POST", "403 page"),
            ("/lh", "HEAD", "200 lh"), ("/lh", "GET", "403 page"),
            ("/lp", "POST", "POST /lp at 127.0.0.1:9"), ("/li", "GET", "GET /li at 127.0.0.1:9"),
            ("/li", "POST", "403 page"), ("/li?x=1", "POST", "403 page"),
        ])
    func limitsMethods(target: String, method: String, answer: String) throws {
        #expect(try RoutingBench(Self.limits).answer(target, method: method) == answer)
    }

    @Test(
        "a body announced as too large is refused, and the error's page is not refused for it",
        arguments: [
            ("/mb", 6, "413 mb2 GET"), ("/mb", 5, "POST /mb at 127.0.0.1:9"),
            ("/any", 1 << 40, "POST /any at 127.0.0.1:9"),
            ("/li", 1 << 20, "403 page"), ("/li", (1 << 20) + 1, "413 page"),
        ])
    func limitsBody(target: String, length: Int, answer: String) throws {
        let bench = try RoutingBench(Self.limits)
        #expect(try bench.answer(target, method: "POST", fields: ["Content-Length: \(length)"]) == answer)
    }

    @Test(
        "the first rule for the client's address decides",
        arguments: [
            ([192, 0, 2, 7], "/a", "200"), ([192, 0, 2, 8], "/a", "403"), ([192, 0, 3, 1], "/a", "403"),
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 7], "/a", "200"),
            ([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "/a", "200"),
            ([0x20, 1, 0xd, 0xb9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "/a", "403"),
            ([192, 0, 2, 7], "/none", "200"), ([192, 0, 2, 7], "/odd", "200"),
            ([192, 0, 2, 24], "/odd", "403"),
            (Array("unix:".utf8), "/unix", "200"), ([192, 0, 2, 7], "/unix", "403"),
        ] as [([UInt8], String, String)])
    func controlsAccess(address: [UInt8], target: String, answer: String) throws {
        let bench = try RoutingBench(
            """
            server {
                listen 80;
                location /a { deny 192.0.2.8; allow 192.0.2.0/24; allow 2001:db8::/32; deny all; proxy_pass http://127.0.0.1:9; }
                location /odd { allow 192.0.2.0/28; deny 192.0.2.16/28; proxy_pass http://127.0.0.1:9; }
                location /unix { allow unix:; deny all; proxy_pass http://127.0.0.1:9; }
                location /none { proxy_pass http://127.0.0.1:9; }
            }
            """)
        bench.client.binaryAddress = address
        let found = try bench.answer(target)
        #expect(found == (answer == "200" ? "GET \(target) at 127.0.0.1:9" : "403 page"))
    }

    @Test("denial reaches the error's page too, unless that is allowed")
    func deniesPages() throws {
        let bench = try RoutingBench(
            """
            server {
                listen 80; deny all;
                error_page 403 /page; error_page 404 /open;
                location /x { proxy_pass http://127.0.0.1:9; }
                location /y { allow all; proxy_pass http://127.0.0.1:9; }
                location /z { if ($arg_q) { set $k 1; } proxy_pass http://127.0.0.1:9; }
                location /page { proxy_pass http://127.0.0.1:9; }
            }
            """)
        #expect(try bench.answer("/x") == "403 page")
        #expect(try bench.answer("/y") == "GET /y at 127.0.0.1:9")
        #expect(try bench.answer("/z?q=1") == "403 page")
    }
}
