import Testing
import Wire

/// Inputs that nobody thought of, from seeds, so that a failure can be repeated by its seed.
@Suite("Random input")
struct RandomInputTests {
    private static let requests = [
        "GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: a, Upgrade\r\nUpgrade: websocket\r\nX: \"a,\"\r\n\r\n",
        "POST http://b:80/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100\r\n\r\n",
        "PUT / HTTP/1.0\nContent-Length: 12\nX-Accel-Something-Longer-Than-Most: y\n\n",
    ]
    private static let responses = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close, X-A\r\nX-A: 1\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.0 404\nTransfer-Encoding: chunked\n\n",
    ]
    private static let bodies = [
        "5\r\nhello\r\n10;a=b\r\n0123456789abcdef\r\n0\r\nX: y\r\n\r\n", "1\r\na\r\n0\r\n\r\n",
    ]
    /// Bytes that mean something to one of the parsers, drawn more often than others.
    private static let telling: [UInt8] = [UInt8]("\r\n\t :,;\"\\/?#*0159afHC-_%[]") + [0, 0x7f, 0x80, 0xff]

    private func mutate(_ text: String, using random: inout SeededGenerator) -> [UInt8] {
        var bytes = [UInt8](text)
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let byte = Self.telling.randomElement(using: &random) ?? 0
            let position = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes.insert(byte, at: position)
            case 1: if position < bytes.count { bytes[position] = byte }
            case 2: if position < bytes.count { bytes.remove(at: position) }
            case 3:
                if position < bytes.count {
                    bytes[position] = UInt8.random(in: .min ... .max, using: &random)
                }
            default:
                let end = Int.random(in: position...bytes.count, using: &random)
                bytes.insert(contentsOf: bytes[position..<end], at: position)
            }
        }
        return bytes
    }

    private func randomSteps(_ count: Int, using random: inout SeededGenerator) -> [Int] {
        var steps = (0..<4).map { _ in Int.random(in: 0...count, using: &random) }.sorted()
        steps.append(count)
        return steps
    }

    @Test("of request heads never traps, and cuts never change the verdict", arguments: UInt64(0)..<16)
    func requests(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var limits = RequestHeadParser.Limits()
        limits.maxRequestLine = 40
        limits.maxFieldLine = 60
        limits.maxHead = 200
        for _ in 0..<300 {
            let bytes = mutate(Self.requests.randomElement(using: &random) ?? "", using: &random)
            var whole = RequestHead()
            let outcome = parseRequest(bytes, steps: [bytes.count], limits: limits, into: &whole)
            for steps in [Array(0...bytes.count), randomSteps(bytes.count, using: &random)] {
                var other = RequestHead()
                #expect(
                    parseRequest(bytes, steps: steps, limits: limits, into: &other) == outcome,
                    "\(bytes.text)")
                guard case .complete = outcome else { continue }
                #expect(description(other) == description(whole), "\(bytes.text)")
            }
            guard case .complete(let length) = outcome else { continue }
            checkInvariants(whole, length: length, input: bytes)
        }
    }

    /// What holds of every accepted head, whatever it looks like.
    private func checkInvariants(_ head: RequestHead, length: Int, input: [UInt8]) {
        #expect(input[..<length].suffix(head.bytes.count).elementsEqual(head.bytes))
        #expect(!head.bytes.contains(0))
        for index in head.bytes.indices where head.bytes[index] == 0x0d {
            #expect(index + 1 < head.bytes.count && head.bytes[index + 1] == 0x0a)
        }
        let lengths = head.fields.count { $0.id == .contentLength }
        let codings = head.fields.count { $0.id == .transferEncoding }
        #expect(lengths + codings <= 1)
        #expect(head.fields.count { $0.id == .host } <= 1)
        switch head.framing {
        case .none: #expect(lengths + codings == 0)
        case .length: #expect(lengths == 1)
        case .chunked: #expect(codings == 1 && head.version == .v1_1)
        case .untilClose: Issue.record("a request cannot end with its connection")
        }
        var hops = HopByHopFields()
        hops.prepare(head)
        let kept = head.fields.filter { !hops.contains($0, in: head.bytes) }
        #expect(kept.count { $0.id == .host } == head.fields.count { $0.id == .host })
        #expect(kept.allSatisfy { $0.id != .connection && $0.id != .transferEncoding && $0.id != .upgrade })
        _ = WebSocketHandshake.violation(in: head)
    }

    @Test("of response heads never traps, and cuts never change the verdict", arguments: UInt64(100)..<116)
    func responses(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            let bytes = mutate(Self.responses.randomElement(using: &random) ?? "", using: &random)
            let isHead = Bool.random(using: &random)
            var whole = ResponseHead()
            let outcome = parseResponse(
                bytes, steps: [bytes.count], isHead: isHead, maxHead: 150, into: &whole)
            for steps in [Array(0...bytes.count), randomSteps(bytes.count, using: &random)] {
                var other = ResponseHead()
                let otherOutcome = parseResponse(
                    bytes, steps: steps, isHead: isHead, maxHead: 150, into: &other)
                #expect(otherOutcome == outcome, "\(bytes.text)")
                guard case .complete = outcome else { continue }
                #expect(description(other) == description(whole), "\(bytes.text)")
            }
        }
    }

    @Test("of chunked bodies never traps, and cuts never change the verdict", arguments: UInt64(200)..<216)
    func bodies(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            let bytes = mutate(Self.bodies.randomElement(using: &random) ?? "", using: &random)
            let whole = decodeChunks(bytes, steps: [bytes.count])
            #expect(decodeChunks(bytes, steps: Array(0...bytes.count)) == whole, "\(bytes.text)")
            #expect(
                decodeChunks(bytes, steps: randomSteps(bytes.count, using: &random)) == whole, "\(bytes.text)"
            )
        }
    }

    /// The payload and how it ended, of a body that grows in steps.
    private func decodeChunks(_ bytes: [UInt8], steps: [Int]) -> [UInt8] {
        var decoder = BodyDecoder(.chunked)
        var payload: [UInt8] = []
        var position = 0
        for length in steps {
            let input = bytes.rawSpan.extracting(0..<length)
            delivery: while true {
                switch decoder.next(input, from: position) {
                case .needsMore:
                    position = length
                    break delivery
                case .payload(let range):
                    payload += bytes[range]
                    position = range.upperBound
                case .end(let consumed): return payload + [UInt8](" end \(consumed)")
                case .invalid(let violation): return payload + [UInt8](" \(violation)")
                }
            }
        }
        return payload
    }

    @Test(
        "of frame headers never traps, and what is accepted is written the same again",
        arguments: UInt64(300)..<308)
    func frames(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<2000 {
            let bytes = (0..<14).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            for role in [WebSocketRole.server, .client] {
                var parser = WebSocketFrameHeaderParser(role: role, allowedReserved: 0b100)
                guard case .header(let header, let end) = parser.parse(bytes.rawSpan, from: 0) else {
                    continue
                }
                var written: [UInt8] = []
                header.append(to: &written)
                #expect(written == Array(bytes[..<end]))
            }
        }
    }
}
