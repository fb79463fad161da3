import Config
import ProxyCore
import Testing

@Suite("Cookies that upstreams set")
struct ProxyCookieTests {
    private func found(_ directives: String, _ cookie: String, arguments: String = "") throws -> String {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; \(directives)",
            request: "GET /x?\(arguments) HTTP/1.1\nHost: example.test\n\n")
        let (head, _) = try fixture.downstream(
            "HTTP/1.1 200 OK\nContent-Length: 0\nSet-Cookie:\(cookie)\nX-Last: 1\n\n")
        let line = try #require(head.split(separator: "\n").first { $0.hasPrefix("Set-Cookie:") })
        #expect(head.hasSuffix("\nX-Last: 1\n\n"))
        return String(line.dropFirst("Set-Cookie:".count))
    }

    @Test(
        "domains and paths are rewritten",
        arguments: [
            ("proxy_cookie_domain a.test b.test;", " n=v; Domain=a.test", " n=v; Domain=b.test"),
            ("proxy_cookie_domain a.test b.test;", " n=v;DOMAIN = .A.test ;x", " n=v; DOMAIN=.b.test; x"),
            ("proxy_cookie_domain .a.test .b.test;", " n=v; Domain=a.test", " n=v; Domain=b.test"),
            ("proxy_cookie_domain a.test b.test;", " n=v;Domain=x.a.test", " n=v;Domain=x.a.test"),
            ("proxy_cookie_domain a.test b.test;", " n=v;Domain", " n=v;Domain"),
            ("proxy_cookie_domain a.test b.test;", " n;Domain=a.test", " n;Domain=a.test"),
            ("proxy_cookie_domain a.test b.test;", " Domain=a.test", " Domain=a.test"),
            ("proxy_cookie_domain $arg_d $host;", " n=v; Domain=d.test", " n=v; Domain=example.test"),
            (
                "proxy_cookie_domain ~^\\.?(\\w+)\\.LOCAL$ $1.test;", " n=v; Domain=.a.local",
                " n=v; Domain=a.test"
            ),
            ("proxy_cookie_path /a/ /b/;", " n=v; Path=/a/c", " n=v; Path=/b/c"),
            ("proxy_cookie_path /a/ /b/;", " n=v; Path=/A/c", " n=v; Path=/A/c"),
            ("proxy_cookie_path /a/ /b/;", " n=v;Path=/c/a/", " n=v;Path=/c/a/"),
            ("proxy_cookie_path ~^/A/(.*)$ /$1;", " n=v;Path=/a/c", " n=v;Path=/a/c"),
            ("proxy_cookie_path ~*^/A/(.*)$ /$1;", " n=v; Path=/a/c", " n=v; Path=/c"),
            ("proxy_cookie_path ~a /b;", " n=v; Path=/x/a/y", " n=v; Path=/b"),
            ("proxy_cookie_path /a /b; proxy_cookie_path / /c/;", " n=v; Path=/", " n=v; Path=/c/"),
            (
                "proxy_cookie_domain a b; proxy_cookie_path / /p;", " n=v; Path=/; Domain=a; Path=/2",
                " n=v; Path=/p; Domain=b; Path=/p2"
            ),
        ])
    func rewrites(directives: String, cookie: String, expected: String) throws {
        #expect(try found(directives, cookie, arguments: "d=d.test") == expected)
    }

    @Test(
        "flags are given and taken",
        arguments: [
            ("one secure", " one=1", " one=1; Secure"), ("ONE secure", " one=1", " one=1; Secure"),
            ("two secure", " one=1", " one=1"), ("~^o secure", " one=1", " one=1; Secure"),
            ("~^O secure", " one=1", " one=1; Secure"),
            ("one secure", " one=1; secure;x", " one=1; secure; x"),
            (
                "one secure httponly samesite=strict", " one=1; Path=/",
                " one=1; Path=/; Secure; HttpOnly; SameSite=Strict"
            ),
            ("one SameSite=LAX", " one=1; SAMESITE=None; x", " one=1; SameSite=Lax; x"),
            ("one samesite=none samesite=lax", " one=1", " one=1; SameSite=Lax"),
            ("one samesite=strict samesite=lax", " one=1; samesite", " one=1; SameSite=Strict; SameSite=Lax"),
            (
                "one nosecure nohttponly nosamesite", " one=1; SECURE; httponly=1; SameSite=x; Path=/",
                " one=1; Path=/"
            ),
            ("one secure nosecure", " one=1; secure; secure", " one=1; secure"),
            ("~^(?<f>secure)$ $f", " secure=1", " secure=1; Secure"),
            ("~^(.*)$ $1", " secure=1", " secure=1; Secure"),
            ("one $arg_none", " one=1 ;x", " one=1; x"), ("one $arg_f", " one=1 ;x", " one=1; x"),
            ("one secure", " one", " one"),
        ])
    func flags(rule: String, cookie: String, expected: String) throws {
        #expect(try found("proxy_cookie_flags \(rule);", cookie, arguments: "f=bogus") == expected)
    }

    @Test("the first rule for a cookie decides about its flags, and off about nothing")
    func firstRule() throws {
        let rules = "proxy_cookie_flags one secure; proxy_cookie_flags ~ httponly;"
        #expect(try found(rules, " one=1") == " one=1; Secure")
        #expect(try found(rules, " two=2") == " two=2; HttpOnly")
        #expect(try found("proxy_cookie_flags off;", " two=2 ;x") == " two=2 ;x")
    }

    @Test("a line end that a value has from the request begins no line")
    func lineEnds() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; proxy_cookie_path / $uri;",
            request: "GET /a%0d%0aSet-Cookie:x HTTP/1.1\nHost: example.test\n\n")
        let (head, _) = try fixture.downstream(
            "HTTP/1.1 200 OK\nContent-Length: 0\nSet-Cookie: n=v; Path=/\n\n")
        #expect(head.contains("\nSet-Cookie: n=v; Path=/a  Set-Cookie:x\n"))
    }

    @Test("cookies of interim responses and of a 101 are rewritten as well, and groups stay what they were")
    func everyResponse() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; proxy_cookie_path ~^/(a) /$1b; add_header X-Group $1;",
            path: "~ (x)",
            request: "GET /x HTTP/1.1\nHost: example.test\nConnection: Upgrade\nUpgrade: foo\n\n")
        let answer = "Set-Cookie: n=v; Path=/a\nSet-Cookie: m=v; Path=/\n\n"
        try fixture.receive("HTTP/1.1 103 Early Hints\n" + answer)
        let plan = ProxyPlan(fixture.exchange.location.settings.values, pass: try fixture.pass())
        var interim: [UInt8] = []
        DownstreamResponseBuilder.appendInterim(
            fixture.exchange.response, for: fixture.exchange, plan: plan, to: &interim)
        let expected = "\nSet-Cookie: n=v; Path=/ab\nSet-Cookie: m=v; Path=/\n"
        #expect(try interim.textWithPlainLineEnds().contains(expected))
        try fixture.receive("HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: foo\n" + answer)
        #expect(try fixture.downstream().head.contains(expected))
        try fixture.receive("HTTP/1.1 200 OK\n" + answer)
        #expect(try fixture.downstream().head.hasSuffix(expected + "X-Group: x\n\n"))
    }
}
