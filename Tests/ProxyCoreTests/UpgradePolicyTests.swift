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

    @Test(
        "a wish that is withheld is noted where it would have been passed on, with the reason",
        arguments: [
            (asking("foo", connection: "close"), "without \"Connection: upgrade\""),
            (asking("foo", version: "1.0"), "in a request of HTTP/1.0"),
            (asking("h2c"), "to a protocol that \"proxy_upgrade_protocols\" does not allow"),
        ])
    func withholding(_ request: String, _ reason: String) throws {
        let passing = try ProxyingFixture(Self.recipe, http: Self.map, request: request)
        #expect(try passing.upstream().facts.withholdsUpgrade)
        #expect(
            UpgradePolicy.withholding(passing.exchange.request)
                == "client sent \"Upgrade\" \(reason), which is not passed on")
        let ordinary = try ProxyingFixture("proxy_pass http://127.0.0.1:9000;", request: request)
        #expect(try !ordinary.upstream().facts.withholdsUpgrade)
        let offering = try ProxyingFixture(Self.recipe, http: Self.map, request: Self.handshake)
        #expect(try !offering.upstream().facts.withholdsUpgrade)
    }

    @Test(
        "where a WebSocket is not passed on, what the location lacks is noted",
        arguments: [
            (
                "proxy_http_version 1.1;",
                "\"proxy_set_header Upgrade $http_upgrade\" and \"proxy_set_header Connection upgrade\""
            ),
            (
                "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;",
                "\"proxy_set_header Connection upgrade\""
            ),
            (
                "proxy_http_version 1.0; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
                "\"proxy_http_version 1.1\""
            ),
        ])
    func omission(_ location: String, _ lacking: String) throws {
        let fixture = try ProxyingFixture(
            "proxy_pass http://127.0.0.1:9000; " + location, request: Self.handshake)
        let sent = try fixture.upstream().facts
        let settings = fixture.exchange.location.settings
        #expect(UpgradePolicy.omits(sent, settings))
        #expect(
            UpgradePolicy.omission(of: sent, settings)
                == "client asked for a WebSocket, which this location does not pass on without \(lacking)")
        let passing = try ProxyingFixture(Self.recipe, http: Self.map, request: Self.handshake)
        let passed = try passing.upstream().facts
        #expect(!UpgradePolicy.omits(passed, passing.exchange.location.settings))
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

    // MARK: What the client is told

    /// What the two sides come to know of each other's offers, the client's being those of `handshake`.
    struct Introduction: Sendable, CustomTestStringConvertible {
        var name: String
        var request = handshake
        /// Directives, and fields that a script writes into the request and the response; no value removes one.
        var location = ""
        var requestEdits: [(String, String?)] = []
        var hooksLookInside = false
        /// The offers that the upstream gets, by field, in the order of the head.
        var offers: [String]
        /// Lines of the 101.
        var answer: [String]
        var responseEdits: [(String, String?)] = []
        /// Lines that reach the client, or why none do.
        var told: [String] = []
        var refusal: UpgradeRefusal?
        var testDescription: String { name }
    }

    private static let protocols = "Sec-WebSocket-Protocol: chat, superchat"
    private static let deflate = "permessage-deflate; client_max_window_bits"
    private static let plain = changed(
        "Sec-WebSocket-Protocol: chat, superchat\nSec-WebSocket-Protocol: other\n", ""
    )
    .replacing("Sec-WebSocket-Extensions: \(deflate), x-webkit\n", with: "")

    static let introductions = [
        Introduction(
            name: "what the client offers, and the upstream takes, is known to both",
            offers: [
                protocols, "Sec-WebSocket-Protocol: other", "Sec-WebSocket-Extensions: \(deflate), x-webkit",
            ],
            answer: [
                "Sec-WebSocket-Protocol: other", "Sec-WebSocket-Extensions: x-webkit, permessage-deflate",
            ],
            told: ["Sec-WebSocket-Protocol: other", "Sec-WebSocket-Extensions: x-webkit, permessage-deflate"]),
        // Subprotocols
        Introduction(
            name: "a subprotocol that a script offers stays between it and the upstream",
            requestEdits: [("Sec-WebSocket-Protocol", "chat.v2"), ("Sec-WebSocket-Extensions", nil)],
            offers: ["Sec-WebSocket-Protocol: chat.v2"], answer: ["Sec-WebSocket-Protocol: chat.v2"]),
        Introduction(
            name: "so does one for a client that offers none", request: plain,
            requestEdits: [("Sec-WebSocket-Protocol", "chat")],
            offers: ["Sec-WebSocket-Protocol: chat"], answer: ["Sec-WebSocket-Protocol: chat"]),
        Introduction(
            name: "and one of the configuration's", request: plain,
            location: "proxy_set_header Sec-WebSocket-Protocol chat.v2;",
            offers: ["Sec-WebSocket-Protocol: chat.v2"], answer: ["Sec-WebSocket-Protocol: chat.v2"]),
        Introduction(
            name: "one of the client's that a script leaves is the client's",
            requestEdits: [("Sec-WebSocket-Protocol", "superchat"), ("Sec-WebSocket-Extensions", nil)],
            offers: ["Sec-WebSocket-Protocol: superchat"], answer: ["Sec-WebSocket-Protocol: superchat"],
            told: ["Sec-WebSocket-Protocol: superchat"]),
        Introduction(
            name: "what a script answers is the script's",
            requestEdits: [("Sec-WebSocket-Protocol", "chat.v2"), ("Sec-WebSocket-Extensions", nil)],
            offers: ["Sec-WebSocket-Protocol: chat.v2"], answer: ["Sec-WebSocket-Protocol: chat.v2"],
            responseEdits: [("Sec-WebSocket-Protocol", "chat")], told: ["Sec-WebSocket-Protocol: chat"]),
        Introduction(
            name: "also where it is what the client did not offer", request: plain, offers: [], answer: [],
            responseEdits: [("Sec-WebSocket-Protocol", "x"), ("Sec-WebSocket-Extensions", "y")],
            told: ["Sec-WebSocket-Protocol: x", "Sec-WebSocket-Extensions: y"]),
        // Other extensions
        Introduction(
            name: "an extension that a script offers stays between it and the upstream",
            requestEdits: [
                ("Sec-WebSocket-Extensions", "x-a; b=1, x-webkit"), ("Sec-WebSocket-Protocol", nil),
            ],
            offers: ["Sec-WebSocket-Extensions: x-a; b=1, x-webkit"],
            answer: ["Sec-WebSocket-Extensions: x-a, x-webkit; c", "Sec-WebSocket-Extensions: x-a"],
            told: ["Sec-WebSocket-Extensions: x-webkit; c"]),
        Introduction(
            name: "and one of the configuration's", request: plain,
            location: "proxy_set_header Sec-WebSocket-Extensions x-a;",
            offers: ["Sec-WebSocket-Extensions: x-a"], answer: ["Sec-WebSocket-Extensions: x-a"]),
        Introduction(
            name: "none of the client's is offered where hooks are to see what is in it",
            hooksLookInside: true,
            offers: [protocols, "Sec-WebSocket-Protocol: other", "Sec-WebSocket-Extensions: \(deflate)"],
            answer: ["Sec-WebSocket-Extensions: permessage-deflate"],
            told: ["Sec-WebSocket-Extensions: permessage-deflate"]),
        Introduction(
            name: "nor what a script has left of it, but what it offers itself",
            requestEdits: [("Sec-WebSocket-Extensions", "x-webkit, x-a"), ("Sec-WebSocket-Protocol", nil)],
            hooksLookInside: true, offers: ["Sec-WebSocket-Extensions: x-a"],
            answer: ["Sec-WebSocket-Extensions: x-a"]),
        Introduction(
            name: "nor is it taken by an upstream that was not offered it", hooksLookInside: true,
            offers: [protocols, "Sec-WebSocket-Protocol: other", "Sec-WebSocket-Extensions: \(deflate)"],
            answer: ["Sec-WebSocket-Extensions: x-webkit"], refusal: .handshake(.extensionNotOffered)),
        // permessage-deflate
        Introduction(
            name: "compression that the client does not know is no WebSocket of its", request: plain,
            location: "proxy_set_header Sec-WebSocket-Extensions permessage-deflate;",
            offers: ["Sec-WebSocket-Extensions: permessage-deflate"],
            answer: ["Sec-WebSocket-Extensions: permessage-deflate"], refusal: .deflateNotOfferedByClient),
        Introduction(
            name: "nor is one that it does not know so",
            request: changed("; client_max_window_bits", ""),
            requestEdits: [("Sec-WebSocket-Extensions", deflate), ("Sec-WebSocket-Protocol", nil)],
            offers: ["Sec-WebSocket-Extensions: \(deflate)"],
            answer: ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10"],
            refusal: .deflateNotOfferedByClient),
        Introduction(
            name: "nor one that is invalid",
            offers: [
                protocols, "Sec-WebSocket-Protocol: other", "Sec-WebSocket-Extensions: \(deflate), x-webkit",
            ],
            answer: ["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16"],
            refusal: .deflateNotOfferedByClient),
        Introduction(
            name: "the legs are told of their own",
            location: "websocket_deflate on client window_bits=10; websocket_deflate on upstream;",
            offers: [protocols, "Sec-WebSocket-Protocol: other", "Sec-WebSocket-Extensions: \(deflate)"],
            answer: ["Sec-WebSocket-Extensions: permessage-deflate"],
            told: [
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10; client_max_window_bits=10"
            ]),
        Introduction(
            name: "a leg's compression needs no client that knows it", request: plain,
            location: "websocket_deflate on;", offers: ["Sec-WebSocket-Extensions: \(deflate)"],
            answer: ["Sec-WebSocket-Extensions: permessage-deflate"]),
        Introduction(
            name: "a script cannot offer the proxy in the client's name", request: plain,
            location: "websocket_deflate on;",
            requestEdits: [("Sec-WebSocket-Extensions", "permessage-deflate")],
            offers: ["Sec-WebSocket-Extensions: \(deflate)"], answer: []),
        Introduction(
            name: "the configuration cannot offer what nobody is an end of",
            location:
                "websocket_deflate on client; proxy_set_header Sec-WebSocket-Extensions permessage-deflate;",
            offers: [
                "Sec-WebSocket-Extensions: permessage-deflate", protocols, "Sec-WebSocket-Protocol: other",
            ],
            answer: ["Sec-WebSocket-Extensions: permessage-deflate"], refusal: .deflateNotOffered),
    ]

    @Test("each side is told what it can take", arguments: introductions)
    func introduce(_ test: Introduction) throws {
        let fixture = try ProxyingFixture(Self.recipe + test.location, http: Self.map, request: test.request)
        for (name, value) in test.requestEdits {
            if let value {
                try fixture.exchange.request.set([UInt8](name.utf8).span, [UInt8](value.utf8).span)
            } else {
                try fixture.exchange.request.remove([UInt8](name.utf8).span)
            }
        }
        let (sent, facts) = try fixture.upstream(hooksLookInside: test.hooksLookInside)
        #expect(Self.offers(sent) == test.offers)
        let lines = test.answer.map { "\n\($0)" }.joined()
        let verdict = try verdict(
            fixture, Self.answered("Upgrade: websocket", "Upgrade: websocket\(lines)"), facts)
        var refusal: UpgradeRefusal?
        if case .refused(let refused) = verdict { refusal = refused }
        do {
            if refusal == nil { try fixture.exchange.settleWebSocket() }
        } catch {
            refusal = error
        }
        #expect(refusal == test.refusal)
        guard refusal == nil else { return }
        for (name, value) in test.responseEdits {
            try fixture.exchange.response.set(
                [UInt8](name.utf8).span, [UInt8](try #require(value).utf8).span)
        }
        #expect(Self.offers(try fixture.downstream().head) == test.told)
    }

    private static func offers(_ head: String) -> [String] {
        head.split(separator: "\n").map(String.init).filter {
            $0.hasPrefix("Sec-WebSocket-Protocol") || $0.hasPrefix("Sec-WebSocket-Extensions")
        }
    }

    @Test("the client is answered its own key, whatever key the upstream was sent", arguments: [false, true])
    func ownKey(_ isScripted: Bool) throws {
        let other = "AAAAAAAAAAAAAAAAAAAAAA=="
        let location = Self.recipe + (isScripted ? "" : "proxy_set_header Sec-WebSocket-Key \(other);")
        let fixture = try ProxyingFixture(location, http: Self.map, request: Self.handshake)
        if isScripted {
            try fixture.exchange.request.set(
                Array("Sec-WebSocket-Key".utf8).span, Array(other.utf8).span)
        }
        let sent = try fixture.upstream().facts
        #expect(try verdict(fixture, Self.answer, sent) == .refused(.handshake(.wrongAccept)))
        let answer = Self.answer.replacing(Self.accept, with: "ICX+Yqv66kxgM0FcWaLWlFLwTAI=")
        #expect(try verdict(fixture, answer, sent) == .accepted(webSocket: true))
        UpgradePolicy.answerClient(of: fixture.exchange, sent: sent.upgrade)
        #expect(try fixture.downstream().head.contains("Sec-WebSocket-Accept: \(Self.accept)\n"))
    }

    @Test("nobody writes the answer to the key")
    func computedAccept() throws {
        var response = ResponseHead()
        let name = Array("sec-websocket-Accept".utf8)
        #expect(throws: HeadEditError.computed) { try response.set(name.span, [UInt8(ascii: "x")].span) }
        #expect(throws: HeadEditError.computed) { try response.add(name.span, [UInt8(ascii: "x")].span) }
        #expect(throws: HeadEditError.computed) { try response.remove(name.span) }
    }

    @Test("bits of frames mean nothing to a client that was not told of their extension")
    func unshared() throws {
        let location =
            Self.recipe + "proxy_set_header Sec-WebSocket-Extensions '$http_sec_websocket_extensions, x-a';"
        func terms(_ accepted: String) throws -> WebSocketDeflateTerms {
            let fixture = try ProxyingFixture(location, http: Self.map, request: Self.handshake)
            let facts = try fixture.upstream().facts
            let answer = Self.adding("Sec-WebSocket-Extensions: \(accepted)")
            #expect(try verdict(fixture, answer, facts) == .accepted(webSocket: true))
            try fixture.exchange.settleWebSocket()
            return fixture.exchange.webSocketDeflate
        }
        #expect(try terms("x-a").reservedBits == 0)
        #expect(try terms("x-a").hasUnshared)
        #expect(try terms("x-a, permessage-deflate").reservedBits == 4)
        #expect(try terms("x-a, x-webkit").reservedBits == 7)
        #expect(try !terms("x-webkit").hasUnshared)
    }
}
