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

    @inline(__always)
    package func equals(_ bytes: [UInt8]) -> Bool { equals(bytes.span, 0..<bytes.count) }

    package func append(to output: inout [UInt8]) {
        for index in 0..<length { output.append(UInt8(truncatingIfNeeded: word >> UInt64(index * 8))) }
    }

    /// Whether a method is meant to have a body, so that a request without one says so (RFC 9110 §8.6).
    package static func expectsBody(_ bytes: [UInt8]) -> Bool {
        post.equals(bytes) || put.equals(bytes) || patch.equals(bytes)
    }

    package static let get = Method("GET")
    package static let head = Method("HEAD")
    package static let post = Method("POST")
    package static let put = Method("PUT")
    package static let patch = Method("PATCH")
    package static let lock = Method("LOCK")
    package static let trace = Method("TRACE")
    package static let connect = Method("CONNECT")
}
