import Config
import ProxyCore
import Testing

@Suite("Access logs")
struct AccessLogTests {
    private func line(_ http: String, _ target: String = "/", fields: [String] = []) throws -> String? {
        let bench = try RoutingBench(http + "\nserver { listen 80; location / { return 200 x; } }")
        let exchange = try bench.exchange(target, fields: fields)
        _ = Router.route(exchange)
        exchange.status = 200
        let log = try #require(exchange.location.settings.values.accessLogs.first)
        var out = Array(">".utf8)
        let isLogged = AccessLogRenderer.append(log, exchange, to: &out)
        #expect(isLogged == (out.count > 1))
        return isLogged ? text(out) : nil
    }

    @Test("the combined format")
    func combined() throws {
        let line = try line(
            "access_log logs/a.log;", "/a?b",
            fields: ["User-Agent: agent \"x\"", "Authorization: Basic dXNlcjpwYXNz"])
        #expect(
            line
                == #">192.0.2.7 - user [23/Nov/2026:21:49:03 +0000] "GET /a?b HTTP/1.1" 200 0 "-" "agent \x22x\x22""#
                + "\n")
    }

    /// What nginx writes for the same request. The path ends in a byte that is no UTF-8.
    @Test(
        "values are escaped as nginx escapes them",
        arguments: [
            ("", #"[-] [a\x22b\x5Cc\x09d~] [/\x22\x5C\x0A\x09\x08\x0C\x01\x1F\x80"#, false),
            ("escape=json", #"[] [a\"b\\c\td~] [/\"\\\n\t\b\f\u0001\u001F"#, true),
            ("escape=none", "[] [a\"b\\c\td~] [/\"\\\n\t\u{8}\u{c}\u{1}\u{1f}", true),
        ])
    func escapes(escape: String, expected: String, keepsByte: Bool) throws {
        let bench = try RoutingBench(
            "log_format f \(escape) '[$http_none] [$http_e] [$uri] [$is_args]'; access_log logs/a.log f;\n"
                + "server { listen 80; location / { return 200 x; } }")
        let exchange = try bench.exchange("/%22%5c%0a%09%08%0c%01%1f%80", fields: ["E: a\"b\\c\td~"])
        _ = Router.route(exchange)
        let log = try #require(exchange.location.settings.values.accessLogs.first)
        var out: [UInt8] = []
        AccessLogRenderer.append(log, exchange, to: &out)
        #expect(out == Array(expected.utf8) + (keepsByte ? [0x80] : []) + Array("] []\n".utf8))
    }

    @Test(
        "a condition that is empty or 0 leaves the line out",
        arguments: [
            ("", false), ("0", false), ("00", true), ("1", true),
        ])
    func obeysCondition(value: String, isLogged: Bool) throws {
        let line = try line("log_format f x; access_log logs/a.log f if=$arg_log;", "/?log=\(value)")
        #expect((line != nil) == isLogged)
    }

    @Test("a path with variables is made for each exchange")
    func makesPath() throws {
        let bench = try RoutingBench(
            "access_log logs/$host.log;\nserver { listen 80; location / { return 200 x; } }")
        let exchange = try bench.exchange("/", host: "a.test")
        _ = Router.route(exchange)
        let log = try #require(exchange.location.settings.values.accessLogs.first)
        let path = try #require(AccessLogRenderer.path(log, exchange))
        #expect(text(path).hasSuffix("logs/a.test.log"))
    }

    // MARK: Frozen exchanges

    private static let logs = """
        map $status $loggable { ~^1 1; default 0; }
        map $http_x $mapped { ~^(a+)b "<$1>"; default none; }
        map $http_x $seen { default "seen $http_x"; }
        map $http_x $fresh { volatile; default "fresh $http_x"; }
        log_format all '$remote_addr $remote_user "$request" $status $bytes_sent $body_bytes_sent $request_length '
            '$http_user_agent $http_none $request_id $host $uri $args $arg_a $cookie_c $mapped $seen $fresh $assigned '
            '$sent_http_upgrade $upstream_http_upgrade $upstream_addr $upstream_status $upstream_response_time '
            '$upstream_bytes_received $request_time $connection_time $connection $connection_requests $msec '
            '$server_name $request_completion $pipe $proxy_host $time_local';
        server {
            listen 80; server_name s.test;
            access_log logs/a.log all if=$loggable;
            access_log logs/$host.log combined;
            location /ws {
                set $assigned "as $uri";
                if ($seen) { set $other 1; }
                proxy_pass http://127.0.0.1:9;
            }
        }
        """

    private func upgraded(_ bench: RoutingBench) throws -> Exchange {
        let exchange = try bench.exchange(
            "/ws?a=1", host: "Host.test",
            fields: ["User-Agent: agent", "Cookie: c=d", "X: aab", "Authorization: Basic dXNlcjpwYXNz"])
        _ = Router.route(exchange)
        exchange.status = 101
        exchange.sentHead = Array("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".utf8)
        exchange.sentHeadBytes = Int64(exchange.sentHead.count)
        exchange.proxyHost = Array("127.0.0.1:9".utf8)
        var failed = UpstreamAttempt(
            address: Array("10.0.0.1:9".utf8), startedAt: Moment(unix: 1_795_470_543_000, monotonic: 9_800))
        failed.status = 502
        var attempt = failed
        attempt.address = Array("127.0.0.1:9".utf8)
        attempt.status = 101
        attempt.connectTime = 1
        exchange.attempts = [failed, attempt]
        return exchange
    }

    private func lines(_ exchange: Exchange) -> [String] {
        exchange.location.settings.values.accessLogs.map { log in
            var out: [UInt8] = []
            _ = AccessLogRenderer.append(log, exchange, to: &out)
            return text(AccessLogRenderer.path(log, exchange) ?? []) + " " + text(out)
        }
    }

    /// What happens to an exchange while its tunnel is open.
    private func tunnel(_ exchange: Exchange, _ bench: RoutingBench) {
        bench.clock.advance(to: Moment(unix: 1_795_480_000_000, monotonic: 9_466_750))
        exchange.sentBodyBytes += 1000
        exchange.receivedBodyBytes += 500
        exchange.attempts[1].responseTime = 9_456_950
        exchange.attempts[1].bytesReceived = 1200
        exchange.isComplete = true
    }

    @Test("a thawed exchange has the log lines and the values in them that it had when frozen")
    func thaws() throws {
        let bench = try RoutingBench(Self.logs)
        let original = try upgraded(bench)
        let frozen = original.freeze()
        let thawed = Exchange(runtime: bench.runtime, clock: bench.clock)
        frozen.thaw(into: thawed)
        #expect(lines(thawed) == lines(original))

        tunnel(original, bench)
        tunnel(thawed, bench)
        let expected = lines(original)
        #expect(lines(thawed) == expected)
        #expect(expected[0].contains(" 101 1056 1000 "))
        #expect(expected[0].contains(" <aa> seen aab fresh aab as /ws websocket "))
        #expect(thawed.attempts == original.attempts)
        #expect(thawed.location === original.location)
        for index in bench.runtime.configuration.variables.indices {
            let variable = VariableID(index: index)
            let name = bench.runtime.configuration.variables[index].name
            guard name != "other" else { continue }
            #expect(thawed.value(of: variable) == original.value(of: variable), "\(name)")
        }
    }

    @Test("a frozen exchange is small, and a thawed one can be used again")
    func isSmall() throws {
        let bench = try RoutingBench(
            "access_log logs/a.log; server { listen 80; location / { proxy_pass http://127.0.0.1:9; } }")
        let exchange = try upgraded(bench)
        let frozen = exchange.freeze()
        #expect(frozen.byteCount < 200)
        frozen.thaw(into: exchange)
        exchange.reset(runtime: bench.runtime)
        exchange.request = try bench.exchange("/again").request
        exchange.begin(listener: 0, client: bench.client, startedAt: Moment(), random: (0, 0))
        _ = Router.route(exchange)
        #expect(lines(exchange)[0].contains("GET /again HTTP/1.1"))
    }
}
