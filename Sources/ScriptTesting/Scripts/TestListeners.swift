internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyServer

/// Where a proxy listens, as clients of a test choose among it.
struct TestListeners {
    struct Place {
        /// As messages name it.
        var name: String
        /// Where a client connects to.
        var address: SocketAddress
        var isTLS: Bool

        /// At an address of this host, where it is at all of them.
        fileprivate var reachable: Place { Place(name: name, address: address.reachable, isTLS: isTLS) }
    }

    /// With the addresses that `listen` has.
    private let listeners: [Place]

    init(_ listeners: [Listener]) {
        self.listeners = listeners.compactMap { listener in
            SocketAddress(listener.address).map {
                Place(name: listener.address.description, address: $0, isTLS: listener.isTLS)
            }
        }
    }

    /// The one that `text` names as `listen` does; without, the first, over TCP if there is one.
    func place(_ text: String?) throws(TestFault) -> Place {
        guard let text else {
            guard let first = listeners.first(where: { !$0.address.isUnix }) ?? listeners.first else {
                throw TestFault("the proxy does not listen anywhere")
            }
            return first.reachable
        }
        guard let address = Self.address(text) else {
            throw TestFault("listener: found \"\(text)\", expected a port, address:port or unix:/path")
        }
        let found =
            listeners.first { $0.address == address }
            ?? (UInt16(text) == nil
                ? nil : listeners.first { !$0.address.isUnix && $0.address.port == address.port })
        if let found { return found.reachable }
        // What listens on every address does so on this one.
        if let all = listeners.first(where: { $0.address == address.wildcard }) {
            return Place(name: text, address: address, isTLS: all.isTLS)
        }
        throw TestFault(
            "listener: found \"\(text)\", expected one of \(listeners.map(\.name).joined(separator: ", "))")
    }

    /// As `listen` reads it: a port alone is one of every address.
    private static func address(_ text: String) -> SocketAddress? {
        if text.hasPrefix("unix:") { return .unix(path: String(text.dropFirst(5))) }
        if let port = UInt16(text) { return .ipv4(0, port: port) }
        if text.hasPrefix("*:") { return UInt16(text.dropFirst(2)).map { .ipv4(0, port: $0) } }
        if text.hasPrefix("localhost") { return address("127.0.0.1" + text.dropFirst(9)) }
        return TestNames.numeric(text, defaultPort: 80)
    }
}

extension SocketAddress {
    /// An address of this host for that which stands for all of them.
    fileprivate var reachable: SocketAddress {
        guard isWildcard else { return self }
        switch self {
        case .ipv4(_, let port): return .ipv4(0x7F00_0001, port: port)
        case .ipv6(_, let port): return .ipv6([UInt8](repeating: 0, count: 15) + [1], port: port)
        case .unix: return self
        }
    }
}
