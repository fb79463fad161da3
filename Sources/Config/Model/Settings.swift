/// What a location says about requests, after inheritance. Times in milliseconds, sizes in bytes.
package final class Settings: Sendable {
    package let values: Values

    package init(_ values: Values) { self.values = values }

    package struct Values: Sendable {
        // Client side.
        package var clientBodyTimeout = 60_000
        /// Bytes of a body that are kept to be sent again; a longer one is sent once.
        package var clientBodyBufferSize = 16 << 10
        /// 0 turns the check off.
        package var clientMaxBodySize = 1 << 20
        package var limits = LimitSettings()
        package var sendTimeout = 60_000
        /// 0 turns keep-alive off.
        package var keepaliveTimeout = 75_000
        /// The second argument of `keepalive_timeout`, sent as `Keep-Alive: timeout=`, in seconds.
        package var keepaliveHeaderTimeout: Int?
        package var keepaliveRequests = 1000
        package var keepaliveTime = 3_600_000
        package var keepaliveDisable: KeepaliveDisable = .msie6
        package var tcpNoDelay = true
        package var serverTokens = ServerTokens.on
        package var serverNameInRedirect = false
        package var portInRedirect = true
        package var absoluteRedirect = true
        package var chunkedTransferEncoding = true
        package var resetTimedoutConnection = false
        /// Bytes of content in one frame.
        package var http2ChunkSize = 8192

        // Responses.
        package var errorPages: [ErrorPage] = []
        package var recursiveErrorPages = false
        package var addHeaders: [AddedHeader] = []
        package var addTrailers: [AddedHeader] = []
        package var expires: Expires = .off
        package var defaultType: [UInt8] = Array("text/plain".utf8)
        /// File extension, lower case, without the dot → type.
        package var types: [[UInt8]: [UInt8]] = [:]

        // Logs.
        package var accessLogs: [AccessLog] = []
        package var errorLogs: [ErrorLog] = []
        package var logSubrequest = false

        // Proxying.
        package var proxyHTTPVersion = ProxyHTTPVersion.v1_0
        package var proxySetHeaders: [ProxyHeader] = []
        /// Lower case names: nginx's own (Date, Server, X-Pad, X-Accel-…) plus `proxy_hide_header`, less
        /// `proxy_pass_header`.
        package var proxyHiddenHeaders: Set<[UInt8]> = []
        package var proxyPassRequestHeaders = true
        package var proxyPassRequestBody = true
        package var proxySetBody: Template?
        package var proxyMethod: Template?
        package var proxyRedirects: [ProxyRedirect] = [.default]
        package var proxyCookieDomains: [CookieRewrite] = []
        package var proxyCookiePaths: [CookieRewrite] = []
        package var proxyCookieFlags: [CookieFlags] = []
        package var proxyConnectTimeout = 60_000
        package var proxySendTimeout = 60_000
        package var proxyReadTimeout = 60_000
        package var proxyBuffering = true
        package var proxyRequestBuffering = true
        package var proxyBufferSize = 4096
        /// `proxy_buffers`, multiplied.
        package var proxyBuffersTotal = 8 * 4096
        package var proxyBusyBuffersSize: Int?
        package var proxyInterceptErrors = false
        /// `X-Accel-Redirect` is followed: it is not in `proxy_ignore_headers`.
        package var proxyFollowsAccelRedirect = true
        /// `X-Accel-Limit-Rate` has its effect: it is not in `proxy_ignore_headers`.
        package var proxyFollowsAccelLimitRate = true
        /// Bytes in a second; `nil` is without limit, and so is what comes out as 0.
        package var limitRate: Template?
        package var limitRateAfter: Template?
        package var proxyLimitRate: Template?
        package var proxyIgnoreClientAbort = false
        package var proxySocketKeepalive = false
        package var proxyNextUpstream: NextUpstream = [.error, .timeout]
        /// 0 is without limit.
        package var proxyNextUpstreamTries = 0
        package var proxyNextUpstreamTimeout = 0
        package var proxyTLS = ProxyTLSSettings()
        package var upgradeProtocols = UpgradeProtocols.any
        package var webSocket = WebSocketSettings()
        package var resolver: Resolver?
        package var resolverTimeout = 30_000

        // Scripts.
        /// A position in `Configuration.scriptPlans`; -1 where no script runs.
        package var scriptPlan = -1
        /// A slot stands once; a slot without an entry has no value here.
        package var scriptVariables: [ScriptVariable] = []
        package var luaFailure = ScriptFailurePolicy.closed

        package init() {}
    }
}

package struct KeepaliveDisable: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let msie6 = KeepaliveDisable(rawValue: 1)
    package static let safari = KeepaliveDisable(rawValue: 2)
}

package enum ServerTokens: Sendable { case on, off, build }

package enum ProxyHTTPVersion: Sendable { case v1_0, v1_1, v2 }

/// A `proxy_set_header`; a value that comes out empty is not sent.
package struct ProxyHeader: Sendable, Hashable {
    package var name: [UInt8]
    package var value: Template

    package init(name: [UInt8], value: Template) {
        self.name = name
        self.value = value
    }
}

/// An `add_header` or `add_trailer`.
package struct AddedHeader: Sendable, Hashable {
    package var name: [UInt8]
    package var value: Template
    /// Added whatever the status, rather than to 200, 201, 204, 206, 301, 302, 303, 304, 307 and 308 only.
    package var always: Bool

    package init(name: [UInt8], value: Template, always: Bool) {
        self.name = name
        self.value = value
        self.always = always
    }
}

/// One code of an `error_page`.
package struct ErrorPage: Sendable, Hashable {
    package enum ResponseStatus: Sendable, Hashable {
        case unchanged
        /// `=200`
        case fixed(Int)
        /// `=`: whatever the page itself answers.
        case fromPage
    }
    package var status: Int
    package var response: ResponseStatus
    /// A URI, `@name`, or a URL to redirect to.
    package var target: Template

    package init(status: Int, response: ResponseStatus, target: Template) {
        self.status = status
        self.response = response
        self.target = target
    }
}

package enum Expires: Sendable, Hashable {
    case off
    case epoch
    case max
    /// Seconds from now; negative means `Cache-Control: no-cache`.
    case after(Int)
    /// Seconds from the response's `Last-Modified`.
    case modifiedPlus(Int)
    /// `@15h30m`: seconds after midnight.
    case daily(Int)
    /// A value with variables, of any of the other forms.
    case computed(Template)
    /// Of which a time counts from the response's `Last-Modified`, and no other form means anything.
    case computedModified(Template)

    package var isComputed: Bool {
        switch self {
        case .computed, .computedModified: true
        case .off, .epoch, .max, .after, .modifiedPlus, .daily: false
        }
    }
}

package enum ProxyRedirect: Sendable {
    /// From the `proxy_pass` URL to the location's prefix.
    case `default`
    case off
    case literal(from: Template, to: Template)
    case regex(GroupedPattern, to: Template)
}

/// A `proxy_cookie_domain` or `proxy_cookie_path`.
package enum CookieRewrite: Sendable {
    case literal(from: Template, to: Template)
    case regex(GroupedPattern, to: Template)
}

/// A `proxy_cookie_flags`.
package struct CookieFlags: Sendable {
    package enum Name: Sendable {
        case literal(Template)
        case regex(GroupedPattern)
    }
    package var cookie: Name
    /// Each of which comes out as the name of a flag, or empty.
    package var flags: [Template]

    package init(cookie: Name, flags: [Template]) {
        self.cookie = cookie
        self.flags = flags
    }
}

/// What a `proxy_cookie_flags` may do to a cookie, by the words for it.
package enum CookieFlag: String, Sendable {
    case secure, nosecure, httponly, nohttponly, nosamesite
    case strict = "samesite=strict"
    case lax = "samesite=lax"
    case none = "samesite=none"

    /// In any case.
    package init?(_ name: [UInt8]) { self.init(rawValue: String(decoding: name.lowercased(), as: UTF8.self)) }
}

package enum UpgradeProtocols: Sendable, Hashable {
    case off
    /// Every protocol but h2c and TLS.
    case any
    /// Lower case.
    case only([[UInt8]])
}

package struct NextUpstream: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    package static let error = NextUpstream(rawValue: 1 << 0)
    package static let timeout = NextUpstream(rawValue: 1 << 1)
    package static let invalidHeader = NextUpstream(rawValue: 1 << 2)
    package static let http500 = NextUpstream(rawValue: 1 << 3)
    package static let http502 = NextUpstream(rawValue: 1 << 4)
    package static let http503 = NextUpstream(rawValue: 1 << 5)
    package static let http504 = NextUpstream(rawValue: 1 << 6)
    package static let http403 = NextUpstream(rawValue: 1 << 7)
    package static let http404 = NextUpstream(rawValue: 1 << 8)
    package static let http429 = NextUpstream(rawValue: 1 << 9)
    package static let nonIdempotent = NextUpstream(rawValue: 1 << 10)
    package static let off = NextUpstream(rawValue: 1 << 11)
}

package struct Resolver: Sendable, Hashable {
    /// Numeric `host:port` or `[host]:port`.
    package var servers: [String]
    /// Milliseconds that overrule the answer's own time to live.
    package var valid: Int?
    package var ipv4 = true
    package var ipv6 = true

    package init(servers: [String]) { self.servers = servers }
}

package struct AccessLog: Sendable, Hashable {
    package enum Destination: Sendable, Hashable {
        case file(String)
        case standardOutput
        case standardError
    }
    package enum Escape: Sendable, Hashable { case `default`, json, none }

    package var destination: Destination
    package var format: Template
    package var escape: Escape
    /// `if=`: nothing is logged when it comes out empty or `0`.
    package var condition: Template?
    /// A path with variables, in place of `destination`.
    package var pathTemplate: Template?

    package init(destination: Destination, format: Template, escape: Escape = .default) {
        self.destination = destination
        self.format = format
        self.escape = escape
    }
}

/// How lines wait before they are written to a file, whichever `access_log` they are of: they stay in their order.
package struct LogBuffering: Sendable, Hashable {
    /// Bytes; 0 writes each line by itself.
    package var size = 0
    /// Milliseconds a line may wait; 0 is without limit.
    package var flushInterval = 0

    package init(size: Int = 0, flushInterval: Int = 0) {
        self.size = size
        self.flushInterval = flushInterval
    }
}
