/// Where a block of Lua in a configuration ends.
///
/// Only a brace that is one to Lua counts (Lua 5.4 reference manual §3.1): not one in a comment, in a quoted string
/// or between long brackets such as `[==[` and `]==]`.
struct LuaBlock {
    struct Fault: Equatable {
        /// Where that begins which does not end.
        var offset: Int
        var message: String
    }

    /// The index of the brace that closes the block, or the number of bytes when none does.
    private(set) var end: Int
    /// The first string or comment that does not end.
    private(set) var fault: Fault?

    private let bytes: [UInt8]
    private var index: Int

    /// Scans from `start`, the index behind the brace that opens the block.
    init(in bytes: [UInt8], from start: Int) {
        self.bytes = bytes
        index = min(max(start, 0), bytes.count)
        end = bytes.count
        scan()
    }

    var isClosed: Bool { end < bytes.count }

    private mutating func scan() {
        var depth = 1
        while let byte = next() {
            switch byte {
            case UInt8(ascii: "{"):
                depth += 1
            case UInt8(ascii: "}"):
                depth -= 1
                if depth == 0 {
                    end = index - 1
                    return
                }
            case UInt8(ascii: "\""), UInt8(ascii: "'"):
                skipString(quotedBy: byte)
            case UInt8(ascii: "["):
                _ = skipLongBrackets("long string")
            case UInt8(ascii: "-"):
                if peek() == UInt8(ascii: "-") { skipComment() }
            default: break
            }
        }
    }

    private func peek() -> UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func next() -> UInt8? {
        guard let byte = peek() else { return nil }
        index += 1
        return byte
    }

    /// Behind the quote that opens it. A string that does not end on its line is a fault, and taken to end there.
    private mutating func skipString(quotedBy quote: UInt8) {
        let start = index - 1
        while let byte = peek(), byte != UInt8(ascii: "\n"), byte != UInt8(ascii: "\r") {
            index += 1
            if byte == quote { return }
            if byte == UInt8(ascii: "\\") { skipEscaped() }
        }
        note(start, "string that does not end on its line, expected \(Lexer.quote(quote))")
    }

    /// Behind a backslash: `\z` skips all space that follows, and a line break of two bytes counts as one.
    private mutating func skipEscaped() {
        guard let byte = next() else { return }
        switch byte {
        case UInt8(ascii: "z"):
            while let space = peek(), space == 0x20 || (0x09...0x0D).contains(space) { index += 1 }
        case UInt8(ascii: "\r"):
            if peek() == UInt8(ascii: "\n") { index += 1 }
        case UInt8(ascii: "\n"):
            if peek() == UInt8(ascii: "\r") { index += 1 }
        default: break
        }
    }

    /// Behind the first of its two hyphens.
    private mutating func skipComment() {
        index += 1
        if peek() == UInt8(ascii: "[") {
            index += 1
            if skipLongBrackets("comment") { return }
        }
        while let byte = peek(), byte != UInt8(ascii: "\n"), byte != UInt8(ascii: "\r") { index += 1 }
    }

    /// Behind a `[`: skips to the end of what is between long brackets, when it begins some.
    private mutating func skipLongBrackets(_ kind: String) -> Bool {
        let start = index - 1
        let level = bytes[index...].prefix { $0 == UInt8(ascii: "=") }.count
        guard index + level < bytes.count, bytes[index + level] == UInt8(ascii: "[") else { return false }
        index += level + 1
        while let byte = next() {
            guard byte == UInt8(ascii: "]") else { continue }
            let signs = bytes[index...].prefix { $0 == UInt8(ascii: "=") }.count
            index += signs
            // Without it, the bracket looked for may be the first of the next pair.
            if signs == level, peek() == UInt8(ascii: "]") {
                index += 1
                return true
            }
        }
        let bracket = "]" + String(repeating: "=", count: level) + "]"
        note(start, "\(kind) that does not end, expected \"\(bracket)\"")
        return true
    }

    private mutating func note(_ offset: Int, _ message: String) {
        if fault == nil { fault = Fault(offset: offset, message: "found a " + message) }
    }
}
