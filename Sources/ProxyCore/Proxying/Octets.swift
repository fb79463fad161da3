internal import Wire

/// Looks at ASCII text inside byte arrays without making a `String` or a copy of it.
enum Octets {
    /// Whether `bytes[range]` is `name` when case is left out of account. `name` is in lower case.
    static func equal(_ bytes: [UInt8], _ range: Range<Int>, lowercase name: [UInt8]) -> Bool {
        guard range.count == name.count else { return false }
        var index = range.lowerBound
        for character in name {
            if ASCII.lowercased(bytes[index]) != character { return false }
            index += 1
        }
        return true
    }

    static func equal(_ bytes: [UInt8], lowercase name: [UInt8]) -> Bool {
        equal(bytes, 0..<bytes.count, lowercase: name)
    }

    static func equal(_ bytes: [UInt8], _ range: Range<Int>, exactly other: [UInt8]) -> Bool {
        guard range.count == other.count else { return false }
        var index = range.lowerBound
        for byte in other {
            if bytes[index] != byte { return false }
            index += 1
        }
        return true
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

    /// Whether the comma-separated list in `bytes[range]` holds `token`.
    static func list(_ bytes: [UInt8], _ range: Range<Int>, holds token: Keyword) -> Bool {
        var elements = ListElements(range)
        while let element = elements.next(bytes.span) {
            if token.matches(bytes, element) { return true }
        }
        return false
    }

    /// Makes spaces of CR, LF and NUL in what a template wrote, so that a value decoded from a URI (`$uri`) or a
    /// body cannot begin a line of its own.
    static func neutraliseLineEnds(in output: inout [UInt8], from start: Int) {
        for index in start..<output.count {
            let byte = output[index]
            if byte == ByteText.carriageReturn || byte == ByteText.lineFeed || byte == 0 {
                output[index] = ByteText.space
            }
        }
    }
}
