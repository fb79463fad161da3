package import Config

/// What a client's TLS session has to say, for variables and for the decision whether a request is taken.
package protocol ClientTLS: AnyObject {
    /// Appends a value, or returns false where there is none.
    func append(_ fact: ClientTLSFact, to out: inout [UInt8]) -> Bool

    /// The handshake is not over, and what has come was sent with its first message.
    var isEarly: Bool { get }

    /// The status to refuse a request with whose server is known by now: 421, 495 or 496. `nil` to go on.
    ///
    /// With 421, the request becomes one to the server that the handshake was under, whose pages and logs are for it.
    func refusal(of exchange: Exchange) -> Int?
}

package enum ClientTLSFact: Sendable {
    case version, cipher, ciphers, curve, curves, signatureScheme, clientSignatureScheme
    case serverName, applicationProtocol, sessionID, sessionReused
    /// `1` while the handshake is not over, else nothing.
    case earlyData
    /// `NONE`, `SUCCESS` or `FAILED:reason`.
    case verification
    case certificate, subject, issuer, legacySubject, legacyIssuer, serial, fingerprint, start, end,
        remainingDays
}

/// What there is of a client's certificate.
package enum ClientCertificate {
    case none
    case accepted
    case unknownAuthority(reason: String)
    case faulty(reason: String)
}

extension ServerTLSSettings.ClientVerification {
    /// The status with which a request is refused for want of a certificate that will do, and why, in nginx's words. Not
    /// for `off`.
    package func refusal(of certificate: ClientCertificate) -> (status: Int, reason: String)? {
        switch certificate {
        case .accepted: nil
        case .none: self == .on ? (496, "client sent no required SSL certificate") : nil
        case .unknownAuthority where self == .optionalWithoutAuthority: nil
        case .unknownAuthority(let reason), .faulty(let reason):
            (495, "client SSL certificate verify error: \(reason)")
        }
    }
}
