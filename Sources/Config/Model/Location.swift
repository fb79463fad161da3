package import Patterns

/// A `location`, an `if` block or a `limit_except` block: all three are settings that apply to some requests.
package final class Location: Sendable {
    package let matcher: LocationMatcher
    package let settings: Settings
    /// In the order written; an `if` block's own follow inside `RewriteInstruction.when`.
    package let rewrites: [RewriteInstruction]
    package let handler: ContentHandler
    /// Locations nested in this one.
    package let children: LocationTable
    package let limitExcept: LimitExcept?
    /// `allow` and `deny` in order; the first that matches decides.
    package let accessRules: [AccessRule]
    /// Whom to believe where the client is; `nil` for nobody.
    package let realIP: RealIP?
    /// How clients say who they are; `nil` where they need not.
    package let authentication: Authentication?
    /// One of the three above has something to say.
    package let checksAccess: Bool
    /// `internal;`
    package let isInternal: Bool
    /// `limit_req` or `limit_conn` has something to say.
    package let hasLimits: Bool
    /// For diagnostics: `file:line`.
    package let source: String

    package init(
        matcher: LocationMatcher, settings: Settings, rewrites: [RewriteInstruction], handler: ContentHandler,
        children: LocationTable, limitExcept: LimitExcept?, accessRules: [AccessRule],
        realIP: RealIP? = nil, authentication: Authentication? = nil, isInternal: Bool, source: String
    ) {
        self.matcher = matcher
        self.settings = settings
        self.rewrites = rewrites
        self.handler = handler
        self.children = children
        self.limitExcept = limitExcept
        self.accessRules = accessRules
        self.realIP = realIP
        self.authentication = authentication
        checksAccess = realIP != nil || !accessRules.isEmpty || authentication != nil
        self.isInternal = isInternal
        hasLimits = settings.values.limits.isActive
        self.source = source
    }
}

package enum LocationMatcher: Sendable {
    /// The whole of a server, where no location matches.
    case server
    case exact([UInt8])
    case prefix([UInt8], stopsRegexSearch: Bool)
    case regex(Pattern, namedGroups: [NamedGroup])
    case named([UInt8])
    case ifBlock
    case limitExcept
}

/// The locations of one level.
package struct LocationTable: Sendable {
    package var exact: [[UInt8]: Location] = [:]
    /// Longest first, so that the first that matches is the longest that does.
    package var prefixes: [Location] = []
    /// In the order written.
    package var regexes: [Location] = []

    package init() {}
    package var isEmpty: Bool { exact.isEmpty && prefixes.isEmpty && regexes.isEmpty }
}

/// What answers a request in a location.
package enum ContentHandler: Sendable {
    /// Nothing is configured: 404.
    case none
    case proxy(ProxyPass)
    case stubStatus
    case prometheusMetrics
}

/// A `proxy_pass`.
package final class ProxyPass: Sendable {
    package enum Target: Sendable {
        /// A position in `Configuration.upstreams`.
        case upstream(Int)
        /// The whole URL, to be evaluated for each request.
        case template(Template)
    }

    package let target: Target
    /// `$proxy_host` of a fixed target: host and, unless it is the scheme's own, port, as written.
    package let host: [UInt8]
    /// `$proxy_port` of a fixed target.
    package let port: [UInt8]
    /// What replaces the part of the URI that the location matched; `nil` passes the URI on as the client
    /// sent it. Of a fixed target only.
    package let uri: [UInt8]?
    /// The prefix of the location in which it stands, which `uri` replaces.
    package let locationPrefix: [UInt8]
    /// Of a fixed target: `https://`.
    package let isTLS: Bool

    package init(
        target: Target, host: [UInt8], port: [UInt8], uri: [UInt8]?, locationPrefix: [UInt8],
        isTLS: Bool = false
    ) {
        self.isTLS = isTLS
        self.target = target
        self.host = host
        self.port = port
        self.uri = uri
        self.locationPrefix = locationPrefix
    }
}

package struct LimitExcept: Sendable {
    /// Methods that the block does not apply to; GET includes HEAD. Upper case.
    package var methods: [[UInt8]]
    package var location: Location

    package init(methods: [[UInt8]], location: Location) {
        self.methods = methods
        self.location = location
    }
}

package struct AccessRule: Sendable, Hashable {
    package enum Network: Sendable, Hashable {
        case all
        case unix
        /// Network-order bytes (4 or 16) and how many leading bits count.
        case cidr([UInt8], bits: Int)
    }
    package var allows: Bool
    package var network: Network

    package init(allows: Bool, network: Network) {
        self.allows = allows
        self.network = network
    }
}

/// `set_real_ip_from`, `real_ip_header` and `real_ip_recursive`, where the first is there.
package final class RealIP: Sendable {
    /// The peers that are believed; `all` is not among them.
    package let trusted: [AccessRule.Network]
    package let source: Source
    /// Goes on to the left for as long as an address is one of a trusted peer.
    package let isRecursive: Bool

    package enum Source: Sendable {
        /// All lines of `X-Forwarded-For` are one list.
        case forwardedFor
        /// The first line of another field, whose name is in lower case.
        case field([UInt8])
        /// What the connection began with.
        case proxyProtocol
    }

    package init(trusted: [AccessRule.Network], source: Source, isRecursive: Bool) {
        self.trusted = trusted
        self.source = source
        self.isRecursive = isRecursive
    }
}

/// One step of the rewrite phase, in the order written.
package enum RewriteInstruction: Sendable {
    case set(slot: Int, value: Template)
    /// `set $args …`: the one built-in variable that can be assigned.
    case setArguments(Template)
    case rewrite(RewriteRule)
    case `return`(ReturnAction)
    case stop  // `break;`
    /// An `if`: when the condition holds, its location's rewrites run and its settings take over.
    case when(Condition, Location)
}

package struct RewriteRule: Sendable {
    package enum Flag: Sendable { case none, last, `break`, redirect, permanent }

    package var pattern: Pattern
    package var namedGroups: [NamedGroup]
    package var replacement: Template
    package var flag: Flag
    /// The replacement does not end in `?`, so the request's arguments are appended.
    package var keepsArguments: Bool
    /// The flag says so, or the replacement starts with `http://`, `https://` or `$scheme`: 302 unless `permanent`.
    package var isRedirect: Bool

    package init(
        pattern: Pattern, namedGroups: [NamedGroup], replacement: Template, flag: Flag, keepsArguments: Bool,
        isRedirect: Bool
    ) {
        self.pattern = pattern
        self.namedGroups = namedGroups
        self.replacement = replacement
        self.flag = flag
        self.keepsArguments = keepsArguments
        self.isRedirect = isRedirect
    }
}

package enum ReturnAction: Sendable {
    /// `return 204;` — with the built-in page of that status, or an `error_page`. 444 and 499 close the connection.
    case status(Int)
    case text(status: Int, Template)
    /// `return 301 URL;` or `return URL;` (302).
    case redirect(status: Int, Template)
}

package enum Condition: Sendable {
    /// False when the value is empty or `0`.
    case isTrue(Template)
    case equals(Template, Template)
    case notEquals(Template, Template)
    case matches(Template, Pattern, namedGroups: [NamedGroup], negated: Bool)
    case file(FileTest, Template, negated: Bool)

    package enum FileTest: Sendable { case isFile, isDirectory, exists, isExecutable }
}

/// A regular expression and the slots that its named groups assign.
package struct GroupedPattern: Sendable {
    package var pattern: Pattern
    package var namedGroups: [NamedGroup]

    package init(pattern: Pattern, namedGroups: [NamedGroup] = []) {
        self.pattern = pattern
        self.namedGroups = namedGroups
    }
}
