internal import Config

/// What is to be known of a configuration as a whole before exchanges run under it.
struct ConfigurationSurvey {
    private let configuration: Configuration
    private var logged: Set<Int> = []
    private var seenServers: Set<ObjectIdentifier> = []
    /// For each slot, whether some `set` assigns it.
    private(set) var slotsOfSet: [Bool]

    /// The variables that access logs can ask for, directly or through maps.
    var loggedVariables: [VariableID] { logged.sorted().map(VariableID.init(index:)) }

    init(_ configuration: Configuration) {
        self.configuration = configuration
        slotsOfSet = Array(repeating: false, count: configuration.assignedSlots)
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
        for log in location.settings.values.accessLogs {
            visit(log.format)
            if let condition = log.condition { visit(condition) }
            if let path = log.pathTemplate { visit(path) }
        }
        visit(location.children)
        if let limit = location.limitExcept { visit(limit.location) }
        visit(location.rewrites)
    }

    private mutating func visit(_ rewrites: [RewriteInstruction]) {
        for instruction in rewrites {
            switch instruction {
            case .set(let slot, _): if slotsOfSet.indices.contains(slot) { slotsOfSet[slot] = true }
            case .when(_, let block): visit(block)
            case .setArguments, .rewrite, .return, .stop: break
            }
        }
    }

    private mutating func visit(_ template: Template) {
        for case .variable(let variable) in template.parts {
            guard configuration.variables.indices.contains(variable.index),
                logged.insert(variable.index).inserted,
                let index = configuration.variables[variable.index].source.map,
                configuration.maps.indices.contains(index)
            else { continue }
            let map = configuration.maps[index]
            visit(map.key)
            visit(map.defaultValue)
            for value in map.exact.values { visit(value) }
            for value in map.leadingWildcards.values { visit(value) }
            for value in map.trailingWildcards.values { visit(value) }
            for entry in map.regexes { visit(entry.value) }
        }
    }
}
