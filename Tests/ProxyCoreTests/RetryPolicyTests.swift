import Config
import ProxyCore
import Testing
import Wire

@Suite("Failures and retries")
struct RetryPolicyTests {
    static let refused: Int32 = 111

    static let kinds: [(ProxyFailure.Kind, condition: NextUpstream?, status: Int, message: String)] = [
        (
            .connectFailed(refused), .error, 502,
            "connect() failed (111: text 111) while connecting to upstream"
        ),
        (.sendFailed(32), .error, 502, "send() failed (32: text 32) while sending request to upstream"),
        (
            .readFailed(104, .readingHead), .error, 502,
            "recv() failed (104: text 104) while reading response header from upstream"
        ),
        (.connectTimedOut, .timeout, 504, "upstream timed out (110: text 110) while connecting to upstream"),
        (
            .sendTimedOut, .timeout, 504,
            "upstream timed out (110: text 110) while sending request to upstream"
        ),
        (
            .readTimedOut(.readingHead), .timeout, 504,
            "upstream timed out (110: text 110) while reading response header from upstream"
        ),
        (
            .closedEarly(.readingHead), .error, 502,
            "upstream prematurely closed connection while reading response header from upstream"
        ),
        (
            .closedEarly(.readingBody), .error, 502,
            "upstream prematurely closed connection while reading upstream"
        ),
        (
            .invalidHead(.invalidStatusLine), .invalidHeader, 502,
            "upstream sent no valid HTTP/1.0 header while reading response header from upstream"
        ),
        (
            .invalidHead(.headTooLarge), .invalidHeader, 502,
            "upstream sent too big header while reading response header from upstream"
        ),
        (
            .invalidBody(.invalidChunkSize), nil, 502,
            "upstream sent invalid chunked response (the size of a chunk is no hexadecimal number) while reading upstream"
        ),
        (
            .invalidUpgrade(.notAsked), .invalidHeader, 502,
            "upstream sent 101 to a request that asked for no upgrade while reading response header from upstream"
        ),
        (
            .unwantedStatus(503), .http503, 503,
            "upstream answered 503 while reading response header from upstream"
        ),
        (.noLivePeers, nil, 502, "no live upstreams while connecting to upstream"),
        (.noResolver(name: "app.test"), nil, 502, "no resolver defined to resolve app.test"),
        (.unresolved(name: "a.test", reason: "gone"), nil, 502, "a.test could not be resolved (gone)"),
        (.invalidTarget("bad"), nil, 500, "bad"),
    ]

    @Test("each kind has nginx's status and words", arguments: kinds.indices)
    func kind(_ index: Int) {
        let row = Self.kinds[index]
        let failure = ProxyFailure(row.0)
        #expect(failure.condition == row.condition)
        #expect(failure.status == row.status)
        #expect(failure.message { "text \($0)" } == row.message)
    }

    @Test("a failure tells whether another peer may help, and what was done when its peer was put aside")
    func consequences() {
        #expect(ProxyFailure(.connectTimedOut).retry == .anyPeer)
        #expect(ProxyFailure(.closedEarly(.readingBody)).retry == .never)
        #expect(ProxyFailure(.unwantedStatus(503)).logLevel == .info)
        #expect(
            ProxyFailure(.connectTimedOut).disablingMessage
                == "upstream server temporarily disabled while connecting to upstream")
        #expect(
            ProxyFailure(.unwantedStatus(503)).disablingMessage
                == "upstream server temporarily disabled while reading response header from upstream")
        #expect(ProxyFailure(.noLivePeers).logLevel == .error)
    }

    // MARK: Retries

    private func policy(_ settings: String) throws -> (RetryPolicy, ProxyingFixture) {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; \(settings)", request: "GET / HTTP/1.1\nHost: c\n\n")
        return (RetryPolicy(fixture.exchange.location.settings.values), fixture)
    }

    private func selection(tries: Int) -> PeerSelection {
        let lines = (0..<3).map { _ in UpstreamServer(endpoint: .host("n", port: 80)) }
        let addresses = lines.indices.map { [PeerAddress(.ipv4(UInt32($0), port: 80))] }
        var selection = PeerGroup(UpstreamGroup(name: [], servers: lines), addresses: addresses).begin(
            maxTries: 0)
        selection.tries = tries
        return selection
    }

    @Test(
        "proxy_next_upstream names what is tried again",
        arguments: [
            ("", .connectFailed(refused), true), ("", .readTimedOut(.readingHead), true),
            ("", .invalidHead(.invalidStatus), false), ("", .unwantedStatus(502), false),
            ("error", .connectTimedOut, false), ("error", .closedEarly(.readingHead), true),
            ("error", .closedEarly(.readingBody), false),
            ("timeout", .connectFailed(refused), false), ("timeout", .sendTimedOut, true),
            ("invalid_header", .invalidHead(.bareCarriageReturn), true),
            ("invalid_header", .invalidUpgrade(.noProtocol), true),
            ("invalid_header", .closedEarly(.readingHead), false), ("off", .connectFailed(refused), false),
            ("error timeout invalid_header", .noLivePeers, false),
            ("http_503", .unwantedStatus(503), true), ("http_503", .unwantedStatus(502), false),
        ] as [(String, ProxyFailure.Kind, Bool)])
    func conditions(_ conditions: String, _ kind: ProxyFailure.Kind, _ isRetried: Bool) throws {
        let (policy, _) = try policy(conditions.isEmpty ? "" : "proxy_next_upstream \(conditions);")
        let allowed = policy.allows(
            ProxyFailure(kind), nonIdempotent: false, selection: selection(tries: 1), firstTryAt: 0, now: 0)
        #expect(allowed == isRetried)
    }

    @Test("tries and time run out", arguments: [(1, 999, true), (0, 0, false), (2, 1000, false)])
    func limits(_ tries: Int, _ now: Int64, _ isRetried: Bool) throws {
        let (policy, _) = try policy("proxy_next_upstream_timeout 1s; proxy_next_upstream_tries 7;")
        #expect(policy.maxTries == 7)
        let allowed = policy.allows(
            ProxyFailure(.connectTimedOut), nonIdempotent: false, selection: selection(tries: tries),
            firstTryAt: 0,
            now: now)
        #expect(allowed == isRetried)
    }

    @Test("what was sent and is not idempotent is not sent twice unless the configuration says so")
    func nonIdempotent() throws {
        for (setting, isRetried) in [("error", false), ("error non_idempotent", true)] {
            let (policy, _) = try policy("proxy_next_upstream \(setting);")
            let allowed = policy.allows(
                ProxyFailure(.closedEarly(.readingHead)), nonIdempotent: true, selection: selection(tries: 1),
                firstTryAt: 0, now: 0)
            #expect(allowed == isRetried)
        }
    }

    @Test(
        "POST, LOCK and PATCH are not idempotent",
        arguments: [
            ("GET", true), ("HEAD", true), ("PUT", true), ("DELETE", true), ("POST", false), ("LOCK", false),
            ("PATCH", false), ("post", true), ("POSTS", true),
        ])
    func methods(_ method: String, _ isIdempotent: Bool) {
        #expect(RetryPolicy.isIdempotent(Array(method.utf8)) == isIdempotent)
    }

    @Test(
        "a status is given up only while another try is left",
        arguments: [
            (503, 2, false, true), (503, 1, false, false), (503, 2, true, false), (502, 2, false, false),
            (404, 2, false, true), (200, 2, false, false), (101, 2, false, false),
        ])
    func statuses(_ status: Int, _ tries: Int, _ nonIdempotent: Bool, _ isRejected: Bool) throws {
        let (policy, _) = try policy("proxy_next_upstream http_503 http_404;")
        let rejected = policy.rejects(
            status: status, nonIdempotent: nonIdempotent, hasOther: tries > 1, firstTryAt: 0, now: 0)
        #expect(rejected == isRejected)
    }

    @Test(
        "what a failure means for the peer",
        arguments: [
            (.connectFailed(refused), false, .failed), (.closedEarly(.readingHead), false, .failed),
            (.closedEarly(.readingHead), true, .stale), (.sendFailed(32), true, .stale),
            (.readFailed(104, .readingHead), true, .stale), (.readFailed(104, .readingBody), true, .failed),
            (.readTimedOut(.readingHead), true, .failed), (.unwantedStatus(503), false, .failed),
            (.unwantedStatus(404), false, .passedOver), (.unwantedStatus(403), false, .passedOver),
        ] as [(ProxyFailure.Kind, Bool, PeerOutcome)])
    func outcome(_ kind: ProxyFailure.Kind, _ reused: Bool, _ outcome: PeerOutcome) {
        #expect(RetryPolicy.outcome(of: ProxyFailure(kind), reused: reused) == outcome)
    }

    // MARK: The log

    @Test("a line of the log names client, server, request, upstream and host, without control characters")
    func context() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000;",
            request: "GET /a HTTP/1.1\nHost: c\nReferer: http://r/\tx\n\n")
        var line: [UInt8] = []
        LogContext.append(
            fixture.exchange, peer: PeerAddress(numericHost: Array("127.0.0.1".utf8), port: 9000),
            uri: Array("/a".utf8), to: &line)
        #expect(
            line.text == """
                , client: 192.0.2.7, server: example.test, request: "GET /a HTTP/1.1", \
                upstream: "http://127.0.0.1:9000/a", host: "c", referrer: "http://r/?x"
                """)
        line = []
        LogContext.append(
            fixture.exchange, peer: PeerAddress(.unix(path: Array("/s".utf8))), uri: Array("/a".utf8),
            to: &line)
        #expect(line.text.contains(#", upstream: "http://unix:/s:/a", "#))
        line = []
        LogContext.append(fixture.exchange, peer: nil, uri: [], to: &line)
        #expect(!line.text.contains("upstream"))
    }
}
