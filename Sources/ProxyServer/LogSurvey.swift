internal import Config

/// The log files that a configuration names, those with variables in their path apart.
struct LogSurvey {
    private(set) var paths: Set<String> = []
    private var seenServers: Set<ObjectIdentifier> = []

    init(_ configuration: Configuration) {
        add(configuration.process.errorLogs)
        for listener in configuration.listeners {
            visit(listener.defaultServer)
            for server in listener.names.exact.values { visit(server) }
            for server in listener.names.leadingWildcards.values { visit(server) }
            for server in listener.names.trailingWildcards.values { visit(server) }
            for entry in listener.names.regexes { visit(entry.server) }
        }
    }

    private mutating func visit(_ server: VirtualServer) {
        guard seenServers.insert(ObjectIdentifier(server)).inserted else { return }
        visit(server.root)
        visit(server.rewrites)
        visit(server.locations)
        for location in server.namedLocations.values { visit(location) }
    }

    private mutating func visit(_ table: LocationTable) {
        for location in table.exact.values { visit(location) }
        for location in table.prefixes { visit(location) }
        for location in table.regexes { visit(location) }
    }

    private mutating func visit(_ location: Location) {
        add(location.settings.values.errorLogs)
        for log in location.settings.values.accessLogs where log.pathTemplate == nil {
            if case .file(let path) = log.destination { paths.insert(path) }
        }
        visit(location.children)
        visit(location.rewrites)
        if let limit = location.limitExcept { visit(limit.location) }
    }

    private mutating func visit(_ rewrites: [RewriteInstruction]) {
        for case .when(_, let block) in rewrites { visit(block) }
    }

    private mutating func add(_ logs: [ErrorLog]) {
        for case .file(let path) in logs.map(\.destination) { paths.insert(path) }
    }
}
