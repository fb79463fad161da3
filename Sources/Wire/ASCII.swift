/// Comparison without case, and numbers as text, over bytes.
package enum ASCII {
    /// CR and LF.
    package static let lineEnd: [UInt8] = [.carriageReturn, .lineFeed]

    /// `byte` in lower case when it is a capital letter.
    @inline(__always)
    package static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    /// Whether both hold the same bytes but for the case of ASCII letters.
    package static func equalIgnoringCase(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        for index in 0..<a.count where a[index] != b[index] {
            guard lowercased(a[index]) == lowercased(b[index]) else { return false }
        }
        return true
    }

    package static func equalIgnoringCase(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        equalIgnoringCase(a.span, b.span)
    }

    /// The number that the bytes of `range` spell: digits only, at least one, 0...Int64.max; otherwise `nil`.
    package static func decimal(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int64? {
        guard !range.isEmpty else { return nil }
        var value: Int64 = 0
        for position in range {
            let digit = bytes[position] &- 0x30
            guard digit < 10 else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(Int64(digit))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        return value
    }

    package static func decimal(_ bytes: [UInt8]) -> Int64? { decimal(bytes.span, 0..<bytes.count) }

    /// Appends `value` in decimal, with a minus sign where it is negative.
    package static func appendDecimal(_ value: Int64, to output: inout [UInt8]) {
        var rest = value.magnitude
        if value < 0 { output.append(0x2d) }
        if rest < 10 { return output.append(0x30 | UInt8(truncatingIfNeeded: rest)) }
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var start = 20
        while rest > 0 {
            start -= 1
            digits[start] = 0x30 | UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        for index in start..<20 { output.append(digits[index]) }
    }

    package static func appendDecimal(_ value: Int, to output: inout [UInt8]) {
        appendDecimal(Int64(value), to: &output)
    }

    /// Appends `value` in hexadecimal, lower case, without leading zeros.
    package static func appendHexadecimal(_ value: UInt64, to output: inout [UInt8]) {
        var shift = value == 0 ? 0 : (63 - value.leadingZeroBitCount) & ~3
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: value &>> UInt64(shift) & 15)
            output.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
            shift -= 4
        }
    }

    /// The value of a hexadecimal digit, or `nil`.
    @inline(__always)
    package static func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
        if byte.isDigit { return byte &- 0x30 }
        let letter = (byte | 0x20) &- 0x61
        return letter < 6 ? letter &+ 10 : nil
    }

    /// The byte that two hexadecimal digits stand for, or `nil`.
    @inline(__always)
    package static func hexadecimalByte(_ high: UInt8, _ low: UInt8) -> UInt8? {
        guard let high = hexadecimalDigit(high), let low = hexadecimalDigit(low) else { return nil }
        return high << 4 | low
    }
}
