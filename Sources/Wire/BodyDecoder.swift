/// Finds the end of a message body in a stream of bytes, and the payload in it.
///
/// Holds no bytes: it says which range of the input is payload, so that the caller can send that range on from
/// where it lies. Chunk framing is removed here and made anew by `ChunkedEncoding` where the other leg needs it.
package struct BodyDecoder: Sendable {
    package enum Event: Sendable, Equatable {
        /// All of the input is used up; more is needed.
        case needsMore
        /// Payload at this range of the input. Call again with the rest, from `upperBound` on.
        case payload(Range<Int>)
        /// The body ended; `consumed` bytes of the input belonged to it, trailer section included.
        case end(consumed: Int)
        case invalid(BodyViolation)
    }

    /// Trailer fields, once `end` was returned; `bytes` holds their lines.
    package private(set) var trailers: TrailerSection?

    package init(_ framing: BodyFraming) { fatalError("being written") }

    /// The next event in `input`, which starts at `offset`.
    package mutating func next(_ input: RawSpan, from offset: Int) -> Event { fatalError("being written") }

    /// Payload bytes seen so far.
    package var payloadBytes: Int64 { fatalError("being written") }
    /// The connection ended. Whether that is a proper end of the body.
    package var endsWithConnection: Bool { fatalError("being written") }
}

package struct TrailerSection: Sendable {
    package var bytes: [UInt8] = []
    package var fields: [FieldLine] = []

    package init() {}
}

package enum BodyViolation: String, Sendable, Error, CaseIterable {
    case invalidChunkSize, chunkSizeOverflow, chunkExtensionTooLong, missingChunkEnd, bareLineFeed
    case bareCarriageReturn, invalidTrailer, trailerTooLarge
}

package enum ChunkedEncoding {
    /// Appends the line that opens a chunk of `count` bytes, `count` being above 0.
    package static func appendChunkHead(_ count: Int, to output: inout [UInt8]) { fatalError("being written") }
    package static let chunkEnd: [UInt8] = [13, 10]
    package static let lastChunk: [UInt8] = Array("0\r\n\r\n".utf8)
}
