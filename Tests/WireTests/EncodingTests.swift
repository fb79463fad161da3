import Testing
import Wire

@Suite("Base64 and hexadecimal")
struct EncodingTests {
    @Test(
        "RFC 4648's examples, there and back",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ])
    func examples(text: String, encoded: String) {
        let bytes = [UInt8](text.utf8)
        #expect(Base64.encode(bytes) == [UInt8](encoded.utf8))
        #expect(Base64.decode([UInt8](encoded.utf8).span) == bytes)
        let bare = [UInt8](encoded.utf8).filter { $0 != UInt8(ascii: "=") }
        #expect(Base64.encode(bytes, padded: false) == bare)
        #expect(Base64.decode(bare.span, requiresPadding: false) == bytes)
        #expect(Base64.decode(bare.span) == (bare.count % 4 == 0 ? bytes : nil))
    }

    @Test("the two alphabets differ in their last letters, and neither reads the other's")
    func alphabets() {
        let bytes: [UInt8] = [0xfb, 0xff, 0xbf]
        #expect(Base64.encode(bytes) == [UInt8]("+/+/".utf8))
        #expect(Base64.encode(bytes, .url) == [UInt8]("-_-_".utf8))
        #expect(Base64.decode([UInt8]("-_-_".utf8).span, .url) == bytes)
        #expect(Base64.decode([UInt8]("-_-_".utf8).span) == nil)
        #expect(Base64.decode([UInt8]("+/+/".utf8).span, .url) == nil)
    }

    @Test(
        "what no encoder writes is refused, with and without padding",
        arguments: [
            "A", "AAAAA", "=", "==", "====", "Zg=", "Zg===", "Zm8==", "Z===", "Zg==Zg==", "Zm9v=", "Zm9v====",
            "Zh==", "Zm9=", "Zm 9v", "Zm9v\n", "Zm9\0", "é===", "Zm=v",
        ])
    func refused(text: String) {
        #expect(Base64.decode([UInt8](text.utf8).span) == nil)
        #expect(Base64.decode([UInt8](text.utf8).span, requiresPadding: false) == nil)
    }

    @Test("every length comes back, in either alphabet")
    func lengths() {
        var random = SystemRandomNumberGenerator()
        for count in 0..<70 {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            for alphabet in [Base64.Alphabet.standard, .url] {
                #expect(Base64.decode(Base64.encode(bytes, alphabet).span, alphabet) == bytes)
            }
            #expect(Hexadecimal.decode(Hexadecimal.encode(bytes).span) == bytes)
        }
    }

    @Test("hexadecimal is written in lower case and read in either")
    func hexadecimal() {
        #expect(Hexadecimal.encode([0, 0x1f, 0xab, 0xff]) == [UInt8]("001fabff".utf8))
        #expect(Hexadecimal.decode([UInt8]("001FabfF".utf8).span) == [0, 0x1f, 0xab, 0xff])
        for text in ["0", "0g", "g0", "00 ", "0x10", "\u{0}1"] {
            #expect(Hexadecimal.decode([UInt8](text.utf8).span) == nil)
        }
    }
}
