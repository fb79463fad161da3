import Testing
import Wire

@Suite("A request head")
struct RequestHeadParserTests {
    @Test("is taken apart with every part where it stands")
    func parts() throws {
        let head = try requestHead(
            "GET /a/b?c=d HTTP/1.1\r\nHost: a.org:8080\r\nX-Empty:\r\nx-Gap: \t v \t\r\nCOOKIE:a=b; c\r\n\r\n"
        )
        #expect(text(head.bytes, head.method) == "GET")
        #expect(text(head.bytes, head.target) == "/a/b?c=d")
        #expect(text(head.bytes, head.targetParts.path) == "/a/b")
        #expect(head.targetParts.query.map { text(head.bytes, $0) } == "c=d")
        #expect(head.version == .v1_1)
        #expect(head.framing == .none)
        #expect(head.hostIndex == 0)
        #expect(head.fields.map { text(head.bytes, $0.name) } == ["Host", "X-Empty", "x-Gap", "COOKIE"])
        #expect(head.fields.map { text(head.bytes, $0.value) } == ["a.org:8080", "", "v", "a=b; c"])
        #expect(head.fields.map(\.id) == [.host, .other, .other, .cookie])
        #expect(head.firstIndex(of: .cookie) == 3)
        #expect(head.firstIndex(of: .upgrade) == nil)
    }

    @Test("may follow empty lines, which count in its length but are no part of its bytes")
    func emptyLines() {
        let request = "GET http://b/c?d HTTP/1.1\r\nHost: a\r\n\r\n"
        let (outcome, head) = parseRequest("\r\n\n\r\n" + request)
        #expect(text(head.bytes, head.target) == "http://b/c?d")
        #expect(text(head.bytes, head.targetParts.authority) == "b")
        #expect(text(head.bytes, head.targetParts.path) == "/c")
        #expect(head.targetParts.query.map { text(head.bytes, $0) } == "d")
        #expect(outcome == .complete(length: request.utf8.count + 5))
        #expect(head.bytes.text == request)
        #expect(text(head.bytes, head.fields[0].value) == "a")
    }

    @Test("ends at its empty line, whatever follows")
    func pipelined() {
        let request = "GET / HTTP/1.1\nHost: a\n\n"
        let (outcome, head) = parseRequest(request + "GET /second HTTP/1.1\r\n")
        #expect(outcome == .complete(length: request.utf8.count))
        #expect(head.bytes.text == request)
    }

    @Test(
        "is incomplete until its empty line has come",
        arguments: [
            "", "\r", "\r\n", "G", "GET", "GET ", "GET /", "GET / ", "GET / HTTP/1.1", "GET / HTTP/1.1\r",
            "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost", "GET / HTTP/1.1\r\nHost:",
            "GET / HTTP/1.1\r\nHost: a",
            "GET / HTTP/1.1\r\nHost: a\r", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r",
        ])
    func incomplete(text: String) {
        #expect(parseRequest(text).0 == .incomplete)
    }

    @Test(
        "is accepted in each of these forms",
        arguments: [
            "FOO / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
            "FOO_BAR / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.0\nAccept: *\n\n",
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
            "GET /\u{e4}\u{f6} HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\"<>\\^`{|} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.b-c_d.e:1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a%41b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.\r\n\r\n",
            "GET / HTTP/1.1\r\nhOsT: a\r\n\r\n", "GET / HTTP/1.1\r\nHost:a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\tb  c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\n\r\n",
        ])
    func accepted(text: String) throws {
        let head = try requestHead(text)
        #expect(head.bytes.text == text)
    }

    @Test("tells names apart by what ignore_invalid_headers and underscores_in_headers say of them")
    func nameKinds() throws {
        let text = "GET / HTTP/1.1\r\nHost: a\r\nX-1: a\r\nX_1: a\r\nX.1: a\r\nX_.: a\r\nX._: a\r\n\r\n"
        let kinds = try requestHead(text).fields.map(\.nameKind)
        #expect(kinds == [.plain, .plain, .underscored, .odd, .odd, .odd])
    }

    struct TargetCase: Sendable, CustomTestStringConvertible {
        var line: String
        var form: TargetForm
        var authority = ""
        var path = ""
        var query: String?
        var testDescription: String { line }
    }

    @Test(
        "has a target of one of four forms",
        arguments: [
            TargetCase(line: "GET / ", form: .origin, path: "/"),
            TargetCase(line: "GET /? ", form: .origin, path: "/", query: ""),
            TargetCase(line: "GET /a?b?c ", form: .origin, path: "/a", query: "b?c"),
            TargetCase(line: "GET //a/../b ", form: .origin, path: "//a/../b"),
            TargetCase(
                line: "GET http://b:80/x?y ", form: .absolute, authority: "b:80", path: "/x", query: "y"),
            TargetCase(line: "GET HTTPS://B/x ", form: .absolute, authority: "B", path: "/x"),
            TargetCase(line: "GET http://b ", form: .absolute, authority: "b"),
            TargetCase(line: "GET http://b?q ", form: .absolute, authority: "b", query: "q"),
            TargetCase(line: "GET http://[::1]:80/ ", form: .absolute, authority: "[::1]:80", path: "/"),
            TargetCase(line: "OPTIONS * ", form: .asterisk),
            TargetCase(line: "OPTIONS /a ", form: .origin, path: "/a"),
            TargetCase(line: "CONNECT a:443 ", form: .authority, authority: "a:443"),
            TargetCase(line: "CONNECT / ", form: .origin, path: "/"),
        ])
    func targets(expected: TargetCase) throws {
        let head = try requestHead(expected.line + "HTTP/1.1\r\nHost: a\r\n\r\n")
        let parts = head.targetParts
        #expect(parts.form == expected.form)
        #expect(text(head.bytes, parts.authority) == expected.authority)
        #expect(text(head.bytes, parts.path) == expected.path)
        #expect(parts.query.map { text(head.bytes, $0) } == expected.query)
    }

    struct ConnectionCase: Sendable, CustomTestStringConvertible {
        var head: String
        var keepsAlive: Bool
        var upgrades = false
        var testDescription: String { head }
    }

    @Test(
        "says whether its connection goes on",
        arguments: [
            ConnectionCase(head: "1.1", keepsAlive: true),
            ConnectionCase(head: "1.0", keepsAlive: false),
            ConnectionCase(head: "1.1\r\nConnection: close", keepsAlive: false),
            ConnectionCase(head: "1.1\r\nConnection: CLOSE", keepsAlive: false),
            ConnectionCase(head: "1.1\r\nConnection: xclose", keepsAlive: true),
            ConnectionCase(head: "1.1\r\nConnection: \"close\"", keepsAlive: true),
            ConnectionCase(head: "1.1\r\nConnection: close, keep-alive", keepsAlive: false),
            ConnectionCase(
                head: "1.1\r\nConnection: keep-alive\r\nConnection: ,, close ,", keepsAlive: false),
            ConnectionCase(head: "1.0\r\nConnection: keep-alive", keepsAlive: true),
            ConnectionCase(head: "1.0\r\nConnection: Keep-Alive, close", keepsAlive: false),
            ConnectionCase(head: "1.1\r\nConnection: Upgrade", keepsAlive: true, upgrades: true),
            ConnectionCase(head: "1.1\r\nConnection: keep-alive, Upgrade", keepsAlive: true, upgrades: true),
            ConnectionCase(head: "1.1\r\nConnection: uPGRADE ,keep-alive", keepsAlive: true, upgrades: true),
            ConnectionCase(
                head: "1.1\r\nConnection: a\r\nConnection: upgrade", keepsAlive: true, upgrades: true),
            ConnectionCase(head: "1.1\r\nConnection: upgrades", keepsAlive: true),
        ])
    func connection(expected: ConnectionCase) throws {
        let head = try requestHead("GET / HTTP/\(expected.head)\r\nHost: a\r\n\r\n")
        #expect(head.wantsKeepAlive == expected.keepsAlive)
        #expect(head.connectionHasUpgrade == expected.upgrades)
    }

    @Test("has the framing that its fields say")
    func framing() throws {
        let head = "POST / HTTP/1.1\r\nHost: a\r\n"
        #expect(try requestHead(head + "\r\n").framing == .none)
        #expect(try requestHead(head + "Content-Length: 0\r\n\r\n").framing == .length(0))
        #expect(try requestHead(head + "Content-Length: 17 \r\n\r\n").framing == .length(17))
        #expect(try requestHead(head + "Transfer-Encoding: chunked\r\n\r\n").framing == .chunked)
        #expect(try requestHead(head + "transfer-encoding:\tCHUNKED\r\n\r\n").framing == .chunked)
    }

    @Test("waits for 100 only in HTTP/1.1 and with a body")
    func expectation() throws {
        let expect = "Host: a\r\nExpect: 100-Continue\r\n"
        #expect(try requestHead("POST / HTTP/1.1\r\nContent-Length: 1\r\n\(expect)\r\n").expectsContinue)
        #expect(
            try requestHead("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\(expect)\r\n").expectsContinue)
        #expect(try !requestHead("POST / HTTP/1.1\r\nContent-Length: 0\r\n\(expect)\r\n").expectsContinue)
        #expect(try !requestHead("GET / HTTP/1.1\r\n\(expect)\r\n").expectsContinue)
        #expect(try !requestHead("POST / HTTP/1.0\r\nContent-Length: 1\r\n\(expect)\r\n").expectsContinue)
    }

    @Test("remembers the first of the fields that decide an upgrade")
    func indices() throws {
        let head = try requestHead(
            "GET / HTTP/1.1\r\nX:\r\nUpgrade: a\r\nConnection:\r\nHost: c\r\nUpgrade:\r\nconnection:\r\n\r\n"
        )
        #expect((head.upgradeIndex, head.connectionIndex, head.hostIndex) == (1, 2, 3))
    }

    @Test(
        "asks for limits behind the name of the host, once",
        arguments: [
            ("\r\nGET / HTTP/1.1\r\nA: b\r\nHost: h\r\n", "h"), ("GET http://t/ HTTP/1.1\r\n", "t"),
        ])
    func limitsByHost(asked: String, host: String) {
        let bytes = [UInt8](asked + (host == "t" ? "Host: h\r\n" : "") + "B: 345678901\r\n\r\n")
        var narrow = RequestHeadParser.Limits()
        narrow.maxFieldLine = 10
        narrow.dependOnHost = true
        var parser = RequestHeadParser()
        var head = RequestHead()
        for length in 0..<asked.utf8.count {
            let input = bytes.rawSpan.extracting(0..<length)
            #expect(parser.parse(input, limits: narrow, into: &head) == .incomplete)
            #expect(!parser.asksForLimits && parser.host(of: head) == nil)
        }
        #expect(parser.parse(bytes.rawSpan, limits: narrow, into: &head) == .incomplete)
        #expect(parser.asksForLimits)
        #expect(parser.host(of: head).map { Array(bytes[$0]).text } == host)
        var (again, sameHead) = (parser, head)
        narrow.dependOnHost = false
        #expect(again.parse(bytes.rawSpan, limits: narrow, into: &sameHead) == .invalid(.fieldLineTooLong))
        let wide = RequestHeadParser.Limits()
        #expect(parser.parse(bytes.rawSpan, limits: wide, into: &head) == .complete(length: bytes.count))
        #expect(!parser.asksForLimits)
    }

    @Test("is bounded in its line, its fields and all together")
    func limits() {
        var limits = RequestHeadParser.Limits()
        limits.maxRequestLine = 20
        limits.maxFieldLine = 12
        limits.maxHead = 59
        limits.maxFields = 3
        let line = "GET / HTTP/1.1\r\n"
        let cases: [(String, RequestOutcome)] = [
            ("GET /234567 HTTP/1.1\r\n", .incomplete),
            ("GET /2345678 HTTP/1.1\r\n", .invalid(.requestLineTooLong)),
            ("GET /23456789012345678901", .invalid(.requestLineTooLong)),
            ("GETGETGETGETGETGETGETGETGET", .invalid(.requestLineTooLong)),
            (String(repeating: "\r\n", count: 29), .incomplete),
            (String(repeating: "\r\n", count: 30), .invalid(.headTooLarge)),
            (String(repeating: "\n", count: 50) + "GET /4567", .invalid(.requestLineTooLong)),
            (line + "Host: 789012\r\n\r\n", .complete(length: 32)),
            (line + "Host: 7890123\r\n\r\n", .invalid(.fieldLineTooLong)),
            (line + "Host:         a\r\n\r\n", .invalid(.fieldLineTooLong)),
            (line + "Host-Host-Host: a\r\n\r\n", .invalid(.fieldLineTooLong)),
            (line + "Host: a\r\nA: b\r\nA: b\r\n\r\n", .complete(length: 39)),
            (line + "Host: a\r\nA: b\r\nA: b\r\nA: b\r\n\r\n", .invalid(.headTooLarge)),
            (line + "Host: 789012\r\nA: 456789012\r\nA: 456789012\r\n\r\n", .invalid(.headTooLarge)),
            (line + "Host: 789012\r\nA: 456789012\r\nA: 45678901\r\n\r\n", .complete(length: 59)),
        ]
        for (text, expected) in cases {
            #expect(parseRequest(text, limits: limits).0 == expected, "\(text)")
        }
    }

    @Test("that is refused names the status, nginx's own for what is too large")
    func statuses() {
        for violation in RequestViolation.allCases {
            switch violation {
            case .requestLineTooLong: #expect(violation.status == 414)
            case .unknownTransferCoding: #expect(violation.status == 501)
            case .unsupportedVersion: #expect(violation.status == 505)
            default: #expect(violation.status == 400)
            }
        }
        #expect(RequestViolation.headTooLarge.nginxStatus == 494)
        #expect(RequestViolation.fieldLineTooLong.nginxStatus == 494)
        #expect(RequestViolation.invalidHost.nginxStatus == 400)
    }

    @Test("is refused at the first byte that cannot start one")
    func earlyRefusal() {
        for bytes: [UInt8] in [[0x16], [0], [0x20], [0x7f], [0x80], [0x67]] {
            var parser = RequestHeadParser()
            var head = RequestHead()
            #expect(parser.parse(bytes.rawSpan, limits: .init(), into: &head) == .invalid(.invalidMethod))
        }
    }

    @Test("can be parsed again with the same parser after reset")
    func reset() {
        var parser = RequestHeadParser()
        var head = RequestHead()
        let first = [UInt8](
            "POST /a?b HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\nUpgrade: x\r\n\r\n")
        #expect(parser.parse(first.rawSpan, limits: .init(), into: &head) == .complete(length: first.count))
        let second = [UInt8]("GET / HTTP/1.1\r\nHost: b\r\n\r\n")
        parser.reset()
        #expect(parser.parse(second.rawSpan, limits: .init(), into: &head) == .complete(length: second.count))
        #expect(head.bytes == second)
        #expect(head.framing == .none)
        #expect(head.targetParts.query == nil)
        #expect(head.upgradeIndex == -1)
        #expect(head.fields.count == 1)
    }
}
