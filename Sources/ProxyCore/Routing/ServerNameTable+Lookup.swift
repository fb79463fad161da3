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
        return regexes.first { $0.pattern.matches(host) }?.server
    }

    /// The server whose name fits the exchange's host best, or none. A regular expression leaves its groups in the
    /// exchange.
    ///
    /// - Returns: `nil` where that could not be found out: see `Exchange.match`.
    func server(for exchange: Exchange) -> VirtualServer?? {
        let host = exchange.host
        if let server = exact[host] { return server }
        if let server = HostWildcards.find(host, leading: leadingWildcards) { return server }
        if let server = HostWildcards.find(host, trailing: trailingWildcards) { return server }
        for entry in regexes {
            switch exchange.match(entry.pattern, host, namedGroups: entry.namedGroups) {
            case true?: return entry.server
            case false?: continue
            case nil: return nil
            }
        }
        return .some(nil)
    }
}
