/// Bytes as pairs of hexadecimal digits.
package enum Hexadecimal {
    /// In lower case.
    package static func append(_ bytes: Span<UInt8>, to output: inout [UInt8]) {
        for index in 0..<bytes.count {
            append(bytes[index], to: &output)
        }
    }

    /// Two digits.
    @inline(__always)
    package static func append(_ byte: UInt8, uppercase: Bool = false, to output: inout [UInt8]) {
        output.append(digit(byte >> 4, uppercase: uppercase))
        output.append(digit(byte & 15, uppercase: uppercase))
    }

    /// Sixteen digits, in lower case.
    package static func append(_ value: UInt64, to output: inout [UInt8]) {
        for shift in stride(from: 56, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> UInt64(shift)), to: &output)
        }
    }

    package static func encode(_ bytes: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count * 2)
        append(bytes.span, to: &output)
        return output
    }

    /// Digits of either case in pairs; `nil` for anything else.
    package static func decode(_ text: Span<UInt8>) -> [UInt8]? {
        guard text.count.isMultiple(of: 2) else { return nil }
        var output: [UInt8] = []
        output.reserveCapacity(text.count / 2)
        var position = 0
        while position < text.count {
            guard let byte = ASCII.hexadecimalByte(text[position], text[position + 1]) else { return nil }
            output.append(byte)
            position += 2
        }
        return output
    }

    @inline(__always)
    private static func digit(_ value: UInt8, uppercase: Bool) -> UInt8 {
        value < 10 ? 0x30 + value : (uppercase ? 0x37 : 0x57) + value
    }
}
