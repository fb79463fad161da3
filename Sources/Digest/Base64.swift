/// Base 64 with padding (RFC 4648 §4).
package enum Base64 {
    private static let alphabet: [UInt8] = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// How many characters `count` bytes take.
    package static func encodedCount(_ count: Int) -> Int { (count + 2) / 3 * 4 }

    package static func append(_ bytes: Span<UInt8>, to output: inout [UInt8]) {
        output.reserveCapacity(output.count + encodedCount(bytes.count))
        var index = 0
        while index < bytes.count {
            let left = bytes.count - index
            let first = bytes[index]
            let second = left > 1 ? bytes[index + 1] : 0
            let third = left > 2 ? bytes[index + 2] : 0
            output.append(alphabet[Int(first >> 2)])
            output.append(alphabet[Int((first & 0x03) << 4 | second >> 4)])
            output.append(left > 1 ? alphabet[Int((second & 0x0F) << 2 | third >> 6)] : 61)
            output.append(left > 2 ? alphabet[Int(third & 0x3F)] : 61)
            index += 3
        }
    }

    /// The bytes that `text` stands for, or `nil` when it is not whole, padded, canonical base 64.
    package static func decode(_ text: Span<UInt8>) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        var output: [UInt8] = []
        output.reserveCapacity(text.count / 4 * 3)
        var group: UInt32 = 0
        var padding = 0
        for index in 0..<text.count {
            if text[index] == 61, index >= text.count - 2 {
                padding += 1
                group <<= 6
            } else {
                guard padding == 0, let value = value(of: text[index]) else { return nil }
                group = group << 6 | UInt32(value)
            }
            guard index % 4 == 3 else { continue }
            output.append(UInt8(truncatingIfNeeded: group >> 16))
            if padding < 2 { output.append(UInt8(truncatingIfNeeded: group >> 8)) }
            if padding < 1 { output.append(UInt8(truncatingIfNeeded: group)) }
            // Bits that padding cuts off are zero, else two texts would stand for the same bytes.
            if padding == 2, group & 0xFFFF != 0 { return nil }
            if padding == 1, group & 0xFF != 0 { return nil }
            group = 0
        }
        return output
    }

    private static func value(of character: UInt8) -> UInt8? {
        switch character {
        case 65...90: character - 65
        case 97...122: character - 97 + 26
        case 48...57: character - 48 + 52
        case 43: 62
        case 47: 63
        default: nil
        }
    }
}
