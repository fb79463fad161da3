package import Config
internal import Glibc
package import LuaHooks
package import ProxyCore
internal import Synchronization

/// One configuration as a worker runs it: what reloads replace, and exchanges that began under it keep.
///
/// Each worker has an object of its own, and with it a configuration of its own: those of one number say the same, and share
/// what they hand out by other names (contexts of TLS, files of logs, dictionaries of scripts).
package final class Generation: Sendable {
    /// 1 for the first, one more with each reload.
    package let number: Int
    package let runtime: RuntimeConfiguration
    /// What each server of each upstream group resolved to when the configuration was loaded.
    package let addresses: [[[PeerAddress]]]
    package let tls: TLSSetup
    package let logFiles: LogFiles
    /// The process's own error log.
    package let errorLogger: ErrorLogger
    package let registry: ProcessRegistry
    /// Made with the configuration, so that no worker waits for them; `nil` where none is asked for.
    let rings: [HashRing?]
    /// The shared dictionaries of its scripts, by name.
    package let dictionaries: [String: SharedDictionary]
    /// The metrics that they define.
    package let metrics: ScriptMetrics.Definitions
    private let errorLoggers = Mutex<[[ErrorLog]: ErrorLogger]>([:])

    package convenience init(
        number: Int, runtime: RuntimeConfiguration, addresses: [[[PeerAddress]]], tls: TLSSetup,
        logFiles: LogFiles, registry: ProcessRegistry
    ) {
        self.init(
            number: number, runtime: runtime, addresses: addresses, tls: tls, logFiles: logFiles,
            registry: registry,
            rings: zip(runtime.configuration.upstreams, addresses).map { HashRing($0, addresses: $1) },
            dictionaries: registry.scripts.dictionaries.prepare(runtime.configuration.lua.sharedDictionaries),
            metrics: registry.scripts.metrics.prepare())
    }

    private init(
        number: Int, runtime: RuntimeConfiguration, addresses: [[[PeerAddress]]], tls: TLSSetup,
        logFiles: LogFiles, registry: ProcessRegistry, rings: [HashRing?],
        dictionaries: [String: SharedDictionary], metrics: ScriptMetrics.Definitions
    ) {
        self.number = number
        self.runtime = runtime
        self.addresses = addresses
        self.tls = tls
        self.logFiles = logFiles
        self.registry = registry
        self.rings = rings
        self.dictionaries = dictionaries
        self.metrics = metrics
        errorLogger = ErrorLogger(runtime.configuration.process.errorLogs, in: logFiles)
    }

    /// The same for another worker, with a configuration that says the same.
    func copy(running runtime: RuntimeConfiguration) -> Generation {
        Generation(
            number: number, runtime: runtime,
            addresses: addresses.map { group in group.map { server in server.map(PeerAddress.init(copying:)) }
            },
            tls: tls, logFiles: logFiles, registry: registry,
            rings: rings.map { $0.map(HashRing.init(copying:)) }, dictionaries: dictionaries, metrics: metrics
        )
    }

    package var configuration: Configuration { runtime.configuration }

    /// The logger that a location's `error_log` lines come to. A file that cannot be opened is left out.
    package func errorLogger(for logs: [ErrorLog]) -> ErrorLogger {
        if let known = errorLoggers.withLock({ $0[logs] }) { return known }
        let logger = ErrorLogger(logs, in: logFiles)
        errorLoggers.withLock { $0[logs] = logger }
        return logger
    }
}

/// A generation that nothing runs under any more, for a thread that has time to take it apart.
package final class Leftover: Sendable {
    private let generation: Mutex<Generation?>

    init(_ generation: Generation) { self.generation = Mutex(generation) }

    /// Lets go of it: whoever passes this on holds nothing of it itself, so that it goes here.
    package func drop() { _ = generation.withLock { $0.take() } }
}

/// A listening socket as it is handed to a worker.
package struct AssignedListener: Sendable {
    /// Names the socket across reloads: its address, and whether each worker has one of its own.
    package var key: String
    /// The worker's own descriptor of it, which it closes; `nil` when the worker has it from before.
    package var descriptor: Int32?
    /// Each worker has a socket of its own (`reuseport`), so that connections waiting on it are the worker's.
    package var isOwn: Bool
    package var targets: ListenerTargets

    package init(key: String, descriptor: Int32?, isOwn: Bool, targets: ListenerTargets) {
        self.key = key
        self.descriptor = descriptor
        self.isOwn = isOwn
        self.targets = targets
    }
}

extension [AssignedListener] {
    /// Closes what no worker is to have after all.
    func closeDescriptors() { for case let descriptor? in map(\.descriptor) { close(descriptor) } }
}

/// Which listener of the configuration a connection belongs to. A socket on the wildcard address stands for the
/// listeners on single addresses of its port too, told apart by the connection's local address.
package struct ListenerTargets: Sendable {
    /// A position in `Configuration.listeners`: the one whose address is the socket's own.
    package var own: Int
    /// Positions of the others, by address in network order.
    package var byAddress: [[UInt8]: Int] = [:]

    package init(own: Int) { self.own = own }
}
