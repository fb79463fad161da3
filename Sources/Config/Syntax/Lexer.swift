/// Cuts one file into words and punctuation by nginx's rules.
///
/// A word ends at a space, `;` or `{`, but not at `}` or `#`: those count only where a word could begin. Within
/// a word, `${` opens no block. A quoted word must be followed by a space, `;`, `{` or `)`.
struct Lexer {
    enum Token: Equatable {
        case word(Word)
        case semicolon(SourcePosition)
        case openBrace(SourcePosition)
        case closeBrace(SourcePosition)
        case end(SourcePosition)
        /// Something that is no token; the lexer goes on behind it.
        case fault(SourcePosition, String)
    }

    private let bytes: [UInt8]
    private let file: String
    private var index = 0
    private var line = 1
    private var lineStart = 0
    private var order: Int
    /// The word before was quoted, and nothing has separated it from what comes next.
    private var needsSeparator = false

    /// `order` is the number of the next word; see `SourcePosition.order`.
    init(_ bytes: [UInt8], file: String, order: Int = 0) {
        self.bytes = bytes
        self.file = file
        self.order = order
    }

    /// The number that the next word will have.
    var nextOrder: Int { order }

    /// Goes on counting behind an included file.
    mutating func resume(order: Int) { self.order = order }

    mutating func next() -> Token {
        if needsSeparator {
            needsSeparator = false
            if index < bytes.count, !Lexer.isSpace(bytes[index]), !";{)".utf8.contains(bytes[index]) {
                return .fault(
                    nextPosition(), "found \(Lexer.quote(bytes[index])) directly after a quoted word")
            }
        }
        skipSpaceAndComments()
        let start = nextPosition()
        guard index < bytes.count else { return .end(start) }
        switch bytes[index] {
        case UInt8(ascii: ";"):
            advance()
            return .semicolon(start)
        case UInt8(ascii: "{"):
            advance()
            return .openBrace(start)
        case UInt8(ascii: "}"):
            advance()
            return .closeBrace(start)
        case UInt8(ascii: "\""), UInt8(ascii: "'"):
            return quotedWord(start)
        default:
            return plainWord(start)
        }
    }

    /// Why a block of Lua cannot be used.
    struct LuaFault: Error, Equatable {
        var position: SourcePosition
        var message: String
        /// It was read to the end of the file.
        var tookRest: Bool
    }

    /// Behind an opening brace: the Lua up to the brace that closes it, which is read as well.
    mutating func luaBlock(opened: SourcePosition) -> Result<ScriptText, LuaFault> {
        let block = LuaBlock(in: bytes, from: index)
        let text = ScriptText(text: Array(bytes[index..<block.end]), file: file, line: line)
        var fault = block.fault.map { found in
            advance(to: found.offset)
            return LuaFault(position: nextPosition(), message: found.message, tookRest: !block.isClosed)
        }
        advance(to: block.end)
        if block.isClosed {
            advance()
        } else if fault == nil {
            fault = LuaFault(
                position: nextPosition(),
                message: "found the end of the file, expected \"}\" for the Lua block opened at line "
                    + "\(opened.line)",
                tookRest: true)
        }
        return fault.map { .failure($0) } ?? .success(text)
    }

    private mutating func quotedWord(_ start: SourcePosition) -> Token {
        let quote = bytes[index]
        advance()
        let contentStart = index
        while index < bytes.count, bytes[index] != quote {
            if bytes[index] == UInt8(ascii: "\\"), index + 1 < bytes.count { advance() }
            advance()
        }
        guard index < bytes.count else {
            return .fault(start, "found a quoted word that does not end, expected \(Lexer.quote(quote))")
        }
        let word = Lexer.unescape(bytes[contentStart..<index])
        advance()
        needsSeparator = true
        return .word(Word(bytes: word, position: start))
    }

    private mutating func plainWord(_ start: SourcePosition) -> Token {
        let wordStart = index
        var afterDollar = false
        while index < bytes.count {
            let byte = bytes[index]
            if Lexer.isSpace(byte) || byte == UInt8(ascii: ";") { break }
            if byte == UInt8(ascii: "{"), !afterDollar { break }
            afterDollar = byte == UInt8(ascii: "$")
            if byte == UInt8(ascii: "\\"), index + 1 < bytes.count { advance() }
            advance()
        }
        return .word(Word(bytes: Lexer.unescape(bytes[wordStart..<index]), position: start))
    }

    private mutating func skipSpaceAndComments() {
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "#") {
                while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { advance() }
            } else if Lexer.isSpace(bytes[index]) {
                advance()
            } else {
                return
            }
        }
    }

    private mutating func advance() {
        if bytes[index] == UInt8(ascii: "\n") {
            line += 1
            lineStart = index + 1
        }
        index += 1
    }

    private mutating func advance(to end: Int) {
        while index < end { advance() }
    }

    private mutating func nextPosition() -> SourcePosition {
        defer { order += 1 }
        return SourcePosition(file: file, line: line, column: index - lineStart + 1, order: order)
    }

    /// `\"`, `\'`, `\\`, `\t`, `\r` and `\n` stand for one byte; before anything else a backslash is itself.
    private static func unescape(_ raw: ArraySlice<UInt8>) -> [UInt8] {
        guard raw.contains(UInt8(ascii: "\\")) else { return Array(raw) }
        var result: [UInt8] = []
        result.reserveCapacity(raw.count)
        var index = raw.startIndex
        while index < raw.endIndex {
            let byte = raw[index]
            index += 1
            guard byte == UInt8(ascii: "\\"), index < raw.endIndex else {
                result.append(byte)
                continue
            }
            switch raw[index] {
            case UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "\\"): result.append(raw[index])
            case UInt8(ascii: "t"): result.append(UInt8(ascii: "\t"))
            case UInt8(ascii: "r"): result.append(UInt8(ascii: "\r"))
            case UInt8(ascii: "n"): result.append(UInt8(ascii: "\n"))
            default: result += [byte, raw[index]]
            }
            index += 1
        }
        return result
    }

    static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A
    }

    /// A byte as messages show it.
    static func quote(_ byte: UInt8) -> String {
        byte == UInt8(ascii: "\"") ? "'\"'" : "\"\(String(decoding: [byte], as: UTF8.self))\""
    }
}
