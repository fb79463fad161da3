import Testing

@testable import HTTP2

/// Two sessions, of a client and a server, with their bytes carried between them.
private final class Pair: HTTP2StreamOwner {
    let client: HTTP2Session
    let server: HTTP2Session
    var changes: [HTTP2Stream.Change] = []

    init(_ change: (inout HTTP2Session.Options) -> Void = { _ in }) {
        var options = HTTP2Session.Options()
        client = HTTP2Session(.client, options, keySeed: (1, 2))
        change(&options)
        server = HTTP2Session(.server, options, keySeed: (3, 4))
        exchange()
    }

    deinit {
        client.close()
        server.close()
    }

    func streamChanged(_ change: HTTP2Stream.Change) { changes.append(change) }

    /// Until neither has anything to say.
    func exchange() {
        while client.wantsToSend || server.wantsToSend {
            for (from, to) in [(client, server), (server, client)] {
                var bytes: [UInt8] = []
                _ = from.send(to: &bytes, limit: 1 << 20)
                let failure = to.receive(bytes.span, now: 0)
                #expect(failure == nil)
            }
        }
    }

    func request(_ text: String, body: String? = nil) -> HTTP2Stream {
        let stream = client.openStream(self)
        var block = HTTP2FieldBlock()
        let head = Array(text.utf8)
        let read = block.readRequest(head.span, scheme: Array("http".utf8))
        stream.isHead = read?.isHead ?? false
        stream.send(block, isFinal: true)
        if let body {
            let bytes = Array(body.utf8)
            let count = stream.send(bytes.span)
            #expect(count == bytes.count)
        }
        stream.endSending()
        exchange()
        return stream
    }

    func respond(_ text: String, body: String = "", trailers: String = "") -> HTTP2Stream? {
        guard let stream = server.nextRequest() else { return nil }
        var block = HTTP2FieldBlock()
        let head = Array(text.utf8)
        _ = block.readResponse(head.span)
        stream.send(block, isFinal: true)
        if !body.isEmpty {
            let bytes = Array(body.utf8)
            _ = stream.send(bytes.span)
        }
        if !trailers.isEmpty {
            let lines = Array(trailers.utf8)
            stream.setTrailers(lines.span)
        }
        stream.endSending()
        exchange()
        return stream
    }

    func text(of stream: HTTP2Stream) -> String {
        var bytes = [UInt8](repeating: 0, count: 100_000)
        var span = bytes.mutableSpan
        let count = stream.read(into: &span, at: 0, limit: 100_000)
        return String(decoding: stream.head, as: UTF8.self) + String(decoding: bytes[..<count], as: UTF8.self)
    }
}

@Suite("HTTP/2 as a client")
struct ClientTests {
    @Test("a request and its response go there and back as heads of HTTP/1.1")
    func exchange() throws {
        let pair = Pair()
        let stream = pair.request(
            "POST /x?y HTTP/1.1\r\nConnection: close\r\nX: y\r\nHost: a:1\r\nContent-Length: 5\r\n\r\n",
            body: "hello")
        let seen = try #require(pair.respond("HTTP/1.1 200 OK\r\nServer: s\r\n\r\n", body: "world"))
        #expect(
            pair.text(of: seen)
                == "POST /x?y HTTP/1.1\r\nHost: a:1\r\nx: y\r\ncontent-length: 5\r\n\r\nhello")
        #expect(
            pair.text(of: stream)
                == "HTTP/1.1 200 \r\nserver: s\r\nTransfer-Encoding: chunked\r\n\r\nworld")
        #expect(stream.sawEnd)
        #expect(pair.client.openStreams == 0)
    }

    @Test("a response with a length, without content, and to a HEAD")
    func framing() throws {
        let pair = Pair()
        var stream = pair.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = pair.respond("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", body: "ok")
        #expect(pair.text(of: stream) == "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok")
        stream = pair.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = pair.respond("HTTP/1.1 200 OK\r\n\r\n")
        #expect(pair.text(of: stream) == "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n")
        stream = pair.request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = pair.respond("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        #expect(pair.text(of: stream) == "HTTP/1.1 200 \r\ncontent-length: 9\r\n\r\n")
        stream = pair.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = pair.respond("HTTP/1.1 204 None\r\n\r\n")
        #expect(pair.text(of: stream) == "HTTP/1.1 204 \r\n\r\n")
    }

    @Test(
        "a head that has no content may be ended by a frame of its own",
        arguments: ["HEAD 200", "GET 304", "GET 204"])
    func lateEnd(_ what: String) throws {
        let parts = what.split(separator: " ")
        let pair = Pair()
        let stream = pair.request("\(parts[0]) / HTTP/1.1\r\nHost: a\r\n\r\n")
        let seen = try #require(pair.server.nextRequest())
        var block = HTTP2FieldBlock()
        let head = Array("HTTP/1.1 \(parts[1]) x\r\nContent-Length: 9\r\n\r\n".utf8)
        _ = block.readResponse(head.span)
        seen.send(block, isFinal: true)
        pair.exchange()
        #expect(!stream.sawEnd)
        seen.endSending()
        pair.exchange()
        #expect(stream.sawEnd)
        #expect(pair.text(of: stream) == "HTTP/1.1 \(parts[1]) \r\ncontent-length: 9\r\n\r\n")
        #expect(pair.client.openStreams == 0)
    }

    @Test("content of another length than was said ends the stream with an error")
    func contentLength() throws {
        for length in [1, 3] {
            let pair = Pair()
            let stream = pair.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = pair.respond("HTTP/1.1 200 OK\r\nContent-Length: \(length)\r\n\r\n", body: "ok")
            pair.client.deliverChanges()
            #expect(stream.isClosed)
            #expect(!stream.sawEnd)
            #expect(pair.changes.last?.contains(.failed) == true)
        }
    }

    @Test("interim heads that nobody has read yet are bounded in number, all of one read")
    func manyInterimHeads() throws {
        for count in [100, 101, 5000] {
            let pair = Pair()
            let stream = pair.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            let interim = Frame.headers(1, [(":status", "103"), ("x", "y")], ends: false).bytes
            let final = Frame.headers(1, [(":status", "204")]).bytes
            let all = Array(repeating: interim, count: count).joined() + final
            let bytes = Array(all)
            _ = pair.client.receive(bytes.span, now: 0)
            #expect(stream.sawEnd == (count <= 100))
            #expect(stream.fault == (count <= 100 ? nil : .malformed(.tooManyInterimHeads)))
            #expect(stream.head.count < 101 * 30)
        }
    }

    @Test("interim heads that nobody has read yet are bounded in size")
    func largeInterimHeads() throws {
        let pair = Pair()
        let stream = pair.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        let value = String(repeating: "y", count: 15_000)
        let interim = Frame.headers(1, [(":status", "103"), ("x", value)], ends: false).bytes
        func receive(_ count: Int) {
            let bytes = Array(Array(repeating: interim, count: count).joined())
            _ = pair.client.receive(bytes.span, now: 0)
        }
        // What has been read counts no more.
        for _ in 0..<8 {
            receive(2)
            #expect(stream.head.count > 30_000)
            stream.dropHead()
        }
        receive(20)
        #expect(stream.fault == .malformed(.headTooLarge))
        #expect(stream.head.count < 50_000)
    }

    @Test("trailers are kept as lines")
    func trailers() throws {
        let pair = Pair()
        let stream = pair.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = pair.respond("HTTP/1.1 200 OK\r\n\r\n", body: "x", trailers: "A: b\r\n\r\n")
        #expect(stream.trailers == Array("a: b\r\n".utf8))
        #expect(stream.sawEnd)
    }

    @Test("a request for a WebSocket arrives as that of HTTP/1.1, at a peer that takes them")
    func webSocket() throws {
        let pair = Pair()
        #expect(pair.client.peerTakesExtendedConnect)
        let stream = pair.client.openStream(pair)
        var block = HTTP2FieldBlock()
        block.makeWebSocketRequest(
            scheme: Array("http".utf8), authority: Array("a:1".utf8), path: Array("/x".utf8),
            fields: Array("Sec-WebSocket-Version: 13\r\n\r\n".utf8))
        #expect(
            block.fields.map(\.name)
                == [":method", ":protocol", ":scheme", ":path", ":authority", "sec-websocket-version"])
        stream.send(block, isFinal: true)
        pair.exchange()
        let seen = try #require(pair.server.nextRequest())
        #expect(seen.outcome == .request(.webSocket))
        let head = String(decoding: seen.head, as: UTF8.self)
        #expect(head.hasPrefix("GET /x HTTP/1.1\r\n"))
        #expect(head.contains("Host: a:1\r\n"))
        #expect(head.lowercased().contains("upgrade: websocket\r\n"))
    }

    @Test("a request above the peer's limit is refused at once, to go elsewhere")
    func limit() throws {
        let pair = Pair { $0.maxConcurrentStreams = 1 }
        #expect(pair.client.peerLimit == 1)
        let first = pair.request("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        let second = pair.request("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(second.isClosed)
        #expect(second.closeCode == .refusedStream)
        _ = pair.respond("HTTP/1.1 200 OK\r\n\r\n")
        #expect(first.sawEnd)
        let third = pair.request("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = pair.respond("HTTP/1.1 200 OK\r\n\r\n")
        #expect(third.sawEnd)
    }

    @Test("requests that have not gone out when the peer says its limit are refused", arguments: [0, 1, 2])
    func lateLimit(_ limit: UInt32) throws {
        let client = HTTP2Session(.client, HTTP2Session.Options(), keySeed: (1, 2))
        let owner = Pair()
        let requests = (0..<3).map { _ in client.openStream(owner) }
        for stream in requests {
            var block = HTTP2FieldBlock()
            let head = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
            _ = block.readRequest(head.span, scheme: Array("http".utf8))
            stream.send(block, isFinal: true)
            stream.endSending()
        }
        var bytes: [UInt8] = []
        // All are submitted, and none goes out.
        #expect(client.send(to: &bytes, limit: 1))
        let settings = Frame.settings([(3, limit)]).bytes
        #expect(client.receive(settings.span, now: 0) == nil)
        client.deliverChanges()
        #expect(requests.map(\.isClosed) == [limit < 1, limit < 2, true])
        #expect(requests.filter(\.isClosed).allSatisfy { $0.closeCode == .refusedStream })
        bytes = []
        #expect(client.send(to: &bytes, limit: 1 << 20))
        #expect(try #require(Frame.read(bytes)).filter { $0.type == 1 }.count == limit)
        client.close()
    }

    @Test("streams that a GOAWAY leaves out are refused")
    func goAway() throws {
        let pair = Pair()
        let first = pair.request("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        pair.server.refuseStreams()
        let second = pair.client.openStream(pair)
        var block = HTTP2FieldBlock()
        let head = Array("POST / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        _ = block.readRequest(head.span, scheme: Array("http".utf8))
        second.send(block, isFinal: true)
        pair.exchange()
        #expect(pair.client.peerLimit == 0)
        #expect(second.isClosed)
        #expect(second.closeCode == .refusedStream)
        _ = pair.respond("HTTP/1.1 200 OK\r\n\r\n")
        #expect(first.sawEnd)
    }

    private static let malformed: [[(String, String)]] = [
        [], [("x", "y")], [(":status", "20")], [(":status", "2000")], [(":status", "abc")],
        [(":status", "101")],
        [(":status", "099")], [(":status", "600")], [(":status", "200"), (":status", "200")],
        [(":status", "200"), (":path", "/")], [("x", "y"), (":status", "200")],
        [(":status", "200"), ("X", "y")], [(":status", "200"), ("x", "a\r\nb: c")],
        [(":status", "200"), ("connection", "close")],
        [(":status", "200"), ("transfer-encoding", "chunked")],
        [(":status", "200"), ("upgrade", "h2c")], [(":status", "200"), ("te", "trailers")],
        [(":status", "200"), ("content-length", "x")],
        [(":status", "200"), ("content-length", "0"), ("content-length", "0")],
        [(":status", "200"), ("content-length", "5")],
        [(":status", "200"), ("x", String(repeating: "y", count: 2000))],
    ]

    @Test("malformed heads of responses are told", arguments: 0..<malformed.count)
    func malformedHeads(_ index: Int) {
        var head = HTTP2ResponseHead()
        for (name, value) in Self.malformed[index] {
            let (name, value) = (Array(name.utf8), Array(value.utf8))
            head.add(name.span, value.span, maxSize: 1000)
        }
        var output: [UInt8] = []
        let outcome = head.finish(endsStream: true, toHead: false, to: &output)
        #expect(outcome == nil)
        #expect(output.isEmpty)
    }
}
