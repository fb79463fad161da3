import Config
import Testing

@testable import ProxyCore

@Suite("Limits on the way to a location")
struct LimitRoutingTests {
    private static let zones = """
        limit_req_zone $arg_k zone=rate:1m rate=2r/s;
        limit_req_zone $arg_k zone=slow:1m rate=1r/s;
        limit_conn_zone $arg_k zone=open:1m;
        """

    private func bench(_ location: String, server: String = "") throws -> RoutingBench {
        try RoutingBench(
            "\(Self.zones) server { listen 80; \(server) location / { \(location) proxy_pass http://u; } } "
                + "upstream u { server 127.0.0.1; }")
    }

    private func pass(_ bench: RoutingBench, milliseconds: Int64) {
        let now = bench.clock.now
        bench.clock.advance(
            to: Moment(unix: now.unix + milliseconds, monotonic: now.monotonic + milliseconds))
    }

    @Test("a request waits for its turn, and is looked at no more then")
    func delays() throws {
        let bench = try bench("limit_req zone=rate burst=2;")
        #expect(try bench.answer("/?k=a") == "GET /?k=a at u")
        let exchange = try bench.exchange("/?k=a")
        #expect(bench.describe(Router.route(exchange), exchange) == "delay 500")
        #expect(exchange.requestLimitStatus == .delayed)
        let faults = exchange.takeFaults()
        #expect(faults.map(\.text) == [#"delaying request, excess: 1.000, by zone "rate""#])
        #expect(faults.map(\.level) == [.warn])
        #expect(bench.describe(Router.goOn(exchange), exchange) == "GET /?k=a at u")
        #expect(try bench.answer("/?k=a") == "delay 1000")
        #expect(try bench.answer("/?k=a") == "503 page")
        pass(bench, milliseconds: 100)
        #expect(try bench.answer("/?k=a") == "503 page")
        pass(bench, milliseconds: 400)
        #expect(try bench.answer("/?k=a") == "delay 1000")
    }

    @Test("of several limits the longest wait counts, and one that refuses leaves the others as they were")
    func severalLimits() throws {
        let bench = try bench("limit_req zone=rate burst=9 delay=1; limit_req zone=slow burst=1;")
        #expect(try bench.answer("/?k=a") == "GET /?k=a at u")
        let exchange = try bench.exchange("/?k=a")
        #expect(bench.describe(Router.route(exchange), exchange) == "delay 1000")
        #expect(exchange.takeFaults().map(\.text) == [#"delaying request, excess: 1.000, by zone "slow""#])
        for _ in 0..<20 { #expect(try bench.answer("/?k=a") == "503 page") }
        pass(bench, milliseconds: 1000)
        // The first holds what two requests left after a second, and this one.
        #expect(try bench.answer("/?k=a") == "delay 1000")
    }

    @Test("a level and a dry run are told of, and its requests go on")
    func dryRun() throws {
        let bench = try bench(
            "limit_req zone=rate burst=1; limit_req_dry_run on; limit_req_log_level info; limit_conn open 1; "
                + "limit_conn_dry_run on; limit_conn_log_level notice;")
        var exchanges: [Exchange] = []
        for (status, text) in [
            (LimitStatus.passed, nil),
            (.delayedInDryRun, "delaying request, dry run, excess: 1.000, by zone"),
            (.rejectedInDryRun, "limiting requests, dry run, excess: 2.000 by zone"),
        ] {
            let exchange = try bench.exchange("/?k=a")
            #expect(bench.describe(Router.route(exchange), exchange) == "GET /?k=a at u")
            #expect(exchange.requestLimitStatus == status)
            #expect(exchange.connectionLimitStatus == (exchanges.isEmpty ? .passed : .rejectedInDryRun))
            var faults = exchange.takeFaults()
            if let text {
                #expect(faults.first?.text == text + #" "rate""#)
                #expect(faults.removeFirst().level == .info)
                #expect(faults.map(\.text) == [#"limiting connections, dry run, by zone "open""#])
                #expect(faults.map(\.level) == [.notice])
            } else {
                #expect(faults.isEmpty)
            }
            exchanges.append(exchange)
        }
        #expect(exchanges.map { $0.counted.isEmpty } == [false, true, true])
    }

    @Test("a request is counted until it is released, also by whoever took that over")
    func counts() throws {
        let bench = try bench("limit_conn open 2; limit_conn_status 429;")
        let first = try bench.exchange("/?k=a")
        let second = try bench.exchange("/?k=a")
        _ = Router.route(first)
        _ = Router.route(second)
        #expect(try bench.answer("/?k=a") == "429 page")
        first.counted.release()
        let third = try bench.exchange("/?k=a")
        #expect(bench.describe(Router.route(third), third) == "GET /?k=a at u")
        var taken = third.counted.take()
        #expect(third.counted.isEmpty)
        third.counted.release()
        #expect(try bench.answer("/?k=a") == "429 page")
        taken.release()
        #expect(try bench.answer("/?k=a") == "GET /?k=a at u")
    }

    @Test("a refusal leads to its page, which is let in")
    func pages() throws {
        let bench = try bench(
            "limit_req zone=slow;", server: "error_page 503 =429 /busy?$args; limit_conn open 2;")
        #expect(try bench.answer("/?k=a") == "GET /?k=a at u")
        #expect(try bench.answer("/?k=a") == "GET /busy?k=a at u changed as 429")
    }

    @Test("keys that are empty or too long count nothing, and the latter are told of")
    func keys() throws {
        let bench = try bench("limit_conn open 1;")
        let long = String(repeating: "x", count: 256)
        for target in ["/", "/?k=", "/?k=\(long)"] {
            for _ in 0..<2 {
                let exchange = try bench.exchange(target)
                #expect(bench.describe(Router.route(exchange), exchange).hasPrefix("GET /"))
                #expect(exchange.connectionLimitStatus == .none && exchange.counted.isEmpty)
                let texts = exchange.takeFaults().map(\.text)
                #expect(
                    texts
                        == (target.count > 9
                            ? [#"the value of the "$arg_k" key is more than 255 bytes: "\#(long)""#] : []))
            }
        }
    }
}

@Suite("Zones across reloads")
struct LimitZonesTests {
    private func settings(_ text: String) throws -> RuntimeConfiguration {
        try RoutingBench("\(text) server { listen 80; }").runtime
    }

    private func identity(_ zone: LimitZone) -> ObjectIdentifier {
        switch zone {
        case .requests(let zone): ObjectIdentifier(zone)
        case .connections(let zone): ObjectIdentifier(zone)
        }
    }

    @Test("a zone stays while its name, size and key do; others begin empty, which is said")
    func reload() throws {
        let zones = LimitZones()
        let first = try settings(
            "limit_req_zone $uri zone=a:1m rate=1r/s; limit_conn_zone $uri zone=b:1m; limit_conn_zone $uri zone=c:1m;"
        ).configuration.limitZones
        let running = zones.prepare(first)
        #expect(zones.adopt(running, first).isEmpty)

        let second = try settings(
            "limit_conn_zone $host zone=b:1m; limit_conn_zone $uri zone=d:1m; limit_req_zone $uri zone=a:1m rate=5r/s;"
                + "limit_conn_zone $uri zone=c:2m;"
        ).configuration.limitZones
        let next = zones.prepare(second)
        #expect(identity(next[2]) == identity(running[0]))
        for index in [0, 1, 3] { #expect(!running.map(identity).contains(identity(next[index]))) }
        // Nothing has changed for whoever is prepared beside it.
        #expect(zones.prepare(first).map(identity) == running.map(identity))
        #expect(
            zones.adopt(next, second) == [
                #"limit_conn_zone "b" begins empty: its key was "$uri" and is "$host""#,
                #"limit_conn_zone "c" begins empty: its size was 1048576 and is 2097152 bytes"#,
            ])
        #expect(zones.prepare(second).map(identity) == next.map(identity))

        let third = try settings("limit_req_zone $uri zone=b:1m rate=1r/s;").configuration.limitZones
        #expect(
            zones.adopt(zones.prepare(third), third) == [
                #"limit_req_zone "b" begins empty: it was of limit_conn_zone"#
            ])
    }
}
