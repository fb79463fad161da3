import Testing
import Wire

/// Heads that make two readers disagree about where a request ends, or what it is. Each has to be refused,
/// under every delivery, so that no backend ever sees it.
@Suite("A request that could be read in two ways is refused")
struct RequestSmugglingTests {
    struct Refused: Sendable, CustomTestStringConvertible {
        var text: String
        var violation: RequestViolation
        var testDescription: String { text.debugDescription }

        init(_ text: String, _ violation: RequestViolation) {
            self.text = text
            self.violation = violation
        }
    }

    @Test("in its request line", arguments: requestLines)
    func requestLine(refused: Refused) {
        #expect(parseRequest(refused.text + "\r\nHost: a\r\n\r\n").0 == .invalid(refused.violation))
    }

    static let requestLines: [Refused] = [
        Refused("get / HTTP/1.1", .invalidMethod), Refused("GeT / HTTP/1.1", .invalidMethod),
        Refused("F1 / HTTP/1.1", .invalidMethod), Refused("F!# / HTTP/1.1", .invalidMethod),
        Refused(" GET / HTTP/1.1", .invalidMethod), Refused("\tGET / HTTP/1.1", .invalidMethod),
        Refused("GET\t/ HTTP/1.1", .invalidMethod), Refused("G\0ET / HTTP/1.1", .invalidMethod),
        Refused("\rGET / HTTP/1.1", .bareCarriageReturn), Refused("GET", .invalidRequestLine),
        Refused("GET /", .invalidRequestLine), Refused("GET / ", .invalidRequestLine),
        Refused("GET  / HTTP/1.1", .invalidRequestLine), Refused("GET /  HTTP/1.1", .invalidRequestLine),
        Refused("GET / HTTP/1.1 ", .invalidRequestLine), Refused("GET / a HTTP/1.1", .invalidVersion),
        Refused("GET /a\tb HTTP/1.1", .invalidTarget), Refused("GET /a\u{1}b HTTP/1.1", .invalidTarget),
        Refused("GET /a\u{7f}b HTTP/1.1", .invalidTarget), Refused("GET /a\0 HTTP/1.1", .invalidTarget),
        Refused("GET /a\u{b}b HTTP/1.1", .invalidTarget), Refused("GET /a#b HTTP/1.1", .invalidTarget),
        Refused("GET /a?b#c HTTP/1.1", .invalidTarget), Refused("GET /a\rHTTP/1.1", .invalidRequestLine),
        Refused("GET * HTTP/1.1", .invalidTarget), Refused("OPTIONS *a HTTP/1.1", .invalidTarget),
        Refused("GET foo HTTP/1.1", .invalidTarget), Refused("GET ?a HTTP/1.1", .invalidTarget),
        Refused("GET a:80 HTTP/1.1", .invalidTarget), Refused("CONNECT a HTTP/1.1", .invalidTarget),
        Refused("CONNECT a: HTTP/1.1", .invalidTarget), Refused("CONNECT a:b HTTP/1.1", .invalidTarget),
        Refused("CONNECT :80 HTTP/1.1", .invalidTarget), Refused("GET http:/ HTTP/1.1", .invalidTarget),
        Refused("GET http:// HTTP/1.1", .invalidTarget), Refused("GET http:///a HTTP/1.1", .invalidTarget),
        Refused("GET http:/a/b HTTP/1.1", .invalidTarget), Refused("GET http:a HTTP/1.1", .invalidTarget),
        Refused("GET http://u@b/ HTTP/1.1", .invalidTarget),
        Refused("GET http://b:x/ HTTP/1.1", .invalidTarget),
        Refused("GET http://b:65536/ HTTP/1.1", .invalidTarget),
        Refused("GET ftp://b/ HTTP/1.1", .invalidTarget),
        Refused("GET http://b/#f HTTP/1.1", .invalidTarget),
        Refused("GET http://b#f HTTP/1.1", .invalidTarget),
        Refused("GET http://a\\b/ HTTP/1.1", .invalidTarget), Refused("GET / HTTP/2.0", .unsupportedVersion),
        Refused("GET / HTTP/3.0", .unsupportedVersion), Refused("GET / HTTP/9.9", .unsupportedVersion),
        Refused("GET / HTTP/2", .unsupportedVersion), Refused("PRI * HTTP/2.0", .unsupportedVersion),
        Refused("GET / HTTP/0.9", .invalidVersion), Refused("GET / HTTP/1", .invalidVersion),
        Refused("GET / HTTP/1.", .invalidVersion), Refused("GET / HTTP/1.10", .invalidVersion),
        Refused("GET / HTTP/01.1", .invalidVersion), Refused("GET / HTTP/+1.1", .invalidVersion),
        Refused("GET / http/1.1", .invalidVersion), Refused("GET / HTTPS/1.1", .invalidVersion),
        Refused("GET / HTTP/1,1", .invalidVersion), Refused("GET / HTTP /1.1", .invalidRequestLine),
        Refused("GET / HTTP/1.1\r", .bareCarriageReturn), Refused("GET / HTTP/1.1\rX", .bareCarriageReturn),
        Refused("GET / HTTP/1.1\t", .invalidVersion), Refused("GET / HTTP/1.1\0", .invalidVersion),
    ]

    @Test("in its field lines", arguments: fieldLines)
    func fieldLine(refused: Refused) {
        let text = "POST / HTTP/1.1\r\nHost: a\r\n\(refused.text)\r\nX-Last: 1\r\n\r\n"
        #expect(parseRequest(text).0 == .invalid(refused.violation))
    }

    static let fieldLines: [Refused] = [
        Refused("X : a", .spaceBeforeColon), Refused("X\t: a", .spaceBeforeColon),
        Refused("Transfer-Encoding : chunked", .spaceBeforeColon),
        Refused("Content-Length : 5", .spaceBeforeColon),
        Refused("X a: a", .spaceBeforeColon), Refused(" X: a", .obsoleteFolding),
        Refused("\tX: a", .obsoleteFolding), Refused("X: a\r\n b", .obsoleteFolding),
        Refused("X: a\r\n\tb", .obsoleteFolding), Refused("X: a\n b", .obsoleteFolding),
        Refused("Transfer-Encoding:\r\n chunked", .obsoleteFolding), Refused("X", .invalidFieldName),
        Refused(": a", .invalidFieldName), Refused("X(: a", .invalidFieldName),
        Refused("X@Y: a", .invalidFieldName), Refused("X\u{80}: a", .invalidFieldName),
        Refused("X\0: a", .invalidFieldName), Refused("X\u{1}: a", .invalidFieldName),
        Refused("X\u{7f}: a", .invalidFieldName), Refused("X\r: a", .invalidFieldName),
        Refused("\"X\": a", .invalidFieldName), Refused("X;Y: a", .invalidFieldName),
        Refused("GET /admin HTTP/1.1", .spaceBeforeColon), Refused("X: a\0b", .invalidFieldValue),
        Refused("X: \0", .invalidFieldValue), Refused("X: a\u{1}b", .invalidFieldValue),
        Refused("X: a\u{7f}b", .invalidFieldValue), Refused("X: a\u{8}", .invalidFieldValue),
        Refused("X: a\u{b}b", .invalidFieldValue), Refused("X: a\u{1b}[0m", .invalidFieldValue),
        Refused("X: a\rb", .bareCarriageReturn), Refused("X: a\r", .bareCarriageReturn),
        Refused("X: a\r\r", .bareCarriageReturn), Refused("X: a\rContent-Length: 5", .bareCarriageReturn),
        Refused("\rX: a", .bareCarriageReturn), Refused("X:\r a", .bareCarriageReturn),
        Refused("Transfer-Encoding: \u{b}chunked", .invalidFieldValue),
    ]

    @Test("in its host", arguments: hosts)
    func host(refused: Refused) {
        let text = "GET / HTTP/1.1\r\n\(refused.text)\r\n\r\n"
        #expect(parseRequest(text).0 == .invalid(refused.violation))
    }

    static let hosts: [Refused] = [
        Refused("X: a", .missingHost), Refused("Host: a\r\nHost: a", .repeatedHost),
        Refused("Host: a\r\nX: b\r\nhost: b", .repeatedHost), Refused("Host:", .invalidHost),
        Refused("Host: a b", .invalidHost), Refused("Host: a/b", .invalidHost),
        Refused("Host: a@b", .invalidHost),
        Refused("Host: a?b", .invalidHost), Refused("Host: a#b", .invalidHost),
        Refused("Host: a\\b", .invalidHost),
        Refused("Host: a\"b", .invalidHost), Refused("Host: a<b", .invalidHost),
        Refused("Host: a:x", .invalidHost),
        Refused("Host: a:80:80", .invalidHost), Refused("Host: a:65536", .invalidHost),
        Refused("Host: a:000080", .invalidHost), Refused("Host: a:+80", .invalidHost),
        Refused("Host: :80", .invalidHost), Refused("Host: a..b", .invalidHost),
        Refused("Host: [::1", .invalidHost),
        Refused("Host: []", .invalidHost), Refused("Host: [::1]x", .invalidHost),
        Refused("Host: [g]", .invalidHost),
        Refused("Host: a%4", .invalidHost), Refused("Host: a%zz", .invalidHost),
        Refused("Host: \u{e4}", .invalidHost),
        Refused("Host: a\r\nAuthorization: b\r\nauthorization: b", .repeatedField),
        Refused("Host: a\r\nIf-Match: b\r\nX: y\r\nIf-Match: c", .repeatedField),
        Refused("Host: a\r\nIf-Range: b\r\nIf-Range: c", .repeatedField),
        Refused("Host: a\r\nExpect: 100-continue\r\nExpect: 100-continue", .repeatedField),
        Refused("Host: http://a", .invalidHost), Refused("Host: a\tb", .invalidHost),
    ]

    @Test("in HTTP/1.0 just the same")
    func oldVersion() {
        let start = "POST / HTTP/1.0\r\n"
        #expect(parseRequest(start + "Host: a\r\nHost: a\r\n\r\n").0 == .invalid(.repeatedHost))
        #expect(parseRequest(start + "Host:\r\n\r\n").0 == .invalid(.invalidHost))
        for coding in ["chunked", "gzip", "chunked\r\nContent-Length: 5"] {
            let text = start + "Transfer-Encoding: \(coding)\r\n\r\n"
            #expect(parseRequest(text).0 == .invalid(.transferEncodingInHTTP1_0))
        }
    }

    @Test("in its framing", arguments: framings)
    func framing(refused: Refused) {
        let text = "POST / HTTP/1.1\r\nHost: a\r\n\(refused.text)\r\n\r\n0\r\n\r\n"
        #expect(parseRequest(text).0 == .invalid(refused.violation))
    }

    static let framings: [Refused] = [
        Refused("Content-Length: 5\r\nContent-Length: 5", .conflictingContentLength),
        Refused("Content-Length: 5\r\nContent-Length: 6", .conflictingContentLength),
        Refused("Content-Length: 0\r\ncontent-length: 0", .conflictingContentLength),
        Refused("Content-Length: 5, 5", .invalidContentLength),
        Refused("Content-Length: 5, 6", .invalidContentLength),
        Refused("Content-Length: 5,", .invalidContentLength),
        Refused("Content-Length: +5", .invalidContentLength),
        Refused("Content-Length: -5", .invalidContentLength),
        Refused("Content-Length: -0", .invalidContentLength),
        Refused("Content-Length:", .invalidContentLength),
        Refused("Content-Length: \t ", .invalidContentLength),
        Refused("Content-Length: 0x5", .invalidContentLength),
        Refused("Content-Length: 5a", .invalidContentLength),
        Refused("Content-Length: 5 5", .invalidContentLength),
        Refused("Content-Length: 5.0", .invalidContentLength),
        Refused("Content-Length: 1e2", .invalidContentLength),
        Refused("Content-Length: \"5\"", .invalidContentLength),
        Refused("Content-Length: 1_0", .invalidContentLength),
        Refused("Content-Length: 5;a", .invalidContentLength),
        Refused("Content-Length: \u{ff15}", .invalidContentLength),
        Refused("Content-Length: 9223372036854775808", .invalidContentLength),
        Refused("Content-Length: 18446744073709551616", .invalidContentLength),
        Refused("Content-Length: 99999999999999999999999999", .invalidContentLength),
        Refused("Content-Length: 5\r\nTransfer-Encoding: chunked", .contentLengthWithTransferEncoding),
        Refused("Transfer-Encoding: chunked\r\nContent-Length: 0", .contentLengthWithTransferEncoding),
        Refused("Transfer-Encoding: gzip\r\nContent-Length: 5", .contentLengthWithTransferEncoding),
        Refused("Transfer-Encoding: gzip", .unknownTransferCoding),
        Refused("Transfer-Encoding: gzip, chunked", .unknownTransferCoding),
        Refused("Transfer-Encoding: chunked, gzip", .unknownTransferCoding),
        Refused("Transfer-Encoding: chunked, identity", .unknownTransferCoding),
        Refused("Transfer-Encoding: identity", .unknownTransferCoding),
        Refused("Transfer-Encoding: xchunked", .unknownTransferCoding),
        Refused("Transfer-Encoding: chunkedx", .unknownTransferCoding),
        Refused("Transfer-Encoding: gzip;q=1", .unknownTransferCoding),
        Refused("Transfer-Encoding:", .invalidTransferEncoding),
        Refused("Transfer-Encoding: ,", .invalidTransferEncoding),
        Refused("Transfer-Encoding: ,chunked", .invalidTransferEncoding),
        Refused("Transfer-Encoding: chunked,", .invalidTransferEncoding),
        Refused("Transfer-Encoding: chunked, chunked", .invalidTransferEncoding),
        Refused("Transfer-Encoding: chunked;a=b", .invalidTransferEncoding),
        Refused("Transfer-Encoding: \"chunked\"", .invalidTransferEncoding),
        Refused("Transfer-Encoding: chunked gzip", .invalidTransferEncoding),
        Refused("Transfer-Encoding: gzip, chun ked", .invalidTransferEncoding),
        Refused("Transfer-Encoding: \u{a0}chunked", .invalidTransferEncoding),
        Refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", .invalidTransferEncoding),
        Refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", .invalidTransferEncoding),
        Refused("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", .invalidTransferEncoding),
    ]
}
