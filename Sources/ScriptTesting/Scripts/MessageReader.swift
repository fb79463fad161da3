internal import LuaHooks
internal import ProxyCore
internal import Wire

/// Reads whole messages, one after another, out of what a connection brings.
struct MessageReader {
    /// What a test may send or receive; far more than any means to.
    private static let maxHead = 1 << 20

    private var input: [UInt8] = []
    private var decoder: BodyDecoder?
    private var body: [UInt8] = []
    private var requestHead = RequestHead()
    /// Of the response that was read last.
    private(set) var responseHead = ResponseHead()

    mutating func append(_ bytes: [UInt8]) { input += bytes }

    /// Hands over what was not read: it is no message.
    mutating func takeRest() -> [UInt8] {
        defer { input = [] }
        return input
    }

    /// - Throws: what is wrong with the request.
    mutating func nextRequest() throws(TestFault) -> (head: RequestHead, body: [UInt8])? {
        if decoder == nil { guard try readRequestHead() else { return nil } }
        return try readBody(connectionEnded: false) ? (requestHead, takeBody()) : nil
    }

    /// The head of the next request, though its body may be yet to come.
    ///
    /// - Throws: what is wrong with the request, or with the one before it.
    mutating func nextRequestHead() throws(TestFault) -> RequestHead? {
        if decoder != nil {
            guard try readBody(connectionEnded: false) else { return nil }
            _ = takeBody()
        }
        return try readRequestHead() ? requestHead : nil
    }

    private mutating func readRequestHead() throws(TestFault) -> Bool {
        var parser = RequestHeadParser()
        var limits = RequestHeadParser.Limits()
        limits.maxRequestLine = Self.maxHead
        limits.maxFieldLine = Self.maxHead
        limits.maxHead = Self.maxHead
        let received = input
        switch parser.parse(received.rawSpan, limits: limits, into: &requestHead) {
        case .incomplete: return false
        case .invalid(let violation): throw TestFault("the request is invalid: \(violation.rawValue)")
        case .complete(let length):
            input.removeFirst(length)
            decoder = BodyDecoder(requestHead.framing)
            return true
        }
    }

    /// The next response that is no interim one. `isEnded`: nothing more comes.
    ///
    /// - Throws: what is wrong with the response.
    mutating func nextResponse(isHead: Bool, isEnded: Bool) throws(TestFault) -> FetchResponse? {
        while decoder == nil {
            var parser = ResponseHeadParser()
            let received = input
            switch parser.parse(
                received.rawSpan, isHead: isHead, maxHead: Self.maxHead, into: &responseHead)
            {
            case .incomplete: return nil
            case .invalid(let violation): throw TestFault("the response is invalid: \(violation.rawValue)")
            case .complete(let length):
                input.removeFirst(length)
                let isInterim = responseHead.status < 200 && responseHead.status != 101
                if !isInterim { decoder = BodyDecoder(responseHead.framing) }
            }
        }
        guard try readBody(connectionEnded: isEnded) else { return nil }
        var response = FetchResponse()
        response.status = responseHead.status
        response.reason = Array(responseHead.bytes[responseHead.reason])
        response.headers = responseHead.headers
        response.body = takeBody()
        return response
    }

    private mutating func takeBody() -> [UInt8] {
        decoder = nil
        defer { body = [] }
        return body
    }

    private mutating func readBody(connectionEnded: Bool) throws(TestFault) -> Bool {
        guard var decoder else { return false }
        var position = 0
        defer {
            input.removeFirst(position)
            self.decoder = decoder
        }
        while true {
            switch decoder.next(input.rawSpan, from: position) {
            case .payload(let range):
                body += input[range]
                position = range.upperBound
            case .end(let consumed):
                position = consumed
                return true
            case .needsMore:
                position = input.count
                return connectionEnded && decoder.endsWithConnection
            case .invalid(let violation): throw TestFault("the body is invalid: \(violation.rawValue)")
            }
        }
    }
}

extension MessageHead {
    var headers: [FetchHeader] {
        fields.map { FetchHeader(Array(bytes[$0.name]), Array(bytes[$0.value])) }
    }
}

extension TestMessage {
    func has(_ name: String) -> Bool { fields.contains { $0.isNamed(name) } }

    private func appendFields(to bytes: inout [UInt8]) {
        for field in fields { bytes += field.name + Array(": ".utf8) + field.value + Array("\r\n".utf8) }
    }

    private func appendFraming(to bytes: inout [UInt8]) {
        guard !has("content-length"), !has("transfer-encoding") else { return }
        let field = pieces.isEmpty ? "Content-Length: \(body?.count ?? 0)" : "Transfer-Encoding: chunked"
        bytes += Array("\(field)\r\n".utf8)
    }

    /// What is sent at once, and what follows it bit by bit.
    private func parts(head: [UInt8]) -> [[UInt8]] {
        guard !pieces.isEmpty else { return [head + Self.lineEnd + (body ?? [])] }
        let chunks = pieces.map { piece in
            var chunk: [UInt8] = []
            ChunkedEncoding.appendChunkHead(piece.count, to: &chunk)
            return chunk + piece + ChunkedEncoding.chunkEnd
        }
        return [head + Self.lineEnd] + chunks + [ChunkedEncoding.lastChunk]
    }

    private static let lineEnd = Array("\r\n".utf8)

    /// As a client sends it.
    var request: [[UInt8]] {
        var bytes = method + Array(" ".utf8) + target + Array(" HTTP/1.1\r\n".utf8)
        if !has("host") { bytes += Array("Host: localhost\r\n".utf8) }
        appendFields(to: &bytes)
        // RFC 9110 §8.6: a method that is meant to have a body says so when it has none.
        if body != nil || !pieces.isEmpty || Method.expectsBody(method) { appendFraming(to: &bytes) }
        return parts(head: bytes)
    }

    /// As a server sends it, in answer to a HEAD or another request.
    func response(isHead: Bool) -> [[UInt8]] {
        var bytes = Array("HTTP/1.1 \(status) \r\n".utf8)
        appendFields(to: &bytes)
        let hasNone = status < 200 || status == 204 || status == 304
        if !hasNone { appendFraming(to: &bytes) }
        return hasNone || isHead ? [bytes + Self.lineEnd] : parts(head: bytes)
    }

    var asksToClose: Bool {
        fields.contains { $0.isNamed("connection") && ASCII.equalIgnoringCase($0.value, Array("close".utf8)) }
    }
}

extension FetchHeader {
    fileprivate func isNamed(_ name: String) -> Bool { ASCII.equalIgnoringCase(self.name, Array(name.utf8)) }
}
