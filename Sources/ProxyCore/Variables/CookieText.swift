internal import Wire

/// `name=value` pairs of `Cookie` and `Set-Cookie` values.
enum CookieText {
    /// Appends the value of the cookie called `name` (lower case; names compare without case, as in nginx).
    ///
    /// Where `firstOnly` is set, only the first pair counts, the rest being attributes, as in `Set-Cookie`.
    static func append(_ name: [UInt8], in text: ArraySlice<UInt8>, firstOnly: Bool, to out: inout [UInt8])
        -> Bool
    {
        let bytes = text
        var position = bytes.startIndex
        let end = bytes.endIndex
        while position < end {
            while position < end, bytes[position] == ByteText.space { position += 1 }
            let rest = bytes[position..<end]
            let valueEnd = rest.firstIndex(of: ByteText.semicolon) ?? end
            if let value = value(of: name, in: rest[..<valueEnd]) {
                out.append(contentsOf: value)
                return true
            }
            if firstOnly { return false }
            // As nginx has it, a comma begins another pair, too, though it may also be part of a value that was asked for.
            let separator = rest.firstIndex { $0 == ByteText.semicolon || $0 == UInt8(ascii: ",") }
            position = (separator ?? end) + 1
        }
        return false
    }

    private static func value(of name: [UInt8], in pair: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard pair.count > name.count else { return nil }
        var position = pair.startIndex
        for byte in name {
            if ASCII.lowercased(pair[position]) != byte { return nil }
            position += 1
        }
        while position < pair.endIndex, pair[position] == ByteText.space { position += 1 }
        guard position < pair.endIndex, pair[position] == ByteText.equals else { return nil }
        position += 1
        while position < pair.endIndex, pair[position] == ByteText.space { position += 1 }
        return pair[position...]
    }
}
