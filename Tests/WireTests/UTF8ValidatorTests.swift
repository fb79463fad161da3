import Testing
import Wire

@Suite("Text that comes in pieces")
struct UTF8ValidatorTests {
    /// Whether Swift's own decoder takes all of `bytes`.
    private static func isText(_ bytes: [UInt8]) -> Bool { String(validating: bytes, as: UTF8.self) != nil }

    private static func validate(_ bytes: [UInt8], pieces: [Range<Int>]) -> Bool {
        var validator = UTF8Validator()
        for piece in pieces {
            guard validator.validate(bytes.span.extracting(piece)) else { return false }
        }
        return validator.isAtBoundary
    }

    /// The verdict on the pieces, one after the other.
    private static func verdicts(_ bytes: [UInt8], _ validator: inout UTF8Validator, at cut: Int) -> [Bool] {
        [
            validator.validate(bytes.span.extracting(0..<cut)),
            validator.validate(bytes.span.extracting(cut..<bytes.count)),
        ]
    }

    /// Expects Swift's verdict, whole and in every delivery.
    private static func check(_ bytes: [UInt8], deliveries: [[Range<Int>]]) {
        let expected = isText(bytes)
        for pieces in deliveries where validate(bytes, pieces: pieces) != expected {
            Issue.record("\(bytes) in \(pieces)")
        }
    }

    @Test("is judged as Swift does: all of two bytes, and all that can begin a character")
    func exhaustive() {
        let telling: [UInt8] = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xf4, 0xff,
        ]
        for first in UInt8.min ... .max {
            Self.check([first], deliveries: [[0..<1]])
            for second in UInt8.min ... .max {
                Self.check([first, second], deliveries: [[0..<2], [0..<1, 1..<2]])
            }
            guard first >= 0xc0 else { continue }
            for second in telling {
                for third in telling {
                    for fourth in telling {
                        let character = [first, second, third, fourth]
                        // Once byte by byte, and once where there are enough bytes for whole words.
                        Self.check(character, deliveries: [[0..<4]])
                        Self.check(character + [UInt8](repeating: 0x41, count: 8), deliveries: [[0..<12]])
                    }
                }
            }
        }
    }

    @Test("is every character there is, wherever it stands in a word")
    func everyCharacter() {
        var bytes: [UInt8] = []
        for value in UInt32(0)...0x10ffff {
            guard let scalar = Unicode.Scalar(value) else { continue }
            bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
        }
        for shift in 0..<8 {
            var validator = UTF8Validator()
            let text = [UInt8](repeating: 0x41, count: shift) + bytes
            let isText = validator.validate(text.span)
            #expect(isText)
            #expect(validator.isAtBoundary)
        }
    }

    @Test("is refused by the first byte that cannot be right, and by nothing that comes later")
    func early() {
        let wrong: [[UInt8]] = [
            [0x80], [0xc0], [0xc1], [0xf5], [0xff], [0xc2, 0x41], [0xe0, 0x9f], [0xed, 0xa0], [0xf0, 0x8f],
            [0xf4, 0x90], [0xe1, 0x80, 0xc0], [0xf1, 0x80, 0x80, 0x7f], [0xf4, 0x8f, 0xbf, 0xc0],
        ]
        for bytes in wrong {
            for before in [0, 3, 63, 64, 130] {
                let text = [UInt8](repeating: 0x61, count: before) + bytes
                for cut in 0...text.count {
                    var validator = UTF8Validator()
                    let verdicts = Self.verdicts(text, &validator, at: cut)
                    #expect(verdicts == [cut < text.count, false])
                    #expect(!validator.isAtBoundary)
                    let later = Self.verdicts([0x41], &validator, at: 1)
                    #expect(later == [false, false])
                }
            }
        }
    }

    @Test("is at a boundary behind whole characters only")
    func boundary() {
        let text = [UInt8]("aé€😀")
        let boundaries: Set<Int> = [0, 1, 3, 6, 10]
        for count in 0...text.count {
            var validator = UTF8Validator()
            let isText = validator.validate(text.span.extracting(0..<count))
            #expect(isText)
            #expect(validator.isAtBoundary == boundaries.contains(count))
        }
    }

    @Test("of any kind is judged as Swift does, whatever the cuts", arguments: UInt64(0)..<16)
    func random(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let characters = ["a", "b", "é", "ß", "€", "中", "😀", "\u{10ffff}", "\u{7ff}", "\u{800}", "\u{ffff}"]
        for _ in 0..<100 {
            let kinds = Int.random(in: 1...characters.count, using: &random)
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0...60, using: &random) {
                let character = characters[Int.random(in: 0..<kinds, using: &random)]
                let repeats = [1, 1, 1, 9, 70].randomElement(using: &random) ?? 1
                for _ in 0..<repeats { bytes += character.utf8 }
            }
            if Bool.random(using: &random), !bytes.isEmpty {
                let index = Int.random(in: bytes.indices, using: &random)
                if Bool.random(using: &random) {
                    bytes[index] = UInt8.random(in: .min ... .max, using: &random)
                } else {
                    bytes.remove(at: index)
                }
            }
            let cuts = (0..<4).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted()
            let pieces = zip([0] + cuts, cuts + [bytes.count]).map { $0..<$1 }
            Self.check(
                bytes, deliveries: [[0..<bytes.count], bytes.indices.map { $0..<$0 + 1 }, pieces])
        }
    }

    @Test("is judged the same when it is cut in two anywhere")
    func everyCut() {
        for text in ["aé€😀", String(repeating: "a", count: 70) + "😀é", String(repeating: "€", count: 30)] {
            let bytes = [UInt8](text)
            Self.check(bytes, deliveries: Cuts.pieces(bytes.count))
            var broken = bytes
            broken[bytes.count - 1] = 0x41
            Self.check(broken, deliveries: Cuts.pieces(bytes.count))
        }
    }
}

@Suite("A payload that is copied")
struct MaskedCopyTests {
    @Test("is masked as it would be in place, from any place in its frame, behind what is there")
    func masking() {
        var random = SeededGenerator(seed: 1)
        for count in Array(0...140) + [1000, 16384, 16387] {
            let original = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            let key = WebSocketMaskKey(random: UInt32.random(in: .min ... .max, using: &random))
            for position in 0..<5 {
                var expected = [1, 2, 3] + original
                key.apply(to: &expected, in: 3..<expected.count, position: position)
                var output: [UInt8] = [1, 2, 3]
                key.append(masking: original.span, position: position, to: &output)
                #expect(output == expected)
                guard count <= 140 else { continue }
                let cut = Int.random(in: 0...count, using: &random)
                output.removeLast(count)
                key.append(masking: original.span.extracting(0..<cut), position: position, to: &output)
                key.append(
                    masking: original.span.extracting(cut..<count), position: position + cut, to: &output)
                #expect(output == expected)
            }
        }
    }

    @Test("keeps its buffer's storage when there is room")
    func storage() {
        var output: [UInt8] = []
        output.reserveCapacity(4096)
        let capacity = output.capacity
        let payload = [UInt8](repeating: 7, count: 4000)
        for _ in 0..<3 {
            output.removeAll(keepingCapacity: true)
            WebSocketMaskKey(1, 2, 3, 4).append(masking: payload.span, to: &output)
            #expect(output.capacity == capacity)
        }
    }
}

@Suite("What a close frame says")
struct WebSocketClosePayloadTests {
    private typealias Outcome = Result<WebSocketClosePayload, WebSocketClosePayload.Violation>

    private static func parse(_ payload: [UInt8]) -> Outcome { WebSocketClosePayload.parse(payload.span) }

    @Test("is a code and a reason, or nothing")
    func valid() {
        #expect(Self.parse([]) == .success(.init(code: nil)))
        #expect(Self.parse([0x03, 0xe8]) == .success(.init(code: 1000, reason: 2..<2)))
        let bytes = [0x0f, 0xa0] + [UInt8]("Ende 😀")
        #expect(
            Self.parse(bytes) == .success(.init(code: 4000, reason: 2..<bytes.count)))
        #expect(text(bytes, 2..<bytes.count) == "Ende 😀")
    }

    struct Refused: Sendable {
        var bytes: [UInt8]
        var violation: WebSocketClosePayload.Violation
        var closeCode: UInt16
    }

    @Test(
        "is refused when it breaks a rule, with the code that the rule has",
        arguments: [
            Refused(bytes: [0x03], violation: .tooShort, closeCode: 1002),
            Refused(bytes: [0x00, 0x00], violation: .invalidCode, closeCode: 1002),
            Refused(bytes: [0x03, 0xe7], violation: .invalidCode, closeCode: 1002),
            Refused(bytes: [0x03, 0xec], violation: .invalidCode, closeCode: 1002),
            Refused(bytes: [0x03, 0xed], violation: .invalidCode, closeCode: 1002),
            Refused(bytes: [0x03, 0xee, 0x41], violation: .invalidCode, closeCode: 1002),
            Refused(bytes: [0x03, 0xf7], violation: .invalidCode, closeCode: 1002),
            Refused(bytes: [0x13, 0x88], violation: .invalidCode, closeCode: 1002),
            Refused(bytes: [0x03, 0xe8, 0xff], violation: .reasonNotUTF8, closeCode: 1007),
            Refused(bytes: [0x03, 0xe8, 0x41, 0xc3], violation: .reasonNotUTF8, closeCode: 1007),
            Refused(bytes: [0x03, 0xe8, 0xed, 0xa0, 0x80], violation: .reasonNotUTF8, closeCode: 1007),
        ])
    func refused(expected: Refused) {
        #expect(Self.parse(expected.bytes) == .failure(expected.violation))
        #expect(expected.violation.closeCode == expected.closeCode)
    }

    @Test("is cut before the character that does not fit")
    func cut() {
        for character in ["a", "é", "€", "😀"] {
            for lead in 0..<4 {
                let reason = String(repeating: "x", count: lead) + String(repeating: character, count: 130)
                var payload: [UInt8] = [9]
                WebSocketClosePayload.append(code: 1001, reason: [UInt8](reason).span, to: &payload)
                payload.removeFirst()
                #expect(payload.count <= 125)
                #expect(payload.count > 125 - character.utf8.count)
                #expect(
                    Self.parse(payload)
                        == .success(.init(code: 1001, reason: 2..<payload.count)))
                #expect(reason.hasPrefix(text(payload, 2..<payload.count)))
            }
        }
        for count in [0, 1, 122, 123] {
            var payload: [UInt8] = []
            WebSocketClosePayload.append(
                code: 1000, reason: [UInt8](repeating: 0x61, count: count).span, to: &payload)
            #expect(payload.count == 2 + count)
        }
    }

    @Test("if random never traps, and what is accepted is written the same again", arguments: UInt64(0)..<8)
    func random(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            var bytes = (0..<Int.random(in: 0...125, using: &random)).map { _ in
                UInt8.random(in: 0...(Bool.random(using: &random) ? 0x7f : 0x81), using: &random)
            }
            if bytes.count > 1 { bytes[0] = 0x0f }
            guard case .success(let close) = Self.parse(bytes), let code = close.code
            else { continue }
            var written: [UInt8] = []
            WebSocketClosePayload.append(
                code: code, reason: bytes.span.extracting(close.reason), to: &written)
            #expect(written == bytes)
        }
    }
}
