import Testing
import Wire

@testable import HTTP2

@Suite("Request heads over HTTP/2")
struct RequestHeadTests {
    private static let get = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
    private static let key: (UInt64, UInt64) = (0, 0)

    private func read(
        _ fields: [(String, String)], ends: Bool = true, limits: HTTP2RequestHead.Limits = .init()
    ) -> (HTTP2RequestHead.Outcome, String) {
        var head = HTTP2RequestHead()
        head.limits = limits
        for (name, value) in fields {
            let (name, value) = (Array(name.utf8), Array(value.utf8))
            head.add(name.span, value.span)
        }
        var output: [UInt8] = []
        let outcome = head.finish(endsStream: ends, key: Self.key, to: &output)
        return (outcome, String(decoding: output, as: UTF8.self))
    }

    /// Reads the fields' head in both ways: taken with its lines, and parsed. They must not differ.
    ///
    /// - Returns: whether its lines were known; `nil` where they were and it was to be parsed all the same.
    private func takes(
        _ fields: [(String, String)], ends: Bool = true, limits: RequestHeadParser.Limits = .init()
    ) -> Bool? {
        var head = HTTP2RequestHead()
        for (name, value) in fields { head.add(Array(name.utf8).span, Array(value.utf8).span) }
        var output: [UInt8] = []
        guard case .request = head.finish(endsStream: ends, key: Self.key, to: &output) else {
            Issue.record("it is no request: \(fields)")
            return nil
        }
        var lines: [FieldLine] = []
        head.giveLines(to: &lines)
        if lines.isEmpty { return false }
        var (parser, parsed) = (RequestHeadParser(), RequestHead())
        let progress = parser.parse(output.rawSpan, limits: limits, into: &parsed)
        var (taker, taken) = (RequestHeadParser(), RequestHead())
        var bytes = output
        let isTaken = taker.take(&bytes, lines: lines.span, limits: limits, into: &taken)
        guard isTaken else {
            #expect(progress != .complete(length: output.count))
            // Whoever was refused parses, with the same parser.
            #expect(taker.parse(output.rawSpan, limits: limits, into: &taken) == progress)
            return nil
        }
        #expect(progress == .complete(length: output.count))
        #expect(String(describing: taken) == String(describing: parsed))
        return true
    }

    @Test("a head whose lines are known is taken as it would be parsed")
    func knownLines() {
        let get = Self.get
        #expect(takes(get) == true)
        #expect(
            takes(get + [("accept", "*/*"), ("te", "trailers"), ("cookie", "a"), ("cookie", "b")]) == true)
        #expect(takes(get + [("content-length", "3"), ("expect", "100-continue")], ends: false) == true)
        #expect(takes(get + [("host", "A"), ("x-accel-redirect", "/x"), ("priority", "u=0, i")]) == true)
        #expect(takes(get.filter { $0.0 != ":authority" } + [("host", "b:80"), ("x", "y")]) == true)
        #expect(takes([(":method", "CONNECT"), (":authority", "a:443")], ends: false) == true)
        for length in 1...40 {
            let (name, value) = (String(repeating: "n", count: length), String(repeating: "v", count: length))
            #expect(takes(get + [(name, "1"), ("y", value), ("z", "\(value) \u{e9}")]) == true)
        }
    }

    @Test("a head that is out of the ordinary is parsed")
    func unknownLines() {
        let get = Self.get
        let long = String(repeating: "v", count: 30)
        for field in [("a_b", "1"), ("x", ""), ("x", "a\tb"), ("x", long + "\t" + long), ("x!", "1")] {
            #expect(takes(get + [("y", "z"), field]) == false, "\(field)")
        }
        #expect(takes(get, ends: false) == false)
        #expect(takes(get.filter { $0.0 != ":authority" }) == false)
    }

    @Test("a head that is refused is parsed, so that it is refused for the same reason")
    func refusedLines() {
        var limits = RequestHeadParser.Limits()
        limits.maxFieldLine = 10
        #expect(takes(Self.get + [("x", "1234567")], limits: limits) == true)
        #expect(takes(Self.get + [("x", "12345678")], limits: limits) == nil)
        limits = .init()
        limits.maxFields = 2
        #expect(takes(Self.get + [("x", "1")], limits: limits) == true)
        #expect(takes(Self.get + [("x", "1"), ("y", "1")], limits: limits) == nil)
        limits = .init()
        limits.maxHead = 40
        #expect(takes(Self.get + [("x", "12345678")], limits: limits) == true)
        #expect(takes(Self.get + [("x", "123456789")], limits: limits) == nil)
        limits = .init()
        limits.maxRequestLine = 14
        #expect(takes(Self.get, limits: limits) == true)
        limits.maxRequestLine = 13
        #expect(takes(Self.get, limits: limits) == nil)
        #expect(takes([(":method", "get")] + Self.get.dropFirst()) == nil)
        #expect(takes(Self.get.filter { $0.0 != ":authority" } + [("host", "a..b")]) == nil)
    }

    @Test("a request becomes a head of HTTP/1.1")
    func plain() {
        let (outcome, head) = read(Self.get + [("accept", "*/*"), ("te", "trailers")])
        #expect(outcome == .request(.plain))
        #expect(head == "GET / HTTP/1.1\r\nHost: a\r\naccept: */*\r\nte: trailers\r\n\r\n")
    }

    @Test("crumbs of a cookie become one line")
    func cookies() {
        let (_, head) = read(Self.get + [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")])
        #expect(head == "GET / HTTP/1.1\r\nHost: a\r\nx: y\r\nCookie: a=1; b=2\r\n\r\n")
    }

    @Test("a host stands in for an authority, and beside one that is the same")
    func hosts() {
        let noAuthority = Self.get.filter { $0.0 != ":authority" }
        #expect(read(noAuthority + [("host", "b")]).1 == "GET / HTTP/1.1\r\nHost: b\r\n\r\n")
        #expect(read(Self.get + [("host", "A")]).1 == "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        // Who names no host at all is refused as over HTTP/1.1.
        #expect(read(noAuthority).1 == "GET / HTTP/1.1\r\n\r\n")
    }

    @Test("a body without a length is one in chunks")
    func bodies() {
        let (outcome, head) = read(Self.get, ends: false)
        #expect(outcome == .request(.chunked))
        #expect(head == "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        let sized = read(Self.get + [("content-length", "3")], ends: false)
        #expect(sized.0 == .request(.plain))
        #expect(sized.1 == "GET / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\n")
    }

    @Test("OPTIONS may ask for all of a server")
    func asterisk() {
        let fields = [(":method", "OPTIONS"), (":scheme", "https"), (":authority", "a"), (":path", "*")]
        #expect(read(fields).1 == "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    @Test("CONNECT has an authority for a target")
    func connect() {
        let (outcome, head) = read([(":method", "CONNECT"), (":authority", "a:1")], ends: false)
        #expect(outcome == .request(.plain))
        #expect(head == "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
    }

    private static let webSocket = [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a"),
        (":path", "/chat"),
    ]

    @Test("an extended CONNECT becomes an upgrade with a key of ours")
    func webSocket() {
        let (outcome, head) = read(
            Self.webSocket + [("sec-websocket-version", "13"), ("sec-websocket-key", "theirs")], ends: false)
        #expect(outcome == .request(.webSocket))
        #expect(
            head == "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n")
    }

    @Test("other protocols are not known")
    func otherProtocol() {
        var fields = Self.webSocket
        fields[1].1 = "connect-udp"
        #expect(read(fields, ends: false).0 == .refused(status: 501))
    }

    /// What is wrong, and the fields that show it.
    private static let malformed: [(HTTP2Malformation, [(String, String)])] = {
        func with(_ more: (String, String)...) -> [(String, String)] { get + more }
        func without(_ name: String) -> [(String, String)] { get.filter { $0.0 != name } }
        func replacing(_ name: String, _ value: String) -> [(String, String)] {
            get.map { $0.0 == name ? (name, value) : $0 }
        }
        return [
            (.unknownPseudoField, [(":status", "200")] + get),
            (.unknownPseudoField, [(":", "x")] + get),
            (.unknownPseudoField, [(":path2", "/")] + get),
            (.repeatedPseudoField, [(":method", "GET")] + get),
            (.repeatedPseudoField, [(":path", "/")] + get),
            (.repeatedPseudoField, [(":authority", "a")] + get),
            (.repeatedPseudoField, [(":scheme", "http")] + get),
            (.upperCaseFieldName, [(":Method", "GET")] + without(":method")),
            (.latePseudoField, without(":path") + [("x", "y"), (":path", "/")]),
            (.latePseudoField, with(("x", "y"), (":method", "GET"))),
            (.missingPseudoField, without(":method")),
            (.missingPseudoField, without(":scheme")),
            (.missingPseudoField, without(":path")),
            (.missingPseudoField, []),
            (.missingPseudoField, [(":method", "CONNECT")]),
            (.invalidMethod, replacing(":method", "")),
            (.invalidMethod, replacing(":method", "GET /x HTTP/1.1\r\nA: b")),
            (.invalidMethod, replacing(":method", "G T")),
            (.invalidScheme, replacing(":scheme", "")),
            (.invalidScheme, replacing(":scheme", "ftp")),
            (.invalidScheme, replacing(":scheme", "http ")),
            (.invalidPath, replacing(":path", "")),
            (.invalidPath, replacing(":path", "x")),
            (.invalidPath, replacing(":path", "*")),
            (.invalidPath, replacing(":path", "http://b/")),
            (.invalidPath, replacing(":path", "/ HTTP/1.1\r\nHost: b\r\n\r\nGET /")),
            (.invalidPath, replacing(":path", "/a b")),
            (.invalidPath, replacing(":path", "/a\tb")),
            (.invalidPath, replacing(":path", "/\0")),
            (.invalidPath, replacing(":path", "/\u{7f}")),
            (.invalidAuthority, replacing(":authority", "")),
            (.invalidAuthority, replacing(":authority", "a\r\nX: y")),
            (.invalidAuthority, replacing(":authority", "user@a")),
            (.invalidAuthority, replacing(":authority", "a b")),
            (.invalidAuthority, replacing(":authority", "a/b")),
            (.invalidAuthority, replacing(":authority", "a:99999")),
            (.repeatedHost, without(":authority") + [("host", "a"), ("host", "a")]),
            (.hostDiffersFromAuthority, with(("host", "b"))),
            (.invalidFieldName, with(("", "x"))),
            (.invalidFieldName, with(("a b", "x"))),
            (.invalidFieldName, with(("a:b", "x"))),
            (.invalidFieldName, with(("a\r\nb", "x"))),
            (.invalidFieldName, with(("a\0", "x"))),
            (.invalidFieldName, with(("\u{e9}", "x"))),
            (.upperCaseFieldName, with(("X-a", "x"))),
            (.upperCaseFieldName, with(("tE", "trailers"))),
            (.invalidFieldValue, with(("x", "a\r\nb: c"))),
            (.invalidFieldValue, with(("x", "a\nb"))),
            (.invalidFieldValue, with(("x", "a\rb"))),
            (.invalidFieldValue, with(("x", "a\0b"))),
            (.invalidFieldValue, with(("x", "a\u{1}b"))),
            (.invalidFieldValue, with(("x", " a"))),
            (.invalidFieldValue, with(("x", "a\t"))),
            (.invalidFieldValue, with(("cookie", "a=1\r\nx: y"))),
            (.connectionSpecificField, with(("connection", "close"))),
            (.connectionSpecificField, with(("keep-alive", "1"))),
            (.connectionSpecificField, with(("proxy-connection", "close"))),
            (.connectionSpecificField, with(("transfer-encoding", "chunked"))),
            (.connectionSpecificField, with(("upgrade", "websocket"))),
            (.invalidTE, with(("te", "gzip"))),
            (.invalidTE, with(("te", "trailers, gzip"))),
            (.invalidContentLength, with(("content-length", ""))),
            (.invalidContentLength, with(("content-length", "+1"))),
            (.invalidContentLength, with(("content-length", "1,1"))),
            (.invalidContentLength, with(("content-length", "99999999999999999999"))),
            (.repeatedContentLength, with(("content-length", "0"), ("content-length", "0"))),
            (.contentLengthMismatch, with(("content-length", "1"))),
            (.protocolWithoutConnect, [(":protocol", "websocket")] + get),
            (.pseudoFieldWithConnect, [(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")]),
            (.pseudoFieldWithConnect, [(":method", "CONNECT"), (":authority", "a:1"), (":scheme", "http")]),
            (.invalidAuthority, [(":method", "CONNECT"), (":authority", "a b:1")]),
            (.missingPseudoField, webSocket.filter { $0.0 != ":path" }),
            (.missingPseudoField, webSocket.filter { $0.0 != ":authority" }),
            (.missingPseudoField, webSocket.filter { $0.0 != ":scheme" }),
            (.invalidProtocol, webSocket.map { $0.0 == ":protocol" ? ($0.0, "web socket") : $0 }),
            (.contentWithConnect, webSocket + [("content-length", "0")]),
            (.connectionSpecificField, webSocket + [("upgrade", "websocket")]),
        ]
    }()

    @Test("each kind of malformed head is told", arguments: 0..<malformed.count)
    func malformedHeads(_ index: Int) {
        let (expected, fields) = Self.malformed[index]
        let (outcome, head) = read(fields)
        #expect(outcome == .malformed(expected), "\(fields)")
        // What is logged of it is one line without a break in it.
        #expect(head.isEmpty || head.split(separator: "\r\n").count == 1)
    }

    @Test("each kind of malformation of a head is in the table")
    func complete() {
        let elsewhere: Set<HTTP2Malformation> = [
            .pseudoFieldInTrailers, .trailersTooLarge, .trailersWithoutEnd,
        ]
        let known = Set(Self.malformed.map(\.0)).union(elsewhere).union(HTTP2Malformation.ofResponses)
        #expect(known == Set(HTTP2Malformation.allCases))
    }

    @Test("a HEAD is known as one whose head says nothing of it")
    func isHead() {
        for (method, path) in [("HEAD", ""), ("HEAD", "/a b"), ("HEAD", "/"), ("GET", ""), ("GET", "/a b")] {
            var head = HTTP2RequestHead()
            for (name, value) in [(":method", method), (":path", path), ("connection", "x")] {
                head.add(Array(name.utf8).span, Array(value.utf8).span)
            }
            var output: [UInt8] = []
            let outcome = head.finish(endsStream: true, key: Self.key, to: &output)
            #expect(outcome == .malformed(.connectionSpecificField))
            #expect(head.isHead == (method == "HEAD"), "\(method) \(path)")
        }
        #expect(!HTTP2RequestHead().isHead)
    }

    @Test("what is too long is refused, not malformed")
    func limits() {
        var limits = HTTP2RequestHead.Limits()
        limits.maxRequestLine = 100
        limits.maxFieldLine = 100
        limits.maxList = 400
        let path = "/" + String(repeating: "x", count: 100)
        #expect(
            read(Self.get.map { $0.0 == ":path" ? ($0.0, path) : $0 }, limits: limits).0
                == .refused(status: 414))
        #expect(read(Self.get + [("x", path)], limits: limits).0 == .refused(status: 494))
        let many = (0..<10).map { ("x\($0)", String(repeating: "y", count: 40)) }
        #expect(read(Self.get + many, limits: limits).0 == .refused(status: 494))
        limits.maxList = 4000
        limits.maxFields = 8
        #expect(read(Self.get + many, limits: limits).0 == .refused(status: 494))
        // It is no way around the other checks.
        let bad = read([(":method", "GET"), (":method", path)] + Self.get, limits: limits).0
        #expect(bad == .malformed(.repeatedPseudoField))
    }

    @Test("small fields count as much as over HTTP/1.1", arguments: ["x", "cookie"])
    func smallFields(name: String) {
        let fields = (0..<300).map { (name == "x" ? "x\($0)" : name, String(repeating: "y", count: 94)) }
        #expect(read(Self.get + fields).0 == .request(.plain))
        let most = (0..<999).map { ("x\($0)", "") }
        #expect(read(Self.get + most).0 == .request(.plain))
        // The parser of HTTP/1.1 has the last word: what it takes is not refused before.
        var limits = HTTP2RequestHead.Limits()
        let some = Self.get + (0..<8).map { ("x\($0)", "y") }
        limits.maxList = read(some).1.utf8.count
        #expect(read(some, limits: limits).0 == .request(.plain))
        limits.maxList -= 40
        #expect(read(some, limits: limits).0 == .refused(status: 494))
    }

    @Test("trailers are checked, and written as lines")
    func trailers() {
        func read(_ fields: [(String, String)]) -> HTTP2TrailerLines {
            var lines = HTTP2TrailerLines()
            for (name, value) in fields {
                let (name, value) = (Array(name.utf8), Array(value.utf8))
                lines.add(name.span, value.span)
            }
            return lines
        }
        #expect(read([("a", "b"), ("c", "")]).lines == Array("a: b\r\nc: \r\n".utf8))
        #expect(read([(":path", "/")]).malformation == .pseudoFieldInTrailers)
        #expect(read([("a", "b\r\nc: d")]).malformation == .invalidFieldValue)
        #expect(read([("A", "b")]).malformation == .upperCaseFieldName)
        #expect(read([("transfer-encoding", "chunked")]).malformation == .connectionSpecificField)
        let long = String(repeating: "x", count: 5000)
        #expect(read([("a", long), ("b", long)]).malformation == .trailersTooLarge)
        #expect(read((0..<101).map { ("x\($0)", "y") }).malformation == .trailersTooLarge)
    }

    private func parse(_ head: [UInt8], into block: inout HTTP2FieldBlock)
        -> (status: Int, length: Int, isUpgrade: Bool)?
    {
        block.readResponse(head.span)
    }

    @Test("the head of a response becomes fields")
    func responses() throws {
        var block = HTTP2FieldBlock()
        let head = Array(
            "HTTP/1.1 200 OK\r\nServer: s\r\nX-A:  b \r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nrest"
                .utf8)
        let read = try #require(parse(head, into: &block))
        #expect(read.status == 200)
        #expect(read.length == head.count - 4)
        #expect(block.fields.map { "\($0.name)=\($0.value)" } == [":status=200", "server=s", "x-a=b"])
        for length in 0..<(head.count - 4) {
            var block = HTTP2FieldBlock()
            #expect(parse(Array(head[..<length]), into: &block) == nil)
        }
    }

    @Test("a 101 becomes a 200 without the fields of an upgrade")
    func upgrades() throws {
        var block = HTTP2FieldBlock()
        let head = Array(
            ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n").utf8)
        let read = try #require(parse(head, into: &block))
        #expect(read.status == 200)
        #expect(
            block.fields.map { "\($0.name)=\($0.value)" } == [":status=200", "sec-websocket-protocol=chat"])
    }
}
