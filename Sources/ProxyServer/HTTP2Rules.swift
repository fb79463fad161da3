internal import Config
internal import HTTP2
internal import Wire

/// How HTTP/2 is spoken on a connection, by the server that `HeadRules` are of.
struct HTTP2Rules {
    var options = HTTP2Session.Options()
    /// For the heads that streams' requests become. Their fields were held to limits of their own before, so that what one
    /// line of HTTP/1.1 is made of may be longer: a cookie, of its crumbs.
    let headLimits: RequestHeadParser.Limits
    /// Milliseconds.
    let headTimeout: Int
    let keepaliveTimeout: Int
    let keepaliveTime: Int
    let keepaliveRequests: Int
    let sendTimeout: Int

    init(_ connection: ConnectionSettings, _ values: Settings.Values, _ limits: RequestHeadParser.Limits) {
        options.maxConcurrentStreams = connection.http2.maxConcurrentStreams
        options.streamWindow = connection.http2.bodyPrereadSize
        options.head.maxRequestLine = limits.maxRequestLine
        options.head.maxFieldLine = limits.maxFieldLine
        options.head.maxList = limits.maxHead
        options.head.maxFields = limits.maxFields
        var headLimits = limits
        headLimits.maxRequestLine = limits.maxHead
        headLimits.maxFieldLine = limits.maxHead
        // As in nginx, those of the connection hold for all its streams.
        headLimits.dependOnHost = false
        self.headLimits = headLimits
        headTimeout = connection.clientHeaderTimeout
        keepaliveTimeout = values.keepaliveTimeout
        keepaliveTime = values.keepaliveTime
        keepaliveRequests = values.keepaliveRequests
        sendTimeout = values.sendTimeout
    }
}
