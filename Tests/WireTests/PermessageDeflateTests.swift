import Testing
import Wire

@Suite("permessage-deflate is agreed on")
struct PermessageDeflateTests {
    private typealias Parameters = PermessageDeflate.Parameters
    typealias Policy = PermessageDeflate.Policy

    private static let frugal = Policy(contextTakeover: false, windowBits: 11)

    private static func request(_ values: [String]) throws -> RequestHead {
        let lines = values.map { "Sec-WebSocket-Extensions: \($0)\r\n" }.joined()
        return try requestHead("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n")
    }

    private static func response(_ values: [String]) throws -> ResponseHead {
        let lines = values.map { "Sec-WebSocket-Extensions: \($0)\r\n" }.joined()
        return try responseHead("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\(lines)\r\n")
    }

    // MARK: As a server

    struct Offer: Sendable {
        var values: [String]
        var policy: Policy
        var answer: String?
        /// Server and client: whether no context is kept, and window bits.
        var parameters: PermessageDeflate.Parameters

        init(
            _ values: String..., policy: Policy = Policy(), answer: String? = nil,
            _ parameters: (Bool, Bool, Int, Int) = (false, false, 15, 15)
        ) {
            self.values = values
            self.policy = policy
            self.answer = answer
            self.parameters = .init(
                serverNoContextTakeover: parameters.0, clientNoContextTakeover: parameters.1,
                serverMaxWindowBits: parameters.2, clientMaxWindowBits: parameters.3)
        }
    }

    @Test(
        "by a server: the first offer that can be accepted, as the offer and the policy demand",
        arguments: [
            Offer("permessage-deflate", answer: "permessage-deflate"),
            // What browsers send.
            Offer("permessage-deflate; client_max_window_bits", answer: "permessage-deflate"),
            Offer(
                "permessage-deflate; client_max_window_bits", policy: frugal,
                answer: "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
                    + "server_max_window_bits=11; client_max_window_bits=11", (true, true, 11, 11)),
            Offer(
                "permessage-deflate; client_max_window_bits", policy: Policy(windowBits: 10),
                answer: "permessage-deflate; server_max_window_bits=10; client_max_window_bits=10",
                (false, false, 10, 10)),
            // A client that cannot be told its window keeps no context.
            Offer(
                "permessage-deflate", policy: Policy(windowBits: 10),
                answer: "permessage-deflate; client_no_context_takeover; server_max_window_bits=10",
                (false, true, 10, 15)),
            Offer(
                "permessage-deflate;server_no_context_takeover ;\tclient_no_context_takeover",
                answer: "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                (true, true, 15, 15)),
            Offer(
                "permessage-deflate; server_max_window_bits=\"10\"; client_max_window_bits = 12",
                answer: "permessage-deflate; server_max_window_bits=10; client_max_window_bits=12",
                (false, false, 10, 12)),
            Offer(
                "permessage-deflate; server_max_window_bits=13; client_max_window_bits=8", policy: frugal,
                answer: "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
                    + "server_max_window_bits=11; client_max_window_bits=8", (true, true, 11, 8)),
            Offer(
                "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15",
                answer: "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15"),
            Offer(
                "permessage-deflate; server_max_window_bits=9",
                answer: "permessage-deflate; server_max_window_bits=9", (false, false, 9, 15)),
            // Others before it, and offers that are declined.
            Offer(
                "x-a; b=\"permessage-deflate, c\", permessage-deflate; server_max_window_bits=8, "
                    + "permessage-deflate; server_max_window_bits=12, permessage-deflate",
                answer: "permessage-deflate; server_max_window_bits=12", (false, false, 12, 15)),
            Offer(
                "x-a", "permessage-deflate; x=1", "", "permessage-deflate; server_no_context_takeover",
                answer: "permessage-deflate; server_no_context_takeover", (true, false, 15, 15)),
        ])
    func accepts(offer: Offer) throws {
        let accepted = try #require(
            PermessageDeflate.accept(offersIn: try Self.request(offer.values), offer.policy))
        #expect(accepted.value.text == offer.answer)
        #expect(accepted.parameters == offer.parameters)
        // What is answered is what an end in between reads.
        let response = try Self.response([accepted.value.text])
        #expect(
            PermessageDeflate.passed(in: response, to: try Self.request(offer.values))
                == .parameters(offer.parameters))
    }

    @Test(
        "by no server where the offer is none, or none that is valid",
        arguments: [
            "x-webkit-deflate-frame", "permessage-deflate-x", "x; permessage-deflate",
            "\"permessage-deflate\"",
            "Permessage-Deflate", "permessage-deflate;", "permessage-deflate; ; client_max_window_bits",
            "permessage-deflate; unknown", "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; server_max_window_bits=\"10",
            "permessage-deflate; server_max_window_bits=1 0",
            "permessage-deflate; server_max_window_bits=-9",
            "permessage-deflate; server_max_window_bits=\" 9\"",
            "permessage-deflate; client_max_window_bits=", "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=08", "permessage-deflate; client_max_window_bits=a",
            "permessage-deflate; client_max_window_bits=99999999999999999999",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover=\"\"",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover=",
            "permessage-deflate; Client_no_context_takeover",
        ])
    func declines(value: String) throws {
        #expect(PermessageDeflate.accept(offersIn: try Self.request([value]), Policy()) == nil)
    }

    // MARK: As a client

    @Test("by a client, which offers what its policy says")
    func offer() {
        #expect(
            PermessageDeflate.offer(Policy()).text == "permessage-deflate; client_max_window_bits")
        #expect(
            PermessageDeflate.offer(Self.frugal).text
                == "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
                + "server_max_window_bits=11; client_max_window_bits=11")
    }

    struct Answer: Sendable {
        var values: [String]
        var policy = Policy()
        /// Absent: a violation.
        var parameters: (Bool, Bool, Int, Int)?
    }

    @Test(
        "by a client, which holds the server to its offer",
        arguments: [
            Answer(values: ["permessage-deflate"], parameters: (false, false, 15, 15)),
            Answer(
                values: ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
                parameters: (true, true, 15, 15)),
            Answer(
                values: ["permessage-deflate; server_max_window_bits=\"9\"; client_max_window_bits=10"],
                parameters: (false, false, 9, 10)),
            Answer(
                values: ["permessage-deflate; client_max_window_bits=8; server_max_window_bits=8"],
                parameters: (false, false, 8, 8)),
            Answer(
                values: ["permessage-deflate; server_no_context_takeover; server_max_window_bits=11"],
                policy: frugal, parameters: (true, true, 11, 11)),
            Answer(
                values: [
                    "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; "
                        + "client_max_window_bits=15"
                ], policy: frugal, parameters: (true, true, 10, 11)),
            Answer(values: ["permessage-deflate; server_max_window_bits=11"], policy: frugal),
            Answer(values: ["permessage-deflate; server_no_context_takeover"], policy: frugal),
            Answer(
                values: ["permessage-deflate; server_no_context_takeover; server_max_window_bits=12"],
                policy: frugal),
            Answer(values: ["permessage-deflate; client_max_window_bits"]),
            Answer(values: ["permessage-deflate; client_max_window_bits=16"]),
            Answer(values: ["permessage-deflate; server_max_window_bits=7"]),
            Answer(values: ["permessage-deflate; server_max_window_bits"]),
            Answer(values: ["permessage-deflate; x"]), Answer(values: ["permessage-deflate;"]),
            Answer(values: ["permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"]),
            Answer(values: ["permessage-deflate, permessage-deflate"]),
            Answer(values: ["permessage-deflate", "permessage-deflate"]),
            Answer(values: ["Permessage-Deflate"]), Answer(values: ["x-a"]),
            Answer(values: ["permessage-deflate, x-a"]), Answer(values: ["x-a", "permessage-deflate"]),
        ])
    func agrees(answer: Answer) throws {
        let agreement = PermessageDeflate.agreed(in: try Self.response(answer.values), to: answer.policy)
        guard let (server, client, serverBits, clientBits) = answer.parameters else {
            #expect(agreement == .violation)
            return
        }
        #expect(
            agreement
                == .parameters(
                    .init(
                        serverNoContextTakeover: server, clientNoContextTakeover: client,
                        serverMaxWindowBits: serverBits, clientMaxWindowBits: clientBits)))
    }

    @Test("not at all by a server that says nothing, or of other extensions only")
    func nothing() throws {
        #expect(PermessageDeflate.agreed(in: try Self.response([]), to: Policy()) == .none)
        #expect(PermessageDeflate.agreed(in: try Self.response([""]), to: Policy()) == .none)
        let other = try Self.response(["x-a"])
        #expect(PermessageDeflate.agreed(in: other, to: Policy(), besideOthers: true) == .none)
        let both = try Self.response(["x-a, permessage-deflate"])
        #expect(
            PermessageDeflate.agreed(in: both, to: Policy(), besideOthers: true) == .parameters(.init()))
    }

    @Test("by both of our own ends, whatever their policies")
    func ourselves() throws {
        for client in Self.policies {
            for server in Self.policies {
                let request = try Self.request([PermessageDeflate.offer(client).text])
                let accepted = try #require(PermessageDeflate.accept(offersIn: request, server))
                let response = try Self.response([accepted.value.text])
                #expect(
                    PermessageDeflate.agreed(in: response, to: client) == .parameters(accepted.parameters))
                #expect(accepted.parameters.serverMaxWindowBits == min(client.windowBits, server.windowBits))
                #expect(accepted.parameters.clientMaxWindowBits == min(client.windowBits, server.windowBits))
            }
        }
    }

    private static let policies = [
        Policy(), Policy(contextTakeover: false), Policy(windowBits: 9), Policy(windowBits: 14),
        Policy(contextTakeover: false, windowBits: 12),
    ]

    // MARK: In between

    struct Passing: Sendable, CustomTestStringConvertible {
        var offers: [String]
        var answers: [String]
        var agreement: PermessageDeflate.Agreement
        var testDescription: String { "\(answers) to \(offers)" }

        init(
            _ answers: String..., to offers: [String] = ["permessage-deflate; client_max_window_bits"],
            is agreement: PermessageDeflate.Agreement
        ) {
            self.offers = offers
            self.answers = answers
            self.agreement = agreement
        }
    }

    private static let strict = [
        "x-a, permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=12"
    ]

    @Test(
        "between two others, and read from the answer, which the client has to be able to take",
        arguments: [
            Passing(is: .none), Passing("", is: .none), Passing("x-a", is: .none),
            Passing("x-permessage-deflate", is: .none),
            Passing("permessage-deflate", is: .parameters(.init())),
            Passing(
                "x-a, permessage-deflate; client_no_context_takeover",
                is: .parameters(.init(clientNoContextTakeover: true))),
            Passing(
                "permessage-deflate; server_max_window_bits=8; client_max_window_bits=\"9\"",
                is: .parameters(.init(serverMaxWindowBits: 8, clientMaxWindowBits: 9))),
            Passing(
                "permessage-deflate; server_max_window_bits=9; server_no_context_takeover", to: strict,
                is: .parameters(.init(serverNoContextTakeover: true, serverMaxWindowBits: 9))),
            Passing(
                "permessage-deflate; server_max_window_bits=10; server_no_context_takeover; "
                    + "client_max_window_bits=12", to: strict,
                is: .parameters(
                    .init(serverNoContextTakeover: true, serverMaxWindowBits: 10, clientMaxWindowBits: 12))),
            // The second offer.
            Passing("permessage-deflate", to: strict + ["permessage-deflate"], is: .parameters(.init())),
            // Invalid, whatever was offered.
            Passing("permessage-deflate; x", is: .violation), Passing("permessage-deflate;", is: .violation),
            Passing("permessage-deflate; client_max_window_bits", is: .violation),
            Passing("permessage-deflate; client_max_window_bits=16", is: .violation),
            Passing("permessage-deflate; client_max_window_bits=7", is: .violation),
            Passing("permessage-deflate; server_max_window_bits", is: .violation),
            Passing("permessage-deflate; server_max_window_bits=0", is: .violation),
            Passing("permessage-deflate; server_max_window_bits=09", is: .violation),
            Passing("permessage-deflate; server_no_context_takeover=1", is: .violation),
            Passing(
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover", is: .violation),
            Passing(
                "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", is: .violation),
            Passing("permessage-deflate", "permessage-deflate", is: .violation),
            Passing("permessage-deflate, permessage-deflate", is: .violation),
            Passing("permessage-deflate, Permessage-Deflate", is: .violation),
            // Not what was offered.
            Passing("permessage-deflate", to: [], is: .violation),
            Passing("permessage-deflate", to: ["x-a"], is: .violation),
            Passing("permessage-deflate", to: ["permessage-deflate; x"], is: .violation),
            Passing("permessage-deflate", to: strict, is: .violation),
            Passing("permessage-deflate; server_no_context_takeover", to: strict, is: .violation),
            Passing("permessage-deflate; server_max_window_bits=10", to: strict, is: .violation),
            Passing(
                "permessage-deflate; server_max_window_bits=11; server_no_context_takeover", to: strict,
                is: .violation),
            Passing(
                "permessage-deflate; server_max_window_bits=10; server_no_context_takeover; "
                    + "client_max_window_bits=13", to: strict, is: .violation),
            Passing(
                "permessage-deflate; client_max_window_bits=15", to: ["permessage-deflate"], is: .violation),
        ])
    func passes(_ test: Passing) throws {
        let response = try Self.response(test.answers)
        #expect(
            PermessageDeflate.passed(in: response, to: try Self.request(test.offers)) == test.agreement)
        #expect(PermessageDeflate.isAccepted(in: response) == (test.agreement != .none))
    }

    @Test("by what the client has sent, whatever a script has made of it")
    func scripted() throws {
        let name = [UInt8]("Sec-WebSocket-Extensions")
        let answer = try Self.response(["permessage-deflate; client_max_window_bits=10"])
        var request = try Self.request(["permessage-deflate; client_max_window_bits"])
        try request.set(name.span, [UInt8]("permessage-deflate; client_no_context_takeover").span)
        #expect(
            PermessageDeflate.passed(in: answer, to: request) == .parameters(.init(clientMaxWindowBits: 10)))
        #expect(
            PermessageDeflate.accept(offersIn: request, Policy(windowBits: 10))?.parameters
                .clientMaxWindowBits == 10)
        // Taken out, it is not accepted by the proxy, though the client could take it.
        try request.remove(name.span)
        #expect(PermessageDeflate.accept(offersIn: request, Policy()) == nil)
        #expect(
            PermessageDeflate.passed(in: answer, to: request) == .parameters(.init(clientMaxWindowBits: 10)))
        // Put in by the script alone, it is nobody's.
        var other = try Self.request([])
        try other.set(name.span, [UInt8]("permessage-deflate; client_max_window_bits").span)
        #expect(PermessageDeflate.offers(in: other))
        #expect(PermessageDeflate.accept(offersIn: other, Policy()) == nil)
        #expect(PermessageDeflate.passed(in: answer, to: other) == .violation)
    }

    @Test("in directions, which the roles say")
    func directions() {
        let parameters = Parameters(serverNoContextTakeover: true, clientMaxWindowBits: 9)
        #expect(parameters.direction(from: .server) == (15, false))
        #expect(parameters.direction(from: .client) == (9, true))
    }

    @Test(
        "by nobody when its offers are taken away, others being kept",
        arguments: [
            ("permessage-deflate", ""), ("", ""), ("x-a", "x-a"), ("Permessage-Deflate;a=1", ""),
            (
                "x-a;b=\"1,permessage-deflate\" , permessage-deflate; client_max_window_bits,y",
                "x-a;b=\"1,permessage-deflate\", y"
            ),
            (
                "permessage-deflate,permessage-deflate; server_max_window_bits=10,, x-permessage-deflate",
                "x-permessage-deflate"
            ),
        ])
    func without(value: String, kept: String) throws {
        var output: [UInt8] = [1]
        WebSocketExtensions.append([UInt8](value).span, to: &output) { !PermessageDeflate.isNamed($0) }
        #expect(Array(output.dropFirst()).text == kept)
        #expect(!PermessageDeflate.offers(in: try Self.request([kept])))
        let isOffered = value.lowercased().split(separator: ",").contains {
            $0.hasPrefix("permessage") || $0.hasPrefix(" permessage")
        }
        #expect(PermessageDeflate.offers(in: try Self.request(["x", value])) == isOffered)
    }

    @Test(
        "of random values never traps, and an offer that is accepted is never exceeded",
        arguments: UInt64(0)..<16)
    func random(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let parts = [
            "permessage-deflate", "; ", ";", ",", "=", "\"", "\\", "server_no_context_takeover",
            "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits", "8", "9", "12",
            "15",
            "; server_max_window_bits=10", "; client_max_window_bits", "; client_max_window_bits=9", " ",
        ]
        var accepted = 0
        for _ in 0..<500 {
            var value = "permessage-deflate"
            for _ in 0..<Int.random(in: 0...5, using: &random) {
                value += parts.randomElement(using: &random) ?? ""
            }
            let text = "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Extensions: \(value)\r\n\r\n"
            let bytes = [UInt8](text)
            var request = RequestHead()
            let outcome = parseRequest(bytes, steps: [bytes.count], into: &request)
            guard case .complete = outcome else { continue }
            let policy = Self.policies.randomElement(using: &random) ?? Policy()
            var rest: [UInt8] = []
            WebSocketExtensions.append([UInt8](value).span, to: &rest) { !PermessageDeflate.isNamed($0) }
            guard let (parameters, answer) = PermessageDeflate.accept(offersIn: request, policy) else {
                continue
            }
            accepted += 1
            #expect((9...policy.windowBits).contains(parameters.serverMaxWindowBits))
            #expect(policy.contextTakeover || parameters.serverNoContextTakeover)
            #expect(policy.contextTakeover || parameters.clientNoContextTakeover)
            let names = answer.text.split(separator: ";").map { $0.split(separator: "=")[0] }
            #expect(Set(names).count == names.count)
            // RFC 7692 §7.1.2.2
            #expect(!names.contains(" client_max_window_bits") || value.contains("client_max_window_bits"))
            let response = try Self.response([answer.text])
            #expect(PermessageDeflate.passed(in: response, to: request) == .parameters(parameters))
        }
        #expect(accepted > 20)
    }
}
