extension Listener {
    /// All of its servers; those of several names more than once.
    package var servers: [VirtualServer] { [defaultServer] + names.values }
}

extension Configuration {
    /// Calls `body` once for every location there is, `if` and `limit_except` blocks and each server as a whole
    /// included, with the rewrite instructions that stand in it; those of the blocks inside them come with the blocks.
    package func forEachLocation(_ body: (Location, [RewriteInstruction]) -> Void) {
        var seen: Set<ObjectIdentifier> = []
        for listener in listeners {
            for server in listener.servers where seen.insert(ObjectIdentifier(server)).inserted {
                Self.visit(server.root, server.root.rewrites + server.rewrites, body)
                Self.visit(server.locations, body)
                for location in server.namedLocations.values { Self.visit(location, location.rewrites, body) }
            }
        }
    }

    private static func visit(_ table: LocationTable, _ body: (Location, [RewriteInstruction]) -> Void) {
        for location in Array(table.exact.values) + table.prefixes + table.regexes {
            visit(location, location.rewrites, body)
        }
    }

    private static func visit(
        _ location: Location, _ rewrites: [RewriteInstruction],
        _ body: (Location, [RewriteInstruction]) -> Void
    ) {
        body(location, rewrites)
        visit(location.children, body)
        if let limit = location.limitExcept { visit(limit.location, limit.location.rewrites, body) }
        for case .when(_, let block) in rewrites { visit(block, block.rewrites, body) }
    }
}
