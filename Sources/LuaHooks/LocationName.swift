internal import Config
internal import Patterns

/// A location as the configuration has it: `/chat/`, `= /`, `~ \.php$`, `@fallback`.
enum LocationName {
    /// The name of the location that an exchange is in. An `if` or `limit_except` block has that of the
    /// location it stands in, and what stands in no location has none.
    static func text(of location: Location, in server: VirtualServer) -> [UInt8]? {
        switch location.matcher {
        case .server: return nil
        case .exact(let path): return Array("= ".utf8) + path
        case .prefix(let path, let stopsSearch): return stopsSearch ? Array("^~ ".utf8) + path : path
        case .regex(let pattern, _):
            return Array(((pattern.isCaseInsensitive ? "~* " : "~ ") + pattern.source).utf8)
        case .named(let name): return name
        case .ifBlock, .limitExcept:
            return enclosing(location, in: server).flatMap { text(of: $0, in: server) }
        }
    }

    /// The location of this name; `nil` names the server itself.
    static func location(_ name: [UInt8]?, in server: VirtualServer) -> Location? {
        guard let name else { return server.root }
        if let found = server.namedLocations[name] { return found }
        return location(name, in: server.locations, of: server)
    }

    private static func location(
        _ name: [UInt8], in table: LocationTable, of server: VirtualServer
    ) -> Location? {
        for locations in [Array(table.exact.values), table.prefixes, table.regexes] {
            for location in locations {
                if text(of: location, in: server) == name { return location }
                if let found = Self.location(name, in: location.children, of: server) { return found }
            }
        }
        return nil
    }

    private static func enclosing(_ block: Location, in server: VirtualServer) -> Location? {
        if let found = enclosing(block, in: server.locations) { return found }
        return server.namedLocations.values.first { holds($0, block) }
    }

    private static func enclosing(_ block: Location, in table: LocationTable) -> Location? {
        for locations in [Array(table.exact.values), table.prefixes, table.regexes] {
            for location in locations {
                if let found = enclosing(block, in: location.children) { return found }
                if holds(location, block) { return location }
            }
        }
        return nil
    }

    private static func holds(_ location: Location, _ block: Location) -> Bool {
        if let limit = location.limitExcept?.location, limit === block || holds(limit, block) { return true }
        return location.rewrites.contains { instruction in
            guard case .when(_, let inner) = instruction else { return false }
            return inner === block || holds(inner, block)
        }
    }
}
