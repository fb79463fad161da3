import Config
import ProxyCore
import Testing

@Suite("Rewriting")
struct RewriteTests {
    private static let bench = """
        server {
            listen 80;
            location /q1 { rewrite ^/q1(.*)$ /t?a=1?b=$1; }
            location /q2 { rewrite ^/q2(.*)$ /t?$1?; }
            location /q3 { rewrite ^/q3/(.*)$ http://x/$1?z=1; }
            location /q4 { rewrite ^/q4/(.*)$ /t$1 redirect; }
            location /q5 { rewrite ^/q5/(.*)$ /t?v=$1 last; return 200 no; }
            location /q6 { rewrite ^/q6/(.*)$ /t$1? permanent; }
            location /q7 { set $z "/t?x"; rewrite ^ $z last; }
            location /q8 { set $empty ""; rewrite ^ $empty; }
            location /q9 { set $args "new=$args"; return 200 "$args $is_args"; }
            location /qa { rewrite ^/qa(.*) /zz$1 break; proxy_pass http://127.0.0.1:9/sub; }
            location /qb { rewrite ^/qb(.*) /zz$1; break; proxy_pass http://127.0.0.1:9/sub; }
            location /qc { rewrite ^/qc(.*) /qd$1; set $late set; }
            location /qd { proxy_pass http://127.0.0.1:9/sub; }
            location /qe { rewrite ^/none /t; return 200 "kept $uri"; }
            location /cycle { rewrite ^/cycle(.*) /cycle$1x last; }
            location /t { return 200 "T $uri $args"; }
        }
        """

    @Test(
        "rewrite changes URI and arguments as nginx does",
        arguments: [
            ("/q1x?o=1", "200 T /t a=1?b=x&o=1"), ("/q2abc?o=1", "200 T /t abc"),
            ("/q3/a%20b?o=1", "302 -> http://x/a%20b?z=1&o=1"), ("/q3/ab?o=1", "302 -> http://x/ab?z=1&o=1"),
            ("/q4/a%20b%2fc%25+d?o=1", "302 -> http://main.test:8080/ta%20b/c%25+d?o=1"),
            ("/q5/a&b=c", "200 T /t v=a&b=c"), ("/q5/a+b&c?o", "200 T /t v=a%2Bb%26c&o"),
            ("/q6/a?o=1", "301 -> http://main.test:8080/ta"), ("/q7", "200 T /t?x "), ("/q8", "500 page"),
            ("/q9?o=1", "200 new=o=1 ?"), ("/q9", "200 new= ?"),
            ("/qa/x?o=1", "GET /zz/x?o=1 at 127.0.0.1:9 whole"), ("/qb/x", "GET /zz/x at 127.0.0.1:9 whole"),
            ("/qc/x", "GET /qd/x at 127.0.0.1:9 changed"), ("/qd/x%20y", "GET /qd/x y at 127.0.0.1:9"),
            ("/qe", "200 kept /qe"), ("/cycle", "500 page"),
        ])
    func rewrites(target: String, answer: String) throws {
        #expect(try RoutingBench(Self.bench).answer(target) == answer)
    }

    @Test("groups of an escaped path are escaped again in arguments")
    func escapesArguments() throws {
        let target =
            "/q5/a%20b&c+d%3f%22%27%3c%3e%3b%3a%5b%5d%5c%5e%60%7b%7c%7d%7e%7f%80%2a%21%24%28%29%2c%3d%40?o=1"
        #expect(
            try RoutingBench(Self.bench).answer(target)
                == "200 T /t v=a%20b%26c%2Bd%3F%22'%3C%3E%3B:[]%5C%5E%60%7B%7C%7D~%7F%80*!$(),=@&o=1")
    }

    /// Each answer is nginx's.
    @Test(
        "groups are escaped in values until a rewrite has matched, and emptied by what does not match",
        arguments: [
            ("/h%20b+", "H /j b+|a=%20b%2B| b+|w b+| b+"), ("/k%20b", "K /i b| b"), ("/l%20b", "eq %20b"),
            ("/la", "eq a"), ("/m%20b?x", "M %20b "), ("/mb?y", "M b "), ("/nb?x", "N b  "),
            ("/n+b?y", "N %2Bb  "),
            ("/ob", "O  hasb"), ("/o%20", "O   d"), ("/pb", "P "),
        ])
    func treatsGroups(target: String, answer: String) throws {
        let bench = try RoutingBench(
            """
            map $uri $m { ~b hasb; default d; }
            server {
                listen 80;
                location /h {
                    rewrite ^/h(.*)$ /i$1?a=$1; rewrite ^/i(.*)$ /j$1; set $v $1; set $r "w$1";
                    return 200 "H $uri|$args|$v|$r|$1";
                }
                location /k { rewrite ^/k(.*)$ /i$1; set $v $1; return 200 "K $uri|$v"; }
                location ~ ^/l(.*)$ { set $v $1; if ($v = $1) { return 200 "eq $v"; } return 200 "ne $v"; }
                location ~ ^/m(.*)$ { set $v $1; if ($args ~ x) { set $r y; } return 200 "M $v $1"; }
                location ~ ^/n(.*)$ { set $v $1; if ($args !~ x) { set $r "$1"; } return 200 "N $v $1 $r"; }
                location ~ ^/o(.*)$ { if ($m) { set $r z; } return 200 "O $1 $m"; }
                location ~ ^/p(.*)$ { rewrite nomatch /x; return 200 "P $1"; }
            }
            """)
        #expect(try bench.answer(target) == "200 \(answer)")
    }

    @Test("ten changes of the URI are allowed, and the eleventh is an error")
    func limitsChanges() throws {
        let bench = try RoutingBench(
            """
            server { listen 80; location / { rewrite ^/a(a*)$ /$1 last; return 200 $uri; } }
            """)
        #expect(try bench.answer("/" + String(repeating: "a", count: 10)) == "200 /")
        #expect(try bench.answer("/" + String(repeating: "a", count: 11)) == "500 page")
    }

    @Test(
        "a server's own rewrites run first and choose among all locations",
        arguments: [
            ("/a", "sr.test", "200 /c 1"), ("/a?x=1", "sr.test", "200 server if"),
            ("/a?y=1", "sr.test", "200 /d "),
            ("/b", "sr.test", "200 /c 1"), ("/a", "break.test", "200 b"), ("/b", "break.test", "200 c"),
        ])
    func rewritesInServer(target: String, host: String, answer: String) throws {
        let bench = try RoutingBench(
            """
            server {
                listen 80; server_name sr.test;
                rewrite ^/a$ /b; rewrite ^/b$ /c;
                if ($arg_x) { return 200 "server if"; }
                if ($arg_y) { rewrite ^ /d last; }
                set $s 1;
                location / { return 200 "$uri $s"; }
            }
            server {
                listen 80; server_name break.test;
                rewrite ^/a$ /b break; rewrite ^/b$ /c;
                location /a { return 200 a; } location /b { return 200 b; } location /c { return 200 c; }
            }
            """)
        #expect(try bench.answer(target, host: host) == answer)
    }

    @Test(
        "return answers with a status, a text, a redirect or not at all",
        arguments: [
            ("/301", "301 -> "), ("/302", "302 -> http://main.test:8080/rel?x=1"),
            ("/url", "302 -> http://u/x"),
            ("/308", "308 -> other"), ("/200", "200"), ("/204", "204"), ("/205", "205 x"),
            ("/404", "404 page"),
            ("/t404", "404 gone /t404"), ("/444", "close"), ("/418", "418 page"),
        ])
    func returns(target: String, answer: String) throws {
        let bench = try RoutingBench(
            """
            server {
                listen 80;
                location /301 { return 301; } location /302 { return 302 /rel?x=1; }
                location /url { return http://u/x; } location /308 { return 308 other; }
                location /200 { return 200; } location /204 { return 204; } location /205 { return 205 x; }
                location /404 { return 404; } location /t404 { return 404 "gone $uri"; }
                location /444 { return 444; } location /418 { return 418; }
            }
            """)
        #expect(try bench.answer(target) == answer)
    }

    @Test("a connection that is closed without an answer is logged with the status", arguments: [444, 499])
    func logsClosed(status: Int) throws {
        let bench = try RoutingBench("server { listen 80; return \(status); }")
        let exchange = try bench.exchange("/")
        #expect(bench.describe(Router.route(exchange), exchange) == "close")
        #expect(exchange.status == status)
    }

    @Test(
        "a returned text has the type of the URI's extension, else default_type",
        arguments: [
            ("/a.html", "text/html"), ("/a.X", "a/b"), ("/a.tar.x", "a/b"), ("/a/.x", "text/plain"),
            ("/a.x/b", "text/plain"), ("/a", "text/plain"),
        ])
    func typesText(target: String, type: String) throws {
        let bench = try RoutingBench(
            "server { listen 80; location / { types { text/html html; a/b x; } return 200 h; } }")
        let exchange = try bench.exchange(target)
        guard case .respond(let response) = Router.route(exchange) else {
            Issue.record("no response")
            return
        }
        #expect(response.contentType.map(text) == type)
    }

    @Test(
        "redirects are completed by the client's host, or as the settings say",
        arguments: [
            ("a.test", "http://a.test:8080/x"), ("A.test:99", "http://a.test:8080/x"), ("rel.test", "/x"),
            ("named.test", "http://named.test/x"), ("alias.test", "http://named.test/x"),
        ])
    func completesRedirects(host: String, location: String) throws {
        let bench = try RoutingBench(
            """
            server { listen 80; server_name a.test; return 301 /x; }
            server { listen 80; server_name rel.test; absolute_redirect off; return 301 /x; }
            server {
                listen 80; server_name named.test alias.test; server_name_in_redirect on; port_in_redirect off;
                return 301 /x;
            }
            """)
        #expect(try bench.answer("/", host: host) == "301 -> \(location)")
    }

    @Test("without a host, redirects lead to the address that the request came in on")
    func completesByAddress() throws {
        let bench = try RoutingBench("server { listen 80; return 301 /x; }")
        #expect(
            try bench.answer("/", host: nil, version: "HTTP/1.0") == "301 -> http://198.51.100.1:8080/x")
        bench.client.serverAddress = Array("::1".utf8)
        bench.client.serverPort = 80
        #expect(try bench.answer("/", host: nil, version: "HTTP/1.0") == "301 -> http://[::1]/x")
    }

    @Test("a decoded line end cannot begin a field in a redirect")
    func escapesControls() throws {
        let bench = try RoutingBench(
            "server { listen 80; location /r { return 302 $uri; } location / { return 302 http://h$uri; } }")
        #expect(try bench.answer("/r%0d%0aX:y") == "302 -> http://main.test:8080/r%0D%0AX:y")
        #expect(try bench.answer("/%0aX:y") == "302 -> http://h/%0AX:y")
    }

    // MARK: if

    private static let ifs = """
        server {
            listen 80;
            location /chain { set $v a; if ($arg_x) { set $v b; } set $v "${v}c"; return 200 $v; }
            location /handler {
                proxy_pass http://127.0.0.1:9;
                if ($arg_x) { set $q 1; }
                if ($arg_y) { proxy_pass http://127.0.0.1:10; }
            }
            location /page { if ($arg_x) { error_page 404 http://e/; } return 404; }
            location /conditions {
                set $r "";
                if ($arg_t) { set $r "${r}t"; }
                if ($arg_a = one) { set $r "${r}="; }
                if ($arg_a != one) { set $r "${r}!"; }
                if ($arg_a ~ ^(o)(?<rest>.*)$) { set $r "${r}~$1$rest"; }
                if ($arg_a ~* ^ONE$) { set $r "${r}~*"; }
                if ($arg_a !~ ^o) { set $r "${r}!~"; }
                if ($arg_a !~* ^O) { set $r "${r}!~*"; }
                if (-f /f$uri) { set $r "${r}f"; }
                if (!-d /d) { set $r "${r}!d"; }
                if (-e /e) { set $r "${r}e"; }
                if (-x /x) { set $r "${r}x"; }
                return 200 "<$r>";
            }
            location /break { if ($arg_x) { break; } return 200 no; proxy_pass http://127.0.0.1:9; }
        }
        """

    @Test(
        "if switches settings and handler, and the directives after it go on",
        arguments: [
            ("/chain", "200 ac"), ("/chain?x=1", "200 bc"), ("/handler", "GET /handler at 127.0.0.1:9"),
            ("/handler?x=1", "GET /handler?x=1 at 127.0.0.1:9"),
            ("/handler?y=1", "GET /handler?y=1 at 127.0.0.1:10"),
            ("/handler?x=1&y=1", "GET /handler?x=1&y=1 at 127.0.0.1:10"), ("/break", "200 no"),
            ("/break?x=1", "GET /break?x=1 at 127.0.0.1:9"), ("/page", "404 page"),
            ("/page?x=1", "302 -> http://e/"),
        ])
    func switches(target: String, answer: String) throws {
        #expect(try RoutingBench(Self.ifs).answer(target) == answer)
    }

    @Test(
        "conditions hold as in nginx",
        arguments: [
            ("", "<!!~!~*!de>"), ("?t=0", "<!!~!~*!de>"), ("?t=00", "<t!!~!~*!de>"), ("?t=", "<!!~!~*!de>"),
            ("?a=one", "<=~one~*!de>"), ("?a=ONE", "<!~*!~!de>"), ("?a=two", "<!!~!~*!de>"),
        ])
    func conditions(arguments: String, result: String) throws {
        let bench = try RoutingBench(Self.ifs) { test, path in
            switch test {
            case .isFile: path == Array("/nothing".utf8)
            case .isDirectory: path == Array("/other".utf8)
            case .exists: path == Array("/e".utf8)
            case .isExecutable: false
            }
        }
        #expect(try bench.answer("/conditions" + arguments) == "200 \(result)")
    }

    @Test("a file is tested by the path that the variables make, and never one with a NUL")
    func testsFiles() throws {
        let bench = try RoutingBench(
            "server { listen 80; if (-f /dir$uri) { return 200 file; } return 200 none; }"
        ) { test, path in test == .isFile && path == Array("/dir/a b".utf8) }
        #expect(try bench.answer("/a%20b") == "200 file")
        #expect(try bench.answer("/ab") == "200 none")
    }
}
