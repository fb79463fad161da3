import Config
import ProxyCore
import Testing
import Wire

/// Exchanges that scripts may ask for anything of, frozen and thawed.
@Suite("An exchange frozen as a whole")
struct FrozenExchangeTests {
    private static let configuration = """
        map $http_x $mapped { ~^(a+)b "<$1>"; default none; }
        map $http_x $seen { default "seen $http_x"; }
        limit_req_zone $uri zone=rates:1m rate=1r/s; limit_conn_zone $uri zone=open:1m;
        log_format all '$mapped $seen $assigned $word';
        server {
            listen 80; server_name s.test;
            access_log logs/a-$1.log all; limit_req zone=rates; limit_conn open 1;
            set_real_ip_from 192.0.2.7; real_ip_header X-Forwarded-For;
            location ~ ^/(?<word>w.)/(.*) {
                set $assigned "as $uri";
                if ($seen) { set $other 1; }
                proxy_pass http://127.0.0.1:9;
            }
        }
        """

    private static let answer =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: u=v\r\n"
        + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nServer:  spaced \r\n\r\n"

    /// One whose every property has another value than at first.
    private func exchange(_ bench: RoutingBench) throws -> Exchange {
        let exchange = try bench.exchange(
            "/ws/b%20c+d?a=1&b", host: "Host.test:81",
            fields: [
                "User-Agent: agent", "Cookie: c=d; e=f", "X: aab", "Authorization: Basic dXNlcjpwYXNz",
                "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Loose:  space \t", "Under_score: 1",
                "X-Forwarded-For: 203.0.113.9",
            ])
        _ = Router.route(exchange)
        var parser = ResponseHeadParser()
        let bytes = Array(Self.answer.utf8)
        let progress = parser.parse(
            RawSpan(_elements: bytes.span), isHead: false, maxHead: 4096, into: &exchange.response)
        try #require(progress == .complete(length: bytes.count))
        exchange.isInternal = true
        exchange.errorStatus = 404
        exchange.errorPageWasTried = true
        exchange.bodyIsDiscarded = true
        exchange.closesConnection = true
        exchange.responseBodyIsScripted = true
        exchange.passedRequestHooks = true
        exchange.scriptsMayWait = true
        exchange.setResponseStatus(101)
        exchange.status = 101
        exchange.proxyHost = Array("127.0.0.1:9".utf8)
        exchange.proxyPort = Array("9".utf8)
        exchange.requestBody = Array("body".utf8)
        var trailers = TrailerSection()
        trailers.bytes = Array("Sum: abc\r\n\r\n".utf8)
        trailers.fields = [
            FieldLine(nameStart: 0, nameLength: 3, id: .other, valueStart: 5, valueLength: 3)
        ]
        exchange.responseTrailers = trailers
        exchange.webSocketDeflate.isTerminated = true
        exchange.webSocketDeflate.client = .init(serverNoContextTakeover: true, serverMaxWindowBits: 9)
        exchange.webSocketDeflate.upstream = .init(clientNoContextTakeover: true)
        exchange.webSocketDeflate.passed = .init(clientMaxWindowBits: 10)
        exchange.webSocketDeflate.value = Array("permessage-deflate".utf8)
        exchange.webSocketDeflate.hasOthers = true
        exchange.webSocketDeflate.hasUnshared = true
        exchange.sentHead = bytes
        exchange.sentTrailers = Array("Sum: abc\r\n".utf8)
        exchange.sentHeadBytes = Int64(bytes.count)
        exchange.sentBodyBytes = 3
        exchange.receivedBodyBytes = 2
        exchange.isComplete = true
        exchange.isPipelined = true
        var failed = UpstreamAttempt(
            address: Array("[::1]:9".utf8), startedAt: Moment(unix: 1_795_470_542_999, monotonic: 9_749))
        failed.status = 502
        failed.responseTime = 7
        var attempt = failed
        attempt.address = Array("127.0.0.1:9".utf8)
        attempt.connectTime = 1
        attempt.headerTime = 2
        attempt.bytesSent = 3
        attempt.bytesReceived = 1 << 40
        attempt.responseLength = 5
        attempt.followsRedirect = true
        exchange.attempts = [failed, attempt]
        return exchange
    }

    private func thawed(_ exchange: Exchange, _ bench: RoutingBench) throws -> Exchange {
        let freezer = ExchangeFreezer(RecordDeflater())
        // What the freezer and the exchange were used for before must not show.
        let other = try bench.exchange("/other", fields: ["X: other"])
        _ = Router.route(other)
        other.location = exchange.location
        _ = freezer.freeze(other)
        freezer.freeze(exchange).thaw(into: other, freezer)
        return other
    }

    /// All names of variables, with what families take from the exchange above.
    private static let names: [String] =
        VariableTable.rows.map(\.name) + ["mapped", "seen", "assigned", "other", "word"]
        + VariableFamily.allCases.flatMap { family in
            [
                "x", "cookie", "upgrade", "set_cookie", "server", "sum", "u", "a", "b", "c", "e", "loose",
                "under_score",
                "x_new", "x_forwarded_for", "none",
            ].map { family.rawValue + $0 }
        }

    private func values(_ exchange: Exchange) throws -> [String: [UInt8]] {
        var values: [String: [UInt8]] = [:]
        for name in Self.names {
            let variable = try #require(exchange.runtime.variable(named: Array(name.utf8)), "\(name)")
            var value: [UInt8] = []
            if exchange.append(variable, to: &value) { values[name] = value }
        }
        return values
    }

    /// Properties that are no part of what is frozen: working storage, what only routing uses, and references that
    /// whoever thaws it sets. Values by slots are compared as variables.
    private static let others: Set<String> = [
        "clock", "parser", "handler", "redirectURL", "remainingURIChanges", "mapsUnderway", "spareBuffers",
        "thawed",
        "scripts", "scriptFlow", "scriptIsPending", "webSocket", "webSocketFacts", "assigned", "mapValues",
        "client", "counted",
    ]

    private func properties(_ object: Any, besides: Set<String> = []) -> [String: String] {
        var properties: [String: String] = [:]
        for child in Mirror(reflecting: object).children {
            guard let label = child.label, !besides.contains(label) else { continue }
            properties[label] = String(reflecting: child.value)
        }
        return properties
    }

    @Test("has every property again when it is thawed, edits of its heads too", arguments: [false, true])
    func thaws(isEdited: Bool) throws {
        let bench = try RoutingBench(Self.configuration)
        let original = try exchange(bench)
        if isEdited {
            try original.request.set("X", "aaab")
            try original.request.set("upgrade", "other")
            try original.request.remove("User-Agent")
            try original.request.add("X-New", "1")
            try original.request.set("X-New", "2")
            try original.request.set("Host", "edited.test")
            original.hostFieldChanged()
            original.uri = Array("/elsewhere".utf8)
            original.arguments = Array("a=9".utf8)
            original.method = Array("POST".utf8)
            try original.response.add("X-New", "3")
            try original.response.remove("Server")
        }
        // A map that was looked up keeps its value, whatever it stands on.
        _ = try values(original)
        let thawed = try thawed(original, bench)

        let expected = properties(original, besides: Self.others)
        let found = properties(thawed, besides: Self.others)
        for (name, value) in expected { #expect(found[name] == value, "\(name)") }
        #expect(found.count == expected.count && expected.count > 40)
        #expect(properties(thawed.client) == properties(original.client))
        #expect(thawed.client !== original.client)

        let known = try values(original)
        #expect(try values(thawed) == known)
        #expect(known["mapped"] != nil && known["assigned"] == Array("as /ws/b c+d".utf8))
        #expect(thawed.server === original.server && thawed.location === original.location)
    }

    @Test("is small")
    func isSmall() throws {
        let bench = try RoutingBench(Self.configuration)
        let freezer = ExchangeFreezer(RecordDeflater())
        let first = try exchange(bench)
        #expect(freezer.freeze(first).byteCount < 50)
        let second = try exchange(bench)
        second.randomBytes = (1, 2)
        try second.request.set("Sec-WebSocket-Key", "c29tZSBvdGhlciBub25jZQ==")
        #expect(freezer.freeze(second).byteCount < 150)
    }

    @Test("can be frozen and thawed over and over, and used for another request then")
    func repeats() throws {
        let bench = try RoutingBench(Self.configuration)
        let original = try exchange(bench)
        let freezer = ExchangeFreezer(RecordDeflater())
        let first = try values(original)
        for _ in 0..<3 {
            freezer.freeze(original).thaw(into: original, freezer)
            #expect(try values(original) == first)
        }
        original.reset(runtime: bench.runtime)
        original.request = try bench.exchange("/wx/again").request
        original.begin(listener: 0, client: bench.client, startedAt: Moment(), random: (0, 0))
        _ = Router.route(original)
        #expect(try values(original)["assigned"] == Array("as /wx/again".utf8))
        #expect(original.response.fields.isEmpty && original.attempts.isEmpty && original.sentHead.isEmpty)
    }

    @Test("deflated records come back, whatever is in them", arguments: [0, 1, 100, 5_000, 300_000])
    func deflates(count: Int) {
        let deflater = RecordDeflater()
        var state: UInt32 = 1
        let record = (0..<count).map { index in
            state = state &* 1_664_525 &+ 1_013_904_223
            return index % 3 == 0 ? UInt8(truncatingIfNeeded: state >> 24) : UInt8(ascii: "x")
        }
        for sample in [record, [], Array("xxxxxxx".utf8)] {
            var bytes: [UInt8] = []
            deflater.append(deflating: record.span, after: sample.span, to: &bytes)
            var inflated: [UInt8] = []
            deflater.append(inflating: bytes.span, after: sample.span, to: &inflated)
            #expect(inflated == record)
        }
    }
}
