internal import Config
internal import Wire

extension VariableTable {
    static let requestRows: [VariableRow] = [
        VariableRow("args", "arguments of the request, `set` may change them") { exchange, out in
            appendArguments(exchange, to: &out)
        },
        VariableRow("query_string", "the same as `$args`") { exchange, out in
            appendArguments(exchange, to: &out)
        },
        VariableRow("is_args", "`?` when the request has arguments, else empty") { exchange, out in
            if !exchange.arguments.isEmpty { out.append(ByteText.question) }
            return true
        },
        VariableRow("uri", "path of the request, normalised, as rewriting has left it") { exchange, out in
            out.append(contentsOf: exchange.uri)
            return !exchange.uri.isEmpty
        },
        VariableRow("document_uri", "the same as `$uri`") { exchange, out in
            out.append(contentsOf: exchange.uri)
            return !exchange.uri.isEmpty
        },
        VariableRow("request_uri", "path and arguments as the client sent them") { exchange, out in
            out.append(contentsOf: exchange.request.bytes[exchange.requestURI])
            return !exchange.requestURI.isEmpty
        },
        VariableRow("request", "the whole request line as received") { exchange, out in
            appendRequestLine(exchange.request, to: &out)
        },
        VariableRow("request_method", "method of the request") { exchange, out in
            let method = exchange.mainMethod
            guard !method.isEmpty else { return false }
            out.append(contentsOf: method)
            return true
        },
        VariableRow("server_protocol", "version of the request: `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`") {
            exchange, out in
            switch exchange.request.version {
            case .v0_9: return false
            case .v1_0: out.append(contentsOf: "HTTP/1.0".utf8)
            case .v1_1: out.append(contentsOf: "HTTP/1.1".utf8)
            case .v2: out.append(contentsOf: "HTTP/2.0".utf8)
            }
            return true
        },
        VariableRow("http2", "`h2` over TLS or `h2c` without it, for a request over HTTP/2; else empty") {
            exchange, out in
            // As in nginx, empty rather than absent.
            guard exchange.request.version == .v2 else { return true }
            out.append(contentsOf: (exchange.client.tls == nil ? "h2c" : "h2").utf8)
            return true
        },
        VariableRow("host", "host of the request line, else of `Host`, else the server's name") {
            exchange, out in
            // Of a request refused before its host was looked at, only the server is known.
            out.append(copying: exchange.host.isEmpty ? exchange.server.name : exchange.host)
            return true
        },
        VariableRow("content_length", "the request's `Content-Length`") { exchange, out in
            appendFirst(.contentLength, of: exchange.request, to: &out)
        },
        VariableRow("content_type", "the request's `Content-Type`") { exchange, out in
            appendFirst(.contentType, of: exchange.request, to: &out)
        },
        VariableRow("remote_user", "user name of Basic authentication") { exchange, out in
            BasicCredentials.appendUser(of: exchange.request, to: &out)
        },
        VariableRow(
            "request_body",
            "body of the request, once it was read whole; what is sent upstream with it waits for that"
        ) {
            exchange, out in
            guard let body = exchange.requestBody else { return false }
            out.append(contentsOf: body)
            return true
        },
        VariableRow("request_id", "16 random bytes in hexadecimal, of each request its own") {
            exchange, out in
            Hexadecimal.append(exchange.randomBytes.0, to: &out)
            Hexadecimal.append(exchange.randomBytes.1, to: &out)
            return true
        },
        VariableRow("request_length", "bytes of the request, line, head and body", timing: .running) {
            exchange, out in
            ASCII.appendDecimal(exchange.receivedHeadBytes + exchange.receivedBodyBytes, to: &out)
            return true
        },
        VariableRow("scheme", "`http`, or `https` over TLS") { exchange, out in
            out.append(contentsOf: exchange.client.tls == nil ? "http".utf8 : "https".utf8)
            return true
        },
        VariableRow(
            "limit_req_status",
            "`PASSED`, `DELAYED`, `REJECTED`, `DELAYED_DRY_RUN` or `REJECTED_DRY_RUN`, where `limit_req` had a key"
        ) { $0.requestLimitStatus.append(to: &$1) },
        VariableRow(
            "limit_conn_status",
            "`PASSED`, `REJECTED` or `REJECTED_DRY_RUN`, where `limit_conn` had a key"
        ) { $0.connectionLimitStatus.append(to: &$1) },
        VariableRow("https", "`on` over TLS, else empty") { exchange, out in
            if exchange.client.tls != nil { out.append(contentsOf: "on".utf8) }
            return true
        },
    ]

    private static func appendArguments(_ exchange: Exchange, to out: inout [UInt8]) -> Bool {
        guard !exchange.arguments.isEmpty else { return false }
        out.append(contentsOf: exchange.arguments)
        return true
    }

    private static func appendRequestLine(_ request: RequestHead, to out: inout [UInt8]) -> Bool {
        let bytes = request.bytes
        guard !bytes.isEmpty else { return false }
        // Empty lines may come before the request line (RFC 9112 §2.2).
        let start = request.method.isEmpty ? 0 : request.method.lowerBound
        var end = max(start, request.target.upperBound)
        while end < bytes.count, bytes[end] != UInt8(ascii: "\n") { end += 1 }
        if end > start, end <= bytes.count, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        guard end > start else { return false }
        out.append(contentsOf: bytes[start..<end])
        return true
    }

    private static func appendFirst(_ id: FieldID, of request: RequestHead, to out: inout [UInt8]) -> Bool {
        guard let index = request.firstIndex(of: id) else { return false }
        let field = request.fields[index]
        let start = Int(field.valueStart)
        out.append(contentsOf: request.bytes[start..<start + Int(field.valueLength)])
        return true
    }
}
