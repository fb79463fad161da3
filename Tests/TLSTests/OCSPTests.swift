import Foundation
import Testing

@testable import TLS

@Suite("The status of certificates")
struct OCSPTests {
    private let files = TestCertificates.shared

    /// After the status of a certificate of the authority "one".
    private func query(_ name: String = "leaf", asking responder: String = "http://a.test/") throws
        -> OCSPQuery
    {
        try TLSStaple(
            files.identity(name), name: name, responder: responder, trusted: [files.file("one.crt")],
            verifies: true
        ).query
    }

    // MARK: Responses

    @Test(
        "is what the authority's response says of the certificate",
        arguments: [
            ("V", OCSPStatus.good), ("R", .revoked), ("", .unknown),
        ])
    func statuses(_ entry: String, _ status: OCSPStatus) throws {
        let query = try query()
        let answer = try query.judge(files.response(to: query.request, entry))
        #expect(answer.status == status)
        #expect((86_300...86_400).contains(try #require(answer.secondsLeft)))
    }

    @Test("is in no response to another question, of another authority, or that is none")
    func badResponses() throws {
        func reason(_ response: [UInt8], to query: OCSPQuery) -> String {
            do throws(TLSError) {
                _ = try query.judge(response)
                return ""
            } catch {
                return error.reason
            }
        }
        let (one, leaf) = (try query("one"), try query())
        #expect(
            try reason(files.response(to: one.request, "V"), to: leaf)
                == "certificate status not found in the OCSP response")
        #expect(
            try reason(files.response(to: leaf.request, "V", signer: "two"), to: leaf)
                == "certificate verify error")
        #expect(reason([], to: leaf) != "")
        #expect(reason(Array("junk".utf8), to: leaf) != "")
        // RFC 6960 §4.2.1: of status 3, tryLater, and without more.
        #expect(
            reason([0x30, 0x03, 0x0A, 0x01, 0x03], to: leaf)
                == "OCSP response not successful (3: trylater)")
    }

    // MARK: The cache

    @Test("is kept for as long as an answer holds, for an hour without an end, whoever was asked")
    func cache() throws {
        let cache = OCSPCache(size: 100_000)
        let (one, leaf) = (try query("one"), try query())
        #expect(cache.status(leaf, now: 0) == nil)
        cache.put(OCSPAnswer(status: .revoked, secondsLeft: 100), to: leaf, now: 1000)
        #expect(cache.status(leaf, now: 1099) == .revoked)
        #expect(cache.status(one, now: 1099) == nil)
        #expect(try cache.status(query(asking: "http://b.test/"), now: 1099) == .revoked)
        #expect(cache.status(leaf, now: 1100) == nil)
        #expect(cache.count == 0)
        cache.put(OCSPAnswer(status: .good, secondsLeft: nil), to: leaf, now: 1000)
        #expect(cache.status(leaf, now: 4599) == .good)
        cache.put(OCSPAnswer(status: .unknown, secondsLeft: 50), to: leaf, now: 4599)
        #expect(cache.status(leaf, now: 4600) == .unknown)
        #expect(cache.count == 1)
    }

    @Test("is not kept where its time is over as it comes, or there is no room")
    func noCache() throws {
        let cache = OCSPCache(size: 100_000)
        let leaf = try query()
        for left in [0, -1] {
            cache.put(OCSPAnswer(status: .good, secondsLeft: left), to: leaf, now: 1000)
            #expect(cache.count == 0)
        }
        cache.put(OCSPAnswer(status: .good, secondsLeft: 100), to: leaf, now: 1000)
        cache.resize(to: 10)
        #expect(cache.count == 0)
        cache.put(OCSPAnswer(status: .good, secondsLeft: 100), to: leaf, now: 1000)
        #expect(cache.count == 0)
    }

    // MARK: Clients

    /// The check of a client that has come with the certificate "leaf".
    private func validation(_ rule: OCSPRule) throws -> OCSPValidation {
        let server = try SessionPair.serverContext {
            try $0.trust(files.file("one.crt"), tellsClients: true)
            $0.verifyClients(.required, depth: 1)
            $0.checkStatus(rule)
        }
        let client = try SessionPair.clientContext { try $0.use(files.identity("leaf")) }
        let pair = try SessionPair(server: server, client: client)
        #expect(pair.shakeHands() == (.done, .done))
        return try #require(try pair.server.ocspValidation())
    }

    private func rule(cache: OCSPCache? = nil, leafOnly: Bool = false, responder: String? = "http://a.test/")
        -> OCSPRule
    {
        OCSPRule(leafOnly: leafOnly, responder: responder, cache: cache)
    }

    @Test("is asked after for each certificate but the root", arguments: [false, true])
    func asks(leafOnly: Bool) throws {
        let validation = try validation(rule(leafOnly: leafOnly))
        let asked = try #require(validation.next(now: 0).query)
        #expect(asked.responder == "http://a.test/")
        #expect(asked.request == (try query().request))
        let answer = OCSPAnswer(status: .good, secondsLeft: 10)
        #expect(validation.answered(answer, to: asked, now: 0).status == .good)
    }

    @Test(
        "ends the check where it is not good, and is not asked after while an answer holds",
        arguments: [OCSPStatus.good, .revoked, .unknown])
    func caches(_ status: OCSPStatus) throws {
        let rule = rule(cache: OCSPCache(size: 100_000))
        let validation = try validation(rule)
        let asked = try #require(validation.next(now: 0).query)
        let answer = OCSPAnswer(status: status, secondsLeft: 100)
        #expect(validation.answered(answer, to: asked, now: 0).status == status)
        #expect(try self.validation(rule).next(now: 99).status == status)
        #expect(try self.validation(rule).next(now: 100).query != nil)
    }

    @Test("cannot be had where the certificate names nobody to ask, and no one else is to be asked")
    func nobodyToAsk() throws {
        let step = try validation(rule(responder: nil)).next(now: 0)
        #expect(step.fault?.reason == "no OCSP responder URL in the certificate")
    }
}

extension OCSPValidation.Step {
    fileprivate var query: OCSPQuery? { if case .ask(let query) = self { query } else { nil } }
    fileprivate var status: OCSPStatus? { if case .ended(let status) = self { status } else { nil } }
    fileprivate var fault: TLSError? { if case .failed(let error) = self { error } else { nil } }
}

extension TestCertificates {
    /// What is answered by an authority that takes both certificates for valid ("V") or revoked ("R"), or knows neither.
    fileprivate func response(
        to request: [UInt8], _ entry: String, signer: String = "one"
    ) throws -> [UInt8] {
        let name = UUID().uuidString
        func path(_ suffix: String) -> URL { directory.appending(path: "\(name).\(suffix)") }
        let serials = try ["leaf", "one"].map(serial)
        let revoked = entry == "R" ? "200101000000Z" : ""
        let lines = serials.map { "\(entry)\t400101000000Z\t\(revoked)\t\($0)\tunknown\t/CN=\($0)\n" }
        try Data((entry.isEmpty ? "" : lines.joined()).utf8).write(to: path("index"))
        try Data(request).write(to: path("request"))
        try openssl(
            "ocsp", "-index", path("index").path, "-CA", "one.crt", "-rsigner", "\(signer).crt", "-rkey",
            "\(signer).key", "-reqin", path("request").path, "-respout", path("response").path, "-ndays", "1")
        return try file("\(name).response")
    }
}
