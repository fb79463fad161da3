/// Makes chunk framing (RFC 9112 §7.1).
package enum ChunkedEncoding {
    /// Appends the line that opens a chunk of `count` bytes, `count` being above 0: a chunk of 0 would be the
    /// last.
    package static func appendChunkHead(_ count: Int, to output: inout [UInt8]) {
        ASCII.appendHexadecimal(UInt64(max(count, 0)), to: &output)
        output.append(.carriageReturn)
        output.append(.lineFeed)
    }

    /// Appends the last chunk and a trailer section, empty where `trailers` is `nil`.
    package static func appendEnd(_ trailers: TrailerSection?, to output: inout [UInt8]) {
        output.append(contentsOf: lastChunkLine)
        if let trailers {
            let bytes = trailers.bytes.span
            for field in trailers.fields {
                output.append(copying: bytes, field.name)
                output.append(UInt8(ascii: ":"))
                output.append(.space)
                output.append(copying: bytes, field.value)
                output.append(contentsOf: chunkEnd)
            }
        }
        output.append(contentsOf: chunkEnd)
    }

    package static let chunkEnd: [UInt8] = [13, 10]
    /// Of the last chunk, without the trailer section that follows.
    package static let lastChunkLine: [UInt8] = Array("0\r\n".utf8)
    package static let lastChunk: [UInt8] = Array("0\r\n\r\n".utf8)
}
