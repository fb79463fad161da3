/// Base64 with padding (RFC 4648 §4), as handshakes use it.
package enum Base64 {
    private static let alphabet: InlineArray<64, UInt8> = {
        var letters = InlineArray<64, UInt8>(repeating: 0)
        for index in 0..<26 {
            letters[index] = 0x41 + UInt8(index)
            letters[index + 26] = 0x61 + UInt8(index)
        }
        for index in 0..<10 { letters[index + 52] = 0x30 + UInt8(index) }
        letters[62] = UInt8(ascii: "+")
        letters[63] = UInt8(ascii: "/")
        return letters
    }()

    /// Appends `bytes` encoded.
    package static func append(_ bytes: Span<UInt8>, to output: inout [UInt8]) {
        var index = 0
        while index < bytes.count {
            let left = bytes.count - index
            let second = left > 1 ? UInt32(bytes[index + 1]) : 0
            let third = left > 2 ? UInt32(bytes[index + 2]) : 0
            let group = UInt32(bytes[index]) << 16 | second << 8 | third
            for position in 0..<4 {
                let sextet = Int(group >> UInt32(18 - 6 * position) & 63)
                output.append(position <= left ? alphabet[sextet] : UInt8(ascii: "="))
            }
            index += 3
        }
    }

    package static func encode(_ bytes: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity((bytes.count + 2) / 3 * 4)
        append(bytes.span, to: &output)
        return output
    }

    /// The six bits that a character stands for, or `nil`.
    static func sextet(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x41...0x5a: byte - 0x41
        case 0x61...0x7a: byte - 0x61 + 26
        case 0x30...0x39: byte - 0x30 + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
