internal import Wire

/// Compares field names with the names of variables, in which `-` is written `_`.
enum FieldName {
    /// Whether the name in `range` is the one of `suffix`, which is in lower case, such as `user_agent`.
    @inline(__always)
    static func matches(_ bytes: [UInt8], _ range: Range<Int>, suffix: [UInt8]) -> Bool {
        guard range.count == suffix.count, range.upperBound <= bytes.count else { return false }
        var index = 0
        while index < suffix.count {
            let byte = ASCII.lowercased(bytes[range.lowerBound + index])
            if (byte == ByteText.dash ? UInt8(ascii: "_") : byte) != suffix[index] { return false }
            index += 1
        }
        return true
    }
}
