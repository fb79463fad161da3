package import Wire

// What the error log says of messages that break the rules, in nginx's words where it has some.

extension RequestViolation {
    /// - Parameters:
    ///   - line: what is at hand of the line that is at fault, as `FaultyLine` has it; empty for none.
    ///   - inFields: the request line has been read.
    /// - Returns: the beginning of the line in the log.
    package func message(line: String, inFields: Bool) -> String {
        let phase = inFields ? "while reading client request headers" : "while reading client request line"
        return "client sent \(fault(inFields))\(line) \(phase)"
    }

    private func fault(_ inFields: Bool) -> String {
        switch self {
        case .invalidMethod: "invalid method"
        case .invalidTarget, .invalidVersion, .invalidRequestLine: "invalid request"
        case .unsupportedVersion: "invalid version"
        case .requestLineTooLong: "too long URI"
        case .bareCarriageReturn: inFields ? "invalid header line" : "invalid request"
        case .invalidFieldName, .invalidFieldValue, .spaceBeforeColon, .obsoleteFolding: "invalid header line"
        case .fieldLineTooLong: "too long header line"
        case .headTooLarge: "too large request"
        case .missingHost: "HTTP/1.1 request without \"Host\" header"
        case .repeatedHost, .repeatedField, .conflictingContentLength: "duplicate header line"
        case .invalidHost: "invalid host header"
        case .invalidContentLength: "invalid \"Content-Length\" header"
        case .contentLengthWithTransferEncoding:
            "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
        case .invalidTransferEncoding: "invalid \"Transfer-Encoding\" header"
        case .unknownTransferCoding: "unknown \"Transfer-Encoding\""
        case .transferEncodingInHTTP1_0: "HTTP/1.0 request with \"Transfer-Encoding\" header"
        }
    }
}

extension ResponseViolation {
    /// The beginning of the line in the log, with what is at hand of the line that is at fault, as `FaultyLine` has it.
    package func message(line: String = "") -> String { "upstream sent \(fault)\(line)" }

    /// What was sent.
    package var fault: String {
        switch self {
        case .invalidStatusLine: "no valid HTTP/1.0 header"
        case .unsupportedVersion: "a response of an unsupported version of HTTP"
        case .invalidStatus: "an invalid status"
        case .bareCarriageReturn, .invalidFieldName, .invalidFieldValue, .spaceBeforeColon, .obsoleteFolding:
            "invalid header"
        case .invalidContentLength: "invalid \"Content-Length\" header"
        case .conflictingContentLength: "duplicate header line"
        case .contentLengthWithTransferEncoding:
            "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
        case .invalidTransferEncoding: "unknown \"Transfer-Encoding\""
        case .transferEncodingInHTTP1_0: "HTTP/1.0 response with \"Transfer-Encoding\" header"
        case .headTooLarge: "too big header"
        }
    }
}

extension BodyViolation {
    package var fault: String {
        switch self {
        case .invalidChunkSize: "the size of a chunk is no hexadecimal number"
        case .chunkSizeOverflow: "the size of a chunk is too large"
        case .chunkExtensionTooLong: "extensions of chunks are too long"
        case .missingChunkEnd: "a chunk does not end where its size says"
        case .bareLineFeed: "a line feed stands without a carriage return"
        case .bareCarriageReturn: "a carriage return stands without a line feed"
        case .invalidTrailer: "a trailer field is malformed"
        case .trailerTooLarge: "the trailer section is too large"
        }
    }
}

/// The line of a head that is at fault, for the error log.
package enum FaultyLine {
    private static let maxShown = 100

    /// The beginning of the line behind a colon, in quotes; nothing for an empty range. Dots follow where it goes on.
    package static func text(_ line: Range<Int>, of bytes: Span<UInt8>) -> String {
        let line = line.clamped(to: 0..<bytes.count)
        guard !line.isEmpty else { return "" }
        var shown: [UInt8] = []
        shown.append(copying: bytes, line.prefix(maxShown))
        let end = line.lowerBound + shown.count
        let isWhole =
            end == bytes.count || bytes[end] == ByteText.carriageReturn || bytes[end] == ByteText.lineFeed
        return ": \"\(String(decoding: shown, as: UTF8.self))\(isWhole ? "" : "...")\""
    }
}
