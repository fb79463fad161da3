internal import Config
internal import Wire

/// Writes the parts of a response head that are the proxy's own, in nginx's order.
///
/// The status line, then `Server`, `Date`, `Content-Type`, `Content-Length`, an absolute `Location`,
/// `Transfer-Encoding`, `Connection` and `Keep-Alive`; whatever else there is follows.
struct ResponseHeadWriter {
    var status: Int
    var framing: BodyFraming
    var keepsAlive: Bool
    /// The response's own fields hold these, so that ours are left out.
    var hasServer = false
    var hasDate = false

    /// A field of the response's own.
    mutating func note(_ field: FieldID) {
        switch field {
        case .server: hasServer = true
        case .date: hasDate = true
        default: break
        }
    }

    func appendStatusLine(reason: Span<UInt8>, to output: inout [UInt8]) {
        appendStatus(to: &output)
        output.append(copying: reason.raw)
        output.append(copying: Text.lineEnd)
    }

    /// The same with the phrase that we have for the status.
    func appendStatusLine(to output: inout [UInt8]) {
        appendStatus(to: &output)
        ReasonPhrases.append(status, to: &output)
        output.append(copying: Text.lineEnd)
    }

    private func appendStatus(to output: inout [UInt8]) {
        output.append(copying: Text.version)
        if status < 1000 {
            output.append(ByteText.zero + UInt8(truncatingIfNeeded: status / 100))
            output.append(ByteText.zero + UInt8(truncatingIfNeeded: status / 10 % 10))
            output.append(ByteText.zero + UInt8(truncatingIfNeeded: status % 10))
        } else {
            ASCII.appendDecimal(status, to: &output)
        }
        output.append(ByteText.space)
    }

    func appendServerAndDate(_ exchange: Exchange, _ tokens: ServerTokens, to output: inout [UInt8]) {
        if !hasServer { ServerField.append(tokens, to: &output) }
        if !hasDate {
            output.append(copying: exchange.clock.dateLine)
        }
    }

    /// From `Transfer-Encoding` to `Keep-Alive`.
    func appendConnection(_ settings: Settings, to output: inout [UInt8]) {
        if framing == .chunked { output.append(copying: Text.chunked) }
        if status == 101 {
            output.append(copying: Text.upgrade)
        } else if keepsAlive {
            output.append(copying: Text.keepAlive)
            if let seconds = settings.values.keepaliveHeaderTimeout {
                output.append(copying: Text.keepAliveTimeout)
                ASCII.appendDecimal(seconds, to: &output)
                output.append(copying: Text.lineEnd)
            }
        } else {
            output.append(copying: Text.close)
        }
    }

    static func append(contentLength: Int64, to output: inout [UInt8]) {
        output.append(copying: Text.contentLength)
        ASCII.appendDecimal(contentLength, to: &output)
        output.append(copying: Text.lineEnd)
    }

    static func append(_ value: Span<UInt8>, as prefix: [UInt8], to output: inout [UInt8]) {
        output.append(copying: prefix)
        output.append(copying: value.raw)
        output.append(copying: Text.lineEnd)
    }

    /// Appends a line whose value is of our making, in which no line end is let through.
    static func append(_ name: [UInt8], _ value: [UInt8], to output: inout [UInt8]) {
        append(name.span, value, to: &output)
    }

    static func append(_ name: Span<UInt8>, _ value: [UInt8], to output: inout [UInt8]) {
        output.append(copying: name.raw)
        output.append(copying: Text.colonSpace)
        let start = output.count
        output.append(copying: value)
        ByteText.neutraliseLineEnds(in: &output, from: start)
        output.append(copying: Text.lineEnd)
    }

    enum Text {
        static let version = Array("HTTP/1.1 ".utf8)
        static let contentType = Array("Content-Type: ".utf8)
        static let contentLength = Array("Content-Length: ".utf8)
        static let chunked = Array("Transfer-Encoding: chunked\r\n".utf8)
        static let upgrade = Array("Connection: upgrade\r\n".utf8)
        static let keepAlive = Array("Connection: keep-alive\r\n".utf8)
        static let keepAliveTimeout = Array("Keep-Alive: timeout=".utf8)
        static let close = Array("Connection: close\r\n".utf8)
        static let colonSpace = Array(": ".utf8)
        static let lineEnd: [UInt8] = [13, 10]
    }
}

/// The `Server` field and the signature under built-in pages, by `server_tokens`.
enum ServerField {
    /// Appends the field's line. Each text is appended where it is chosen: to carry one from there counts a reference to it,
    /// of which there is one for all workers.
    static func append(_ tokens: ServerTokens, to output: inout [UInt8]) {
        switch tokens {
        case .on, .build: output.append(copying: fullLine)
        case .off: output.append(copying: shortLine)
        }
    }

    static func appendSignature(_ tokens: ServerTokens, to page: inout [UInt8]) {
        switch tokens {
        case .on, .build: page.append(copying: full)
        case .off: page.append(copying: short)
        }
    }

    private static let full = Array("\(Product.name)/\(Product.version)".utf8)
    private static let short = Array(Product.name.utf8)
    private static let fullLine = Array("Server: ".utf8) + full + ASCII.lineEnd
    private static let shortLine = Array("Server: ".utf8) + short + ASCII.lineEnd
}

extension ResponseHeadWriter {
    /// Appends those of a list of WebSocket extensions that are kept; nothing where there are none.
    static func append(
        extensions field: FieldLine, of bytes: [UInt8], to output: inout [UInt8],
        where isKept: (_ name: Span<UInt8>) -> Bool
    ) {
        var rest: [UInt8] = []
        WebSocketExtensions.append(bytes.span.extracting(field.value), to: &rest, where: isKept)
        if !rest.isEmpty { append(bytes.span.extracting(field.name), rest, to: &output) }
    }
}
