internal import Config
internal import Wire

/// What bounds the reading of a request head: the listener's default server decides as long as the name is unknown; over TLS,
/// the server that the client named in the handshake.
///
/// Not a value: they are looked up several times for a request, and would be copied each time.
final class HeadRules {
    let limits: RequestHeadParser.Limits
    /// Milliseconds.
    let timeout: Int
    /// `nil` where HTTP/2 is not spoken.
    let http2: HTTP2Rules?

    convenience init(_ listener: Listener) {
        let server = listener.defaultServer
        self.init(server.connection, server.settings.values, speaksHTTP2: listener.isHTTP2)
    }

    init(_ settings: ConnectionSettings, _ values: Settings.Values, speaksHTTP2: Bool = false) {
        var limits = RequestHeadParser.Limits()
        let size = max(settings.largeHeaderBufferSize, settings.clientHeaderBufferSize)
        limits.maxRequestLine = size
        limits.maxFieldLine = size
        limits.maxHead = settings.clientHeaderBufferSize + size * settings.largeHeaderBufferCount
        limits.allowUnderscores = settings.underscoresInHeaders
        self.limits = limits
        timeout = settings.clientHeaderTimeout
        http2 = settings.http2.isOn || speaksHTTP2 ? HTTP2Rules(settings, values, limits) : nil
    }
}
