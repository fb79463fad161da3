/// Deflates records with the heads of requests and responses in them, each by itself (RFC 1951).
///
/// A record is short, and much of it is what most heads hold: so zlib is given a text with that beforehand, which
/// records may refer to. Takes 32 KB for its worker, whatever it has deflated.
package final class HeadDeflater {
    private let deflate = ZlibStream(.deflate(windowBits: windowBits, level: 6, memoryLevel: 4))
    private let inflate = ZlibStream(.inflate(windowBits: windowBits))

    /// The text and a record or two.
    private static let windowBits = 11
    /// RFC 1951 §3.2.4: the empty block that a flush ends with.
    private static let flushEnd: [UInt8] = [0, 0, 0xff, 0xff]

    package init() {}

    package func append(deflating record: Span<UInt8>, to output: inout [UInt8]) {
        deflate.reset()
        deflate.setDictionary(Self.commonText.span)
        deflate.deflate(record, flushes: true, to: &output)
        if output.suffix(Self.flushEnd.count).elementsEqual(Self.flushEnd) {
            output.removeLast(Self.flushEnd.count)
        }
    }

    /// Appends the record that `append(deflating:to:)` made `bytes` of.
    package func append(inflating bytes: Span<UInt8>, to output: inout [UInt8]) {
        inflate.reset()
        inflate.setDictionary(Self.commonText.span)
        var position = 0
        _ = inflate.inflate(bytes, from: &position, to: &output, limit: .max)
        position = 0
        _ = inflate.inflate(Self.flushEnd.span, from: &position, to: &output, limit: .max)
    }

    /// What WebSocket handshakes have in common. zlib takes fewer bits for what is nearer to the end.
    private static let commonText = Array(
        """
        X-Real-IP: X-Forwarded-Proto: https\r
        X-Forwarded-Host: X-Forwarded-For: Authorization: Bearer Referer: Via: Keep-Alive: timeout=\
        Content-Type: application/json\r
        Content-Length: Transfer-Encoding: chunked\r
        Set-Cookie: Path=/; HttpOnly; Secure; SameSite=Max-Age=Expires=Strict-Transport-Security: \
        Sec-Fetch-Dest: websocket\r
        Sec-Fetch-Mode: websocket\r
        Sec-Fetch-Site: same-origin\r
        User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7; rv:) Gecko/20100101 Firefox/\
        Mozilla/5.0 (X11; Linux x86_64) (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
        Chrome/.0.0.0 Version/ Mobile Safari/537.36 Edg/\r
        Accept: */*\r
        Accept-Language: en-US,en;q=0.9,q=0.5\r
        Accept-Encoding: gzip, deflate, br, zstd\r
        Cache-Control: no-cache\r
        Pragma: no-cache\r
        Cookie: session=Origin: https://wss.www..com\r
        Sec-WebSocket-Protocol: Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\
        ; server_no_context_takeover; client_no_context_takeover\r
        HTTP/1.1 101 Switching Protocols\r
        Server: nginx\r
        Date: Mon, Tue, Wed, Thu, Fri, Sat, Sun, Jan 2026 GMT\r
        Connection: upgrade\r
        Upgrade: websocket\r
        Sec-WebSocket-Accept: =\r
        GET /ws/socket HTTP/1.1\r
        Host: 127.0.0.1:localhost:Connection: Upgrade\r
        Upgrade: websocket\r
        Sec-WebSocket-Version: 13\r
        Sec-WebSocket-Key: ==\r
        \r

        """.utf8)
}
