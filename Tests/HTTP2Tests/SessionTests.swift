import Testing

@testable import HTTP2

/// A session with the client's side of its connection in hand.
private final class Bench: HTTP2StreamOwner {
    let session: HTTP2Session
    var changes: [HTTP2Stream.Change] = []
    var failure: HTTP2ErrorCode?
    var now: Int64 = 1000

    init(_ change: (inout HTTP2Session.Options) -> Void = { _ in }, greets: Bool = true) {
        var options = HTTP2Session.Options()
        change(&options)
        session = HTTP2Session(.server, options, keySeed: (1, 2))
        guard greets else { return }
        send(Frame.preface + Frame.settings().bytes + Frame.settingsAck.bytes)
        _ = sent()
    }

    func streamChanged(_ change: HTTP2Stream.Change) { changes.append(change) }

    @discardableResult
    func send(_ bytes: [UInt8]) -> HTTP2ErrorCode? {
        if let code = session.receive(bytes.span, now: now) { failure = code }
        return failure
    }

    @discardableResult
    func send(_ frames: Frame...) -> HTTP2ErrorCode? { send(frames.flatMap(\.bytes)) }

    /// What the session sends now.
    func sent() -> [Frame] {
        var bytes: [UInt8] = []
        let isWell = session.send(to: &bytes, limit: 1 << 20)
        #expect(isWell)
        session.outputWasTaken()
        return Frame.read(bytes) ?? []
    }

    func request() -> HTTP2Stream? {
        let stream = session.nextRequest()
        stream?.owner = self
        return stream
    }

    func read(_ stream: HTTP2Stream) -> String {
        var bytes = [UInt8](repeating: 0, count: 100_000)
        var span = bytes.mutableSpan
        let count = stream.read(into: &span, at: 0, limit: 100_000)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    func write(_ bytes: [UInt8], on stream: HTTP2Stream) -> Int { stream.send(bytes.span) }

    /// A request on stream `id` is answered, and the answer taken, before it has ended.
    func answerEarly(_ id: UInt32) throws {
        send(Frame.post(id))
        let stream = try #require(request())
        respond(stream, "x")
        stream.abandon(.internalError)
        _ = sent()
    }

    func respond(_ stream: HTTP2Stream, _ body: String? = nil, ends: Bool = true) {
        var head = HTTP2FieldBlock()
        let text = Array("HTTP/1.1 200 OK\r\n\r\n".utf8)
        _ = head.readResponse(text.span)
        stream.send(head, isFinal: true)
        if let body {
            let bytes = Array(body.utf8)
            #expect(write(bytes, on: stream) == bytes.count)
        }
        if ends { stream.endSending() }
    }

    deinit { session.close() }
}

private let headers: UInt8 = 1
private let data: UInt8 = 0
private let rst: UInt8 = 3
private let goAway: UInt8 = 7
private let windowUpdate: UInt8 = 8

@Suite("HTTP/2 sessions")
struct SessionTests {
    @Test("a stream of which there is always something to read keeps what waits, not all that came")
    func steadyInbox() throws {
        let bench = Bench()
        bench.send(Frame.post(1))
        let stream = try #require(bench.request())
        let piece = Frame.data(1, String(repeating: "x", count: 8000))
        var buffer = [UInt8](repeating: 0, count: 8000)
        bench.send(piece)
        for _ in 0..<100 {
            bench.send(piece)
            var span = buffer.mutableSpan
            #expect(stream.read(into: &span, at: 0, limit: 8000) == 8000)
            #expect(stream.unread == 8000)
            _ = bench.sent()
        }
        #expect(bench.failure == nil)
        #expect(stream.inbox.capacity <= 65_536)
    }

    @Test("a stream that always has something to send keeps what waits, not all that went")
    func steadyOutbox() throws {
        let bench = Bench()
        bench.send(Frame.settings([(4, 1 << 30)]), Frame.window(0, 1 << 30), Frame.get(1))
        let stream = try #require(bench.request())
        bench.respond(stream, String(repeating: "x", count: 16_000), ends: false)
        stream.chunkSize = 8000
        let piece = [UInt8](repeating: 0x79, count: 8000)
        var content: [UInt8] = []
        for _ in 0..<100 {
            #expect(bench.write(piece, on: stream) == 8000)
            var bytes: [UInt8] = []
            while !(Frame.read(bytes) ?? []).contains(where: { $0.type == 0 }) {
                #expect(bench.session.send(to: &bytes, limit: bytes.count + 1))
            }
            content += try #require(Frame.read(bytes)).filter { $0.type == 0 }.flatMap(\.payload)
            #expect(stream.unsent > 0)
        }
        #expect(content.prefix(16_000).allSatisfy { $0 == 0x78 })
        #expect(content.count > 600_000)
        #expect(content.dropFirst(16_000).allSatisfy { $0 == 0x79 })
        #expect(stream.outbox.capacity <= 65_536)
    }

    @Test("a session begins with its settings")
    func settings() throws {
        let bench = Bench(greets: false)
        let first = try #require(bench.sent().first)
        #expect(first.type == 4)
        var values: [UInt32: UInt32] = [:]
        for start in stride(from: 0, to: first.payload.count, by: 6) {
            values[Frame.number(first.payload[start..<start + 2])] = Frame.number(
                first.payload[start + 2..<start + 6])
        }
        #expect(values == [3: 128, 4: 65_536, 6: 64_768, 8: 1, 9: 1])
    }

    @Test("input may be cut anywhere")
    func cuts() throws {
        let frames = [
            Frame.settings(), Frame.post(1, [("x", "y")]), Frame.data(1, "hello "), Frame.get(3),
            Frame.data(1, "world", ends: true),
        ]
        let input = Frame.preface + frames.flatMap(\.bytes)
        for cut in 0...input.count {
            let bench = Bench(greets: false)
            #expect(bench.send(Array(input[..<cut])) == nil)
            #expect(bench.send(Array(input[cut...])) == nil)
            let first = try #require(bench.request())
            let second = try #require(bench.request())
            #expect(first.outcome == .request(.chunked))
            #expect(bench.read(first) == "hello world")
            #expect(first.sawEnd)
            #expect(second.outcome == .request(.plain))
            #expect(second.sawEnd)
            #expect(bench.request() == nil)
        }
    }

    @Test("a response without content is one frame")
    func emptyResponse() throws {
        let bench = Bench()
        bench.send(Frame.get(1))
        bench.respond(try #require(bench.request()))
        let sent = bench.sent()
        #expect(sent.map(\.type) == [headers])
        #expect(sent.first?.flags == Frame.endStream | Frame.endHeaders)
        #expect(bench.session.openStreams == 0)
    }

    @Test("content and its end are one frame, where it fits")
    func content() throws {
        let bench = Bench()
        bench.send(Frame.get(1))
        bench.respond(try #require(bench.request()), "hello")
        let sent = bench.sent()
        #expect(sent.map(\.type) == [headers, data])
        #expect(sent.last == Frame.data(1, "hello", ends: true))
    }

    @Test("content goes in pieces of http2_chunk_size")
    func chunks() throws {
        let bench = Bench()
        bench.send(Frame.get(1))
        let stream = try #require(bench.request())
        stream.chunkSize = 1000
        bench.respond(stream, String(repeating: "x", count: 2500))
        #expect(bench.sent().dropFirst().map(\.payload.count) == [1000, 1000, 500])
    }

    @Test("trailers end a stream")
    func trailers() throws {
        let bench = Bench()
        bench.send(Frame.get(1))
        let stream = try #require(bench.request())
        bench.respond(stream, "hello", ends: false)
        let lines = Array("X-Sum: 1\r\n\r\n".utf8)
        stream.setTrailers(lines.span)
        stream.endSending()
        let sent = bench.sent()
        #expect(sent.map(\.type) == [headers, data, headers])
        #expect(sent[1].flags == 0)
        #expect(sent[2].flags == Frame.endStream | Frame.endHeaders)
    }

    @Test("no more is taken than the windows allow, and the rest when they open")
    func windows() throws {
        let bench = Bench(greets: false)
        bench.send(Frame.preface + Frame.settings([(4, 10)]).bytes)
        bench.send(Frame.get(1), Frame.get(3))
        let stream = try #require(bench.request())
        let other = try #require(bench.request())
        bench.respond(stream, ends: false)
        let bytes = Array("0123456789abcdef".utf8)
        #expect(bench.write(bytes, on: stream) == 10)
        #expect(bench.write(Array(bytes[10...]), on: stream) == 0)
        #expect(bench.sent().filter { $0.type == data }.map(\.payload.count) == [10])
        // The other's window is its own.
        bench.respond(other, "xyz")
        #expect(bench.sent().filter { $0.type == data } == [Frame.data(3, "xyz", ends: true)])
        bench.session.deliverChanges()
        bench.changes = []
        bench.send(Frame.window(1, 4))
        bench.session.deliverChanges()
        #expect(bench.changes == [.writable])
        #expect(bench.write(Array(bytes[10...]), on: stream) == 4)
        #expect(bench.sent() == [Frame.data(1, "abcd")])
        // More by a change of the settings, for streams that there are (RFC 9113 §6.9.2).
        bench.send(Frame.settings([(4, 12)]))
        bench.session.deliverChanges()
        #expect(bench.write(Array(bytes[14...]), on: stream) == 2)
    }

    @Test(
        "little is asked for at once where the peer's windows are small",
        arguments: [
            (0, 16_384), (1, 16_384), (5000, 20_000), (65_535, 131_072),
        ])
    func sendSize(window: Int, expected: Int) throws {
        let bench = Bench(greets: false)
        bench.send(Frame.preface + Frame.settings([(4, UInt32(window))]).bytes)
        bench.send(Frame.get(1))
        let stream = try #require(bench.request())
        #expect(stream.sendSize == expected)
        bench.session.close()
        #expect(stream.sendSize == 16_384)
    }

    @Test("many streams that a connection does not take hold little each, and few hold much")
    func queues() throws {
        let bench = Bench(greets: false)
        bench.send(Frame.preface + Frame.settings([(4, 1 << 24)]).bytes + Frame.window(0, 1 << 30).bytes)
        let bytes = [UInt8](repeating: 120, count: 1 << 20)
        var taken: [Int] = []
        for round in 0..<100 {
            bench.send(Frame.get(UInt32(2 * round + 1)))
            let stream = try #require(bench.request())
            bench.respond(stream, ends: false)
            #expect(stream.sendSize >= 8192)
            taken.append(bench.write(bytes, on: stream))
        }
        #expect(taken[0] == bench.session.options.maxQueued)
        #expect(taken.allSatisfy { $0 > 0 })
        #expect(taken.reduce(0, +) < 100 * 8192 + bench.session.options.maxQueuedInAll)
        // All of it goes out, and then there is room again.
        var sent = 0
        while bench.session.wantsToSend {
            sent += bench.sent().filter { $0.type == data }.reduce(0) { $0 + $1.payload.count }
        }
        #expect(sent == taken.reduce(0, +))
        bench.session.deliverChanges()
        #expect(bench.changes.filter { $0.contains(.writable) }.count == 100)
    }

    @Test("the connection's window is shared by turns")
    func connectionWindow() throws {
        let bench = Bench(greets: false)
        bench.send(Frame.preface + Frame.settings([(4, 1 << 20)]).bytes)
        bench.send(Frame.get(1), Frame.get(3))
        let first = try #require(bench.request())
        let second = try #require(bench.request())
        bench.respond(first, ends: false)
        bench.respond(second, ends: false)
        let bytes = [UInt8](repeating: 120, count: 100_000)
        #expect(bench.write(bytes, on: first) == 65_535)
        #expect(bench.write(bytes, on: second) == 0)
        _ = bench.sent()
        bench.send(Frame.window(0, 40_000))
        bench.session.deliverChanges()
        #expect(bench.changes == [.writable, .writable])
        #expect(bench.write(bytes, on: first) > 0)
        #expect(bench.write(bytes, on: second) > 0)
    }

    @Test("a window opens by what was read and by nothing else")
    func receiveWindow() throws {
        let bench = Bench { $0.streamWindow = 65_535 }
        bench.send(Frame.post(1))
        let stream = try #require(bench.request())
        let piece = String(repeating: "x", count: 16_384)
        bench.send(Frame.data(1, piece), Frame.data(1, piece), Frame.data(1, piece))
        #expect(bench.sent() == [])
        #expect(bench.read(stream).count == 3 * 16_384)
        #expect(bench.sent() == [Frame.window(1, 3 * 16_384)])
    }

    @Test("content beyond the window ends the connection")
    func windowExceeded() throws {
        let bench = Bench { $0.streamWindow = 20_000 }
        bench.send(Frame.post(1))
        _ = bench.request()
        let piece = String(repeating: "x", count: 16_384)
        bench.send(Frame.data(1, piece), Frame.data(1, piece))
        let last = try #require(bench.sent().last)
        // FLOW_CONTROL_ERROR, of the stream or the connection (RFC 9113 §6.9).
        #expect(last.type == rst || last.type == goAway)
        #expect(Frame.number(last.payload.suffix(4)) == 3)
    }

    @Test(
        "content of another length than was said is malformed", arguments: [("4", "hello"), ("6", "hello")])
    func contentLength(_ length: String, _ content: String) throws {
        let bench = Bench()
        bench.send(Frame.post(1, [("content-length", length)]))
        let stream = try #require(bench.request())
        bench.send(Frame.data(1, content, ends: true))
        bench.session.deliverChanges()
        #expect(bench.changes == [.failed] || bench.changes == [[.readable, .failed]])
        #expect(stream.isClosed)
        #expect(bench.sent() == [Frame.reset(1, 1)])
    }

    @Test("trailers of a request that do not end it are malformed")
    func lateHeaders() throws {
        let bench = Bench()
        bench.send(Frame.post(1))
        _ = try #require(bench.request())
        bench.send(Frame.headers(1, [("a", "b")], ends: false))
        #expect(bench.sent() == [Frame.reset(1, 1)])
    }

    @Test("trailers of a request are kept as lines")
    func requestTrailers() throws {
        let bench = Bench()
        bench.send(Frame.post(1))
        let stream = try #require(bench.request())
        bench.send(Frame.data(1, "x"), Frame.headers(1, [("a", "b")]))
        #expect(stream.sawEnd)
        #expect(stream.trailers == Array("a: b\r\n".utf8))
    }

    @Test("a reset is told to the stream's owner")
    func peerReset() throws {
        let bench = Bench()
        bench.send(Frame.post(1))
        let stream = try #require(bench.request())
        bench.send(Frame.reset(1))
        bench.session.deliverChanges()
        #expect(bench.changes == [.failed])
        #expect(stream.isClosed)
        #expect(stream.closeCode == .cancel)
        let bytes: [UInt8] = [1]
        #expect(bench.write(bytes, on: stream) == -1)
    }

    @Test("a request that was reset along with its head is given out as closed, in its turn")
    func resetAtOnce() throws {
        let bench = Bench()
        bench.send(Frame.post(1), Frame.reset(1), Frame.post(3))
        let first = try #require(bench.request())
        #expect(first.isClosed)
        #expect(String(decoding: first.head, as: UTF8.self).hasPrefix("POST / HTTP/1.1\r\n"))
        bench.session.deliverChanges()
        first.abandon(.internalError)
        let second = try #require(bench.request())
        #expect(!second.isClosed)
        #expect(bench.request() == nil)
        #expect(bench.session.openStreams == 1)
    }

    @Test("what an abandoned stream had left to read opens the connection's window")
    func abandoned() throws {
        let bench = Bench { $0.maxConcurrentStreams = 1 }
        let piece = String(repeating: "x", count: 16_384)
        // More than the connection's window in all: each stream is given up with its content unread.
        for round in 0..<10 {
            let id = UInt32(round * 2 + 1)
            bench.send(Frame.post(id))
            let stream = try #require(bench.request())
            bench.send(Frame.data(id, piece), Frame.data(id, piece), Frame.data(id, piece))
            #expect(bench.failure == nil)
            bench.respond(stream)
            stream.abandon(.internalError)
            var sent = bench.sent()
            _ = bench.session.endLingering(now: 0)
            _ = bench.session.endLingering(now: HTTP2Session.lingeringTime)
            sent += bench.sent()
            #expect(sent.contains(Frame.reset(id, 0)), "\(sent)")
            #expect(!sent.contains { $0.type == goAway })
        }
    }

    @Test("an answer to a request that nobody reads to its end is complete, whatever comes meanwhile")
    func answeredEarly() throws {
        let trailers = Frame(type: headers, flags: Frame.endHeaders | Frame.endStream, stream: 1, payload: [])
        for late in [Frame.data(1, "late", ends: true), Frame.data(1, "", ends: true), trailers] {
            let bench = Bench()
            bench.send(Frame.post(1, [("content-length", "4")]))
            let stream = try #require(bench.request())
            bench.respond(stream, "no")
            stream.abandon(.internalError)
            bench.send(late)
            let sent = bench.sent().filter { $0.stream == 1 }
            #expect(sent.map(\.type) == [headers, data])
            #expect(sent.last.map { $0.flags & Frame.endStream } == Frame.endStream)
            #expect(bench.session.openStreams == 0)
        }
    }

    @Test("a stream that is given up before its end is reset")
    func brokenOff() throws {
        let bench = Bench()
        bench.send(Frame.get(1), Frame.get(3))
        let first = try #require(bench.request())
        let second = try #require(bench.request())
        bench.respond(first, "half", ends: false)
        first.abandon(.internalError)
        second.abandon(.internalError)
        let sent = bench.sent()
        #expect(sent.filter { $0.type == rst && $0.stream == 3 } == [Frame.reset(3, 2)])
        // What there was goes out, but does not look whole.
        let answer = sent.filter { $0.stream == 1 }
        #expect(answer.map(\.type) == [headers, data, rst])
        #expect(answer[1] == Frame.data(1, "half"))
        #expect(answer[2] == Frame.reset(1, 2))
    }

    @Test("an end that has yet to go out does so, whoever is done with the stream")
    func endsAfterContent() throws {
        let bench = Bench()
        bench.send(Frame.get(1))
        let stream = try #require(bench.request())
        bench.respond(stream, "all", ends: false)
        _ = bench.sent()
        stream.endSending()
        stream.abandon(.internalError)
        let sent = bench.sent()
        #expect(sent.map(\.type) == [data])
        #expect(sent.last.map { $0.flags & Frame.endStream } == Frame.endStream)
    }

    @Test("a head that is given up before any content came is no whole response")
    func brokenOffEarly() throws {
        let bench = Bench()
        bench.send(Frame.get(1))
        let stream = try #require(bench.request())
        bench.respond(stream, ends: false)
        stream.abandon(.internalError)
        let sent = bench.sent()
        #expect(sent.filter { $0.type != data }.map(\.type) == [headers, rst])
        #expect(!sent.contains { $0.type <= 1 && $0.flags & Frame.endStream != 0 })
        #expect(bench.session.openStreams == 0)
    }

    @Test(
        "a request that goes on behind its response is stopped after a while, unless it ends",
        arguments: [false, true])
    func lingering(isAbandonedLate: Bool) throws {
        let bench = Bench { $0.maxConcurrentStreams = 2 }
        func answer(_ id: UInt32) throws {
            bench.send(Frame.post(id))
            let stream = try #require(bench.request())
            bench.respond(stream, "x")
            if isAbandonedLate { _ = bench.sent() }
            stream.abandon(.internalError)
            #expect(!bench.sent().contains { $0.type == rst })
        }
        try answer(1)
        #expect(bench.session.endLingering(now: 1000) == 1050)
        bench.now = 1020
        try answer(3)
        #expect(bench.session.endLingering(now: 1020) == 1050)
        // It counts for as long as the peer may think that it does.
        bench.send(Frame.get(5))
        #expect(bench.request() == nil)
        #expect(bench.sent() == [Frame.reset(5, 7)])
        bench.send(Frame.data(3, "xyz", ends: true))
        #expect(bench.session.openStreams == 1)
        #expect(bench.session.endLingering(now: 1049) == 1050)
        #expect(bench.sent().isEmpty)
        #expect(bench.session.endLingering(now: 1050) == nil)
        #expect(bench.sent() == [Frame.reset(1, 0)])
        #expect(bench.session.openStreams == 0)
        #expect(bench.failure == nil)
    }

    @Test("behind its response, a request may send what its window has room for, at no cost to the others")
    func lingeringContent() throws {
        let bench = Bench()
        for id in stride(from: UInt32(1), to: 600, by: 2) {
            try bench.answerEarly(id)
            _ = bench.session.endLingering(now: bench.now)
            let piece = Frame.data(id, String(repeating: "x", count: 16_000))
            #expect(bench.send(piece, piece, piece, piece) == nil)
            #expect(!bench.sent().contains { $0.type == windowUpdate && $0.stream == id })
            bench.now += 50
            _ = bench.session.endLingering(now: bench.now)
            #expect(bench.sent().contains(Frame.reset(id, 0)))
        }
        try bench.answerEarly(1001)
        let piece = Frame.data(1001, String(repeating: "x", count: 16_000))
        bench.send(piece, piece, piece, piece, piece)
        // RFC 9113 §6.9.1
        #expect(bench.sent().contains(Frame.reset(1001, 3)))
    }

    @Test("a client that gives up requests whose responses it has is no flood")
    func resetsOfAnswered() throws {
        let bench = Bench()
        for id in stride(from: UInt32(1), to: 6000, by: 2) {
            try bench.answerEarly(id)
            _ = bench.session.endLingering(now: bench.now)
            #expect(bench.send(Frame.reset(id)) == nil)
        }
        #expect(bench.session.endLingering(now: bench.now) == nil)
    }

    @Test("a stream beyond the limit is refused")
    func tooManyStreams() throws {
        let bench = Bench { $0.maxConcurrentStreams = 2 }
        bench.send(Frame.get(1), Frame.get(3), Frame.get(5))
        #expect(bench.sent() == [Frame.reset(5, 7)])
        #expect(bench.request() != nil)
        let second = try #require(bench.request())
        #expect(bench.request() == nil)
        bench.respond(second)
        _ = bench.sent()
        bench.send(Frame.get(7))
        #expect(bench.request() != nil)
    }

    @Test("a stream below others is no new one, and one that never was breaks the protocol")
    func lowerStreams() throws {
        let bench = Bench()
        bench.send(Frame.get(3), Frame.get(9))
        #expect(bench.send(Frame.reset(3), Frame.headers(3, [("x", "y")])) == nil)
        #expect(bench.send(Frame.get(7)) == .protocolError)
        let other = Bench()
        #expect(other.send(Frame(type: 2, payload: [0, 0, 0, 0, 1])) == .protocolError)
    }

    @Test("a shutdown is announced, known, and then done")
    func shutdown() throws {
        let bench = Bench()
        bench.send(Frame.get(1))
        let stream = try #require(bench.request())
        bench.session.announceShutdown()
        let sent = bench.sent()
        let notice = try #require(sent.first { $0.type == goAway })
        #expect(Frame.number(notice.payload[0..<4]) == 0x7fff_ffff)
        let ping = try #require(sent.first { $0.type == 6 })
        // One that was on its way is still taken.
        bench.send(Frame.get(3), Frame(type: 6, flags: 1, payload: ping.payload))
        #expect(bench.session.shutdownIsKnown)
        let late = try #require(bench.request())
        bench.session.refuseStreams()
        #expect(Frame.number(try #require(bench.sent().last).payload[0..<4]) == 3)
        bench.send(Frame.get(5))
        #expect(bench.request() == nil)
        bench.respond(stream)
        bench.respond(late)
        _ = bench.sent()
        #expect(bench.session.isOver)
    }
}

@Suite("Floods over HTTP/2")
struct FloodTests {
    private func flood(keepsStreams: Bool = false, _ frames: (Int) -> [Frame]) -> HTTP2ErrorCode? {
        let bench = Bench()
        for round in 0..<3000 {
            if let code = bench.send(frames(round).flatMap(\.bytes)) { return code }
            while let stream = bench.request() {
                if !stream.isClosed { bench.respond(stream, "x", ends: !keepsStreams) }
                if !keepsStreams { stream.abandon(.protocolError) }
            }
            _ = bench.sent()
        }
        return nil
    }

    @Test("rapid resets")
    func resets() {
        #expect(
            flood { [Frame.get(UInt32($0 * 2 + 1)), Frame.reset(UInt32($0 * 2 + 1))] } == .enhanceYourCalm)
    }

    @Test("resets that are provoked by streams above the limit")
    func refused() {
        let bench = Bench { $0.maxConcurrentStreams = 1 }
        bench.send(Frame.get(1))
        var code: HTTP2ErrorCode?
        for round in 1..<3000 where code == nil {
            code = bench.send(Frame.get(UInt32(2 * round + 1)))
            _ = bench.sent()
        }
        #expect(code == .enhanceYourCalm)
    }

    @Test("content for streams that have ended here: as much as was allowed, and no more")
    func late() throws {
        let bench = Bench()
        let piece = Frame.data(1, String(repeating: "x", count: 16_000))
        for round in 0..<40 {
            let id = UInt32(2 * round + 1)
            bench.send(Frame.post(id))
            try #require(bench.request()).abandon(.noError)
            _ = bench.sent()
            var late = piece
            late.stream = id
            #expect(bench.send(late, late, late, late) == nil)
        }
        var code: HTTP2ErrorCode?
        for _ in 0..<100 where code == nil { code = bench.send(piece) }
        #expect(code == .enhanceYourCalm)
    }

    @Test("resets that are provoked by malformed heads")
    func provoked() {
        #expect(flood { [Frame.get(UInt32($0 * 2 + 1), "x")] } == .enhanceYourCalm)
    }

    @Test("heads far above the limit are refused as others are, but not for long")
    func hopeless() throws {
        let value = String(repeating: "v", count: 4000)
        func get(_ id: UInt32) -> Frame { Frame.get(id, "/", (0..<4).map { ("x\($0)", value) }) }
        func limit(_ options: inout HTTP2Session.Options) { options.head.maxList = 3000 }
        let bench = Bench(limit)
        bench.send(get(1))
        #expect(try #require(bench.request()).outcome == .refused(status: 494))
        #expect(bench.sent().isEmpty)
        var code: HTTP2ErrorCode?
        for round in 1..<1000 where code == nil {
            code = bench.send(get(UInt32(2 * round + 1)))
            if let stream = bench.request() { bench.respond(stream, "x") }
            _ = bench.sent()
        }
        #expect(code == .enhanceYourCalm)
    }

    @Test("resets that are provoked by windows beyond all bounds")
    func provokedByWindows() {
        let code = flood {
            let id = UInt32($0 * 2 + 1)
            return [Frame.get(id), Frame.window(id, 0x7fff_ffff)]
        }
        #expect(code == .enhanceYourCalm)
    }

    @Test("PING, SETTINGS, PRIORITY, empty and unknown frames")
    func control() {
        #expect(flood { _ in [Frame.ping] } == .enhanceYourCalm)
        #expect(flood { _ in [Frame.settings()] } == .enhanceYourCalm)
        #expect(flood { _ in [Frame(type: 2, stream: 1, payload: [0, 0, 0, 0, 1])] } == .enhanceYourCalm)
        let unknown = Frame(type: 0xbe, stream: 1, payload: Array(repeating: 1, count: 1000))
        #expect(flood { _ in [unknown] } == .enhanceYourCalm)
        #expect(
            flood(keepsStreams: true) { $0 == 0 ? [Frame.post(1)] : [Frame.data(1, "")] } == .enhanceYourCalm)
    }

    @Test("frames that hold nothing but padding")
    func padding() {
        let padded = Frame(type: 0, flags: 8, stream: 1, payload: [3, 0, 0, 0])
        #expect(flood(keepsStreams: true) { $0 == 0 ? [Frame.post(1)] : [padded] } == .enhanceYourCalm)
    }

    @Test("acknowledgements that nobody takes are bounded")
    func unread() {
        let bench = Bench()
        var code: HTTP2ErrorCode?
        for _ in 0..<2000 where code == nil {
            bench.now += 1000
            code = bench.send(Frame.ping)
        }
        #expect(code == .enhanceYourCalm)
    }

    @Test("a head without an end")
    func continuations() {
        let bench = Bench()
        var frame = Frame.get(1)
        frame.flags = Frame.endStream
        bench.send(frame)
        var code: HTTP2ErrorCode?
        for _ in 0..<100 where code == nil { code = bench.send(Frame(type: 9, stream: 1, payload: [])) }
        #expect(code == .enhanceYourCalm)
    }

    @Test("a head that unpacks to a thousand times its size")
    func bomb() throws {
        let bench = Bench()
        // A long value enters the table, and is then named a byte at a time (RFC 7541 §6.1).
        let value = [UInt8](repeating: 120, count: 4000)
        var block = Frame.get(1).payload
        block += [0x40] + Frame.block(Array("x".utf8), value).dropFirst()
        block += [UInt8](repeating: 0x80 | 62, count: 12_000)
        bench.send(Frame(type: 1, flags: 5, stream: 1, payload: block))
        // Nothing of it is kept; the stream is refused or reset.
        if let stream = bench.request() {
            #expect(stream.outcome == .refused(status: 494))
        } else {
            #expect(bench.sent().contains { $0.type == rst })
        }
        // The connection goes on.
        bench.send(Frame.get(3))
        #expect(bench.request()?.outcome == .request(.plain))
    }

    @Test("windows that are opened a byte at a time")
    func tinyWindows() throws {
        let bench = Bench(greets: false)
        bench.send(Frame.preface + Frame.settings([(4, 0)]).bytes + Frame.get(1).bytes)
        let stream = try #require(bench.request())
        bench.respond(stream, ends: false)
        let bytes = [UInt8](repeating: 120, count: 10_000)
        var code: HTTP2ErrorCode?
        for _ in 0..<5000 where code == nil {
            _ = bench.write(bytes, on: stream)
            _ = bench.sent()
            code = bench.send(Frame.window(1, 1))
        }
        #expect(code == .enhanceYourCalm)
    }

    @Test("a client that reads much, and opens windows for each frame, is no flood")
    func honest() throws {
        let bench = Bench()
        for round in 0..<2000 {
            let id = UInt32(round * 2 + 1)
            #expect(bench.send(Frame.get(id)) == nil)
            bench.respond(try #require(bench.request()), String(repeating: "x", count: 10_000))
            for frame in bench.sent() where frame.type == data {
                let count = UInt32(frame.payload.count)
                #expect(bench.send(Frame.window(0, count)) == nil)
                if frame.flags == 0 { #expect(bench.send(Frame.window(id, count)) == nil) }
            }
        }
    }

    @Test(
        "a client that measures by a PING how fast small pieces come, and opens windows for each, is no flood"
    )
    func measuring() throws {
        let bench = Bench()
        bench.send(Frame.get(1))
        let stream = try #require(bench.request())
        bench.respond(stream, ends: false)
        let piece = [UInt8](repeating: 120, count: 50)
        for _ in 0..<5000 {
            #expect(bench.write(piece, on: stream) == piece.count)
            for frame in bench.sent() where frame.type == data {
                #expect(bench.send(Frame.window(0, 50), Frame.window(1, 50), Frame.ping) == nil)
            }
        }
    }

    @Test("a client that answers late, and much at a time, is no flood")
    func answeringLate() throws {
        let bench = Bench(greets: false)
        bench.send(Frame.preface + Frame.settings([(4, 1 << 20)]).bytes + Frame.window(0, 1 << 20).bytes)
        bench.send(Frame.settingsAck, Frame.get(1))
        let stream = try #require(bench.request())
        bench.respond(stream, ends: false)
        var pieces = 0
        for _ in 0..<5000 {
            _ = bench.write([120], on: stream)
            pieces += bench.sent().filter { $0.type == data }.count
        }
        #expect(pieces == 5000)
        for _ in 0..<pieces {
            #expect(bench.send(Frame.window(0, 1), Frame.window(1, 1)) == nil)
            _ = bench.sent()
        }
    }

    @Test("PINGs that nothing was sent for are a flood, whatever else was sent before")
    func pingsAfterContent() throws {
        let bench = Bench()
        for round in 0..<100 {
            bench.send(Frame.get(UInt32(2 * round + 1)))
            bench.respond(try #require(bench.request()), "x")
            _ = bench.sent()
        }
        var code: HTTP2ErrorCode?
        for _ in 0..<3000 where code == nil {
            code = bench.send(Frame.ping)
            _ = bench.sent()
        }
        #expect(code == .enhanceYourCalm)
    }

    @Test("noise of any kind neither traps nor hangs")
    func noise() {
        var seed: UInt64 = 42
        func next(_ bound: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % bound
        }
        for _ in 0..<300 {
            let bench = Bench()
            var input: [UInt8] = []
            for _ in 0..<40 {
                var frame: Frame
                switch next(6) {
                case 0: frame = Frame.get(UInt32(next(20)))
                case 1: frame = Frame.post(UInt32(next(20)))
                case 2: frame = Frame.data(UInt32(next(20)), "hello", ends: next(2) == 0)
                case 3: frame = Frame.window(UInt32(next(20)), UInt32(next(100)))
                case 4: frame = Frame.reset(UInt32(next(20)))
                default:
                    let payload = (0..<next(20)).map { _ in UInt8(next(256)) }
                    frame = Frame(
                        type: UInt8(next(12)), flags: UInt8(next(256)), stream: UInt32(next(20)),
                        payload: payload)
                }
                var bytes = frame.bytes
                if next(8) == 0 { bytes[next(bytes.count)] = UInt8(next(256)) }
                input += bytes
            }
            while !input.isEmpty {
                let count = min(input.count, 1 + next(50))
                if bench.send(Array(input.prefix(count))) != nil { break }
                input.removeFirst(count)
                while let stream = bench.request() {
                    bench.respond(stream, "x", ends: next(2) == 0)
                    if next(3) == 0 { stream.abandon(.internalError) }
                }
                bench.session.deliverChanges()
                var output: [UInt8] = []
                _ = bench.session.send(to: &output, limit: 1 << 20)
                #expect(Frame.read(output) != nil)
            }
        }
    }
}
