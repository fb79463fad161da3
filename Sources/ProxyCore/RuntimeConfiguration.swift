package import Config
internal import Patterns

/// A configuration with its variables bound to the table of `VariableTable`: what exchanges run under.
package final class RuntimeConfiguration: Sendable {
    package let configuration: Configuration
    package let environment: Environment

    /// How each variable of the configuration is evaluated, by the index of its `VariableID`.
    let evaluators: [VariableEvaluator]
    /// Which variables the access logs can ask for, directly or through maps.
    let loggedVariables: [VariableID]
    /// What an exchange belongs to when the configuration listens nowhere.
    let emptyServer: VirtualServer

    package init(_ configuration: Configuration, environment: Environment) {
        self.configuration = configuration
        self.environment = environment
        evaluators = configuration.variables.map(VariableEvaluator.init)
        loggedVariables = LoggedVariables.collect(configuration)
        emptyServer = Self.makeEmptyServer()
    }

    private static func makeEmptyServer() -> VirtualServer {
        let settings = Settings(Settings.Values())
        let root = Location(
            matcher: .server, settings: settings, rewrites: [], handler: .none, children: LocationTable(),
            limitExcept: nil, accessRules: [], isInternal: false, source: "")
        return VirtualServer(
            name: [], settings: settings, rewrites: [], locations: LocationTable(), namedLocations: [:],
            root: root, connection: ConnectionSettings())
    }
}

/// How one variable gets its value, with everything that can be looked up beforehand looked up.
enum VariableEvaluator: Sendable {
    case row(VariableRow)
    case family(VariableFamily, suffix: [UInt8])
    case map(Int)
    case assigned(slot: Int)
    /// A name that the table does not know, which the configuration's compiler does not let through.
    case unknown

    init(_ definition: VariableDefinition) {
        switch definition.source {
        case .builtin:
            if let row = VariableTable.row(named: definition.name) {
                self = .row(row)
            } else {
                self = .unknown
            }
        case .family(let family, let suffix): self = .family(family, suffix: suffix)
        case .map(let index): self = .map(index)
        case .assigned(let slot): self = .assigned(slot: slot)
        }
    }
}

/// Finds the variables that the access logs of a configuration can ask for.
private struct LoggedVariables {
    private let configuration: Configuration
    private var seen: Set<Int> = []
    private var seenServers: Set<ObjectIdentifier> = []

    static func collect(_ configuration: Configuration) -> [VariableID] {
        var collector = LoggedVariables(configuration: configuration)
        for listener in configuration.listeners {
            collector.visit(listener.defaultServer)
            for server in listener.names.exact.values { collector.visit(server) }
            for server in listener.names.leadingWildcards.values { collector.visit(server) }
            for server in listener.names.trailingWildcards.values { collector.visit(server) }
            for entry in listener.names.regexes { collector.visit(entry.server) }
        }
        return collector.seen.sorted().map(VariableID.init(index:))
    }

    private init(configuration: Configuration) { self.configuration = configuration }

    private mutating func visit(_ server: VirtualServer) {
        guard seenServers.insert(ObjectIdentifier(server)).inserted else { return }
        visit(server.root)
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
        for case .when(_, let block) in location.rewrites { visit(block) }
    }

    private mutating func visit(_ template: Template) {
        for case .variable(let variable) in template.parts {
            guard configuration.variables.indices.contains(variable.index),
                seen.insert(variable.index).inserted,
                case .map(let index) = configuration.variables[variable.index].source,
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
