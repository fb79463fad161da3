internal import Wire

/// The head of a `FetchRequest` as it is sent, from the request line to the empty line.
package struct FetchRequestHead: Sendable, Equatable {
    package private(set) var bytes: [UInt8] = []
    /// No body follows the response's head, whatever that says.
    package let isHead: Bool
    /// The request may be sent again when a connection from the pool turns out to be closed.
    package let isIdempotent: Bool
    /// The script's `Connection` field asks the server to close.
    package private(set) var asksToClose = false

    /// - Throws: `invalidRequest`, with what is wrong.
    package init(_ request: FetchRequest, _ url: FetchURL) throws(FetchFailure) {
        let method = request.method
        guard isToken(method.span, 0..<method.count) else { throw .invalidRequest("invalid method") }
        // Its response has another form, and what follows is no body.
        guard !Method.connect.equals(method) else {
            throw .invalidRequest("the method CONNECT is not supported")
        }
        isHead = Method.head.equals(method)
        isIdempotent = RetryPolicy.isIdempotent(method)
        bytes.append(contentsOf: method)
        bytes.append(ByteText.space)
        bytes.append(contentsOf: url.target)
        bytes.append(copying: Text.version)
        try appendFields(of: request, url)
        bytes.append(contentsOf: ASCII.lineEnd)
    }

    private mutating func appendFields(of request: FetchRequest, _ url: FetchURL) throws(FetchFailure) {
        var given = FieldIDSet()
        for header in request.headers {
            let id = try Self.check(header)
            if id == .host, given.contains(.host) { throw .invalidRequest("more than one header \"Host\"") }
            if id == .connection, ByteText.list(header.value, header.value.indices, holds: "close") {
                asksToClose = true
            }
            given.insert(id)
        }
        // RFC 9110 §7.2: best as the first field.
        if !given.contains(.host) { append(Text.host, url.hostField) }
        for header in request.headers { append(header.name, header.value) }
        if let body = request.body {
            var length: [UInt8] = []
            ASCII.appendDecimal(body.count, to: &length)
            append(Text.contentLength, length)
        } else if Method.expectsBody(request.method) {
            // RFC 9110 §8.6: a method that is meant to have a body says that it has none.
            append(Text.contentLength, [ByteText.zero])
        }
        if !given.contains(.connection) {
            append(Text.connection, request.keepalive ? Text.keepAlive : Text.close)
        }
    }

    private static func check(_ header: FetchHeader) throws(FetchFailure) -> FieldID {
        let name = header.name.span
        guard isToken(name, 0..<name.count) else {
            throw .invalidRequest("invalid header name \"\(String(decoding: header.name, as: UTF8.self))\"")
        }
        let text = String(decoding: header.name, as: UTF8.self)
        guard
            !header.value.contains(where: {
                $0 == ByteText.carriageReturn || $0 == ByteText.lineFeed || $0 == 0
            })
        else {
            throw .invalidRequest("CR, LF or NUL in the value of header \"\(text)\"")
        }
        let id = FieldID(name, 0..<name.count)
        guard id != .contentLength, id != .transferEncoding else {
            throw .invalidRequest("header \"\(text)\" cannot be given: it follows from the body")
        }
        return id
    }

    private mutating func append(_ name: [UInt8], _ value: [UInt8]) {
        bytes.append(contentsOf: name)
        bytes.append(ByteText.colon)
        bytes.append(ByteText.space)
        bytes.append(contentsOf: value)
        bytes.append(contentsOf: ASCII.lineEnd)
    }

    private enum Text {
        static let version = Array(" HTTP/1.1\r\n".utf8)
        static let host = Array("Host".utf8)
        static let contentLength = Array("Content-Length".utf8)
        static let connection = Array("Connection".utf8)
        static let keepAlive = Array("keep-alive".utf8)
        static let close = Array("close".utf8)
    }
}
