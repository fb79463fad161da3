import ProxyCore
import Testing

@Suite("Choosing servers and locations")
struct RoutingTests {
    @Test(
        "the URI is normalised as nginx does it",
        arguments: [
            ("//a///b//", "/a/b/"), ("/a/./b/../c", "/a/c"), ("/a/..", "/"), ("/a/.", "/a/"),
            ("/a/...", "/a/..."),
            ("/a/.../b", "/a/.../b"), ("/a/%2e%2e/b", "/b"), ("/a/.%2e", "/"), ("/a%2f%2fb", "/a/b"),
            ("/a%3fb?c", "/a?b"), ("/a%25%41", "/a%A"), ("/a%23b", "/a#b"), ("/./", "/"), ("/.", "/"),
            ("/.a", "/.a"),
            ("/a/..b", "/a/..b"), ("/a..", "/a.."), ("/a+b%2bc", "/a+b+c"), ("/a%20b", "/a b"), ("/?x", "/"),
            ("http://abs.test", "/"), ("http://abs.test?y=1", "/"), ("http://abs.test:99/x/../y", "/y"),
        ])
    func normalises(target: String, uri: String) throws {
        let bench = try RoutingBench("server { listen 80; location / { return 200 $uri; } }")
        #expect(try bench.answer(target) == "200 \(uri)")
    }

    @Test(
        "a URI that leads above the root or is badly escaped is refused",
        arguments: [
            "/..", "/../", "/a/../..", "/a/%2e%2e/..", "/a%00b", "/a%zz", "/a%4", "/a%",
        ])
    func refuses(target: String) throws {
        let bench = try RoutingBench("server { listen 80; location / { return 200 $uri; } }")
        #expect(try bench.answer(target) == "400 page")
    }

    @Test(
        "slashes stay where merge_slashes is off",
        arguments: [
            ("//a///b", "//a///b"), ("//a/..//b/./c", "///b/c"), ("/a//../b", "/a/b"),
        ])
    func keepsSlashes(target: String, uri: String) throws {
        let bench = try RoutingBench(
            "server { listen 80; merge_slashes off; location / { return 200 $uri; } }")
        #expect(try bench.answer(target) == "200 \(uri)")
    }

    @Test("the request's URI and arguments are kept as the client sent them")
    func keepsOriginal() throws {
        let bench = try RoutingBench(
            "server { listen 80; location / { return 200 \"$request_uri $args $is_args $host\"; } }")
        #expect(try bench.answer("/a/../b%20?%zz=1?2") == "200 /a/../b%20?%zz=1?2 %zz=1?2 ? main.test")
        #expect(try bench.answer("http://ABS.test:99/x?y") == "200 /x?y y ? abs.test")
        #expect(try bench.answer("http://abs.test") == "200 /   abs.test")
        #expect(try bench.answer("http://abs.test?q") == "200 ?q q ? abs.test")
    }

    @Test("TRACE and CONNECT are refused with 405, OPTIONS * with 400")
    func refusesMethods() throws {
        let bench = try RoutingBench("server { listen 80; location / { return 200; } }")
        #expect(try bench.answer("/", method: "TRACE") == "405 page")
        #expect(try bench.answer("main.test:443", method: "CONNECT") == "405 page")
        #expect(try bench.answer("*", method: "OPTIONS") == "400 page")
        #expect(try bench.answer("/", method: "OPTIONS") == "200")

        let paged = try RoutingBench(
            """
            server { listen 80; return 200; }
            server { listen 80; server_name b.test; error_page 405 =200 http://e/; }
            """)
        #expect(try paged.answer("/", host: "c.test", method: "TRACE") == "405 page")
        #expect(try paged.answer("/", host: "b.test", method: "TRACE") == "302 -> http://e/")
    }

    // MARK: Servers

    @Test(
        "a server is chosen by exact name, wildcard and regular expression, in that order",
        arguments: [
            ("exact.test", "exact"), ("EXACT.test:81", "exact"), ("exact.test.", "exact"),
            ("a.wild.test", "wild"),
            ("a.b.wild.test", "wild"), ("x.b.wild.test", "wild"), ("c.wild.test", "c"),
            ("wild.test", "first"),
            ("tail.org", "tail"), ("tail.co.uk", "tail co"), ("foo.re.test", "re foo"), ("unknown", "first"),
            ("dot.test", "dot"), ("a.dot.test", "dot"), ("[::1]:80", "first"),
        ])
    func choosesServer(host: String, answer: String) throws {
        let bench = try RoutingBench(
            """
            server { listen 80; server_name first.test; return 200 first; }
            server { listen 80; server_name exact.test; return 200 exact; }
            server { listen 80; server_name *.wild.test; return 200 wild; }
            server { listen 80; server_name c.wild.test; return 200 c; }
            server { listen 80; server_name tail.*; return 200 tail; }
            server { listen 80; server_name tail.co.*; return 200 "tail co"; }
            server { listen 80; server_name .dot.test; return 200 dot; }
            server { listen 80; server_name ~^(?<sub>.+)\\.re\\.test$; return 200 "re $sub"; }
            server { listen 80; server_name ~^foo; return 200 late; }
            """)
        #expect(try bench.answer("/", host: host) == "200 \(answer)")
    }

    @Test("the default server's name stands in for a host that the client did not give")
    func namesDefaultServer() throws {
        let bench = try RoutingBench(
            """
            server { listen 80; server_name a.test; return 200 "a $host"; }
            server { listen 80 default_server; server_name b.test; return 200 "b $host"; }
            """)
        #expect(try bench.answer("/", host: nil, version: "HTTP/1.0") == "200 b b.test")
        #expect(try bench.answer("/", host: "c.test") == "200 b c.test")
    }

    // MARK: Locations

    private static let locations = """
        server {
            listen 80;
            location / { return 200 root; }
            location = /exact { return 200 exact; }
            location /prefix { return 200 prefix; }
            location /prefix/longer { return 200 longer; }
            location ~ ^/prefix/re { return 200 regex; }
            location ~* \\.PNG$ { return 200 png; }
            location ~ ^/(?<first>[a-z]+)/(\\d+)$ { return 200 "$first $2"; }
            location ^~ /np/ {
                location ~ \\.x$ { return 200 "nested regex"; }
                return 200 np;
            }
            location ~ \\.x$ { return 200 "outer regex"; }
            location /ne/ {
                location /ne/in/ { return 200 in; }
                location = /ne/exact { return 200 "nested exact"; }
                location ~ in { return 200 "ne regex"; }
                return 200 ne;
            }
            location ~ ^/ne/ { return 200 "outer ne regex"; }
            location ~ ^/outer {
                location ~ inner$ { return 200 inner; }
                return 200 outer;
            }
        }
        """

    @Test(
        "a location is chosen by nginx's order",
        arguments: [
            ("/", "root"), ("/other", "root"), ("/exact", "exact"), ("/exact/", "root"),
            ("/prefix", "prefix"),
            ("/prefixed", "prefix"), ("/prefix/longer/x", "longer"), ("/prefix/re", "regex"),
            ("/a.png", "png"),
            ("/a.Png", "png"), ("/word/12", "word 12"), ("/np/a.x", "nested regex"), ("/np/a", "np"),
            ("/np/a.png", "np"), ("/o/a.x", "outer regex"), ("/ne/in/z", "ne regex"),
            ("/ne/z", "outer ne regex"),
            ("/ne/exact", "nested exact"), ("/outer/inner", "inner"), ("/outer/x", "outer"),
        ])
    func choosesLocation(target: String, answer: String) throws {
        #expect(try RoutingBench(Self.locations).answer(target) == "200 \(answer)")
    }

    @Test(
        "a proxied location with a slash at its end is offered to a client that left it out",
        arguments: [
            ("/auto", "301 -> http://main.test:8080/auto/"),
            ("/auto?x=1", "301 -> http://main.test:8080/auto/?x=1"),
            ("/au%20to", "301 -> http://main.test:8080/au%20to/"),
            ("/exact", "301 -> http://main.test:8080/exact/"),
            ("/autop", "200 regex"), ("/autox", "200 regex"), ("/own", "200 own"), ("/returns", "200 regex"),
            ("/auto/", "GET /auto/ at 127.0.0.1:9"),
        ])
    func addsSlash(target: String, answer: String) throws {
        let bench = try RoutingBench(
            """
            server {
                listen 80;
                location /auto/ { proxy_pass http://127.0.0.1:9; }
                location "/au to/" { proxy_pass http://127.0.0.1:9; }
                location = /exact/ { proxy_pass http://127.0.0.1:9; }
                location /autop { return 200 autop; }
                location /autop/ { proxy_pass http://127.0.0.1:9; }
                location = /own { return 200 own; }
                location /own/ { proxy_pass http://127.0.0.1:9; }
                location /returns/ { return 200 no; }
                location ~ ^/[a-z]+$ { return 200 regex; }
            }
            """)
        #expect(try bench.answer(target) == answer)
    }

    @Test("a location without a handler is not found")
    func findsNothing() throws {
        let bench = try RoutingBench("server { listen 80; location /a { proxy_http_version 1.1; } }")
        #expect(try bench.answer("/a") == "404 page")
        #expect(try bench.answer("/b") == "404 page")
    }

    @Test("handlers other than proxying are decided on")
    func decidesOnHandlers() throws {
        let bench = try RoutingBench(
            "server { listen 80; location /s { stub_status; } location /m { prometheus_metrics; } }")
        #expect(try bench.answer("/s") == "stub_status")
        #expect(try bench.answer("/m") == "prometheus_metrics")
    }

    @Test("stub_status is for GET and HEAD, a return for any method")
    func decidesOnMethods() throws {
        let bench = try RoutingBench(
            "server { listen 80; location /s { stub_status; } location /r { return 200 x; } }")
        #expect(try bench.answer("/s", method: "HEAD") == "stub_status")
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            #expect(try bench.answer("/s", method: method) == "405 page")
            #expect(try bench.answer("/r", method: method) == bench.answer("/r"))
        }
    }

    @Test("an exchange can be used again, and is as new")
    func recycles() throws {
        let bench = try RoutingBench(
            """
            server { listen 80; server_name a.test;
                location / { set $v "$uri$v"; rewrite ^/x(.*) /y$1; return 200 "$v $args $1"; }
            }
            """)
        let exchange = try bench.exchange("/x1?a=b")
        #expect(bench.describe(Router.route(exchange), exchange) == "200 /x1 a=b 1")
        exchange.reset(runtime: bench.runtime)
        exchange.request = try bench.exchange("/z").request
        exchange.begin(listener: 0, client: bench.client, startedAt: Moment(), random: (1, 2))
        #expect(bench.describe(Router.route(exchange), exchange) == "200 /z  ")
        #expect(!exchange.isInternal)
        #expect(!exchange.uriChanged)
    }
}
