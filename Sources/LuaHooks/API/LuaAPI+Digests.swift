internal import Digest
internal import ProxyCore
internal import Wire

/// Encodings, hashes and signatures.
extension LuaAPI {
    static let digestFunctions: [LuaFunction] = [
        encoding("encode", "sy.base64", "data", "The data in Base64 (RFC 4648 §4).") { data in
            encoded(data, .standard, padded: true)
        },
        decoding("decode", "sy.base64", "What the Base64 says, its padding included; nil when it is none.") {
            text in
            Base64.decode(text)
        },
        encoding(
            "encode_url", "sy.base64", "data",
            "The data in Base64 for URLs and tokens (RFC 4648 §5), unpadded."
        ) { data in encoded(data, .url, padded: false) },
        decoding(
            "decode_url", "sy.base64", "What the Base64 for URLs says, padded or not; nil when it is none."
        ) { text in Base64.decode(text, .url, requiresPadding: false) },
        encoding("encode", "sy.hex", "data", "The data as hexadecimal digits, in lower case.") { data in
            var digits: [UInt8] = []
            digits.reserveCapacity(2 * data.count)
            Hexadecimal.append(data, to: &digits)
            return digits
        },
        decoding("decode", "sy.hex", "What pairs of hexadecimal digits say; nil for anything else.") { text in
            Hexadecimal.decode(text)
        },
        encoding(
            "escape", "sy.uri", "text",
            "The text as it may stand anywhere in a URL, for itself: all but letters, digits, `-`, `.`, `_` and `~` "
                + "(RFC 3986 §2.3) is escaped."
        ) { text in
            var escaped: [UInt8] = []
            escaped.reserveCapacity(text.count)
            URIEscape.appendComponent(text, to: &escaped)
            return escaped
        },
        LuaFunction(
            "unescape", .module("sy.uri"), "text: string", returns: "string",
            "What the escaped text of a query or a form says, `+` being a space; an escape that is none stays as it is."
        ) { call throws(LuaError) in
            let text = try call.span(1, "text")
            QueryArguments.push(text, text.indices, on: call.stack)
            return .one
        },
        encoding(
            "md5", "sy", "data",
            "The MD5 hash: 16 bytes, for `sy.hex.encode` to be shown. Not for secrets: for what others have defined by it."
        ) { data in MD5.digest(data).map { bytes($0) } },
        encoding(
            "sha1", "sy", "data",
            "The SHA-1 hash: 20 bytes, for `sy.hex.encode` to be shown. Not for secrets."
        ) { data in SHA1.digest(data).map { bytes($0) } },
        encoding("sha256", "sy", "data", "The SHA-256 hash: 32 bytes, for `sy.hex.encode` to be shown.") {
            data in
            SHA256.digest(data).map { bytes($0) }
        },
        keyed(
            "hmac", "The HMAC of the message with SHA-256 (RFC 2104): 32 bytes.", refusal: "not available"
        ) { key, message in HMAC.sha256(key: key, message) },
        keyed(
            "hmac_sha1",
            "The HMAC of the message with SHA-1 (RFC 2104): 20 bytes. For what others have defined by it, as TURN's "
                + "passwords; where there is a choice, `sy.hmac`.",
            refusal: "the system's policy does not allow it"
        ) { key, message in HMAC.sha1(key: key, message) },
        LuaFunction(
            "verify", .module("sy.jwt"),
            """
            token: string?, options: { key: string|string[], algorithms?: string[], issuer?: string, \
            audience?: string, leeway?: number }
            """,
            returns: "table?, string?",
            """
            The claims of a signed token (RFC 7519), or nil and why it is not to be believed. A key is a secret (HS256), \
            or a public key or certificate in PEM (RS256, ES256), of up to 64 KB; which it is decides the algorithm, \
            `algorithms` may exclude some. There may be up to 64 keys. `exp` and `nbf` are held to the clock, give or take `leeway` seconds; `iss` and `aud` to \
            `issuer` and `audience`, where given.
            """
        ) { call throws(LuaError) in
            try call.table(2, "options")
            let requirements = try call.tokenRequirements()
            guard call.isGiven(1) else { return call.fail(JSONWebToken.Failure.malformed.message) }
            let token = try call.span(1, "token")
            let claims: [UInt8]
            do throws(JSONWebToken.Failure) {
                claims = try JSONWebToken.verify(token, requirements)
            } catch {
                return call.fail(error.message)
            }
            guard call.stack.push(json: claims) else {
                return call.fail(JSONWebToken.Failure.malformed.message)
            }
            return .one
        },
    ]

    private static func bytes<let size: Int>(_ digest: InlineArray<size, UInt8>) -> [UInt8] {
        digest.indices.map { digest[$0] }
    }

    private static func encoded(_ data: Span<UInt8>, _ alphabet: Base64.Alphabet, padded: Bool) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity((data.count + 2) / 3 * 4)
        Base64.append(data, alphabet, padded: padded, to: &text)
        return text
    }

    private static func encoding(
        _ name: String, _ module: String, _ parameter: StaticString, _ summary: String,
        _ encode: @escaping @Sendable (Span<UInt8>) -> [UInt8]?
    ) -> LuaFunction {
        LuaFunction(name, .module(module), "\(parameter): string", returns: "string", summary) {
            call throws(LuaError) in
            guard let result = encode(try call.span(1, parameter)) else {
                throw LuaError("\(name): the system's policy does not allow it")
            }
            return call.push(result)
        }
    }

    private static func keyed<let size: Int>(
        _ name: String, _ summary: String, refusal: String,
        _ code: @escaping @Sendable (_ key: Span<UInt8>, _ message: Span<UInt8>) -> InlineArray<size, UInt8>?
    ) -> LuaFunction {
        LuaFunction(name, .module("sy"), "key: string, message: string", returns: "string", summary) {
            call throws(LuaError) in
            guard let code = code(try call.span(1, "key"), try call.span(2, "message")) else {
                throw LuaError("\(name): \(refusal)")
            }
            call.stack.push(code.span)
            return .one
        }
    }

    private static func decoding(
        _ name: String, _ module: String, _ summary: String,
        _ decode: @escaping @Sendable (Span<UInt8>) -> [UInt8]?
    ) -> LuaFunction {
        LuaFunction(name, .module(module), "text: string", returns: "string?", summary) {
            call throws(LuaError) in
            call.push(decode(try call.span(1, "text")))
        }
    }
}

extension LuaCall {
    fileprivate func tokenRequirements() throws(LuaError) -> JSONWebToken.Requirements {
        try checkOptions(2, "jwt.verify", ["key", "algorithms", "issuer", "audience", "leeway"])
        var keys: [VerificationKey] = []
        for key in try texts("key", "a string or a list of strings") ?? [] {
            keys.append(try verificationKey(key))
        }
        guard !keys.isEmpty else { throw LuaError("jwt.verify: key: found none, expected one at least") }
        var algorithms = Set(SignatureAlgorithm.allCases)
        if let names = try texts("algorithms", "a list of strings") {
            algorithms = []
            for name in names {
                let text = String(decoding: name, as: UTF8.self)
                guard let algorithm = SignatureAlgorithm(rawValue: text) else {
                    let known = SignatureAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")
                    throw LuaError("jwt.verify: algorithms: found \"\(text)\", expected \(known)")
                }
                algorithms.insert(algorithm)
            }
        }
        var requirements = JSONWebToken.Requirements(
            keys: keys, algorithms: algorithms, now: Double(interpreter.host.clock.now.unix) / 1000)
        if stack.pushField("issuer", of: 2) != .nil { requirements.issuer = try bytes(stack.top, "issuer") }
        if stack.pushField("audience", of: 2) != .nil {
            requirements.audience = try bytes(stack.top, "audience")
        }
        if stack.pushField("leeway", of: 2) != .nil {
            requirements.leeway = Double(try milliseconds(stack.top, "leeway")) / 1000
        }
        return requirements
    }

    /// Of one key, and of a list of keys: what is made of them is memory and time that no limit of scripts counts.
    private static let maxTextLength = 65_536
    private static let maxTexts = 64

    /// A field of argument 2 that is a string or a list of them.
    private func texts(_ name: StaticString, _ expected: String) throws(LuaError) -> [[UInt8]]? {
        switch stack.pushField(name, of: 2) {
        case .nil: return nil
        case .string: return [try text(name)]
        case .table:
            let list = stack.top
            let count = stack.length(ofTable: list)
            if let key = stack.keyBeyondList(list, count) {
                throw LuaError("jwt.verify: \(name): found \(key) in the table, expected \(expected)")
            }
            guard count <= Self.maxTexts else {
                throw LuaError(
                    "jwt.verify: \(name): found a list of \(count), expected at most \(Self.maxTexts)")
            }
            var texts: [[UInt8]] = []
            for position in 0..<count {
                guard stack.pushElement(position + 1, of: list) == .string else {
                    throw mismatch(stack.top, name, expected)
                }
                texts.append(try text(name))
                stack.pop()
            }
            return texts
        default: throw mismatch(stack.top, name, expected)
        }
    }

    /// The topmost value.
    private func text(_ name: StaticString) throws(LuaError) -> [UInt8] {
        let length = try span(stack.top, name).count
        guard length <= Self.maxTextLength else {
            throw LuaError(
                "jwt.verify: \(name): found \(length) bytes, expected at most \(Self.maxTextLength)")
        }
        return try bytes(stack.top, name)
    }

    private func verificationKey(_ text: [UInt8]) throws(LuaError) -> VerificationKey {
        if let known = interpreter.verificationKeys[text] { return known }
        guard !text.isEmpty else {
            throw LuaError("jwt.verify: key: found nothing, expected a secret or PEM")
        }
        let key: VerificationKey
        // PEM is never a secret: whoever knows a public key could sign with it.
        if text.firstRange(of: Array("-----BEGIN".utf8)) != nil {
            guard let known = VerificationKey(pem: text) else {
                throw LuaError(
                    "jwt.verify: key: found PEM without a public key of RSA with 2048 bits or more (RS256), "
                        + "or of P-256 (ES256)")
            }
            key = known
        } else {
            key = VerificationKey(secret: text)
        }
        // Keys are few; a script that makes them up does not fill memory with them.
        if interpreter.verificationKeys.count >= 64 { interpreter.verificationKeys = [:] }
        interpreter.verificationKeys[text] = key
        return key
    }
}
