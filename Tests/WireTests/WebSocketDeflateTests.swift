import Testing
import Wire

@Suite("A WebSocket message")
struct WebSocketDeflateTests {
    /// Inflates one message after the other; each delivered in `pieces` of its payload.
    private static func inflate(
        _ payload: [UInt8], with inflater: WebSocketInflater, pieces: [Range<Int>], limit: Int = 1 << 24
    ) -> (WebSocketInflater.Outcome, [UInt8]) {
        var output: [UInt8] = []
        for piece in pieces {
            let outcome = inflater.append(payload.span.extracting(piece), to: &output, limit: limit)
            if outcome != .ok { return (outcome, output) }
        }
        return (inflater.endMessage(to: &output, limit: limit), output)
    }

    /// Inflates `payloads` with one inflater for each delivery of the last of them, and expects the same of all.
    private static func inflate(
        _ payloads: [[UInt8]], keepsContext: Bool = true, windowBits: Int = 15, limit: Int = 1 << 24,
        sourceLocation: SourceLocation = #_sourceLocation
    ) -> (WebSocketInflater.Outcome, [UInt8]) {
        let pool = DeflatePool()
        var verdict: (WebSocketInflater.Outcome, [UInt8]) = (.ok, [])
        let last = payloads.last ?? []
        for (index, pieces) in Cuts.pieces(last.count).enumerated() {
            let inflater = WebSocketInflater(windowBits: windowBits, keepsContext: keepsContext, pool: pool)
            for payload in payloads.dropLast() {
                let (outcome, _) = inflate(payload, with: inflater, pieces: [0..<payload.count])
                #expect(outcome == .ok, sourceLocation: sourceLocation)
            }
            let found = inflate(last, with: inflater, pieces: pieces, limit: limit)
            if index == 0 { verdict = found }
            #expect(found == verdict, "\(pieces.prefix(2))", sourceLocation: sourceLocation)
        }
        return verdict
    }

    private static func deflate(
        _ message: [UInt8], windowBits: Int = 15, level: Int = 6, memoryLevel: Int = 8
    ) throws -> [UInt8] {
        let deflater = try #require(
            WebSocketDeflater(
                windowBits: windowBits, keepsContext: false, level: level, memoryLevel: memoryLevel,
                pool: DeflatePool()))
        var output: [UInt8] = []
        deflater.append(message: message.span, to: &output)
        return output
    }

    private static let hello: [UInt8] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]

    struct Example: Sendable {
        var payloads: [[UInt8]]
        var text = "Hello"
    }

    @Test(
        "is inflated as RFC 7692 §7.2.3 has it",
        arguments: [
            Example(payloads: [hello]),
            // With the window of the message before.
            Example(payloads: [hello, [0xf2, 0x00, 0x11, 0x00, 0x00]]),
            // A block without compression.
            Example(payloads: [[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]]),
            // A final block, then an empty one.
            Example(payloads: [[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]]),
            // Two blocks.
            Example(payloads: [
                [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]
            ]),
            // A final block with nothing behind it, and messages after it.
            Example(payloads: [[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]]),
            Example(payloads: [[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], hello]),
            Example(payloads: [[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], hello]),
            // Two final blocks, and one between others.
            Example(payloads: [[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00] + hello], text: "HelloHello"),
            Example(
                payloads: [hello + [0, 0, 0xff, 0xff, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00] + hello],
                text: "HelloHelloHello"),
            // Empty ones: as it should be, without a byte, a final block that the tail ends; and what follows them.
            Example(payloads: [[0x00]], text: ""),
            Example(payloads: [[]], text: ""),
            Example(payloads: [[0x01]], text: ""),
            Example(payloads: [[0x03, 0x00]], text: ""),
            Example(payloads: [[0x00], hello]), Example(payloads: [[], hello]),
            Example(payloads: [[0x01], hello]), Example(payloads: [[0x03, 0x00], hello]),
        ])
    func examples(example: Example) {
        let (outcome, output) = Self.inflate(example.payloads)
        #expect(outcome == .ok)
        #expect(output.text == example.text)
    }

    @Test("cannot refer to the one before where no context is kept, or behind a final block")
    func context() {
        let second: [UInt8] = [0xf2, 0x00, 0x11, 0x00, 0x00]
        #expect(Self.inflate([Self.hello, second], keepsContext: false).0 == .corrupt)
        #expect(Self.inflate([[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], second]).0 == .corrupt)
    }

    @Test(
        "is refused when it is not deflated, or not to its end",
        arguments: [
            // A block type that there is not; a stored length that is not confirmed; a payload cut in a block of each
            // kind; one that still has its tail.
            [0x06], [0xff, 0xff], [0x00, 0x05, 0x00, 0x00, 0x00], [0x00, 0x06, 0x00, 0xf9, 0xff, 0x48],
            Array(hello.prefix(3)), Array(hello.prefix(5)), hello + [0x00, 0x00, 0xff, 0xff],
            [0x05], [0x00, 0x00],
        ] as [[UInt8]])
    func corrupt(payload: [UInt8]) {
        #expect(Self.inflate([payload]).0 == .corrupt)
    }

    @Test("that failed leaves nothing to go on with, and gives its stream back clean")
    func failed() {
        let pool = DeflatePool()
        let inflater = WebSocketInflater(windowBits: 15, keepsContext: true, pool: pool)
        var output: [UInt8] = []
        #expect(inflater.append([0x07].span, to: &output, limit: 100) == .corrupt)
        #expect(inflater.memory == 0)
        #expect(pool.idleCount == 1)
        #expect(inflater.append(Self.hello.span, to: &output, limit: 100) == .corrupt)
        #expect(inflater.endMessage(to: &output, limit: 100) == .corrupt)
        let next = WebSocketInflater(windowBits: 15, keepsContext: false, pool: pool)
        let found = Self.inflate(Self.hello, with: next, pieces: [0..<Self.hello.count])
        #expect(found == (.ok, [UInt8]("Hello")))
        #expect(pool.idleCount == 1)
    }

    @Test("is never inflated beyond its limit, whole or in pieces, and a byte less is enough to refuse it")
    func limit() throws {
        let bomb = try Self.deflate([UInt8](repeating: 0, count: 100_000), level: 9)
        #expect(bomb.count < 150)
        for limit in [0, 1, 1000, 99_999] {
            let (outcome, output) = Self.inflate([bomb], limit: limit)
            #expect(outcome == .tooLarge)
            #expect(output.count == limit)
        }
        let (outcome, output) = Self.inflate([bomb], limit: 100_000)
        #expect(outcome == .ok)
        #expect(output.count == 100_000)
        #expect(Self.inflate([Self.hello], limit: 5).0 == .ok)
        #expect(Self.inflate([Self.hello], limit: 4).0 == .tooLarge)
        #expect(Self.inflate([Self.hello, Self.hello], limit: 5).0 == .ok)
        #expect(Self.inflate([[0x00]], limit: 0).0 == .ok)
    }

    @Test("counts against its limit what has been taken from the output already")
    func limitAcrossOutputs() {
        let inflater = WebSocketInflater(windowBits: 15, keepsContext: true, pool: DeflatePool())
        var output: [UInt8] = []
        #expect(inflater.append(Self.hello.span.extracting(0..<4), to: &output, limit: 4) == .ok)
        let early = output.count
        output.removeAll()
        #expect(inflater.append(Self.hello.span.extracting(4..<7), to: &output, limit: 4) == .tooLarge)
        #expect(early + output.count == 4)
    }

    @Test("whose end is deflated is the shortest flush: RFC 7692's own bytes")
    func deflatedExamples() throws {
        #expect(try Self.deflate([UInt8]("Hello")) == Self.hello)
        #expect(try Self.deflate([]) == [0x00])
        let deflater = try #require(
            WebSocketDeflater(windowBits: 15, keepsContext: true, level: 6, pool: DeflatePool()))
        var output: [UInt8] = []
        let expected: [[UInt8]] = [Self.hello, [0x00], [0xf2, 0x00, 0x11, 0x00, 0x00], [0x00]]
        for (message, payload) in zip(["Hello", "", "Hello", ""], expected) {
            output.removeAll()
            deflater.append(message: [UInt8](message).span, to: &output)
            #expect(output == payload)
        }
    }

    @Test("is not deflated with a window of 8 bits, which zlib cannot make, but is inflated with one")
    func eightBits() throws {
        #expect(WebSocketDeflater(windowBits: 8, keepsContext: true, level: 6, pool: DeflatePool()) == nil)
        let (outcome, output) = Self.inflate([Self.hello], windowBits: 8)
        #expect(outcome == .ok)
        #expect(output.text == "Hello")
    }

    @Test("keeps to the window that was agreed on", arguments: 9...15)
    func windows(bits: Int) throws {
        // The second half repeats the first, from just within the window or just out of it.
        var random = SeededGenerator(seed: UInt64(bits))
        for size in [1 << bits, (1 << bits) - 300, 3 << bits] {
            let half = (0..<size).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            let payload = try Self.deflate(half + half, windowBits: bits, level: 9)
            let inflater = WebSocketInflater(windowBits: bits, keepsContext: false, pool: DeflatePool())
            let bytes = [0..<payload.count, 0..<0]
            let found = Self.inflate(payload, with: inflater, pieces: bytes)
            #expect(found == (.ok, half + half))
        }
    }

    @Test("is deflated in pieces, and inflated again, whatever the sizes", arguments: UInt64(0)..<24)
    func roundTrips(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let pool = DeflatePool()
        let bits = Int.random(in: 9...15, using: &random)
        let keepsContext = Bool.random(using: &random)
        let deflater = try #require(
            WebSocketDeflater(
                windowBits: bits, keepsContext: keepsContext, level: Int.random(in: 1...9, using: &random),
                memoryLevel: Int.random(in: 1...9, using: &random), pool: pool))
        let inflater = WebSocketInflater(windowBits: bits, keepsContext: keepsContext, pool: pool)
        for _ in 0..<30 {
            let message = randomMessage(using: &random)
            var payload: [UInt8] = []
            for piece in randomPieces(message.count, using: &random) {
                deflater.append(
                    piece: message.span.extracting(piece), isLast: piece.upperBound == message.count,
                    to: &payload)
                if piece.upperBound == message.count { break }
            }
            let pieces = randomPieces(payload.count, using: &random)
            let found = Self.inflate(payload, with: inflater, pieces: pieces, limit: message.count)
            #expect(found == (.ok, message))
            #expect(keepsContext || inflater.memory == 0 && deflater.memory == 0)
        }
    }

    @Test(
        "of random bytes never traps, and cuts change neither verdict nor output", arguments: UInt64(0)..<12)
    func randomPayloads(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let pool = DeflatePool()
        for _ in 0..<60 {
            var payload = try Self.deflate(randomMessage(using: &random).suffix(500) + [1])
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let index = Int.random(in: payload.indices, using: &random)
                payload[index] = UInt8.random(in: .min ... .max, using: &random)
            }
            let limit = Int.random(in: 0...600, using: &random)
            var verdicts: [(WebSocketInflater.Outcome, [UInt8])] = []
            for pieces in [
                [0..<payload.count], payload.indices.map { $0..<$0 + 1 },
                randomPieces(payload.count, using: &random),
            ] {
                let inflater = WebSocketInflater(windowBits: 15, keepsContext: true, pool: pool)
                verdicts.append(Self.inflate(payload, with: inflater, pieces: pieces, limit: limit))
            }
            for verdict in verdicts {
                #expect(verdict.0 == verdicts[0].0)
                #expect(verdict.1.count <= limit)
                #expect(verdict.0 == .corrupt || verdict.1 == verdicts[0].1)
            }
        }
    }

    private func randomMessage(using random: inout SeededGenerator) -> [UInt8] {
        let limit = [0, 1, 10, 200, 5000, 100_000].randomElement(using: &random) ?? 0
        let count = Int.random(in: 0...limit, using: &random)
        let alphabet = UInt8.random(in: 0...255, using: &random)
        return (0..<count).map { _ in UInt8.random(in: 0...alphabet, using: &random) }
    }

    private func randomPieces(_ count: Int, using random: inout SeededGenerator) -> [Range<Int>] {
        var cuts = (0..<3).map { _ in Int.random(in: 0...count, using: &random) }.sorted()
        cuts.append(count)
        return zip([0] + cuts, cuts).map { $0..<$1 }
    }

    // MARK: Memory

    @Test("costs the bytes that are documented, and none between messages where no context is kept")
    func memory() throws {
        let pool = DeflatePool()
        var output: [UInt8] = []
        for bits in 9...15 {
            let inflater = WebSocketInflater(windowBits: bits, keepsContext: true, pool: pool)
            #expect(inflater.memory == 0)
            #expect(inflater.append(Self.hello.span, to: &output, limit: 100_000) == .ok)
            let rest = inflater.memory - (1 << bits)
            #expect((6 << 10...8 << 10).contains(rest), "\(rest)")
        }
        for (bits, memoryLevel) in [(15, 8), (15, 9), (12, 5), (9, 2), (9, 1)] {
            let deflater = try #require(
                WebSocketDeflater(
                    windowBits: bits, keepsContext: true, level: 6, memoryLevel: memoryLevel, pool: pool))
            #expect(deflater.memory == 0)
            deflater.append(message: Self.hello.span, to: &output)
            let rest = deflater.memory - (1 << (bits + 2)) - (1 << (memoryLevel + 9))
            #expect((5 << 10...7 << 10).contains(rest), "\(rest)")
        }
    }

    @Test("of many connections is worked on by one stream, which the pool keeps up to its capacity")
    func pool() throws {
        let pool = DeflatePool(capacity: 2)
        var output: [UInt8] = []
        let many = (0..<5).map { _ in WebSocketInflater(windowBits: 12, keepsContext: false, pool: pool) }
        for inflater in many {
            #expect(Self.inflate(Self.hello, with: inflater, pieces: [0..<7]).0 == .ok)
            #expect(inflater.memory == 0)
        }
        #expect(pool.idleCount == 1)
        for inflater in many { #expect(inflater.append(Self.hello.span, to: &output, limit: 9) == .ok) }
        #expect(pool.idleCount == 0)
        #expect(many.allSatisfy { $0.memory > 4096 })
        output.removeAll()
        for inflater in many { #expect(inflater.endMessage(to: &output, limit: 9) == .ok) }
        #expect(pool.idleCount == 2)
        do {
            let inflater = WebSocketInflater(windowBits: 15, keepsContext: true, pool: pool)
            #expect(Self.inflate(Self.hello, with: inflater, pieces: [0..<7]).0 == .ok)
            #expect(pool.idleCount == 2)
        }
        // The connection is gone.
        #expect(pool.idleCount == 3)
        pool.removeAll()
        #expect(pool.idleCount == 0)
    }
}
