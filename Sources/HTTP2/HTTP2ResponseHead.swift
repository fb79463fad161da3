internal import Bytes
internal import Wire

/// Takes the fields of an HTTP/2 response as they are decoded, checks them, and writes the head that the response would
/// have had over HTTP/1.1.
struct HTTP2ResponseHead {
    enum Outcome: Equatable {
        case interim
        case final(isChunked: Bool)
    }

    private var lines: [UInt8] = []
    private var status = 0
    private var sawField = false
    /// What was wrong, once something was.
    private(set) var malformation: HTTP2Malformation?
    /// As the response says; -1 when it does not.
    private var contentLength: Int64 = -1
    /// Once it is finished, how much may follow it, whatever its field says (RFC 9113 §8.1.1); -1 when that is not known.
    private(set) var contentToCome: Int64 = -1

    var isInterim: Bool { (100..<200).contains(status) }

    mutating func removeAll() {
        lines.removeAll(keepingCapacity: true)
        status = 0
        sawField = false
        malformation = nil
        contentLength = -1
    }

    mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>, maxSize: Int) {
        if malformation == nil { malformation = fault(with: name, value, maxSize: maxSize) }
    }

    private mutating func fault(
        with name: Span<UInt8>, _ value: Span<UInt8>, maxSize: Int
    ) -> HTTP2Malformation? {
        if name.count > 0, name[0] == UInt8(ascii: ":") {
            // RFC 9113 §8.3.2: there is no other, and it comes first and once.
            guard Names.status.matches(name, 0..<name.count) else { return .unknownPseudoField }
            guard status == 0 else { return .repeatedPseudoField }
            guard !sawField else { return .latePseudoField }
            guard value.count == 3, let number = ASCII.decimal(value, 0..<3), (100..<600).contains(number),
                number != 101
            else { return .invalidStatus }
            status = Int(number)
            return nil
        }
        sawField = true
        guard lines.count &+ name.count &+ value.count <= maxSize else { return .headTooLarge }
        if let malformation = HTTP2RequestHead.violation(name, value) { return malformation }
        switch FieldID(name, 0..<name.count) {
        case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .te:
            return .connectionSpecificField
        case .contentLength:
            guard contentLength < 0 else { return .repeatedContentLength }
            guard let length = ASCII.decimal(value, 0..<value.count) else { return .invalidContentLength }
            contentLength = length
        default: break
        }
        lines.appendFieldLine(name, value)
        return nil
    }

    /// - Returns: what kind of head it was; `nil` when it is malformed, and `malformation` says how.
    mutating func finish(endsStream: Bool, toHead: Bool, to output: inout [UInt8]) -> Outcome? {
        guard malformation == nil else { return nil }
        guard status > 0 else {
            malformation = .missingPseudoField
            return nil
        }
        let hasNoContent = toHead || status < 200 || status == 204 || status == 304
        contentToCome = hasNoContent || endsStream ? 0 : contentLength
        // RFC 9113 §8.1.1
        if endsStream, !hasNoContent, contentLength > 0 {
            malformation = .contentLengthMismatch
            return nil
        }
        output.append(copying: Text.version)
        ASCII.appendDecimal(status, to: &output)
        output.append(copying: Text.noReason)
        output.append(lines.span)
        var isChunked = false
        if !hasNoContent, contentLength < 0 {
            isChunked = !endsStream
            if endsStream { output.append(copying: Text.empty) } else { output.append(copying: Text.chunked) }
        }
        output.append(copying: Text.lineEnd)
        return status < 200 ? .interim : .final(isChunked: isChunked)
    }

    private enum Names {
        static let status: Keyword = ":status"
    }

    private enum Text {
        static let version = Array("HTTP/1.1 ".utf8)
        static let noReason = Array(" \r\n".utf8)
        static let empty = Array("Content-Length: 0\r\n".utf8)
        static let chunked = Array("Transfer-Encoding: chunked\r\n".utf8)
        static let lineEnd: [UInt8] = [13, 10]
    }
}
