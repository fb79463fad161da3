/// Looks at ASCII text inside byte arrays without making a `String` or a copy of it.
enum Octets {
    @inline(__always)
    static func lowercase(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }

    @inline(__always)
    static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }

    /// Whether `bytes[range]` is `name` when case is left out of account. `name` is in lower case.
    static func equal(_ bytes: [UInt8], _ range: Range<Int>, lowercase name: [UInt8]) -> Bool {
        guard range.count == name.count else { return false }
        var index = range.lowerBound
        for character in name {
            if lowercase(bytes[index]) != character { return false }
            index += 1
        }
        return true
    }

    static func equal(_ bytes: [UInt8], lowercase name: [UInt8]) -> Bool {
        equal(bytes, 0..<bytes.count, lowercase: name)
    }

    /// Whether `bytes`, from `start` on, begins with `prefix`, which is in lower case; case is ignored.
    static func hasPrefix(_ bytes: [UInt8], from start: Int = 0, lowercase prefix: [UInt8]) -> Bool {
        guard start >= 0, prefix.count <= bytes.count - start else { return false }
        return equal(bytes, start..<start + prefix.count, lowercase: prefix)
    }

    /// Where `part` first stands in `bytes[range]`, byte for byte.
    static func position(of part: [UInt8], in bytes: [UInt8], _ range: Range<Int>) -> Int? {
        guard !part.isEmpty, part.count <= range.count else { return nil }
        var start = range.lowerBound
        while start + part.count <= range.upperBound {
            var length = 0
            while length < part.count, bytes[start + length] == part[length] { length += 1 }
            if length == part.count { return start }
            start += 1
        }
        return nil
    }

    /// `range` without the white space at its ends.
    static func trimmed(_ bytes: [UInt8], _ range: Range<Int>) -> Range<Int> {
        var lower = range.lowerBound
        var upper = range.upperBound
        while lower < upper, isSpace(bytes[lower]) { lower += 1 }
        while lower < upper, isSpace(bytes[upper - 1]) { upper -= 1 }
        return lower..<upper
    }

    /// The next element of a comma-separated list (RFC 9110 §5.6.1), empty ones passed over.
    ///
    /// - Parameter position: where to go on from; moved behind the element.
    /// - Returns: the element without white space around it, `nil` at the end of `range`.
    static func nextElement(_ bytes: [UInt8], in range: Range<Int>, position: inout Int) -> Range<Int>? {
        while position < range.upperBound {
            let start = position
            var quoted = false
            while position < range.upperBound {
                let byte = bytes[position]
                if quoted {
                    if byte == 92 { position += 1 } else if byte == 34 { quoted = false }
                } else if byte == 34 {
                    quoted = true
                } else if byte == 44 {
                    break
                }
                position += 1
            }
            let end = min(position, range.upperBound)
            position += 1
            let element = trimmed(bytes, start..<end)
            if !element.isEmpty { return element }
        }
        return nil
    }

    /// Whether the comma-separated list in `bytes[range]` holds `token`, which is in lower case.
    static func list(_ bytes: [UInt8], _ range: Range<Int>, holds token: [UInt8]) -> Bool {
        var position = range.lowerBound
        while let element = nextElement(bytes, in: range, position: &position) {
            if equal(bytes, element, lowercase: token) { return true }
        }
        return false
    }

    /// Appends `value` in decimal.
    static func append<Value: FixedWidthInteger>(decimal value: Value, to output: inout [UInt8]) {
        if value < 0 { output.append(45) }
        var rest = UInt64(value.magnitude)
        if rest < 10 {
            output.append(48 + UInt8(truncatingIfNeeded: rest))
            return
        }
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var first = 20
        repeat {
            first -= 1
            digits[first] = 48 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        while first < 20 {
            output.append(digits[first])
            first += 1
        }
    }

    /// The number that `bytes[range]` writes in decimal digits and nothing else, when it fits.
    static func decimal(_ bytes: [UInt8], _ range: Range<Int>) -> Int? {
        guard !range.isEmpty else { return nil }
        var value = 0
        for index in range {
            guard isDigit(bytes[index]) else { return nil }
            let (tenfold, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tenfold.addingReportingOverflow(Int(bytes[index]) - 48)
            if over || carry { return nil }
            value = sum
        }
        return value
    }
}

extension Octets {
    static func equal(_ bytes: [UInt8], _ range: Range<Int>, exactly other: [UInt8]) -> Bool {
        guard range.count == other.count else { return false }
        var index = range.lowerBound
        for byte in other {
            if bytes[index] != byte { return false }
            index += 1
        }
        return true
    }
}

extension Octets {
    static func equalIgnoringCase(_ bytes: [UInt8], _ a: Range<Int>, _ b: Range<Int>) -> Bool {
        guard a.count == b.count else { return false }
        for offset in 0..<a.count
        where lowercase(bytes[a.lowerBound + offset]) != lowercase(bytes[b.lowerBound + offset]) {
            return false
        }
        return true
    }

    /// Makes spaces of CR, LF and NUL in what a template wrote, so that a value decoded from a URI (`$uri`) or a
    /// body cannot begin a line of its own.
    static func neutraliseLineEnds(in output: inout [UInt8], from start: Int) {
        for index in start..<output.count {
            let byte = output[index]
            if byte == 13 || byte == 10 || byte == 0 { output[index] = 32 }
        }
    }
}
