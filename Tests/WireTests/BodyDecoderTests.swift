import Testing
import Wire

/// What a decoder made of a body, however it was delivered.
struct DecodedBody: Equatable {
    var payload = ""
    /// Bytes of the input that belonged to the body; -1 while it has not ended.
    var consumed = -1
    var violation: BodyViolation?
    var trailers = ""
    var endsWithConnection = false
}

/// Decodes `bytes` in the given pieces, each of them taken where it lies in the whole.
private func decode(_ bytes: [UInt8], _ framing: BodyFraming, _ pieces: [Range<Int>]) -> DecodedBody {
    var decoder = BodyDecoder(framing)
    var body = DecodedBody()
    var payload: [UInt8] = []
    deliveries: for piece in pieces {
        let input = bytes.rawSpan.extracting(0..<piece.upperBound)
        var position = piece.lowerBound
        while true {
            switch decoder.next(input, from: position) {
            case .needsMore:
                continue deliveries
            case .payload(let range):
                #expect(range.lowerBound >= position && !range.isEmpty)
                payload += bytes[range]
                position = range.upperBound
            case .end(let consumed):
                body.consumed = consumed
                break deliveries
            case .invalid(let violation):
                body.violation = violation
                #expect(decoder.next(input, from: position) == .invalid(violation))
                break deliveries
            }
        }
    }
    #expect(decoder.payloadBytes == payload.count)
    #expect(decoder.isComplete == (body.consumed >= 0))
    body.payload = payload.text
    body.trailers = decoder.trailers.map { description($0.fields, $0.bytes) } ?? ""
    body.endsWithConnection = decoder.endsWithConnection
    return body
}

/// Decodes `text` in every delivery, expects the same of all, and returns it.
///
/// Of a broken body only the verdict has to agree: how much payload came before it depends on the cuts no
/// more than the verdict does, so that is compared, too.
private func decode(
    _ text: String, _ framing: BodyFraming = .chunked, sourceLocation: SourceLocation = #_sourceLocation
) -> DecodedBody {
    let bytes = [UInt8](text)
    let whole = decode(bytes, framing, [0..<bytes.count])
    for pieces in Cuts.pieces(bytes.count) {
        let other = decode(bytes, framing, pieces)
        #expect(other == whole, "cut as \(pieces.prefix(2))", sourceLocation: sourceLocation)
    }
    return whole
}

@Suite("A body")
struct BodyDecoderTests {
    @Test("of no length ends where it starts")
    func none() {
        #expect(decode("GET", .none) == DecodedBody(consumed: 0, endsWithConnection: true))
        #expect(decode("GET", .length(0)) == DecodedBody(consumed: 0, endsWithConnection: true))
    }

    @Test("of a known length ends behind it")
    func length() {
        #expect(
            decode("helloGET", .length(5))
                == DecodedBody(payload: "hello", consumed: 5, endsWithConnection: true))
        #expect(decode("hell", .length(5)) == DecodedBody(payload: "hell"))
        #expect(decode("hell", .length(.max)) == DecodedBody(payload: "hell"))
    }

    @Test("without a length ends with its connection")
    func untilClose() {
        #expect(decode("hello", .untilClose) == DecodedBody(payload: "hello", endsWithConnection: true))
    }

    @Test("in one read is one payload event, of a chunk as of a length")
    func largePayload() {
        let payload = [UInt8](repeating: 7, count: 100_000)
        var decoder = BodyDecoder(.length(100_000))
        #expect(decoder.next(payload.rawSpan, from: 0) == .payload(0..<100_000))
        #expect(decoder.next(payload.rawSpan, from: 100_000) == .end(consumed: 100_000))
        let chunk = [UInt8]("186A0\r\n") + payload + [UInt8]("\r\n")
        decoder = BodyDecoder(.chunked)
        #expect(decoder.next(chunk.rawSpan, from: 0) == .payload(7..<100_007))
        #expect(decoder.next(chunk.rawSpan, from: 100_007) == .needsMore)
    }

    struct Chunked: Sendable, CustomTestStringConvertible {
        var text: String
        var payload: String
        var rest = ""
        var trailers = ""
        var testDescription: String { text.debugDescription }
    }

    @Test(
        "in chunks is joined",
        arguments: [
            Chunked(text: "0\r\n\r\n", payload: ""),
            Chunked(text: "5\r\nhello\r\n0\r\n\r\n", payload: "hello"),
            Chunked(text: "5\r\nhello\r\n1\r\n!\r\n000\r\n\r\n", payload: "hello!", rest: "GET / HTTP/1.1"),
            Chunked(text: "0005\r\nhello\r\n0\r\n\r\n", payload: "hello", rest: "\r\n"),
            Chunked(
                text: "a\r\n0123456789\r\nA\r\n0\r\n\r\n\r\n\r\n0\r\n0\r\n\r\n",
                payload: "01234567890\r\n\r\n\r\n\r\n0"),
            Chunked(text: "2;a\r\nhi\r\n0;b=c;d=\"e,f\"\r\n\r\n", payload: "hi"),
            Chunked(text: "2 \t;a = b\r\nhi\r\n0\r\n\r\n", payload: "hi"),
            Chunked(text: "0000000000000002\r\nhi\r\n0\r\n\r\n", payload: "hi"),
            Chunked(
                text: "2\r\nhi\r\n0\r\nDigest: x\r\nX-A:  b \r\n\r\n", payload: "hi", rest: "0\r\n",
                trailers: "Digest=x/other/plain|X-A=b/other/plain"),
            Chunked(
                text:
                    "0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nX: y\r\n\r\n",
                payload: "", trailers: "X=y/other/plain"),
            Chunked(text: "0\r\nAuthorization: a\r\n\r\n", payload: ""),
        ])
    func chunked(expected: Chunked) {
        let body = decode(expected.text + expected.rest)
        #expect(body.payload == expected.payload)
        #expect(body.consumed == expected.text.utf8.count)
        #expect(body.trailers == expected.trailers)
        #expect(body.endsWithConnection)
    }

    @Test(
        "in chunks needs its end, and not that of the connection",
        arguments: [
            "", "5", "5\r", "5\r\n", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "0", "0\r\n", "0\r\n\r",
            "0\r\nX: y", "0\r\nX: y\r\n", "5;", "5 ",
        ])
    func unfinished(text: String) {
        let body = decode(text)
        #expect(body.consumed == -1)
        #expect(body.violation == nil)
        #expect(!body.endsWithConnection)
    }

    struct Broken: Sendable, CustomTestStringConvertible {
        var text: String
        var violation: BodyViolation
        var testDescription: String { text.debugDescription }

        init(_ text: String, _ violation: BodyViolation) {
            self.text = text
            self.violation = violation
        }
    }

    @Test(
        "in chunks is refused when two readers could differ about it",
        arguments: [
            Broken("\r\n", .invalidChunkSize), Broken("\n", .invalidChunkSize),
            Broken(" 5\r\n", .invalidChunkSize),
            Broken("+5\r\n", .invalidChunkSize), Broken("-5\r\n", .invalidChunkSize),
            Broken("0x5\r\n", .invalidChunkSize), Broken("g\r\n", .invalidChunkSize),
            Broken("5g\r\n", .invalidChunkSize), Broken("5_\r\n", .invalidChunkSize),
            Broken("5\0\r\n", .invalidChunkSize), Broken("5 \r\n", .invalidChunkSize),
            Broken("5 5\r\n", .invalidChunkSize), Broken("5\u{b}\r\n", .invalidChunkSize),
            Broken(";a\r\n", .invalidChunkSize), Broken("5,5\r\n", .invalidChunkSize),
            Broken("5.0\r\n", .invalidChunkSize), Broken("5;\0\r\n", .invalidChunkSize),
            Broken("5;a\u{1}\r\n", .invalidChunkSize), Broken("5;a\u{7f}\r\n", .invalidChunkSize),
            Broken("\u{ff15}\r\n", .invalidChunkSize),
            Broken("8000000000000000\r\n", .chunkSizeOverflow),
            Broken("ffffffffffffffff\r\n", .chunkSizeOverflow),
            Broken("10000000000000000\r\n", .chunkSizeOverflow),
            Broken("00000000000000005\r\n", .chunkSizeOverflow),
            Broken("5\nhello\r\n0\r\n\r\n", .bareLineFeed), Broken("5;a\nhello\r\n0\r\n\r\n", .bareLineFeed),
            Broken("5 \nhello\r\n0\r\n\r\n", .bareLineFeed), Broken("5\r\nhello\n0\r\n\r\n", .bareLineFeed),
            Broken("0\n\r\n", .bareLineFeed), Broken("0\r\n\n", .bareLineFeed),
            Broken("0\r\nX: y\n\r\n", .bareLineFeed), Broken("0\r\nX: y\r\n\n", .bareLineFeed),
            Broken("5\rhello", .bareCarriageReturn), Broken("5\r\r\nhello", .bareCarriageReturn),
            Broken("5;a\rb\r\nhello", .bareCarriageReturn), Broken("5\r\nhello\r0\r\n", .bareCarriageReturn),
            Broken("0\r\n\rX", .bareCarriageReturn), Broken("0\r\nX: y\rz\r\n\r\n", .bareCarriageReturn),
            Broken("5\r\nhello0\r\n\r\n", .missingChunkEnd),
            Broken("5\r\nhelloo\r\n0\r\n\r\n", .missingChunkEnd),
            Broken("3\r\nhello\r\n0\r\n\r\n", .missingChunkEnd), Broken("1\r\na \r\n", .missingChunkEnd),
            Broken("0\r\nX : y\r\n\r\n", .invalidTrailer), Broken("0\r\nX\r\n\r\n", .invalidTrailer),
            Broken("0\r\n X: y\r\n\r\n", .invalidTrailer), Broken("0\r\nX: y\r\n z\r\n\r\n", .invalidTrailer),
            Broken("0\r\nX: \0\r\n\r\n", .invalidTrailer),
            Broken("0\r\nGET / HTTP/1.1\r\n\r\n", .invalidTrailer),
            Broken("0\r\n: y\r\n\r\n", .invalidTrailer),
        ])
    func broken(expected: Broken) {
        let body = decode(expected.text)
        #expect(body.violation == expected.violation)
        #expect(!body.endsWithConnection)
    }

    @Test("has bounded extensions, of one chunk and of all")
    func extensionBounds() {
        let longest = String(repeating: "a", count: 256)
        #expect(decode("1;\(longest)\r\nx\r\n0\r\n\r\n").payload == "x")
        #expect(decode("1;\(longest)a\r\nx\r\n0\r\n\r\n").violation == .chunkExtensionTooLong)
        #expect(decode("1\(String(repeating: " ", count: 258))").violation == .chunkExtensionTooLong)
        let chunk = [UInt8]("1;\(longest)\r\nx\r\n")
        let chunks = Array(repeatElement(chunk, count: 65).joined())
        #expect(decode(chunks, .chunked, [0..<chunks.count]).violation == .chunkExtensionTooLong)
        // As much again is free for a body that carries as much.
        let large = [UInt8]("4000\r\n" + String(repeating: "x", count: 16384) + "\r\n") + chunks
        #expect(decode(large, .chunked, [0..<large.count]).violation == nil)
    }

    @Test("has bounded trailers")
    func trailerBounds() {
        let many = [UInt8]("0\r\n" + String(repeating: "X:\r\n", count: 101) + "\r\n")
        #expect(decode(many, .chunked, [0..<many.count]).violation == .trailerTooLarge)
        #expect(decode(many, .chunked, (0..<many.count).map { $0..<$0 + 1 }).violation == .trailerTooLarge)
        let long = [UInt8]("0\r\nX: " + String(repeating: "y", count: 10_000) + "\r\n\r\n")
        #expect(decode(long, .chunked, [0..<long.count]).violation == .trailerTooLarge)
        #expect(decode(long, .chunked, (0..<long.count).map { $0..<$0 + 1 }).violation == .trailerTooLarge)
    }

    @Test("in chunks made here is read back")
    func encoding() {
        var output: [UInt8] = []
        for count in [1, 9, 10, 15, 16, 255, 256, 4095, 65536] {
            ChunkedEncoding.appendChunkHead(count, to: &output)
            output += [UInt8](repeating: 0x61, count: count)
            output += ChunkedEncoding.chunkEnd
        }
        let withoutTrailers = output + ChunkedEncoding.lastChunk
        let body = decode(withoutTrailers, .chunked, [0..<withoutTrailers.count])
        #expect(body.payload.utf8.count == 1 + 9 + 10 + 15 + 16 + 255 + 256 + 4095 + 65536)
        #expect(body.consumed == withoutTrailers.count)

        var decoder = BodyDecoder(.chunked)
        let trailed = [UInt8]("0\r\nA:b\r\nHost: c\r\nD:  e \r\n\r\n")
        #expect(decoder.next(trailed.rawSpan, from: 0) == .end(consumed: trailed.count))
        var end: [UInt8] = []
        ChunkedEncoding.appendEnd(decoder.trailers, to: &end)
        #expect(end.text == "0\r\nA: b\r\nD: e\r\n\r\n")
        end = []
        ChunkedEncoding.appendEnd(nil, to: &end)
        #expect(end == ChunkedEncoding.lastChunk)
    }
}
