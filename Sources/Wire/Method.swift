/// A method's name, to be compared byte for byte: methods distinguish case (RFC 9110 §9.1).
package struct Method: Sendable {
    private let word: UInt64
    private let length: Int

    /// - Parameter name: at most 8 bytes.
    package init(_ name: String) {
        let bytes = Array(name.utf8)
        precondition(bytes.count <= 8, "a method to compare with has at most 8 letters")
        length = bytes.count
        word = bytes.span.word(at: 0, length: bytes.count)
    }

    @inline(__always)
    package func equals(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        range.count == length && bytes.word(at: range.lowerBound, length: length) == word
    }

    package static let get = Method("GET")
    package static let head = Method("HEAD")
    package static let connect = Method("CONNECT")
}
