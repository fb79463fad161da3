import Config
import ProxyCore
import Testing

@Suite("Where a request goes")
struct ProxyingTargetTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var location: String
        var path = "/"
        var target: String
        var result: String
        var testDescription: String { "\(path) { \(location) } \(target)" }
    }

    static let upstreams = "upstream grp { server 127.0.0.1:9000; } upstream Big { server 127.0.0.1:9001; }"

    /// As nginx 1.22 passes them on.
    static let cases = [
        Case(
            location: "proxy_pass http://127.0.0.1:9000;", path: "/plain",
            target: "/plain//a/../b/./c%2f?x=%20", result: "group 127.0.0.1:9000 /plain//a/../b/./c%2f?x=%20"),
        Case(
            location: "proxy_pass http://127.0.0.1:9000/two/;", path: "/one/",
            target: "/one/a%2fb/%E4/c%3f?z=%20", result: "group 127.0.0.1:9000 /two/a/b/%E4/c%3F?z=%20"),
        Case(
            location: "proxy_pass http://127.0.0.1:9000/two/;", path: "/one/",
            target: "/one/a\"b<c>", result: "group 127.0.0.1:9000 /two/a\"b<c>"),
        Case(
            location: "proxy_pass http://127.0.0.1:9000/two/;", path: "/one/",
            target: "/one//a/../b", result: "group 127.0.0.1:9000 /two/b"),
        Case(
            location: "proxy_pass http://127.0.0.1:9000/two/;", path: "/one/",
            target: "/one/", result: "group 127.0.0.1:9000 /two/"),
        Case(
            location: "proxy_pass http://127.0.0.1:9000/x?a=;", path: "/q/",
            target: "/q/y?b=2", result: "group 127.0.0.1:9000 /x?a=y?b=2"),
        Case(
            location: "proxy_pass http://grp/;", path: "= /exact", target: "/exact?", result: "group grp /"),
        Case(
            location: "rewrite ^/rw/(.*)$ /new/$1 break; proxy_pass http://127.0.0.1:9000/ignored/;",
            path: "/rw/",
            target: "/rw/a%20b?x=1", result: "group 127.0.0.1:9000 /new/a%20b?x=1"),
        Case(
            location: "rewrite ^/rw/(.*)$ /n/$1 break; proxy_pass http://127.0.0.1:9000;", path: "/rw/",
            target: "/rw/a%20b%25?x=1", result: "group 127.0.0.1:9000 /n/a%20b%25?x=1"),
        Case(
            location: "set $args n=1; proxy_pass http://127.0.0.1:9000;", path: "/args/",
            target: "/args/a%20b?x=1", result: "group 127.0.0.1:9000 /args/a%20b?n=1"),
        Case(
            location: "set $args n=1; proxy_pass http://127.0.0.1:9000/two/;", path: "/args/",
            target: "/args/a?x=1", result: "group 127.0.0.1:9000 /two/a?n=1"),
        Case(
            location: "proxy_pass http://127.0.0.1:9000$request_uri;", path: "/var/",
            target: "/var/a%20b?x=1", result: "address 127.0.0.1:9000 /var/a%20b?x=1"),
        Case(
            location: "set $b 127.0.0.1:9000; proxy_pass http://$b;", path: "/var/",
            target: "/var/a%20b?x", result: "address 127.0.0.1:9000 /var/a%20b?x"),
        Case(
            location: "set $b grp; proxy_pass http://$b/fixed;", target: "/var?x", result: "group grp /fixed"),
        Case(location: "set $b gRP; proxy_pass http://$b;", target: "/x", result: "group grp /x"),
        Case(
            location: "set $b grp:81; proxy_pass http://$b;", target: "/x", result: "resolve grp:81 /x"),
        Case(
            location: "set $b backend.test; proxy_pass http://$b:8000/p;", target: "/x",
            result: "resolve backend.test:8000 /p"),
        // What another names literally is known, by its host and port.
        Case(
            location: "if ($arg_x) { proxy_pass http://Named.test:8000; }"
                + " set $b nAmed.test:8000; proxy_pass http://$b/p;",
            target: "/x", result: "group Named.test:8000 /p"),
        Case(
            location: "if ($arg_x) { proxy_pass http://named.test; }"
                + " set $b named.test; proxy_pass http://$b:80;",
            target: "/x", result: "group named.test:80 /x"),
        Case(
            location: "if ($arg_x) { proxy_pass https://named.test; }"
                + " set $b named.test; proxy_pass https://$b;",
            target: "/x", result: "group named.test:443 /x"),
        Case(
            location: "if ($arg_x) { proxy_pass https://named.test; }"
                + " set $b named.test; proxy_pass http://$b;",
            target: "/x", result: "resolve named.test:80 /x"),
        Case(
            location: "set $b '[::1]:90'; proxy_pass http://$b?q;", target: "/",
            result: "address [::1]:90 /?q"),
        Case(
            location: "set $b /run/a.sock; proxy_pass http://unix:$b:/u;", target: "/",
            result: "address unix:/run/a.sock /u"),
        Case(
            location: "set $b /run/a.sock; proxy_pass http://unix:$b;", target: "/o?a",
            result: "address unix:/run/a.sock /o?a"),
        Case(
            location: "proxy_pass http://127.0.0.1:9000/$arg_p$uri;", target: "/a%0d%0a%20b?p=1",
            result: "address 127.0.0.1:9000 /1/a%0D%0A%20b"),
        // Nor begin what is no part of it.
        Case(
            location: "proxy_pass http://127.0.0.1:9000$uri;", target: "/a%23b",
            result: "address 127.0.0.1:9000 /a%23b"),
        Case(
            location: "set $b ''; proxy_pass $b;", target: "/",
            result: "invalid URL prefix in \"\", expected http:// or https://"),
        Case(
            location: "set $b ftp://x; proxy_pass $b;", target: "/",
            result: "invalid URL prefix in \"ftp://x\", expected http:// or https://"),
        Case(
            location: "set $b ''; proxy_pass http://$b/;", target: "/",
            result: "no host in upstream \"http:///\""),
        Case(
            location: "set $b :80; proxy_pass http://$b/;", target: "/",
            result: "no host in upstream \"http://:80/\""),
        Case(
            location: "set $b h:0; proxy_pass http://$b/;", target: "/",
            result: "invalid port in upstream \"http://h:0/\""),
        Case(
            location: "set $b h:65536; proxy_pass http://$b/;", target: "/",
            result: "invalid port in upstream \"http://h:65536/\""),
        Case(
            location: "set $b h:; proxy_pass http://$b/;", target: "/",
            result: "invalid port in upstream \"http://h:/\""),
        Case(
            location: "set $b '[::1'; proxy_pass http://$b/;", target: "/",
            result: "invalid host in upstream \"http://[::1/\""),
        Case(
            location: "set $b 'u@h'; proxy_pass http://$b/;", target: "/",
            result: "invalid host in upstream \"http://u@h/\""),
        Case(
            location: "set $b '  '; proxy_pass http://$b:81;", target: "/",
            result: "resolve   :81 /"),
    ]

    @Test("targets and URIs are nginx's", arguments: cases)
    func target(_ test: Case) throws {
        let fixture = try ProxyingFixture(
            test.location, path: test.path, http: Self.upstreams,
            request: "GET \(test.target) HTTP/1.1\nHost: c\n\n")
        #expect(try fixture.target() == test.result)
    }

    @Test(
        "$proxy_host and $proxy_port are set",
        arguments: [
            ("proxy_pass http://127.0.0.1:9000;", "127.0.0.1:9000", "9000"),
            ("proxy_pass http://127.0.0.1;", "127.0.0.1", "80"),
            ("proxy_pass http://grp;", "grp", "80"),
            ("proxy_pass http://unix:/run/a.sock;", "localhost", ""),
            ("set $b Back.test:80; proxy_pass http://$b;", "Back.test", "80"),
            ("set $b back.test:81; proxy_pass http://$b;", "back.test:81", "81"),
            ("set $b unix:/run/b; proxy_pass http://$b;", "localhost", ""),
        ])
    func proxyHost(_ location: String, _ host: String, _ port: String) throws {
        let fixture = try ProxyingFixture(
            location, http: Self.upstreams, request: "GET / HTTP/1.1\nHost: c\n\n")
        _ = try fixture.target()
        #expect(fixture.exchange.proxyHost.text == host)
        #expect(fixture.exchange.proxyPort.text == port)
    }

    @Test(
        "a script's target is an upstream or a URL of scheme and host",
        arguments: [
            ("grp", nil), ("GRP", nil), ("http://grp", nil), ("http://127.0.0.1:81", nil),
            ("http://[::1]:81", nil),
            ("none", "there is no upstream \"none\""),
            (
                "127.0.0.1:9000",
                "there is no upstream \"127.0.0.1:9000\"; a URL begins with http:// or https://"
            ),
            ("http://a/", "found a path in \"http://a/\", expected http://host:port"),
            ("http://a?x", "found a path in \"http://a?x\", expected http://host:port"),
            ("http://", "no host in upstream \"http://\""),
            ("http://a:0", "invalid port in upstream \"http://a:0\""),
            ("https://a", nil), ("https://a:444", nil), ("https://", "no host in upstream \"https://\""),
            ("ws://a", "invalid URL prefix in \"ws://a\", expected http:// or https://"),
            ("http://user@a", "invalid host in upstream \"http://user@a\""),
            ("http://a b", "invalid host in upstream \"http://a b\""),
        ] as [(String, String?)])
    func route(_ target: String, _ fault: String?) throws {
        let text = """
            events {} http { \(Self.upstreams) server { listen 80; location / { proxy_pass http://127.0.0.1:9000; } } }
            """
        let parsed = Configuration.parse(text, builtinVariables: VariableTable.names)
        let configuration = try #require(parsed.configuration)
        #expect(ProxyTarget.fault(ofRoute: Array(target.utf8), in: configuration) == fault)
    }
}
