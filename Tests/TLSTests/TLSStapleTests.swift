import Testing

@testable import TLS

@Suite("Responses for a server's certificate")
struct TLSStapleTests {
    private static let good = OCSPAnswer(status: .good, secondsLeft: 1000)

    private func staple(
        _ name: String = "leaf", responder: String? = "http://responder.test/", trusted: [String] = ["one"],
        verifies: Bool = false
    ) throws -> TLSStaple {
        let files = TestCertificates.shared
        return try TLSStaple(
            files.identity(name), name: name, responder: responder,
            trusted: trusted.map { try files.file("\($0).crt") }, verifies: verifies)
    }

    @Test("are not fetched where the issuer is not known, or nobody can be asked")
    func refusals() throws {
        func reason(_ make: () throws -> TLSStaple) throws -> String {
            do {
                _ = try make()
                return ""
            } catch let error as TLSError {
                return error.reason
            }
        }
        #expect(try reason { try staple() } == "")
        #expect(try reason { try staple(trusted: []) } == "issuer certificate not found")
        #expect(try reason { try staple(trusted: ["two"]) } == "issuer certificate not found")
        #expect(try reason { try staple(responder: nil) } == "no OCSP responder URL in the certificate")
        #expect(
            try reason { try staple(responder: "https://responder.test/") }
                == "invalid URL prefix in OCSP responder \"https://responder.test/\", expected http://")
    }

    @Test("stand for each other where certificate, responder and verification are the same")
    func identifiers() throws {
        let identifier = try staple().identifier
        #expect(try staple().identifier == identifier)
        #expect(try staple(responder: "http://other.test/").identifier != identifier)
        #expect(try staple(verifies: true).identifier != identifier)
        #expect(try staple(trusted: ["one", "two"]).identifier != identifier)
        #expect(try staple("one").identifier != identifier)
    }

    @Test("are due from the first handshake on, and are asked for by one worker at a time")
    func firstTry() throws {
        let staple = try staple()
        #expect(staple.current(now: 100) == (nil, true))
        #expect(staple.begin(now: 100))
        #expect(staple.current(now: 100) == (nil, false))
        #expect(!staple.begin(now: 100))
        // A try may take 15 seconds; who has not said after 10 more how it ended has been lost.
        #expect(!staple.begin(now: 124))
        #expect(staple.current(now: 125) == (nil, true))
        #expect(staple.begin(now: 125))
    }

    @Test("are asked for again after 10 seconds, and after twice as long with each failure, up to 15 minutes")
    func backoff() throws {
        let staple = try staple()
        var now = 1000
        for wait in [10, 20, 40, 80, 160, 320, 640, 900, 900, 900] + [Int](repeating: 900, count: 70) {
            #expect(staple.begin(now: now))
            now += 3
            #expect(staple.failed(now: now) == wait)
            #expect(staple.current(now: now + wait - 1) == (nil, false))
            #expect(!staple.begin(now: now + wait - 1))
            now += wait
            #expect(staple.current(now: now) == (nil, true))
        }
        try staple.answered(Self.good, [1], now: now)
        #expect(staple.failed(now: now) == 10)
    }

    @Test(
        "are sent until their ends, and asked for anew halfway, an hour later at the latest",
        arguments: [
            (1000, 500, 1000), (4, 10, 4), (19, 10, 19), (7200, 3600, 7200), (864_000, 3600, 864_000),
            (nil, 1800, 3600),
        ] as [(secondsLeft: Int?, due: Int, end: Int)])
    func lifetime(secondsLeft: Int?, due: Int, end: Int) throws {
        let staple = try staple()
        try staple.answered(OCSPAnswer(status: .good, secondsLeft: secondsLeft), [1, 2], now: 50)
        #expect(staple.current(now: 50 + due - 1).isDue == false)
        #expect(staple.current(now: 50 + due).isDue)
        #expect(staple.current(now: 50 + end - 1).response == [1, 2])
        #expect(staple.current(now: 50 + end).response == nil)
    }

    @Test("stay as they were when the next will not do, but for what says that the certificate is not good")
    func badAnswers() throws {
        let staple = try staple()
        try staple.answered(Self.good, [1], now: 0)
        #expect(throws: TLSError("OCSP_check_validity", reason: "the OCSP response has expired")) {
            try staple.answered(OCSPAnswer(status: .good, secondsLeft: 0), [2], now: 500)
        }
        #expect(staple.failed(now: 500) == 10)
        #expect(staple.current(now: 501) == ([1], false))
        for status in [OCSPStatus.revoked, .unknown] {
            try staple.answered(Self.good, [1], now: 510)
            let fault = TLSError(
                "OCSP_resp_find_status",
                reason: "certificate status \"\(status.rawValue)\" in the OCSP response")
            #expect(throws: fault) {
                try staple.answered(OCSPAnswer(status: status, secondsLeft: 1000), [2], now: 510)
            }
            #expect(staple.current(now: 511).response == nil)
        }
    }
}
