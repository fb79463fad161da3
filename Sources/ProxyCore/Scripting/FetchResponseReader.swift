internal import Wire

/// Reads the response to a fetch, whole: bytes in, a `FetchResponse` out. Driven by `FetchHandle`.
package struct FetchResponseReader: Sendable {
    private enum Stage {
        case head
        case body(BodyDecoder)
        case ended
    }

    package enum Progress: Sendable, Equatable {
        case needsMore
        /// `response` is whole. With `reusable` the connection can serve another request, as far as the response
        /// is concerned.
        case complete(reusable: Bool)
        case failed(FetchFailure)
    }

    package private(set) var response = FetchResponse()
    /// Something has come, so the server has seen the request.
    package private(set) var hasReceived = false
    private var stage = Stage.head
    private var parser = ResponseHeadParser()
    private var head = ResponseHead()
    /// A head of which there is only a part yet.
    private var inbox: [UInt8] = []
    private var interimHeads = 0
    private let isHead: Bool
    private let maxBody: Int

    /// Bytes of a response's head, its empty line included.
    package static let maxHead = 64 * 1024
    /// An announced length says nothing about what will come, so no more memory than this is taken for it at once.
    private static let maxReserve = 64 * 1024

    /// - Parameters:
    ///   - isHead: the request's method was HEAD.
    ///   - maxBody: in bytes.
    package init(isHead: Bool, maxBody: Int) {
        self.isHead = isHead
        self.maxBody = max(0, maxBody)
    }

    package var isInBody: Bool { if case .body = stage { true } else { false } }

    /// The next bytes from the server. Not to be called again once it returned anything but `needsMore`.
    package mutating func received(_ bytes: Span<UInt8>) -> Progress {
        if bytes.count > 0 { hasReceived = true }
        switch stage {
        case .head: return receivedInHead(bytes)
        case .body: return readBody(bytes, from: 0)
        case .ended: return .needsMore
        }
    }

    /// The server closed.
    ///
    /// - Parameter properly: false where the connection was cut off: RFC 9112 §9.8 has an end over TLS announced, or what ends
    ///   with it is not whole.
    /// - Returns: whether that was the response's end.
    package mutating func connectionEnded(properly: Bool = true) -> Progress {
        switch stage {
        case .head, .ended:
            return .failed(.closed(.awaitingHead))
        case .body(let decoder):
            guard decoder.endsWithConnection, properly else { return .failed(.closed(.readingBody)) }
            stage = .ended
            return .complete(reusable: false)
        }
    }

    // MARK: Heads

    private mutating func receivedInHead(_ bytes: Span<UInt8>) -> Progress {
        guard !inbox.isEmpty else { return readHeads(bytes) }
        var gathered = inbox
        inbox = []
        gathered.append(copying: bytes, 0..<bytes.count)
        return readHeads(gathered.span)
    }

    private mutating func readHeads(_ bytes: Span<UInt8>) -> Progress {
        var offset = 0
        while true {
            let rest = bytes.extracting(offset...)
            switch parser.parse(rest.raw, isHead: isHead, maxHead: Self.maxHead, into: &head) {
            case .incomplete:
                inbox.append(copying: rest, 0..<rest.count)
                return .needsMore
            case .invalid(let violation):
                return .failed(.invalidHead(violation))
            case .complete(let length):
                offset += length
                parser.reset()
                guard head.status < 200 else { return headReceived(bytes, from: offset) }
                interimHeads += 1
                // Nothing here asks for another protocol than HTTP.
                guard head.status != 101, interimHeads <= ResponseHead.maxInterimHeads else {
                    return .failed(.unexpectedStatus(head.status))
                }
            }
        }
    }

    private mutating func headReceived(_ bytes: Span<UInt8>, from offset: Int) -> Progress {
        response.status = head.status
        response.reason = Array(head.bytes[head.reason])
        response.headers.reserveCapacity(head.fields.count)
        for field in head.fields {
            response.headers.append(
                FetchHeader(Array(head.bytes[field.name]), Array(head.bytes[field.value])))
        }
        if case .length(let length) = head.framing {
            guard length <= maxBody else { return .failed(.tooLarge(limit: maxBody)) }
            response.body.reserveCapacity(min(Int(length), Self.maxReserve))
        }
        stage = .body(BodyDecoder(head.framing))
        return readBody(bytes, from: offset)
    }

    // MARK: The body

    private mutating func readBody(_ bytes: Span<UInt8>, from start: Int) -> Progress {
        guard case .body(var decoder) = stage else { return .needsMore }
        stage = .ended
        var offset = start
        while true {
            switch decoder.next(bytes.raw, from: offset) {
            case .needsMore:
                stage = .body(decoder)
                return .needsMore
            case .payload(let range):
                offset = range.upperBound
                guard range.count <= maxBody - response.body.count else {
                    return .failed(.tooLarge(limit: maxBody))
                }
                response.body.append(copying: bytes, range)
            case .end(let consumed):
                // What follows the end is an answer to nothing that was asked.
                return .complete(reusable: head.wantsKeepAlive && consumed == bytes.count)
            case .invalid(let violation):
                return .failed(.invalidBody(violation))
            }
        }
    }
}
