internal import Config
internal import LuaHooks
internal import ProxyCore

/// TLS of a client as a test says it has come about: no handshake stands behind it.
final class StatedTLS: ClientTLS {
    private var facts: [ClientTLSFact: [UInt8]] = [
        .version: Array("TLSv1.3".utf8), .cipher: Array("TLS_AES_256_GCM_SHA384".utf8),
        .sessionReused: [UInt8(ascii: ".")],
    ]
    private let certificate: ClientCertificate

    init(_ stated: TestTLS) {
        facts.merge(stated.facts) { $1 }
        let reason = "unable to verify the first certificate"
        switch stated.isVerified {
        case nil:
            certificate = .none
            facts[.verification] = Array("NONE".utf8)
        case true?:
            certificate = .accepted
            facts[.verification] = Array("SUCCESS".utf8)
        case false?:
            certificate = .unknownAuthority(reason: "(21:\(reason))")
            facts[.verification] = Array("FAILED:\(reason)".utf8)
        }
    }

    var isEarly: Bool { false }

    func append(_ fact: ClientTLSFact, to out: inout [UInt8]) -> Bool {
        guard let value = facts[fact], !value.isEmpty else { return false }
        out += value
        return true
    }

    func refusal(of exchange: Exchange) -> Int? {
        let asked = exchange.server.tls.verifyClient
        guard asked != .off, let refusal = asked.refusal(of: certificate) else { return nil }
        exchange.note(fault: refusal.reason + " while reading client request headers", level: .info)
        return refusal.status
    }
}
