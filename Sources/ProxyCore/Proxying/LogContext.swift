internal import Config
internal import Wire

/// What follows the message in a line of the error log: whose request it was and where it was going.
package enum LogContext {
    /// Appends `, client: …, server: …, request: "…", subrequest: "…", upstream: "…", host: "…"`, as nginx does. The upstream is
    /// `peer` with the `uri` that is asked of it; without a peer it is left out.
    package static func append(
        _ exchange: Exchange, peer: PeerAddress?, uri: [UInt8], to line: inout [UInt8]
    ) {
        line.append(contentsOf: ", client: ".utf8)
        appendPrintable(exchange.client.address, 0..<exchange.client.address.count, to: &line)
        line.append(contentsOf: ", server: ".utf8)
        appendPrintable(exchange.server.name, 0..<exchange.server.name.count, to: &line)
        let request = exchange.request
        let requestLine =
            0..<(request.bytes.firstIndex { $0 == ByteText.carriageReturn || $0 == ByteText.lineFeed }
            ?? request.bytes.count)
        appendQuoted(", request: \"", request.bytes, requestLine, to: &line)
        if exchange.isSubrequest {
            appendQuoted(", subrequest: \"", exchange.uri, 0..<exchange.uri.count, to: &line)
        }
        if let peer {
            var url = Array(exchange.proxyIsTLS ? "https://".utf8 : "http://".utf8) + peer.text
            if case .unix = peer.endpoint { url.append(ByteText.colon) }
            url += uri
            appendQuoted(", upstream: \"", url, 0..<url.count, to: &line)
        }
        for (title, index) in [
            (", host: \"", request.firstIndex(of: .host)),
            (", referrer: \"", request.firstIndex(of: .referer)),
        ] {
            guard let index else { continue }
            appendQuoted(title, request.bytes, request.fields[index].value, to: &line)
        }
    }

    private static func appendQuoted(
        _ title: String, _ bytes: [UInt8], _ range: Range<Int>, to line: inout [UInt8]
    ) {
        line.append(contentsOf: title.utf8)
        appendPrintable(bytes, range, to: &line)
        line.append(ByteText.quote)
    }

    /// What a client sends must not begin a line of the log, nor steer a terminal.
    private static func appendPrintable(_ bytes: [UInt8], _ range: Range<Int>, to line: inout [UInt8]) {
        for byte in bytes[range].prefix(LogBounds.value) {
            line.append(ByteText.isControl(byte) ? ByteText.question : byte)
        }
        if range.count > LogBounds.value { line.append(contentsOf: LogBounds.remark(range.count).utf8) }
    }
}
