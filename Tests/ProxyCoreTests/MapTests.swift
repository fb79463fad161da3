import ProxyCore
import Testing

@Suite("Maps")
struct MapTests {
    @Test(
        "nginx's WebSocket recipe",
        arguments: [
            (["Upgrade: websocket"], "upgrade"), ([], "close"), (["Upgrade:"], "close"),
            (["Upgrade: x"], "upgrade"),
        ])
    func recipe(fields: [String], value: String) throws {
        let bench = try RoutingBench(
            """
            map $http_upgrade $connection_upgrade { default upgrade; '' close; }
            server { listen 80; return 200 $connection_upgrade; }
            """)
        #expect(try bench.answer("/", fields: fields) == "200 \(value)")
    }

    @Test(
        "keys compare without case, then wildcards, then expressions in order",
        arguments: [
            ("exact", "1"), ("EXACT", "1"), ("a.wild.org", "2"), ("a.b.WILD.org", "2"), ("www.tail.com", "3"),
            ("www.tail.com.", "3"), ("dot.org", "5"), ("x.dot.org", "5"), ("re-abc", "4abc"),
            ("RE-abc", "none"),
            ("ci-x", "6"), ("CI-x", "6"), ("other", "none"), ("", "none"), ("wild.org", "none"),
        ])
    func looksUp(key: String, value: String) throws {
        let bench = try RoutingBench(
            """
            map $arg_k $v {
                hostnames; default none; exact 1; *.wild.org 2; www.tail.* 3; .dot.org 5;
                ~^re-(.*)$ 4$1; ~*^ci 6; ~^re never;
            }
            server { listen 80; return 200 $v; }
            """)
        #expect(try bench.answer("/?k=\(key)") == "200 \(value)")
    }

    @Test("named groups of a map's expression are variables")
    func assignsGroups() throws {
        let bench = try RoutingBench(
            """
            map $uri $v { ~^/(?<word>[a-z]+)$ "<$word>"; }
            server { listen 80; return 200 "$v$word"; }
            """)
        #expect(try bench.answer("/abc") == "200 <abc>abc")
        #expect(try bench.answer("/1") == "200")
    }

    @Test("a value is found once in an exchange, unless the map is volatile")
    func keepsValues() throws {
        let bench = try RoutingBench(
            """
            map $x $kept { default "<$x>"; }
            map $x $fresh { volatile; default "<$x>"; }
            server { listen 80; set $x 1; set $a "$kept$fresh"; set $x 2; return 200 "$a$kept$fresh"; }
            """)
        #expect(try bench.answer("/") == "200 <1><1><1><2>")
    }

    @Test("maps may depend on maps, and one that depends on itself is taken to be empty there")
    func endsCycles() throws {
        let bench = try RoutingBench(
            """
            map $b $a { default "a$b"; } map $arg_x $b { default "b$arg_x"; }
            map $two $one { default "1$two"; } map $one $two { volatile; default "2$one"; }
            map $self $self { default "s$self"; }
            server { listen 80; location /chain { return 200 $a; } location / { return 200 "$one$self"; } }
            """)
        let chain = try bench.exchange("/chain?x=1")
        #expect(bench.describe(Router.route(chain), chain) == "200 ab1")
        #expect(chain.takeFaults().isEmpty)
        let cycle = try bench.exchange("/")
        #expect(bench.describe(Router.route(cycle), cycle) == "200 12s")
        #expect(
            cycle.takeFaults().map(\.text) == [
                "cycle while evaluating variable \"one\"", "cycle while evaluating variable \"self\"",
            ])
    }

    @Test("a map's expression replaces the groups of the match before, as in nginx")
    func replacesCaptures() throws {
        let bench = try RoutingBench(
            """
            map $uri $v { ~^/c/(.*)$ "v=$1"; }
            server { listen 80; location / { if ($uri ~ (x)(y)) { set $k "[$2$v$2]"; } return 200 "$k$1"; } }
            """)
        #expect(try bench.answer("/c/xy") == "200 [yv=xy]xy")
    }
}
