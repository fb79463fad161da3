internal import Config

/// Finds the location for a URI: an exact one; else, unless the longest prefix forbids it, the first regular
/// expression; else the longest prefix. Within a prefix or regular expression the search goes on among the nested
/// locations.
enum LocationSearch {
    enum Found {
        case location
        /// An expression was given up: see `Exchange.match`.
        case unknown
        /// A proxied location's name is the URI with a slash at its end: the client is sent there.
        case slashMissing([UInt8])
    }

    /// Sets `exchange.location` where there is a better one than it has.
    static func find(_ exchange: Exchange) -> Found {
        var found = Found.location
        _ = descend(exchange, exchange.server.locations, &found)
        return found
    }

    /// - Returns: whether the search is over: regular expressions of the levels above are not tried.
    private static func descend(_ exchange: Exchange, _ table: LocationTable, _ found: inout Found) -> Bool {
        if table.isEmpty { return false }
        let uri = exchange.uri
        var stopsRegexSearch = false
        switch search(table, uri) {
        case .exact(let location):
            exchange.location = location
            return true
        case .slashMissing(let location, let name):
            exchange.location = location
            found = .slashMissing(name)
            return true
        case .prefix(let location, let stops):
            exchange.location = location
            stopsRegexSearch = stops
            if descend(exchange, location.children, &found) { return true }
        case .nothing: break
        }
        if stopsRegexSearch { return false }
        for location in table.regexes {
            guard case .regex(let pattern, let namedGroups) = location.matcher else { continue }
            guard let matches = exchange.match(pattern, uri, namedGroups: namedGroups) else {
                found = .unknown
                return true
            }
            guard matches else { continue }
            exchange.location = location
            _ = descend(exchange, location.children, &found)
            return true
        }
        return false
    }

    private enum Match {
        case nothing
        case exact(Location)
        case prefix(Location, stopsRegexSearch: Bool)
        case slashMissing(Location, name: [UInt8])
    }

    private static func search(_ table: LocationTable, _ uri: [UInt8]) -> Match {
        if !table.exact.isEmpty, let location = table.exact[uri] { return .exact(location) }
        // Prefixes come longest first. One longer than the URI by a slash yields to one that equals the URI.
        var withSlash: Match?
        for location in table.prefixes {
            guard case .prefix(let prefix, let stopsRegexSearch) = location.matcher else { continue }
            if prefix.count <= uri.count {
                if let withSlash, prefix.count < uri.count { return withSlash }
                if ByteText.hasPrefix(uri, prefix) {
                    return .prefix(location, stopsRegexSearch: stopsRegexSearch)
                }
            } else if prefix.count == uri.count + 1, asksForSlash(location, prefix, uri) {
                withSlash = .slashMissing(location, name: prefix)
            }
        }
        return withSlash ?? exactWithSlash(table, uri)
    }

    private static func asksForSlash(_ location: Location, _ name: [UInt8], _ uri: [UInt8]) -> Bool {
        guard name.last == ByteText.slash, case .proxy = location.handler else { return false }
        return ByteText.hasPrefix(name, uri)
    }

    private static func exactWithSlash(_ table: LocationTable, _ uri: [UInt8]) -> Match {
        if table.exact.isEmpty { return .nothing }
        let name = uri + [ByteText.slash]
        guard let location = table.exact[name], case .proxy = location.handler else { return .nothing }
        return .slashMissing(location, name: name)
    }
}
