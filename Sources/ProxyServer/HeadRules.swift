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
    /// `tcp_nodelay`, as long as no location is known.
    let sendsAtOnce: Bool
    /// `nil` where HTTP/2 is not spoken.
    let http2: HTTP2Rules?
    /// Of heads that need no large buffer, in bytes.
    private let smallSize: Int

    convenience init(_ listener: Listener) {
        self.init(listener.defaultServer, among: listener.servers, speaksHTTP2: listener.isHTTP2)
    }

    /// `servers` are those that a client may ask for which has begun with `server`.
    convenience init(_ server: VirtualServer, among servers: [VirtualServer], speaksHTTP2: Bool = false) {
        let own = server.connection
        let dependOnHost = servers.contains { !$0.connection.hasSameLargeBuffers(as: own) }
        self.init(own, server.settings.values, dependOnHost: dependOnHost, speaksHTTP2: speaksHTTP2)
    }

    init(
        _ settings: ConnectionSettings, _ values: Settings.Values, dependOnHost: Bool = false,
        speaksHTTP2: Bool = false
    ) {
        var limits = RequestHeadParser.Limits()
        limits.set(smallSize: settings.clientHeaderBufferSize, settings)
        limits.dependOnHost = dependOnHost
        self.limits = limits
        smallSize = settings.clientHeaderBufferSize
        timeout = settings.clientHeaderTimeout
        sendsAtOnce = values.tcpNoDelay
        http2 = settings.http2.isOn || speaksHTTP2 ? HTTP2Rules(settings, values, limits) : nil
    }

    /// For the rest of a head behind its host's name, which has led to `server`, or to no other than that of the rules. As in
    /// nginx, large buffers are that server's, while the small one was there before the name.
    func limits(of server: VirtualServer?) -> RequestHeadParser.Limits {
        var limits = limits
        if let server { limits.set(smallSize: smallSize, server.connection) }
        limits.dependOnHost = false
        return limits
    }
}

extension RequestHeadParser.Limits {
    fileprivate mutating func set(smallSize: Int, _ settings: ConnectionSettings) {
        let size = max(settings.largeHeaderBufferSize, smallSize)
        maxRequestLine = size
        maxFieldLine = size
        maxHead = smallSize + size * settings.largeHeaderBufferCount
    }
}

extension ConnectionSettings {
    fileprivate func hasSameLargeBuffers(as other: ConnectionSettings) -> Bool {
        largeHeaderBufferSize == other.largeHeaderBufferSize
            && largeHeaderBufferCount == other.largeHeaderBufferCount
    }
}
