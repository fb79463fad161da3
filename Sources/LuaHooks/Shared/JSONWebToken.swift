package import Digest
internal import Wire

/// Checks signed tokens (RFC 7519, in the compact form of RFC 7515).
package enum JSONWebToken {
    /// Why a token is not to be believed.
    package enum Failure: String, Error, Sendable, CaseIterable {
        case malformed
        /// `alg` is not one of those allowed, or no key serves it. `none` never is.
        case algorithmNotAllowed
        /// The header demands extensions (`crit`), of which none is understood here (RFC 7515 §4.1.11).
        case unsupportedExtension
        case badSignature
        case expired, notYetValid, wrongIssuer, wrongAudience

        /// What a script is told.
        package var message: String {
            switch self {
            case .malformed: "malformed token"
            case .algorithmNotAllowed: "algorithm not allowed"
            case .unsupportedExtension: "unsupported critical extension"
            case .badSignature: "bad signature"
            case .expired: "token expired"
            case .notYetValid: "token not yet valid"
            case .wrongIssuer: "wrong issuer"
            case .wrongAudience: "wrong audience"
            }
        }
    }

    /// What a token is held to.
    package struct Requirements: Sendable {
        package var keys: [VerificationKey]
        package var algorithms: Set<SignatureAlgorithm>
        /// Seconds since 1970, UTC.
        package var now: Double
        /// Seconds by which clocks may differ.
        package var leeway: Double = 0
        package var issuer: [UInt8]?
        package var audience: [UInt8]?

        package init(keys: [VerificationKey], algorithms: Set<SignatureAlgorithm>, now: Double) {
            self.keys = keys
            self.algorithms = algorithms
            self.now = now
        }
    }

    /// Longer ones are malformed: no head could hold them.
    package static let maxLength = 64 * 1024

    /// - Returns: the claims of a valid token, as the JSON object that was signed.
    package static func verify(
        _ token: Span<UInt8>, _ requirements: Requirements
    ) throws(Failure) -> [UInt8] {
        guard token.count <= maxLength else { throw .malformed }
        let headerEnd = token.firstDot(from: 0)
        let claimsEnd = token.firstDot(from: headerEnd + 1)
        guard claimsEnd < token.count, token.firstDot(from: claimsEnd + 1) == token.count,
            let header = part(token, 0..<headerEnd), let claims = part(token, (headerEnd + 1)..<claimsEnd),
            let signature = part(token, (claimsEnd + 1)..<token.count),
            let fields = JSONValue(header), case .object = fields
        else { throw .malformed }
        try checkSignature(
            signature, of: token.extracting(0..<claimsEnd), fields, requirements)
        guard let values = JSONValue(claims), case .object = values else { throw .malformed }
        try check(values, requirements)
        return claims
    }

    private static func part(_ token: Span<UInt8>, _ range: Range<Int>) -> [UInt8]? {
        let text = token.extracting(range)
        // RFC 7515 §2: no padding.
        if !text.isEmpty, text[text.count - 1] == UInt8(ascii: "=") { return nil }
        return Base64.decode(text, .url, requiresPadding: false)
    }

    private static func checkSignature(
        _ signature: [UInt8], of message: Span<UInt8>, _ header: JSONValue, _ requirements: Requirements
    ) throws(Failure) {
        guard case .string(let name) = header["alg"] else { throw .malformed }
        if header["crit"] != nil { throw .unsupportedExtension }
        guard let algorithm = SignatureAlgorithm(rawValue: String(decoding: name, as: UTF8.self)),
            requirements.algorithms.contains(algorithm)
        else { throw .algorithmNotAllowed }
        // The key's kind decides, so that a public key never serves as the secret of an HMAC.
        var hasKey = false
        for key in requirements.keys where key.algorithm == algorithm {
            hasKey = true
            if key.verifies(message, signature.span) { return }
        }
        throw hasKey ? .badSignature : .algorithmNotAllowed
    }

    /// RFC 7519 §4.1
    private static func check(_ claims: JSONValue, _ requirements: Requirements) throws(Failure) {
        if let expiry = try time(claims["exp"]), requirements.now >= expiry + requirements.leeway {
            throw .expired
        }
        if let start = try time(claims["nbf"]), requirements.now < start - requirements.leeway {
            throw .notYetValid
        }
        if let issuer = requirements.issuer, claims["iss"] != .string(issuer) { throw .wrongIssuer }
        if let audience = requirements.audience {
            switch claims["aud"] {
            case .string(let only): guard only == audience else { throw .wrongAudience }
            case .array(let list): guard list.contains(.string(audience)) else { throw .wrongAudience }
            default: throw .wrongAudience
            }
        }
    }

    private static func time(_ claim: JSONValue?) throws(Failure) -> Double? {
        switch claim {
        case nil: return nil
        case .number(let seconds): return seconds
        default: throw .malformed
        }
    }
}

extension Span<UInt8> {
    /// The first full stop from `start` on, or the end.
    fileprivate func firstDot(from start: Int) -> Int {
        var position = start
        while position < count, self[position] != UInt8(ascii: ".") { position += 1 }
        return Swift.min(position, count)
    }
}
