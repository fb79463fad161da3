internal import Wire

/// Percent-escaping as nginx does it when parts of a decoded path go into a URI again.
package enum URIEscape {
    /// Escapes what cannot stand in a path. A path is proxied again by the same rule.
    static func appendPath(_ path: ArraySlice<UInt8>, to out: inout [UInt8]) {
        append(path, escaping: pathTable, to: &out)
    }

    /// Escapes what cannot stand in the value of an argument.
    static func appendArgument(_ text: ArraySlice<UInt8>, to out: inout [UInt8]) {
        append(text, escaping: argumentTable, to: &out)
    }

    /// Escapes all but RFC 3986's unreserved characters (§2.3), so that the text stands for itself anywhere in a URI.
    package static func appendComponent(_ text: Span<UInt8>, to out: inout [UInt8]) {
        for index in text.indices {
            let byte = text[index]
            if componentTable[Int(byte)] { appendEscape(byte, to: &out) } else { out.append(byte) }
        }
    }

    /// The text with its control characters escaped.
    static func controls(_ text: [UInt8]) -> [UInt8] {
        guard text.contains(where: isControl) else { return text }
        var out: [UInt8] = []
        for byte in text {
            if isControl(byte) { appendEscape(byte, to: &out) } else { out.append(byte) }
        }
        return out
    }

    private static func isControl(_ byte: UInt8) -> Bool { byte < 0x20 || byte == 0x7f }

    private static func appendEscape(_ byte: UInt8, to out: inout [UInt8]) {
        out.append(ByteText.percent)
        Hexadecimal.append(byte, uppercase: true, to: &out)
    }

    private static func append(_ text: ArraySlice<UInt8>, escaping table: [Bool], to out: inout [UInt8]) {
        for byte in text {
            if table[Int(byte)] { appendEscape(byte, to: &out) } else { out.append(byte) }
        }
    }

    private static func table(_ characters: String) -> [Bool] {
        let listed = Set(characters.utf8)
        return (0...255).map { $0 <= 0x20 || $0 >= 0x7f || listed.contains(UInt8($0)) }
    }

    private static let pathTable = table("\"#%<>?\\^`{|}")
    private static let argumentTable = table("\"#%&+;<>?\\^`{|}")
    private static let componentTable = table("!\"#$%&'()*+,/:;<=>?@[\\]^`{|}")

    /// Decodes in place the escapes of printable characters above `%` in a redirect's URL, up to its query.
    static func unescapeRedirect(_ url: inout [UInt8]) {
        var read = 0
        var write = 0
        while read < url.count {
            let byte = url[read]
            if byte == ByteText.question { break }
            if byte == ByteText.percent, read + 2 < url.count,
                let decoded = ASCII.hexadecimalByte(url[read + 1], url[read + 2]),
                decoded > ByteText.percent, decoded < 0x7f
            {
                url[write] = decoded
                write += 1
                read += 3
                if decoded == ByteText.question { break }
                continue
            }
            url[write] = byte
            write += 1
            read += 1
        }
        guard write < read else { return }
        url.removeSubrange(write..<read)
    }
}
