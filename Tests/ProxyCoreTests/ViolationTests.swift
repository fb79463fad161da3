import ProxyCore
import Testing
import Wire

@Suite("What the error log says of messages that break the rules")
struct ViolationTests {
    @Test("no name of a case is a message", arguments: RequestViolation.allCases)
    func ofRequests(violation: RequestViolation) {
        for inFields in [false, true] {
            let message = violation.message(line: "", inFields: inFields)
            #expect(!message.contains(violation.rawValue))
            #expect(message.hasPrefix("client sent "))
        }
    }

    @Test("nor is one of responses or bodies")
    func ofResponses() {
        for violation in ResponseViolation.allCases {
            #expect(!violation.message().contains(violation.rawValue))
        }
        for violation in BodyViolation.allCases { #expect(!violation.fault.contains(violation.rawValue)) }
    }

    static let heads: [(head: String, message: String)] = [
        ("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", "client sent invalid header line: \"X ...\""),
        ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "client sent invalid header line: \" ...\""),
        (
            "\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "client sent duplicate header line: \"Content-Length: 1\""
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo\r\n\r\n",
            "client sent unknown \"Transfer-Encoding\": \"foo\""
        ),
        ("GET / HTTP/1.1\r\n\r\n", "client sent HTTP/1.1 request without \"Host\" header"),
    ]

    @Test("the line at fault is shown as far as it was read", arguments: heads)
    func showsTheLine(head: String, message: String) {
        var parser = RequestHeadParser()
        var request = RequestHead()
        let bytes = Array(head.utf8)
        guard
            case .invalid(let violation) = parser.parse(
                RawSpan(_elements: bytes.span), limits: .init(), into: &request)
        else {
            Issue.record("taken")
            return
        }
        let line = FaultyLine.text(parser.fault(violation, in: bytes.span, request), of: bytes.span)
        #expect(
            violation.message(line: line, inFields: parser.hasRequestLine)
                == message + " while reading client request headers")
    }

    @Test("of a long line the beginning is shown")
    func cutsLongLines() {
        let bytes = Array(String(repeating: "x", count: 300).utf8)
        #expect(
            FaultyLine.text(0..<300, of: bytes.span) == ": \"\(String(repeating: "x", count: 100))...\"")
        #expect(FaultyLine.text(0..<0, of: bytes.span) == "")
    }
}
