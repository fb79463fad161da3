internal import Wire

/// The host part of a `Host` field or of an absolute target.
package enum HostName {
    /// Appends the host in lower case, without port and closing dot.
    ///
    /// - Returns: false for a text that can be no host: empty, with an empty label, a slash, a space or a control
    ///   character.
    package static func append(_ text: Span<UInt8>, to out: inout [UInt8]) -> Bool {
        guard !text.isEmpty else { return false }
        var end = text.count
        var portFollows = false
        let isLiteral = text[0] == UInt8(ascii: "[")
        var literalIsOpen = isLiteral
        var hasCapitals = false
        // -2: there was none; a dot at the beginning stands behind no other.
        var previousDot = -2
        for index in 0..<text.count {
            let byte = text[index]
            switch byte {
            case ByteText.dot:
                if previousDot == index - 1 { return false }
                previousDot = index
            case ByteText.colon where !portFollows && !isLiteral:
                end = index
                portFollows = true
            case UInt8(ascii: "]") where literalIsOpen:
                end = index + 1
                literalIsOpen = false
                portFollows = true
            case ByteText.slash, 0...ByteText.space, 0x7f: return false
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): hasCapitals = true
            default: break
            }
        }
        if literalIsOpen { return false }
        if previousDot == end - 1 { end -= 1 }
        guard end > 0 else { return false }
        guard hasCapitals else {
            out.append(copying: text, 0..<end)
            return true
        }
        for index in 0..<end { out.append(ASCII.lowercased(text[index])) }
        return true
    }
}
