import Testing

@testable import Config

@Suite struct LexerTests {
    private func tokens(_ text: String) -> [Lexer.Token] {
        var lexer = Lexer(Array(text.utf8), file: "f")
        var tokens: [Lexer.Token] = []
        while true {
            let token = lexer.next()
            tokens.append(token)
            if case .end = token { return tokens }
        }
    }

    private func words(_ text: String) -> [String] {
        tokens(text).compactMap { if case .word(let word) = $0 { word.text } else { nil } }
    }

    @Test("words end at spaces, semicolons and opening braces")
    func endsWords() {
        #expect(words("a b;c{d e}f") == ["a", "b", "c", "d", "e}f"])
        #expect(words("a\tb\r\nc\rd\ne\u{B}f") == ["a", "b", "c", "d", "e\u{B}f"])
    }

    @Test("a dollar sign keeps the brace behind it in the word")
    func keepsBraces() {
        #expect(words("${a}b$c{d") == ["${a}b$c", "d"])
        #expect(words("a$ {b") == ["a$", "b"])
    }

    @Test("a backslash takes the meaning of the byte behind it")
    func escapes() {
        #expect(words(#"a\;b\ c\{d"#) == [#"a\;b\ c\{d"#])
        #expect(words(#""a\"b" 'a\'b' "a\'b""#) == [#"a"b"#, "a'b", "a'b"])
        #expect(words(#""\t\r\n\\" \x"#) == ["\t\r\n\\", #"\x"#])
        #expect(words(#"a\"#) == [#"a\"#])
    }

    @Test("quotes within a word are bytes of it")
    func keepsQuotesInWords() {
        #expect(words(#"a"b'c d"#) == [#"a"b'c"#, "d"])
    }

    @Test("the empty word can be quoted")
    func quotesNothing() {
        #expect(words(#""" '';"#) == ["", ""])
    }

    @Test("comments last to the end of the line")
    func skipsComments() {
        #expect(words("a # b;\n#c\nd#e") == ["a", "d#e"])
        #expect(words("#") == [])
    }

    @Test("a parenthesis may follow a quoted word, and begins a word")
    func allowsParenthesis() {
        #expect(words(#"($a = "b") {"#) == ["($a", "=", "b", ")"])
    }

    @Test("positions count lines and bytes from one")
    func tellsPositions() {
        let positions = tokens("a\n  b;\r\n\u{E9} c").map { token in
            switch token {
            case .word(let word): "\(word.position.line):\(word.position.column)"
            case .semicolon(let position), .openBrace(let position), .closeBrace(let position),
                .end(let position), .fault(let position, _):
                "\(position.line):\(position.column)"
            }
        }
        #expect(positions == ["1:1", "2:3", "2:4", "3:1", "3:4", "3:5"])
    }

    @Test("a quoted word that does not end, or runs into the next, is a fault")
    func reportsFaults() {
        guard case .fault(let position, _) = tokens("a 'b").dropFirst().first else {
            Issue.record("no fault")
            return
        }
        #expect(position.column == 3)
        guard case .fault(let second, _) = tokens("'a'b").dropFirst().first else {
            Issue.record("no fault")
            return
        }
        #expect(second.column == 4)
    }

    @Test("the lexer ends whatever the bytes are")
    func endsAlways() {
        for first in UInt8.min...UInt8.max {
            for second: UInt8 in [0x00, 0x22, 0x24, 0x27, 0x5C, 0x7B, 0xFF] {
                var lexer = Lexer([first, second, first], file: "f")
                var count = 0
                while count < 10 {
                    count += 1
                    if case .end = lexer.next() { break }
                }
                #expect(count < 10, "\(first) \(second)")
            }
        }
    }
}
