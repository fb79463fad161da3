package import Config
internal import Patterns

extension ServerNameTable {
    /// As below, for a name that no request goes with.
    ///
    /// - Parameter host: in lower case.
    /// - Returns: the server whose name fits best, or `nil`.
    package func server(forName host: [UInt8]) -> VirtualServer? {
        if let server = exact[host] { return server }
        if let server = HostWildcards.find(host, leading: leadingWildcards) { return server }
        if let server = HostWildcards.find(host, trailing: trailingWildcards) { return server }
        return regexes.first { $0.pattern.matches(host) }?.value
    }

    /// What the names say of a host.
    enum Match {
        case server(VirtualServer)
        case none
        /// An expression was given up: see `Exchange.match`.
        case unknown
    }

    /// The server whose name fits the exchange's host best. A regular expression leaves its groups in the exchange.
    func server(for exchange: Exchange) -> Match {
        let host = exchange.host
        if let server = exact[host] { return .server(server) }
        if let server = HostWildcards.find(host, leading: leadingWildcards) { return .server(server) }
        if let server = HostWildcards.find(host, trailing: trailingWildcards) { return .server(server) }
        for entry in regexes {
            guard let matches = exchange.match(entry.pattern, host, namedGroups: entry.namedGroups) else {
                return .unknown
            }
            if matches { return .server(entry.value) }
        }
        return .none
    }
}
