internal import Config
internal import ProxyCore
internal import TLS
internal import Wire

/// The contexts of TLS that a configuration needs, made when it is loaded: a certificate that is no good is found then.
///
/// All workers share it, while each has a configuration of its own: parts of that are named by position.
package final class TLSSetup: Sendable {
    /// By `VirtualServer.index`.
    private let servers: [Int: TLSServer]
    private let listeners: [TLSListener?]
    /// By settings, of which equal ones share one.
    private let upstreams: [ProxyTLSSettings: TLSUpstream]
    /// Paths of files that secrets of connections are written to.
    let keyLogs: Set<String>
    /// What is shared with other configurations, with the sizes that this one says.
    private let zones: [(zone: any SharedZone, size: Int)]

    init(
        servers: [Int: TLSServer], listeners: [TLSListener?],
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
    func server(_ server: VirtualServer) -> TLSServer? { servers[server.index] }

    func upstream(_ settings: ProxyTLSSettings) -> TLSUpstream? { upstreams[settings] }
}

/// A certificate and its key, of which one has variables in its name.
typealias LateIdentity = (certificate: TLSSource, key: TLSSource)

/// A server's side of TLS.
final class TLSServer: Sendable {
    /// Its `VirtualServer.index`.
    let index: Int
    let context: TLSContext
    /// Pairs with variables, to be read in each handshake.
    let lateIdentities: [LateIdentity]
    let passwords: [[UInt8]]

    init(
        _ index: Int, _ context: TLSContext,
        lateIdentities: [LateIdentity], passwords: [[UInt8]]
    ) {
        self.index = index
        self.context = context
        self.lateIdentities = lateIdentities
        self.passwords = passwords
    }
}

/// The servers of a listener with `ssl`.
final class TLSListener: Sendable {
    let defaultServer: TLSServer
    /// Some of its servers do.
    let takesEarlyData: Bool

    init(_ listener: Listener, defaultServer: TLSServer) {
        self.defaultServer = defaultServer
        takesEarlyData = listener.servers.contains { $0.tls.takesEarlyData }
    }
}

extension WorkerGeneration {
    /// The server that the client of a listener with `ssl` names, and the one whose certificate it has; `nil` where it names
    /// none.
    func server(
        named hello: TLSHello, onListener index: Int, _ listener: TLSListener
    ) -> (server: VirtualServer, tls: TLSServer)? {
        guard var name = hello.serverName?.map(ASCII.lowercased) else { return nil }
        if name.last == UInt8(ascii: ".") { name.removeLast() }
        guard let server = configuration.listeners[index].names.server(forName: name) else { return nil }
        return (server, generation.tls.server(server) ?? listener.defaultServer)
    }

    /// What the worker's own configuration has in the place that `tls` names.
    func server(of tls: TLSServer) -> VirtualServer { configuration.servers[tls.index] }
}

/// TLS towards the upstreams of locations with equal settings.
final class TLSUpstream: Sendable {
    let settings: ProxyTLSSettings
    let context: TLSContext
    /// With variables, to be read when a connection is made.
    let lateIdentity: LateIdentity?
    let passwords: [[UInt8]]

    /// The same object for one worker alone.
    convenience init(copying other: TLSUpstream) {
        self.init(
            other.settings, other.context, lateIdentity: other.lateIdentity, passwords: other.passwords)
    }

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
