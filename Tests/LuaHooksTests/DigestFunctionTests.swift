import Config
import Testing

@testable import LuaHooks

@Suite("Encodings, hashes and tokens")
struct DigestFunctionTests {
    @Test("Base64 and hexadecimal digits go both ways, and what is none is nil")
    func encodings() throws {
        let text = #"""
            print(sy.base64.encode('\251\255a'), sy.base64.decode('+/9h') == '\251\255a', sy.base64.encode(''))
            print(sy.base64.encode_url('\251\255ab'), sy.base64.decode_url('-_9hYg') == '\251\255ab')
            print(sy.base64.decode_url('-_9hYg==') == '\251\255ab', sy.base64.decode('-_9h'), sy.base64.decode_url('+/9h'))
            print(sy.base64.decode('YQ'), sy.base64.decode('YQ=='), sy.base64.decode('!'))
            print(sy.hex.encode('\0\255z'), sy.hex.decode('00FF7a') == '\0\255z', sy.hex.decode('0'), sy.hex.decode('zz'))
            """#
        #expect(
            try lines(text) == [
                "+/9h\ttrue\t", "-_9hYg\ttrue", "true\tnil\tnil", "nil\ta\tnil", "00ff7a\ttrue\tnil\tnil",
            ])
    }

    @Test("hashes are those of the standards, as bytes")
    func hashes() throws {
        let text = """
            print(#sy.sha1('abc'), sy.hex.encode(sy.sha1('abc')))
            print(#sy.sha256('abc'), sy.hex.encode(sy.sha256('abc')))
            print(sy.hex.encode(sy.hmac('Jefe', 'what do ya want for nothing?')))
            print(#sy.md5('abc'), sy.hex.encode(sy.md5('abc')))
            print(sy.hex.encode(sy.hmac_sha1('Jefe', 'what do ya want for nothing?')))
            """
        #expect(
            try lines(text) == [
                "20\ta9993e364706816aba3e25717850c26c9cd0d89d",
                "32\tba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "16\t900150983cd24fb0d6963f7d28e17f72",
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ])
    }

    @Test("what is escaped for a URL stands for itself there, and comes back")
    func urls() throws {
        let text = #"""
            print(sy.uri.escape("a-Z0_.~"), sy.uri.escape("http://h/a%20x?b=c&d=e f+'\195\169\0"), sy.uri.escape(""))
            print(sy.uri.unescape("a%20b+c%2Bd%c3%a9"), sy.uri.unescape("%"), sy.uri.unescape("%4%zz%41%4"))
            local all = {}
            for byte = 0, 255 do all[#all + 1] = string.char(byte) end
            all = table.concat(all)
            print(sy.uri.unescape(sy.uri.escape(all)) == all, #sy.uri.escape(all))
            """#
        #expect(
            try lines(text) == [
                "a-Z0_.~\thttp%3A%2F%2Fh%2Fa%2520x%3Fb%3Dc%26d%3De%20f%2B%27%C3%A9%00\t",
                "a b c+dé\t%\t%4%zzA%4", "true\t636",
            ])
    }

    @Test(
        "each takes strings",
        arguments: [
            ("sy.base64.encode({})", "data: found table, expected a string"),
            ("sy.base64.decode()", "text: found nothing, expected a string"),
            ("sy.base64.encode_url({})", "data: found table"),
            ("sy.base64.decode_url({})", "text: found table"),
            ("sy.hex.encode({})", "data: found table"), ("sy.hex.decode({})", "text: found table"),
            ("sy.sha1({})", "data: found table"), ("sy.sha256()", "data: found nothing"),
            ("sy.md5({})", "data: found table"), ("sy.uri.escape()", "text: found nothing"),
            ("sy.uri.unescape({})", "text: found table"),
            ("sy.hmac_sha1({}, 'm')", "key: found table"), ("sy.hmac_sha1('k')", "message: found nothing"),
            ("sy.hmac({}, 'm')", "key: found table"), ("sy.hmac('k')", "message: found nothing"),
        ])
    func arguments(call: String, message: String) throws {
        #expect(try failure(call).contains(message))
    }

    // MARK: jwt

    private static let sign = """
        local function sign(claims, key, header)
            local text = sy.base64.encode_url(header or '{"alg":"HS256"}') .. '.' .. sy.base64.encode_url(claims)
            return text .. '.' .. sy.base64.encode_url(sy.hmac(key or 'secret', text))
        end

        """

    /// What `verify` returns for these arguments.
    private func verify(_ arguments: String) throws -> String {
        let text =
            Self.sign + """
                local claims, err = sy.jwt.verify(\(arguments))
                print(claims and claims.sub or claims, err)
                """
        return try #require(try lines(text).first)
    }

    // The clock stands at 1704067200.
    @Test(
        "a token is believed when all that it is held to is so",
        arguments: [
            ("sign('{\"sub\":\"kim\"}'), { key = 'secret' }", "kim\tnil"),
            (
                "sign('{\"sub\":\"kim\"}'), { key = { 'old', 'secret' }, algorithms = { 'HS256' } }",
                "kim\tnil"
            ),
            ("sign('{\"sub\":\"kim\"}', 'other'), { key = 'secret' }", "nil\tbad signature"),
            (
                "sign('{\"sub\":\"kim\"}'), { key = 'secret', algorithms = { 'RS256' } }",
                "nil\talgorithm not allowed"
            ),
            (
                "sign('{\"sub\":\"kim\"}', '', '{\"alg\":\"none\"}'), { key = 'secret' }",
                "nil\talgorithm not allowed"
            ),
            ("sign('{\"sub\":\"kim\",\"exp\":1704067201}'), { key = 'secret' }", "kim\tnil"),
            ("sign('{\"sub\":\"kim\",\"exp\":1704067200}'), { key = 'secret' }", "nil\ttoken expired"),
            ("sign('{\"sub\":\"kim\",\"exp\":1704067200}'), { key = 'secret', leeway = 1.5 }", "kim\tnil"),
            ("sign('{\"sub\":\"kim\",\"nbf\":1704067201}'), { key = 'secret' }", "nil\ttoken not yet valid"),
            ("sign('{\"sub\":\"kim\",\"nbf\":1704067201}'), { key = 'secret', leeway = 1 }", "kim\tnil"),
            ("sign('{\"sub\":\"kim\",\"iss\":\"a\"}'), { key = 'secret', issuer = 'a' }", "kim\tnil"),
            (
                "sign('{\"sub\":\"kim\",\"iss\":\"a\"}'), { key = 'secret', issuer = 'b' }",
                "nil\twrong issuer"
            ),
            (
                "sign('{\"sub\":\"kim\",\"aud\":[\"a\",\"b\"]}'), { key = 'secret', audience = 'b' }",
                "kim\tnil"
            ),
            ("sign('{\"sub\":\"kim\"}'), { key = 'secret', audience = 'b' }", "nil\twrong audience"),
            ("'x.y', { key = 'secret' }", "nil\tmalformed token"),
            ("nil, { key = 'secret' }", "nil\tmalformed token"),
            ("sign('[1]'), { key = 'secret' }", "nil\tmalformed token"),
        ])
    func tokens(arguments: String, result: String) throws {
        #expect(try verify(arguments) == result)
    }

    private static let publicKey =
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIz1mJVFADp4EMKOOtYq7bBm7n+yt\nNjOCEzFbJlO5VRrbKa6AkkLTlB7Izqz8qG3vGMKiLdsrQDGPKei3EkshGQ==\n-----END PUBLIC KEY-----\n"
    private static let token =
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJraW0iLCJuIjo3fQ.9anKVqXAc9xggataLWJVZLl2GWAxPYiGuK-qzwnqhn65Q4mAzDkkneTi_25Wz83rCO4W2d_PgcEoKKEnstm4dg"

    @Test("a public key checks its own kind of signature, and is nobody's secret")
    func publicKeys() throws {
        let key = Self.publicKey.replacing("\n", with: "\\n")
        #expect(try verify("'\(Self.token)', { key = '\(key)' }") == "kim\tnil")
        #expect(try verify("'\(Self.token)', { key = 'secret' }") == "nil\talgorithm not allowed")
        #expect(
            try verify("sign('{\"sub\":\"kim\"}', '\(key)'), { key = '\(key)' }")
                == "nil\talgorithm not allowed")
        // Not where it is one only to the eye, either.
        #expect(
            try verify("sign('{\"sub\":\"kim\"}', ' \(key)'), { key = ' \(key)' }").contains(
                "PEM without a public key of RSA with 2048 bits or more (RS256), or of P-256 (ES256)"))
    }

    @Test("claims are tables as JSON makes them")
    func claims() throws {
        let text =
            Self.sign + """
                local c = sy.jwt.verify(sign('{"n":7,"roles":["a","b"],"x":null}'), { key = 'secret' })
                print(c.n, c.roles[2], c.x == sy.json.null)
                """
        #expect(try lines(text) == ["7\tb\ttrue"])
    }

    @Test("a key may be of 64 KB, and there may be 64 of them")
    func manyKeys() throws {
        let text = """
            local keys = {}
            for i = 1, 64 do keys[i] = ('k'):rep(65536) end
            local claims, err = sy.jwt.verify('a.b.c', { key = keys })
            print(claims, err)
            """
        #expect(try lines(text) == ["nil\tmalformed token"])
    }

    @Test(
        "what is wrong with a call is said",
        arguments: [
            ("sy.jwt.verify('t')", "options: found nothing, expected a table"),
            ("sy.jwt.verify('t', {})", "jwt.verify: key: found none, expected one at least"),
            ("sy.jwt.verify('t', { key = {} })", "jwt.verify: key: found none, expected one at least"),
            (
                "sy.jwt.verify('t', { key = { k1 = 'x' } })",
                "jwt.verify: key: found the field \"k1\" in the table, expected a string or a list of strings"
            ),
            (
                "sy.jwt.verify('t', { key = { 'k', [3] = 'x' } })",
                "jwt.verify: key: found the key 3 in the table, expected a string or a list of strings"
            ),
            ("sy.jwt.verify('t', { key = '' })", "jwt.verify: key: found nothing, expected a secret or PEM"),
            (
                "sy.jwt.verify('t', { key = ('k'):rep(65537) })",
                "jwt.verify: key: found 65537 bytes, expected at most 65536"
            ),
            (
                "sy.jwt.verify('t', { key = { 'k', ('k'):rep(65537) } })",
                "jwt.verify: key: found 65537 bytes, expected at most 65536"
            ),
            (
                "sy.jwt.verify('t', { key = { ('k'):rep(65):byte(1, -1) } })",
                "jwt.verify: key: found a list of 65, expected at most 64"
            ),
            (
                "sy.jwt.verify('t', { key = 'k', algorithms = { ('x'):rep(65537) } })",
                "jwt.verify: algorithms: found 65537 bytes, expected at most 65536"
            ),
            (
                "sy.jwt.verify('t', { key = true })",
                "key: found boolean, expected a string or a list of strings"
            ),
            (
                "sy.jwt.verify('t', { key = { 1 } })",
                "key: found number, expected a string or a list of strings"
            ),
            ("sy.jwt.verify('t', { key = '-----BEGIN PUBLIC KEY-----' })", "found PEM without a public key"),
            (
                "sy.jwt.verify('t', { key = 'k', algorithms = { 'none' } })",
                "found \"none\", expected HS256, RS256, ES256"
            ),
            (
                "sy.jwt.verify('t', { key = 'k', algorithms = 5 })",
                "algorithms: found number, expected a list of strings"
            ),
            (
                "sy.jwt.verify('t', { key = 'k', aud = 'x' })",
                "jwt.verify: found \"aud\", expected key, algorithms"
            ),
            ("sy.jwt.verify('t', { key = 'k', issuer = {} })", "issuer: found table, expected a string"),
            ("sy.jwt.verify('t', { key = 'k', audience = {} })", "audience: found table, expected a string"),
            ("sy.jwt.verify('t', { key = 'k', leeway = 'x' })", "leeway: found string, expected a number"),
            ("sy.jwt.verify({}, { key = 'k' })", "token: found table, expected a string"),
        ])
    func faults(call: String, message: String) throws {
        #expect(try failure(call).contains(message))
    }
}
