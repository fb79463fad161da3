import Testing
import Wire

@Suite("A response head")
struct ResponseHeadParserTests {
    @Test("is taken apart with every part where it stands")
    func parts() throws {
        let head = try responseHead(
            "HTTP/1.1 404 Not  Found\r\nServer: x\r\nSet-Cookie: a\r\nX-Accel-Redirect: /b\r\nX_y: z\r\n\r\n")
        #expect(head.status == 404)
        #expect(text(head.bytes, head.reason) == "Not  Found")
        #expect(head.fields.map(\.id) == [.server, .setCookie, .xAccel, .other])
        #expect(head.fields.map(\.nameKind) == [.plain, .plain, .plain, .underscored])
        #expect(head.framing == .untilClose)
        #expect(!head.wantsKeepAlive)
    }

    @Test(
        "may go without a reason",
        arguments: [
            "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200\n\n", "HTTP/1.0 200 OK\n\n",
            "HTTP/1.1 200 \t\u{e9}\r\n\r\n", "HTTP/1.7 999 x\r\n\r\n",
        ])
    func reason(text: String) throws {
        #expect(try responseHead(text).bytes.text == text)
    }

    struct Framing: Sendable, CustomTestStringConvertible {
        var head: String
        var isHead = false
        var framing: BodyFraming
        var keepsAlive: Bool
        var testDescription: String { (isHead ? "HEAD " : "") + head.debugDescription }
    }

    @Test(
        "is followed by the body that RFC 9112 §6.3 says",
        arguments: [
            Framing(head: "1.1 200\r\nContent-Length: 5", framing: .length(5), keepsAlive: true),
            Framing(head: "1.1 200\r\nContent-Length: 0", framing: .length(0), keepsAlive: true),
            Framing(head: "1.1 200\r\nTransfer-Encoding: chunked", framing: .chunked, keepsAlive: true),
            Framing(head: "1.1 200", framing: .untilClose, keepsAlive: false),
            Framing(head: "1.1 200\r\nConnection: close", framing: .untilClose, keepsAlive: false),
            Framing(head: "1.0 200\r\nContent-Length: 5", framing: .length(5), keepsAlive: false),
            Framing(
                head: "1.0 200\r\nContent-Length: 5\r\nConnection: keep-alive", framing: .length(5),
                keepsAlive: true),
            Framing(
                head: "1.1 200\r\nContent-Length: 5\r\nConnection: x, close", framing: .length(5),
                keepsAlive: false),
            Framing(head: "1.1 200\r\nContent-Length: 5", isHead: true, framing: .none, keepsAlive: true),
            Framing(
                head: "1.1 200\r\nTransfer-Encoding: chunked", isHead: true, framing: .none,
                keepsAlive: true),
            Framing(head: "1.1 200", isHead: true, framing: .none, keepsAlive: true),
            Framing(head: "1.1 304\r\nContent-Length: 5", framing: .none, keepsAlive: true),
            Framing(head: "1.1 204", framing: .none, keepsAlive: true),
            Framing(head: "1.1 204\r\nContent-Length: 0", framing: .none, keepsAlive: true),
            Framing(head: "1.1 204\r\nContent-Length: 5", framing: .none, keepsAlive: false),
            Framing(head: "1.1 204\r\nTransfer-Encoding: chunked", framing: .none, keepsAlive: false),
            Framing(head: "1.1 100", framing: .none, keepsAlive: true),
            Framing(head: "1.1 103\r\nLink: a", framing: .none, keepsAlive: true),
            Framing(head: "1.1 101\r\nUpgrade: a\r\nConnection: upgrade", framing: .none, keepsAlive: true),
        ])
    func framing(expected: Framing) throws {
        let head = try responseHead("HTTP/\(expected.head)\r\n\r\n", isHead: expected.isHead)
        #expect(head.framing == expected.framing)
        #expect(head.wantsKeepAlive == expected.keepsAlive)
    }

    @Test("knows the fields of an upgrade")
    func upgrade() throws {
        let head = try responseHead(
            "HTTP/1.1 101 x\r\nA: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        #expect(head.connectionHasUpgrade)
        #expect((head.connectionIndex, head.upgradeIndex) == (1, 2))
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        var text: String
        var violation: ResponseViolation
        var testDescription: String { text.debugDescription }

        init(_ text: String, _ violation: ResponseViolation) {
            self.text = text
            self.violation = violation
        }
    }

    @Test(
        "is refused when it is not strictly one",
        arguments: [
            Refused("hello", .invalidStatusLine), Refused("\r\nHTTP/1.1 200", .invalidStatusLine),
            Refused("ICY 200 OK", .invalidStatusLine), Refused("http/1.1 200", .invalidStatusLine),
            Refused("HTTP/1.1\t200", .invalidStatusLine), Refused("HTTP/1.10 200", .invalidStatusLine),
            Refused("HTTP/1.x 200", .invalidStatusLine), Refused("HTTP/2.0 200", .unsupportedVersion),
            Refused("HTTP/2 200", .unsupportedVersion), Refused("HTTP/0.9 200", .unsupportedVersion),
            Refused("HTTP/1.1  200", .invalidStatus), Refused("HTTP/1.1 20", .invalidStatus),
            Refused("HTTP/1.1 2000", .invalidStatus), Refused("HTTP/1.1 099 x", .invalidStatus),
            Refused("HTTP/1.1 +20 x", .invalidStatus), Refused("HTTP/1.1 200\tOK", .invalidStatus),
            Refused("HTTP/1.1 200 O\0K", .invalidStatusLine),
            Refused("HTTP/1.1 200 O\u{7f}", .invalidStatusLine),
            Refused("HTTP/1.1 200 OK\rX: y", .bareCarriageReturn),
            Refused("HTTP/1.1 200\r", .bareCarriageReturn),
            Refused("HTTP/1.1 200 OK\r\nX : y", .spaceBeforeColon),
            Refused("HTTP/1.1 200 OK\r\nX: y\r\n z", .obsoleteFolding),
            Refused("HTTP/1.1 200 OK\r\nX", .invalidFieldName),
            Refused("HTTP/1.1 200 OK\r\nX: \0", .invalidFieldValue),
            Refused("HTTP/1.1 200 OK\r\nX: a\rb", .bareCarriageReturn),
            Refused("HTTP/1.1 200 OK\r\nContent-Length: x", .invalidContentLength),
            Refused("HTTP/1.1 200 OK\r\nContent-Length: -1", .invalidContentLength),
            Refused("HTTP/1.1 200 OK\r\nContent-Length: 5, 5", .invalidContentLength),
            Refused("HTTP/1.1 204 x\r\nContent-Length: 9223372036854775808", .invalidContentLength),
            Refused("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", .conflictingContentLength),
            Refused("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", .conflictingContentLength),
            Refused(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
                .contentLengthWithTransferEncoding),
            Refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", .invalidTransferEncoding),
            Refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", .invalidTransferEncoding),
            Refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked", .invalidTransferEncoding),
            Refused(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                .invalidTransferEncoding),
            Refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", .transferEncodingInHTTP1_0),
        ])
    func refused(expected: Refused) {
        #expect(parseResponse(expected.text + "\r\n\r\n").0 == .invalid(expected.violation))
    }

    @Test("is bounded")
    func limit() {
        let text = "HTTP/1.1 200 OK\r\nX: 1\r\n\r\n"
        #expect(parseResponse(text, maxHead: 25).0 == .complete(length: 25))
        #expect(parseResponse(text, maxHead: 24).0 == .invalid(.headTooLarge))
        #expect(parseResponse(text, maxHead: 10).0 == .invalid(.headTooLarge))
    }

    @Test("can be parsed again with the same parser after reset")
    func reset() {
        var parser = ResponseHeadParser()
        var head = ResponseHead()
        let interim = [UInt8]("HTTP/1.1 103 x\r\nConnection: upgrade\r\n\r\n")
        var outcome = parser.parse(interim.rawSpan, isHead: false, maxHead: 100, into: &head)
        #expect(outcome == .complete(length: interim.count))
        let final = [UInt8]("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        parser.reset()
        outcome = parser.parse(final.rawSpan, isHead: false, maxHead: 100, into: &head)
        #expect(outcome == .complete(length: final.count))
        #expect(head.status == 200)
        #expect(!head.connectionHasUpgrade)
        #expect(head.framing == .length(2))
        #expect(head.bytes == final)
    }
}
