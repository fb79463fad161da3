import Config
import ProxyCore
import Testing
import Wire

@Suite("Upgrades")
struct UpgradePolicyTests {
    static let key = "dGhlIHNhbXBsZSBub25jZQ=="
    /// RFC 6455 §1.3's answer to its key.
    static let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    static let handshake = """
        GET /chat HTTP/1.1
        Host: c
        Connection: keep-alive, Upgrade
        Upgrade: WebSocket
        Sec-WebSocket-Version: 13
        Sec-WebSocket-Key: \(key)
        Sec-WebSocket-Protocol: chat, superchat
        Sec-WebSocket-Protocol: other
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit


        """
    static let recipe = ProxyingRequestTests.recipe
    static let map = ProxyingRequestTests.map

    // MARK: The request

    struct Wish: Sendable, CustomTestStringConvertible {
        var protocols = ""
        var request: String
        var decision: UpgradeDecision
        var testDescription: String { protocols + request }
    }

    private static func asking(_ upgrade: String, connection: String = "upgrade", version: String = "1.1")
        -> String
    {
        "GET / HTTP/\(version)\nHost: c\nConnection: \(connection)\nUpgrade: \(upgrade)\n\n"
    }

    private static func changed(_ part: String, _ other: String) -> String {
        handshake.replacing(part, with: other)
    }

    static let wishes = [
        Wish(request: "GET / HTTP/1.1\nHost: c\n\n", decision: .notAsked),
        Wish(request: "GET / HTTP/1.1\nHost: c\nConnection: upgrade\n\n", decision: .notAsked),
        Wish(request: asking("foo"), decision: .offered(webSocket: false)),
        Wish(request: asking("foo", connection: "close, UPGRADE ,x"), decision: .offered(webSocket: false)),
        Wish(request: asking("foo", connection: "keep-alive"), decision: .withheld),
        Wish(request: asking("foo", version: "1.0"), decision: .withheld),
        Wish(request: asking("h2c"), decision: .withheld),
        Wish(request: asking("TLS/1.2, H2C"), decision: .withheld),
        Wish(request: asking("h2c, foo"), decision: .offered(webSocket: false)),
        Wish(protocols: "off", request: asking("foo"), decision: .withheld),
        Wish(protocols: "off", request: handshake, decision: .withheld),
        Wish(protocols: "websocket", request: asking("foo"), decision: .withheld),
        Wish(protocols: "websocket", request: handshake, decision: .offered(webSocket: true)),
        Wish(protocols: "foo bar/2", request: asking("FOO/1"), decision: .offered(webSocket: false)),
        Wish(protocols: "foo bar/2", request: asking("bar/1"), decision: .withheld),
        Wish(protocols: "foo bar/2", request: asking("bar/2"), decision: .offered(webSocket: false)),
        Wish(request: handshake, decision: .offered(webSocket: true)),
        Wish(request: changed("WebSocket\nSec", "foo, websocket\nSec"), decision: .offered(webSocket: true)),
        Wish(request: changed("GET", "POST"), decision: .rejected(.methodNotGet)),
        Wish(request: changed("Version: 13", "Version: 8"), decision: .rejected(.unsupportedVersion)),
        Wish(request: changed("Sec-WebSocket-Version: 13\n", ""), decision: .rejected(.unsupportedVersion)),
        Wish(
            request: changed("Version: 13", "Version: 13\nSec-WebSocket-Version: 8"),
            decision: .rejected(.unsupportedVersion)),
        Wish(request: changed("Sec-WebSocket-Key: \(key)\n", ""), decision: .rejected(.missingKey)),
        Wish(request: changed(key, "short=="), decision: .rejected(.invalidKey)),
        Wish(request: changed(key, "dGhlIHNhbXBsZSBub25jZR=="), decision: .rejected(.invalidKey)),
        Wish(request: changed(key, "\(key)\nSec-WebSocket-Key: \(key)"), decision: .rejected(.invalidKey)),
        Wish(request: changed("Host: c", "Host: c\nContent-Length: 3"), decision: .rejected(.hasBody)),
    ]

    @Test("what a request may ask for", arguments: wishes)
    func examine(_ wish: Wish) throws {
        let directive = wish.protocols.isEmpty ? "" : "proxy_upgrade_protocols \(wish.protocols);"
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; \(directive)", request: wish.request)
        let allowed = fixture.exchange.location.settings.values.upgradeProtocols
        #expect(UpgradePolicy.examine(fixture.exchange.request, allowed: allowed) == wish.decision)
    }

    @Test("a faulty handshake is answered only where it would have been passed on")
    func rejection() throws {
        let faulty = Self.changed("Version: 13", "Version: 8")
        let passing = try ProxyingFixture(Self.recipe, http: Self.map, request: faulty)
        #expect(try passing.upstream().facts.rejection == .unsupportedVersion)
        let ordinary = try ProxyingFixture("proxy_pass http://127.0.0.1:9000;", request: faulty)
        let (head, facts) = try ordinary.upstream()
        #expect(facts.rejection == nil)
        #expect(facts.upgrade == nil)
        #expect(!head.contains("Upgrade:"))
    }

    @Test(
        "every violation has an answer and a line for the log",
        arguments: WebSocketHandshake.RequestViolation.allCases)
    func rejections(_ violation: WebSocketHandshake.RequestViolation) {
        #expect(violation.response.status == (violation == .unsupportedVersion ? 426 : 400))
        #expect(violation.message.hasPrefix("client sent WebSocket handshake with "))
    }

    // MARK: What was sent

    @Test(
        "an offer needs Upgrade and Connection both",
        arguments: [
            (recipe, true), ("proxy_pass http://127.0.0.1:9000;", false),
            ("proxy_pass http://127.0.0.1:9000; proxy_set_header Upgrade $http_upgrade;", false),
            ("proxy_pass http://127.0.0.1:9000; proxy_set_header Connection upgrade;", false),
            (
                "proxy_pass http://127.0.0.1:9000; proxy_set_header Connection 'x, Upgrade';"
                    + "proxy_set_header Upgrade websocket;", true
            ),
        ])
    func offer(_ location: String, _ isOffer: Bool) throws {
        let fixture = try ProxyingFixture(location, http: Self.map, request: Self.handshake)
        #expect((try fixture.upstream().facts.upgrade != nil) == isOffer)
    }

    @Test("an Upgrade of the configuration's alone is no offer")
    func fixedUpgrade() throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; proxy_set_header Upgrade foo; proxy_set_header Connection upgrade;",
            request: "GET / HTTP/1.1\nHost: c\n\n")
        let (head, facts) = try fixture.upstream()
        #expect(head.contains("\nUpgrade: foo\nConnection: upgrade\n"))
        #expect(facts.upgrade == nil)
        #expect(try verdict(fixture, Self.answer, facts) == .refused(.notAsked))
    }

    // MARK: The answer

    static let answer = """
        HTTP/1.1 101 Switching Protocols
        Connection: Upgrade
        Upgrade: websocket
        Sec-WebSocket-Accept: \(accept)


        """

    private func verdict(
        _ fixture: ProxyingFixture, _ response: String, _ facts: UpstreamRequest
    ) throws -> UpgradeVerdict {
        try fixture.receive(response)
        let allowed = fixture.exchange.location.settings.values.upgradeProtocols
        return UpgradePolicy.verify(
            fixture.exchange.response,
            decision: UpgradePolicy.examine(fixture.exchange.request, allowed: allowed), sent: facts.upgrade)
    }

    struct Answer: Sendable, CustomTestStringConvertible {
        var request = handshake
        var response: String
        var verdict: UpgradeVerdict
        var testDescription: String { response }
    }

    private static func answered(_ part: String, _ other: String) -> String {
        answer.replacing(part, with: other)
    }
    private static func adding(_ line: String) -> String {
        answered("Upgrade: websocket", "Upgrade: websocket\n\(line)")
    }
    private static func foo(_ fields: String) -> String { "HTTP/1.1 101 S\nConnection: upgrade\n\(fields)\n" }

    static let answers = [
        Answer(response: answer, verdict: .accepted(webSocket: true)),
        Answer(response: adding("Sec-WebSocket-Protocol: superchat"), verdict: .accepted(webSocket: true)),
        Answer(response: adding("Sec-WebSocket-Protocol: other"), verdict: .accepted(webSocket: true)),
        Answer(
            response: adding("Sec-WebSocket-Extensions: permessage-deflate"),
            verdict: .accepted(webSocket: true)),
        Answer(
            response: adding("Sec-WebSocket-Protocol: Chat"),
            verdict: .refused(.handshake(.protocolNotOffered))),
        Answer(
            response: adding("Sec-WebSocket-Protocol: chat, superchat"),
            verdict: .refused(.handshake(.protocolNotOffered))),
        Answer(
            response: adding("Sec-WebSocket-Protocol: chat\nSec-WebSocket-Protocol: chat"),
            verdict: .refused(.handshake(.protocolNotOffered))),
        Answer(
            response: adding("Sec-WebSocket-Extensions: permessage-deflate, y"),
            verdict: .refused(.handshake(.extensionNotOffered))),
        Answer(response: answered(accept, accept.lowercased()), verdict: .refused(.handshake(.wrongAccept))),
        Answer(
            response: answered("Sec-WebSocket-Accept: \(accept)\n", ""),
            verdict: .refused(.handshake(.missingAccept))),
        Answer(response: answered("Connection: Upgrade\n", ""), verdict: .refused(.noConnectionOption)),
        Answer(response: answered("HTTP/1.1", "HTTP/1.0"), verdict: .refused(.noConnectionOption)),
        Answer(response: answered("Upgrade: websocket\n", ""), verdict: .refused(.noProtocol)),
        Answer(response: answered("Upgrade: websocket", "Upgrade: foo"), verdict: .refused(.otherProtocol)),
        Answer(
            request: asking("foo/1, bar"), response: foo("Upgrade: FOO/1\n"),
            verdict: .accepted(webSocket: false)),
        Answer(
            request: asking("foo/1, bar"), response: foo("Upgrade: bar, foo/1\n"),
            verdict: .accepted(webSocket: false)),
        Answer(
            request: asking("foo/1, bar"), response: foo("Upgrade: foo/2\n"),
            verdict: .refused(.otherProtocol)),
        Answer(
            request: asking("foo, h2c"), response: foo("Upgrade: h2c\n"), verdict: .refused(.otherProtocol)),
        Answer(request: asking("foo"), response: answer, verdict: .refused(.otherProtocol)),
        Answer(request: "GET / HTTP/1.1\nHost: c\n\n", response: answer, verdict: .refused(.notAsked)),
        Answer(request: asking("h2c"), response: answer, verdict: .refused(.notAsked)),
    ]

    @Test("which 101 is believed", arguments: answers)
    func verify(_ test: Answer) throws {
        let fixture = try ProxyingFixture(Self.recipe, http: Self.map, request: test.request)
        let facts = try fixture.upstream().facts
        let verdict = try verdict(fixture, test.response, facts)
        #expect(verdict == test.verdict)
        if case .refused(let refusal) = verdict { #expect(refusal.message.hasPrefix("upstream ")) }
    }

    @Test("the answer is held against the key that was sent, not the client's")
    func otherKey() throws {
        let location = Self.recipe + "proxy_set_header Sec-WebSocket-Key $arg_k;"
        let request = Self.changed("/chat", "/?k=AAAAAAAAAAAAAAAAAAAAAA==")
        let fixture = try ProxyingFixture(location, http: Self.map, request: request)
        let facts = try fixture.upstream().facts
        #expect(try verdict(fixture, Self.answer, facts) == .refused(.handshake(.wrongAccept)))
        let right = Self.answered(Self.accept, "ICX+Yqv66kxgM0FcWaLWlFLwTAI=")
        #expect(try verdict(fixture, right, facts) == .accepted(webSocket: true))
    }
}
