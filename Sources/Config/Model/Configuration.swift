/// Everything one configuration says, checked and merged: nothing in it changes once it is made.
///
/// Each worker has a copy of its own, since a request counts references to many of the objects in it, and a count that two
/// processors change goes back and forth between them. What names a part across copies is its position.
///
/// Inheritance is already applied: each `Location` and each `VirtualServer` carries complete `Settings`.
package final class Configuration: Sendable {
    package let process: ProcessSettings
    /// What a server goes by that has no directives of its own; for what is done outside of any.
    package let http: Settings
    package let listeners: [Listener]
    /// In the order written; each has its position here for its `index`.
    package let servers: [VirtualServer]
    package let upstreams: [UpstreamGroup]
    package let maps: [MapTable]
    package let variables: [VariableDefinition]
    /// How many values `set` and named groups may assign in one exchange.
    package let assignedSlots: Int
    /// In the order in which their directives were met. Those of `init_by_lua_…` are in no plan: each worker runs them.
    package let scripts: [Script]
    /// Positions in `scripts`, outer contexts first. Levels with equal lists share one.
    package let scriptPlans: [[Int]]
    /// How many values scripts compute for one exchange: one for each name of a variable.
    package let scriptSlots: Int
    package let lua: LuaSettings
    /// Of the files that an `access_log` with `buffer=` names.
    package let logBuffers: [AccessLog.Destination: LogBuffering]
    /// In the order written: what `limit_req` and `limit_conn` name by position.
    package let limitZones: [LimitZoneSettings]

    package init(
        process: ProcessSettings, http: Settings = Settings(Settings.Values()), listeners: [Listener],
        servers: [VirtualServer], upstreams: [UpstreamGroup], maps: [MapTable],
        variables: [VariableDefinition], assignedSlots: Int, scripts: [Script] = [],
        scriptPlans: [[Int]] = [], scriptSlots: Int = 0, lua: LuaSettings = LuaSettings(),
        logBuffers: [AccessLog.Destination: LogBuffering] = [:], limitZones: [LimitZoneSettings] = []
    ) {
        self.process = process
        self.http = http
        self.listeners = listeners
        self.servers = servers
        self.upstreams = upstreams
        self.maps = maps
        self.variables = variables
        self.assignedSlots = assignedSlots
        self.scripts = scripts
        self.scriptPlans = scriptPlans
        self.scriptSlots = scriptSlots
        self.lua = lua
        self.logBuffers = logBuffers
        self.limitZones = limitZones
    }
}

/// Directives of the main and events contexts.
package struct ProcessSettings: Sendable {
    /// `nil` means `auto`: one worker thread a processor.
    package var workerProcesses: Int? = 1
    /// Connections of one worker, upstream ones included. nginx's default is 512.
    package var workerConnections = 512
    package var workerFileLimit: Int?
    package var daemon = true
    package var pidFile = "/run/switchyard.pid"
    package var user: String?
    package var group: String?
    package var errorLogs: [ErrorLog] = []
    /// Milliseconds; `nil` waits without end.
    package var workerShutdownTimeout: Int?

    package init() {}
}

package enum LogLevel: Int, Sendable, Comparable, CaseIterable {
    case debug, info, notice, warn, error, crit, alert, emerg

    package static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }
    package var name: String { String(describing: self) }
}

package struct ErrorLog: Sendable, Hashable {
    package enum Destination: Sendable, Hashable {
        case file(String)
        case standardError
    }
    package var destination: Destination
    package var level: LogLevel

    package init(destination: Destination, level: LogLevel = .error) {
        self.destination = destination
        self.level = level
    }
}

/// One address that is listened on, with the servers behind it.
package struct Listener: Sendable {
    package var address: ListenAddress
    package var options: ListenOptions
    package var defaultServer: VirtualServer
    /// Chosen among by `Host`.
    package var names: ServerNameTable
    /// `listen … http2`, the older form of `http2 on`.
    package var isHTTP2: Bool
    /// Connections begin with a handshake of TLS.
    package var isTLS = false
    /// Connections begin with a header of the PROXY protocol, even before TLS.
    package var hasProxyProtocol = false

    package init(
        address: ListenAddress, options: ListenOptions, defaultServer: VirtualServer, names: ServerNameTable,
        isHTTP2: Bool = false
    ) {
        self.isHTTP2 = isHTTP2
        self.address = address
        self.options = options
        self.defaultServer = defaultServer
        self.names = names
    }
}

package enum ListenAddress: Sendable, Hashable {
    /// `host` is numeric, `*` already being `0.0.0.0`.
    case ipv4(host: String, port: UInt16)
    /// `host` is numeric, without brackets.
    case ipv6(host: String, port: UInt16)
    case unix(path: String)

    /// As nginx writes it: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
    package var description: String {
        switch self {
        case .ipv4(let host, let port): "\(host):\(port)"
        case .ipv6(let host, let port): "[\(host)]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

package struct ListenOptions: Sendable, Equatable {
    package var backlog = 511
    package var reusePort = false
    package var ipv6Only = true
    /// Bytes; `nil` leaves the kernel's.
    package var sendBuffer: Int?
    package var receiveBuffer: Int?
    package var keepAliveProbes = false
    /// TCP_KEEPIDLE and TCP_KEEPINTVL in seconds, and TCP_KEEPCNT; `nil` leaves the kernel's.
    package var keepAliveIdle: Int?
    package var keepAliveInterval: Int?
    package var keepAliveCount: Int?

    package init() {}
}

/// A named group of a regular expression and the assigned-variable slot that it fills.
package struct NamedGroup: Sendable, Hashable {
    package var group: Int
    package var slot: Int

    package init(group: Int, slot: Int) {
        self.group = group
        self.slot = slot
    }
}

/// A `server` block.
package final class VirtualServer: Sendable {
    /// Which it is in every copy of its configuration: its position in `Configuration.servers`.
    package let index: Int
    /// The first `server_name`, for `$server_name`; empty when there is none.
    package let name: [UInt8]
    package let settings: Settings
    /// Rewrite directives of the server itself, run before a location is chosen.
    package let rewrites: [RewriteInstruction]
    package let locations: LocationTable
    /// By their names as written, with the `@`.
    package let namedLocations: [[UInt8]: Location]
    /// The server seen as a location, for what is decided before (or without) one.
    package let root: Location
    /// Reading heads happens before a location is known, so these are the server's own.
    package let connection: ConnectionSettings
    package let tls: ServerTLSSettings

    package init(
        index: Int, name: [UInt8], settings: Settings, rewrites: [RewriteInstruction],
        locations: LocationTable, namedLocations: [[UInt8]: Location], root: Location,
        connection: ConnectionSettings,
        tls: ServerTLSSettings = ServerTLSSettings()
    ) {
        self.index = index
        self.name = name
        self.settings = settings
        self.rewrites = rewrites
        self.locations = locations
        self.namedLocations = namedLocations
        self.root = root
        self.connection = connection
        self.tls = tls
    }
}

/// What governs a client connection before a location is chosen. Times in milliseconds, sizes in bytes.
package struct ConnectionSettings: Sendable, Equatable {
    package var clientHeaderTimeout = 60_000
    package var clientHeaderBufferSize = 1024
    package var largeHeaderBufferCount = 4
    package var largeHeaderBufferSize = 8192
    package var ignoreInvalidHeaders = true
    package var underscoresInHeaders = false
    package var mergeSlashes = true
    package var http2 = HTTP2Settings()

    package init() {}
}

/// HTTP/2 for clients. Over TLS the server of the name that is asked for decides for a connection, else the listener's
/// default server.
package struct HTTP2Settings: Sendable, Equatable {
    package var isOn = false
    package var maxConcurrentStreams = 128
    /// Bytes of a request's body that may come before the proxy has passed any of them on.
    package var bodyPrereadSize = 65_536

    package init() {}
}

/// An `upstream` block, or the group that a `proxy_pass` to a literal host stands for.
package final class UpstreamGroup: Sendable {
    package let name: [UInt8]
    package let servers: [UpstreamServer]
    package let method: BalancingMethod
    /// Idle connections kept per worker; 0 turns keepalive off.
    package let keepalive: Int
    package let keepaliveRequests: Int
    /// Milliseconds.
    package let keepaliveTimeout: Int
    package let keepaliveTime: Int
    /// What asks for the names of servers with `resolve`; `nil` for the `http` block's, as is the time in milliseconds.
    package let resolver: Resolver?
    package let resolverTimeout: Int?
    /// Written for a `proxy_pass` to a literal host rather than an `upstream` block.
    package let isImplicit: Bool

    package init(
        name: [UInt8], servers: [UpstreamServer], method: BalancingMethod = .roundRobin, keepalive: Int = 0,
        keepaliveRequests: Int = 1000, keepaliveTimeout: Int = 60_000, keepaliveTime: Int = 3_600_000,
        resolver: Resolver? = nil, resolverTimeout: Int? = nil, isImplicit: Bool = false
    ) {
        self.name = name
        self.servers = servers
        self.method = method
        self.keepalive = keepalive
        self.keepaliveRequests = keepaliveRequests
        self.keepaliveTimeout = keepaliveTimeout
        self.keepaliveTime = keepaliveTime
        self.resolver = resolver
        self.resolverTimeout = resolverTimeout
        self.isImplicit = isImplicit
    }
}

/// One `server` line of an `upstream` block. A host name may resolve to several addresses.
package struct UpstreamServer: Sendable, Hashable {
    package var endpoint: UpstreamEndpoint
    /// As it is written: `hash … consistent` places it by that.
    package var name: [UInt8]
    package var weight = 1
    package var maxFails = 1
    /// Milliseconds: both the window in which failures count and how long a failed peer is left alone.
    package var failTimeout = 10_000
    package var maxConnections = 0
    package var isBackup = false
    package var isDown = false
    /// `resolve` behind a name: its addresses are looked up while the configuration runs, and not when it is loaded.
    package var isFollowed = false
    /// `service=`, of a server whose name is followed: what is looked up is the service of this name at it.
    package var service: String?
    /// Where the configuration names it.
    package var position: SourcePosition?

    package init(endpoint: UpstreamEndpoint, name: [UInt8] = [], position: SourcePosition? = nil) {
        self.endpoint = endpoint
        self.name = name
        self.position = position
    }
}

package enum UpstreamEndpoint: Sendable, Hashable {
    /// A name or numeric address without brackets; IPv6 is told by its colons.
    case host(String, port: UInt16)
    case unix(path: String)

    /// It is to be looked up.
    package var isName: Bool {
        guard case .host(let host, _) = self else { return false }
        return !host.contains(":") && NetworkAddress.ipv4(Array(host.utf8)) == nil
    }
}

/// A `map`, `geo` or `split_clients` block.
package struct MapTable: Sendable {
    package var name: String
    /// What is looked up: `$http_upgrade` in the recipe.
    package var key: Template
    /// Exact keys compare without case, as names do. Wildcards are there with `hostnames` alone.
    package var entries = HostTable<Template>()
    package var defaultValue = Template(literal: [])
    package var isVolatile = false
    package var hasHostnames = false
    /// What takes the place of `entries` in a block other than `map`.
    package var search: MapSearch?

    package init(name: String, key: Template) {
        self.name = name
        self.key = key
    }

    /// Its key and its values.
    package var templates: [Template] { [key, defaultValue] + entries.values }
}
