/// Base64 (RFC 4648): the standard alphabet of §4, as handshakes use it, and the one of §5 for URLs and tokens.
package enum Base64 {
    package enum Alphabet: Sendable {
        /// Ends in `+` and `/`.
        case standard
        /// Ends in `-` and `_`.
        case url
    }

    /// Appends `bytes` encoded, padded to whole groups of four characters unless `padded` is false.
    package static func append(
        _ bytes: Span<UInt8>, _ alphabet: Alphabet = .standard, padded: Bool = true, to output: inout [UInt8]
    ) {
        var index = 0
        while index < bytes.count {
            let left = bytes.count - index
            let second = left > 1 ? UInt32(bytes[index + 1]) : 0
            let third = left > 2 ? UInt32(bytes[index + 2]) : 0
            let group = UInt32(bytes[index]) << 16 | second << 8 | third
            for position in 0..<4 {
                if position <= left {
                    let sextet = Int(group >> UInt32(18 - 6 * position) & 63)
                    output.append(alphabet == .standard ? standard[sextet] : url[sextet])
                } else if padded {
                    output.append(UInt8(ascii: "="))
                }
            }
            index += 3
        }
    }

    package static func encode(
        _ bytes: [UInt8], _ alphabet: Alphabet = .standard, padded: Bool = true
    ) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity((bytes.count + 2) / 3 * 4)
        append(bytes.span, alphabet, padded: padded, to: &output)
        return output
    }

    /// What `text` encodes; `nil` for a character that is not of the alphabet, a length that no encoder makes, padding
    /// that is wrong, or bits behind the last byte that are not zero: each sequence of bytes has one encoding.
    /// Unless `requiresPadding` is set, text without its padding is taken, too, but not with half of it.
    package static func decode(
        _ text: Span<UInt8>, _ alphabet: Alphabet = .standard, requiresPadding: Bool = true
    ) -> [UInt8]? {
        var end = text.count
        while end > 0, text.count - end < 2, text[end - 1] == UInt8(ascii: "=") { end -= 1 }
        let isPadded = end < text.count
        if isPadded || requiresPadding {
            guard text.count.isMultiple(of: 4) else { return nil }
        }
        guard end % 4 != 1 else { return nil }
        var output: [UInt8] = []
        output.reserveCapacity(end / 4 * 3 + 2)
        var group: UInt32 = 0
        var bits = 0
        for position in 0..<end {
            guard let value = sextet(text[position], alphabet) else { return nil }
            group = group << 6 | UInt32(value)
            bits += 6
            if bits >= 8 {
                bits -= 8
                output.append(UInt8(truncatingIfNeeded: group >> UInt32(bits)))
            }
        }
        return group & (1 << UInt32(bits) - 1) == 0 ? output : nil
    }

    /// Appends what `text` encodes, as nginx reads it: it ends at the first `=`, whatever comes then, and bits that are left
    /// over are not looked at. Returns false for a character that is not of the alphabet.
    package static func appendLeniently(_ text: Span<UInt8>, to output: inout [UInt8]) -> Bool {
        var group: UInt32 = 0
        var bits = 0
        for position in 0..<text.count {
            if text[position] == UInt8(ascii: "=") { break }
            guard let value = sextet(text[position]) else { return false }
            group = group << 6 | UInt32(value)
            bits += 6
            if bits >= 8 {
                bits -= 8
                output.append(UInt8(truncatingIfNeeded: group >> UInt32(bits)))
            }
        }
        return true
    }

    /// The six bits that a character stands for, or `nil`.
    static func sextet(_ byte: UInt8, _ alphabet: Alphabet = .standard) -> UInt8? {
        switch byte {
        case 0x41...0x5a: byte - 0x41
        case 0x61...0x7a: byte - 0x61 + 26
        case 0x30...0x39: byte - 0x30 + 52
        case UInt8(ascii: "+") where alphabet == .standard: 62
        case UInt8(ascii: "/") where alphabet == .standard: 63
        case UInt8(ascii: "-") where alphabet == .url: 62
        case UInt8(ascii: "_") where alphabet == .url: 63
        default: nil
        }
    }

    private static let standard = letters(UInt8(ascii: "+"), UInt8(ascii: "/"))
    private static let url = letters(UInt8(ascii: "-"), UInt8(ascii: "_"))

    private static func letters(_ last: UInt8...) -> InlineArray<64, UInt8> {
        var letters = InlineArray<64, UInt8>(repeating: 0)
        for index in 0..<26 {
            letters[index] = 0x41 + UInt8(index)
            letters[index + 26] = 0x61 + UInt8(index)
        }
        for index in 0..<10 { letters[index + 52] = 0x30 + UInt8(index) }
        for (index, letter) in last.enumerated() { letters[62 + index] = letter }
        return letters
    }
}
