import Digest
import LuaHooks
import Testing
import Wire

@Suite("Signed tokens")
struct JSONWebTokenTests {
    /// A moment before the examples of RFC 7515 expire.
    static let then = 1_300_819_379.0
    static let secret = VerificationKey(secret: Array("a secret of the tests".utf8))
    static let rfcClaims =
        "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"

    private func verify(
        _ token: String, _ keys: [VerificationKey] = [secret],
        _ algorithms: Set<SignatureAlgorithm> = Set(SignatureAlgorithm.allCases), now: Double = then,
        _ change: (inout JSONWebToken.Requirements) -> Void = { _ in }
    ) throws(JSONWebToken.Failure) -> String {
        var requirements = JSONWebToken.Requirements(keys: keys, algorithms: algorithms, now: now)
        change(&requirements)
        let claims = try JSONWebToken.verify(Array(token.utf8).span, requirements)
        return String(decoding: claims, as: UTF8.self)
    }

    /// A token signed with `secret`.
    private func token(
        _ claims: String, header: String = "{\"alg\":\"HS256\"}", key: String = "a secret of the tests"
    )
        throws -> String
    {
        let parts = [header, claims].map { Base64.encode(Array($0.utf8), .url, padded: false) }
        let message = parts[0] + [UInt8(ascii: ".")] + parts[1]
        let code = HMAC.sha256(key: Array(key.utf8).span, message.span)
        let digest = try #require(code)
        let signature = Base64.encode(digest.indices.map { digest[$0] }, .url, padded: false)
        return String(decoding: message + [UInt8(ascii: ".")] + signature, as: UTF8.self)
    }

    private func rfcKeys() throws -> [VerificationKey] {
        let decoded = Base64.decode(
            Array(TokenFixtures.rfcSecret.utf8).span, .url, requiresPadding: false)
        let secret = try #require(decoded)
        return [
            VerificationKey(secret: secret),
            try #require(VerificationKey(pem: Array(TokenFixtures.rfcRSA.utf8))),
            try #require(VerificationKey(pem: Array(TokenFixtures.rfcP256.utf8))),
        ]
    }

    static let rfcTokens = [TokenFixtures.rfcHS256, TokenFixtures.rfcRS256, TokenFixtures.rfcES256]

    // MARK: Good ones

    @Test("the examples of RFC 7515 are believed", arguments: rfcTokens)
    func examples(token: String) throws {
        #expect(try verify(token, rfcKeys()) == Self.rfcClaims)
    }

    @Test("a certificate stands for its key, and short halves of a signature are read")
    func certificate() throws {
        let key = try #require(VerificationKey(pem: Array(TokenFixtures.certificate.utf8)))
        #expect(key.algorithm == .es256)
        #expect(try verify(TokenFixtures.shortES256, [key]) == "{\"sub\":\"me\"}")
    }

    @Test("any of several keys will do")
    func severalKeys() throws {
        let other = VerificationKey(secret: Array("another".utf8))
        let token = try token("{\"a\":1}")
        #expect(try verify(token, [other, Self.secret]) == "{\"a\":1}")
        #expect(throws: JSONWebToken.Failure.badSignature) { try verify(token, [other]) }
    }

    // MARK: Signatures

    @Test("every changed character makes a token worthless", arguments: rfcTokens)
    func changed(token: String) throws {
        let keys = try rfcKeys()
        var bytes = Array(token.utf8)
        for index in bytes.indices {
            let old = bytes[index]
            bytes[index] = old == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(throws: JSONWebToken.Failure.self) {
                try verify(String(decoding: bytes, as: UTF8.self), keys)
            }
            bytes[index] = old
        }
    }

    @Test("a signature cut short, or none, is bad", arguments: rfcTokens)
    func cut(token: String) throws {
        let keys = try rfcKeys()
        let start = try #require(token.lastIndex(of: "."))
        #expect(throws: JSONWebToken.Failure.badSignature) { try verify(String(token[...start]), keys) }
        #expect(throws: JSONWebToken.Failure.badSignature) {
            try verify(String(token[...start]) + "AAAA", keys)
        }
    }

    @Test("an algorithm that is not allowed, or that no key serves, is refused", arguments: rfcTokens)
    func algorithms(token: String) throws {
        let keys = try rfcKeys()
        #expect(throws: JSONWebToken.Failure.algorithmNotAllowed) { try verify(token, keys, []) }
        #expect(throws: JSONWebToken.Failure.algorithmNotAllowed) { try verify(token, []) }
    }

    @Test(
        "an unsigned token is refused whatever it calls that",
        arguments: ["none", "None", "NONE", "", "hs256", "HS512", "HS256\\u0000", "PS256"])
    func unsigned(algorithm: String) throws {
        for token in [
            try token("{}", header: "{\"alg\":\"\(algorithm)\"}"),
            try token("{}", header: "{\"alg\":\"\(algorithm)\"}").split(separator: ".")[0...1].joined(
                separator: ".") + ".",
        ] {
            #expect(throws: JSONWebToken.Failure.algorithmNotAllowed) { try verify(token) }
        }
    }

    @Test("a public key is no secret: a token signed with its text is refused")
    func confusion() throws {
        let token = try token("{}", key: TokenFixtures.rfcRSA)
        let key = try #require(VerificationKey(pem: Array(TokenFixtures.rfcRSA.utf8)))
        #expect(throws: JSONWebToken.Failure.algorithmNotAllowed) { try verify(token, [key]) }
        #expect(throws: JSONWebToken.Failure.badSignature) { try verify(token, [key, Self.secret]) }
    }

    @Test("critical extensions are refused, even with a good signature")
    func critical() throws {
        for value in ["[\"exp\"]", "[]", "null"] {
            let token = try token("{}", header: "{\"alg\":\"HS256\",\"crit\":\(value)}")
            #expect(throws: JSONWebToken.Failure.unsupportedExtension) { try verify(token) }
        }
    }

    @Test(
        "keys that are too weak, of another curve, private or no keys are not taken",
        arguments: [
            TokenFixtures.rsa1024, TokenFixtures.p384, "", "secret",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        ])
    func badKeys(pem: String) {
        #expect(VerificationKey(pem: Array(pem.utf8)) == nil)
    }

    // MARK: Form

    @Test(
        "what is no token is malformed",
        arguments: [
            "", ".", "..", "...", "a", "a.b", "a.b.c", "e30.e30", "e30.e30.", "e30.e30.a.b", "W10.e30.",
            "e30=.e30.",
        ])
    func malformed(token: String) {
        #expect(throws: JSONWebToken.Failure.malformed) { try verify(token) }
    }

    @Test(
        "a header or claims that are no plain JSON object are malformed, though signed",
        arguments: [
            "[]", "1", "null", "", "{", "{}{}", "{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "{\"a\":1,}",
            "{a:1}",
        ])
    func malformedJSON(text: String) throws {
        for token in [try token("{}", header: text), try token(text)] {
            if text.contains("alg"), !token.hasPrefix("eyJhbGciOiJIUzI1NiIs") { continue }
            #expect(throws: JSONWebToken.Failure.malformed) { try verify(token) }
        }
    }

    @Test("padding and other alphabets are malformed, and so is what is too long")
    func encoding() throws {
        let good = try token("{\"a\":\"??>>\"}")
        #expect(throws: Never.self) { try verify(good) }
        #expect(throws: JSONWebToken.Failure.malformed) { try verify(good + "=") }
        #expect(throws: JSONWebToken.Failure.malformed) { try verify(good + " ") }
        #expect(throws: JSONWebToken.Failure.malformed) {
            try verify(token("{\"a\":\"\(String(repeating: "a", count: JSONWebToken.maxLength))\"}"))
        }
    }

    // MARK: Claims

    @Test("expiry and beginning hold to the second, within the leeway")
    func times() throws {
        let token = try token("{\"nbf\":100,\"exp\":200.5}")
        for (now, leeway, failure) in [
            (99, 0, .notYetValid), (100, 0, nil), (200, 0, nil), (200.5, 0, .expired), (201, 0, .expired),
            (95, 5, nil), (94.9, 5, .notYetValid), (205, 5, nil), (205.5, 5, .expired),
        ] as [(Double, Double, JSONWebToken.Failure?)] {
            var found: JSONWebToken.Failure?
            do { _ = try verify(token, now: now) { $0.leeway = leeway } } catch { found = error }
            #expect(found == failure, "at \(now) with a leeway of \(leeway)")
        }
        #expect(throws: JSONWebToken.Failure.expired) {
            try verify(TokenFixtures.rfcHS256, rfcKeys(), now: 1_300_819_380)
        }
    }

    @Test(
        "times that are no numbers are malformed", arguments: ["\"200\"", "null", "true", "[200]", "1e999"])
    func badTimes(value: String) throws {
        for claim in ["exp", "nbf"] {
            #expect(throws: JSONWebToken.Failure.malformed) { try verify(token("{\"\(claim)\":\(value)}")) }
        }
    }

    @Test("the issuer is the one that is asked for")
    func issuer() throws {
        for (claims, isRight) in [
            ("{\"iss\":\"me\"}", true), ("{\"iss\":\"\\u006de\"}", true), ("{\"iss\":\"Me\"}", false),
            ("{}", false),
            ("{\"iss\":[\"me\"]}", false), ("{\"iss\":null}", false), ("{\"iss\":\"me \"}", false),
        ] {
            var found: JSONWebToken.Failure?
            do { _ = try verify(token(claims)) { $0.issuer = Array("me".utf8) } } catch {
                found = error as? JSONWebToken.Failure
            }
            #expect(found == (isRight ? nil : .wrongIssuer), "\(claims)")
        }
    }

    @Test("the audience is or holds the one that is asked for")
    func audience() throws {
        for (claims, isRight) in [
            ("{\"aud\":\"us\"}", true), ("{\"aud\":[\"a\",\"us\"]}", true), ("{\"aud\":[]}", false),
            ("{}", false),
            ("{\"aud\":[[\"us\"]]}", false), ("{\"aud\":\"us,a\"}", false), ("{\"aud\":{\"us\":1}}", false),
        ] {
            var found: JSONWebToken.Failure?
            do { _ = try verify(token(claims)) { $0.audience = Array("us".utf8) } } catch {
                found = error as? JSONWebToken.Failure
            }
            #expect(found == (isRight ? nil : .wrongAudience), "\(claims)")
        }
    }
}

@Suite("JSON that is checked before scripts see it")
struct JSONValueTests {
    private func read(_ text: String) -> JSONValue? { JSONValue(Array(text.utf8)) }

    @Test("values of every kind are read")
    func kinds() {
        #expect(
            read(" {\"a\" : [1, -2.5e1, 0, true,false , null], \"b\":{}, \"\":\"\"}\r\n")
                == .object([
                    Array("a".utf8): .array([
                        .number(1), .number(-25), .number(0), .bool(true), .bool(false), .null,
                    ]),
                    Array("b".utf8): .object([:]), []: .string([]),
                ]))
        #expect(read("{\"a\":1}")?["a"] == .number(1))
        #expect(read("{\"a\":1}")?["b"] == nil)
        #expect(read("[]")?["a"] == nil)
    }

    @Test("escapes are decoded")
    func escapes() {
        let text = #""\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00""#
        #expect(read(text) == .string(Array("\"\\/\u{8}\u{c}\n\r\tAé€😀".utf8)))
    }

    @Test(
        "what is no JSON, or would be read in two ways, is refused",
        arguments: [
            "", " ", "tru", "nul", "True", "01", "-", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "1e999",
            "1 2",
            "\"", "\"a", "\"\n\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"",
            "'a'",
            "[", "[1", "[1,", "[1,]", "[,]", "]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{1:1}",
            "{\"a\" 1}",
            "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "/**/1", "\u{feff}1",
        ])
    func refused(text: String) { #expect(read(text) == nil) }

    @Test("bytes that are no UTF-8 are no JSON")
    func invalidUTF8() {
        #expect(JSONValue([UInt8(ascii: "\""), 0xff, UInt8(ascii: "\"")]) == nil)
    }

    @Test("nesting is bounded")
    func depth() {
        let depth = JSONValue.maxDepth
        func nested(_ count: Int) -> String {
            String(repeating: "[", count: count) + String(repeating: "]", count: count)
        }
        #expect(read(nested(depth)) != nil)
        #expect(read(nested(depth + 2)) == nil)
        #expect(read(String(repeating: "[", count: 1_000_000)) == nil)
    }
}
