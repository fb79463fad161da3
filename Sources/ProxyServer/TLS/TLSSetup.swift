internal import Config
internal import ProxyCore
internal import TLS
internal import Wire

/// The contexts of TLS that a configuration needs, made when it is loaded: a certificate that is no good is found then.
package final class TLSSetup: Sendable {
    /// By `ObjectIdentifier` of the server; the configuration, which the generation holds, keeps these its own.
    private let servers: [ObjectIdentifier: TLSServer]
    private let listeners: [TLSListener?]
    /// By settings, of which equal ones share one.
    private let upstreams: [ProxyTLSSettings: TLSUpstream]
    /// Paths of files that secrets of connections are written to.
    let keyLogs: Set<String>
    /// What is shared with other configurations, with the sizes that this one says.
    private let zones: [(zone: any SharedZone, size: Int)]

    init(
        servers: [ObjectIdentifier: TLSServer], listeners: [TLSListener?],
        upstreams: [ProxyTLSSettings: TLSUpstream], keyLogs: Set<String>,
        zones: [(zone: any SharedZone, size: Int)]
    ) {
        self.zones = zones
        self.keyLogs = keyLogs
        self.servers = servers
        self.listeners = listeners
        self.upstreams = upstreams
    }

    /// The configuration runs: what it shares with the one before is as large as it says.
    func takeUp() { for (zone, size) in zones { zone.resize(to: size) } }

    /// `nil` for a listener without TLS.
    func listener(_ index: Int) -> TLSListener? {
        listeners.indices.contains(index) ? listeners[index] : nil
    }

    /// `nil` for a server without TLS.
    func server(_ server: VirtualServer) -> TLSServer? { servers[ObjectIdentifier(server)] }

    func upstream(_ settings: ProxyTLSSettings) -> TLSUpstream? { upstreams[settings] }
}

/// A certificate and its key, of which one has variables in its name.
typealias LateIdentity = (certificate: TLSSource, key: TLSSource)

/// A server's side of TLS.
final class TLSServer: Sendable {
    let server: VirtualServer
    let context: TLSContext
    /// Pairs with variables, to be read in each handshake.
    let lateIdentities: [LateIdentity]
    let passwords: [[UInt8]]

    init(
        _ server: VirtualServer, _ context: TLSContext,
        lateIdentities: [LateIdentity], passwords: [[UInt8]]
    ) {
        self.server = server
        self.context = context
        self.lateIdentities = lateIdentities
        self.passwords = passwords
    }
}

/// The servers of a listener with `ssl`.
final class TLSListener: Sendable {
    let name: String
    let defaultServer: TLSServer
    /// Some of its servers do.
    let takesEarlyData: Bool
    private let names: ServerNameTable
    private let servers: [ObjectIdentifier: TLSServer]

    init(_ listener: Listener, defaultServer: TLSServer, servers: [ObjectIdentifier: TLSServer]) {
        name = listener.address.description
        names = listener.names
        self.defaultServer = defaultServer
        self.servers = servers
        takesEarlyData = listener.servers.contains { $0.tls.takesEarlyData }
    }

    /// The server that the client names, and the one whose certificate it has; `nil` where it names none.
    func find(_ hello: TLSHello) -> (server: VirtualServer, tls: TLSServer)? {
        guard var name = hello.serverName?.map(ASCII.lowercased) else { return nil }
        if name.last == UInt8(ascii: ".") { name.removeLast() }
        guard let server = names.server(forName: name) else { return nil }
        return (server, servers[ObjectIdentifier(server)] ?? defaultServer)
    }
}

/// TLS towards the upstreams of locations with equal settings.
final class TLSUpstream: Sendable {
    let settings: ProxyTLSSettings
    let context: TLSContext
    /// With variables, to be read when a connection is made.
    let lateIdentity: LateIdentity?
    let passwords: [[UInt8]]

    init(
        _ settings: ProxyTLSSettings, _ context: TLSContext, lateIdentity: LateIdentity? = nil,
        passwords: [[UInt8]] = []
    ) {
        self.settings = settings
        self.context = context
        self.lateIdentity = lateIdentity
        self.passwords = passwords
    }
}
