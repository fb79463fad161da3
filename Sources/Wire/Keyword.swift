internal import Bytes

/// A name to compare bytes with, without case: at most 24 bytes, in three words, lower case.
///
/// Made once, from a literal; a comparison is then a few word operations and touches no array.
package struct Keyword: Sendable, Hashable, ExpressibleByStringLiteral {
    package let length: Int
    let words: (UInt64, UInt64, UInt64)

    package init(stringLiteral value: String) { self.init(value) }

    init(_ text: String) {
        let bytes = Array(text.utf8)
        precondition(bytes.count <= Self.maxLength, "a keyword is at most 24 bytes long")
        self.init(bytes.span, 0..<bytes.count)
    }

    /// Of the bytes in `range`, which must not be longer than `maxLength`.
    @inline(__always)
    init(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        let start = range.lowerBound
        length = range.count
        words = (
            lowercasedASCII(bytes.word(at: start, length: length)),
            lowercasedASCII(bytes.word(at: start &+ 8, length: length &- 8)),
            lowercasedASCII(bytes.word(at: start &+ 16, length: length &- 16))
        )
    }

    package static let maxLength = 24

    /// The first word of the name in `range`.
    @inline(__always)
    static func firstWord(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
        lowercasedASCII(bytes.word(at: range.lowerBound, length: range.count))
    }

    /// Whether the bytes in `range`, as long as this name, agree with it behind the first word.
    @inline(__always)
    func matchesRest(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        if length <= 8 { return true }
        let start = range.lowerBound
        return words.1 == lowercasedASCII(bytes.word(at: start &+ 8, length: length &- 8))
            && (length <= 16 || words.2 == lowercasedASCII(bytes.word(at: start &+ 16, length: length &- 16)))
    }

    /// Whether the bytes in `range` spell this name, in any case.
    @inline(__always)
    package func matches(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        range.count == length && Keyword(bytes, range) == self
    }

    package func matches(_ bytes: [UInt8], _ range: Range<Int>) -> Bool { matches(bytes.span, range) }
    package func matches(_ bytes: [UInt8]) -> Bool { matches(bytes.span, 0..<bytes.count) }

    @inline(__always)
    package static func == (a: Keyword, b: Keyword) -> Bool {
        a.length == b.length && a.words.0 == b.words.0 && a.words.1 == b.words.1 && a.words.2 == b.words.2
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(words.0) }

    /// What `TE` may hold besides codings (RFC 9110 §10.1.4).
    package static let trailers: Keyword = "trailers"
}
