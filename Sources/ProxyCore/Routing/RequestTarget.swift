/// The parts of a request target (RFC 9112 §3.2) in origin or absolute form.
struct RequestTarget {
    /// Host and port as written, for the absolute form.
    var authority: Range<Int>?
    /// Path and query as written. A target such as `http://host` has one slash of its scheme for a path.
    var pathAndQuery: Range<Int>
    /// The absolute form had a query without a path, which is to be taken as `/`.
    var lacksPath = false

    /// - Returns: `nil` for what is neither form.
    init?(_ bytes: [UInt8], _ target: Range<Int>) {
        guard let first = bytes[target].first else { return nil }
        if first == ByteText.slash {
            pathAndQuery = target
            return
        }
        // RFC 3986 §3.1 allows more in a scheme, nginx letters only.
        var index = target.lowerBound
        while index < target.upperBound, ByteText.lowercased(bytes[index]) &- UInt8(ascii: "a") < 26 {
            index += 1
        }
        guard index > target.lowerBound, index + 2 < target.upperBound, bytes[index] == ByteText.colon,
            bytes[index + 1] == ByteText.slash, bytes[index + 2] == ByteText.slash
        else { return nil }
        let authorityStart = index + 3
        var end = authorityStart
        while end < target.upperBound, !Self.endsAuthority(bytes[end]) {
            // User information has no place in a request (RFC 9110 §4.2.4).
            if bytes[end] == UInt8(ascii: "@") { return nil }
            end += 1
        }
        guard end > authorityStart else { return nil }
        authority = authorityStart..<end
        if end == target.upperBound {
            pathAndQuery = (authorityStart - 1)..<authorityStart
        } else {
            pathAndQuery = end..<target.upperBound
            lacksPath = bytes[end] != ByteText.slash
        }
    }

    private static func endsAuthority(_ byte: UInt8) -> Bool {
        byte == ByteText.slash || byte == ByteText.question || byte == UInt8(ascii: "#")
    }
}
