package import Config

/// A configuration with its variables bound to the table of `VariableTable`: what exchanges run under.
package final class RuntimeConfiguration: Sendable {
    package let configuration: Configuration
    package let environment: Environment
    /// By the positions of `configuration.limitZones`.
    package let limitZones: [LimitZone]

    /// How each variable of the configuration is evaluated, by the index of its `VariableID`.
    let evaluators: [VariableEvaluator]
    /// Which variables the access logs can ask for, directly or through maps.
    package let loggedVariables: [VariableID]
    /// Slots that some `set` assigns. Such a variable is empty before, one of a named group is missing.
    let slotsOfSet: [Bool]
    /// Variables by name: what the configuration mentions or defines, and the rows of the table.
    /// Where `set $limit_rate` keeps it; `nil` where nobody does that.
    let limitRateSlot: Int?
    private let named: [[UInt8]: NamedVariable]
    /// What an exchange belongs to when the configuration listens nowhere.
    package let emptyServer: VirtualServer
    /// By the positions of `configuration.listeners`.
    private let hosts: [ListenerHosts]

    /// - Parameters:
    ///   - configuration: what it says.
    ///   - environment: the process.
    ///   - limitZones: those that others share; its own unless given.
    package init(
        _ configuration: Configuration, environment: Environment, limitZones: [LimitZone]? = nil
    ) {
        self.configuration = configuration
        self.environment = environment
        self.limitZones = limitZones ?? configuration.limitZones.map(LimitZone.init)
        evaluators = configuration.variables.map(VariableEvaluator.init)
        named = Self.named(configuration, evaluators)
        let survey = ConfigurationSurvey(configuration)
        loggedVariables = survey.loggedVariables
        slotsOfSet = survey.slotsOfSet
        limitRateSlot = named[Array("limit_rate".utf8)]?.assignedSlot
        emptyServer = Self.makeEmptyServer()
        hosts = configuration.listeners.map(ListenerHosts.init)
    }

    /// `nil` for a listener that this configuration does not have.
    func hosts(ofListener index: Int) -> ListenerHosts? { hosts.indices.contains(index) ? hosts[index] : nil }

    /// The variable of this name, in lower case and without the dollar sign; `nil` where there is none.
    package func variable(named name: [UInt8]) -> NamedVariable? {
        if let known = named[name] { return known }
        for family in VariableFamily.allCases where name.starts(with: family.rawValue.utf8) {
            return NamedVariable(.family(family, suffix: Array(name[family.rawValue.utf8.count...])))
        }
        return nil
    }

    private static func named(
        _ configuration: Configuration, _ evaluators: [VariableEvaluator]
    ) -> [[UInt8]: NamedVariable] {
        var named: [[UInt8]: NamedVariable] = [:]
        for row in VariableTable.rows {
            named[Array(row.name.utf8)] = NamedVariable(.row(row.evaluate, row.timing))
        }
        for (definition, evaluator) in zip(configuration.variables, evaluators) {
            named[Array(definition.name.utf8)] = NamedVariable(evaluator)
        }
        return named
    }

    private static func makeEmptyServer() -> VirtualServer {
        let settings = Settings(Settings.Values())
        let root = Location(
            matcher: .server, settings: settings, rewrites: [], handler: .none, children: LocationTable(),
            limitExcept: nil, accessRules: [], isInternal: false, source: "")
        return VirtualServer(
            index: -1, name: [], settings: settings, rewrites: [], locations: LocationTable(),
            namedLocations: [:], root: root, connection: ConnectionSettings())
    }
}

/// The servers of a listener. An object, where a `Listener` would be copied with all its tables for every look.
final class ListenerHosts: Sendable {
    let defaultServer: VirtualServer
    /// `nil` where every name leads to the default server.
    let names: ServerNameTable?
    let isTLS: Bool

    init(_ listener: Listener) {
        isTLS = listener.isTLS
        let names = listener.names
        let server = listener.defaultServer
        let hasChoice = !names.regexes.isEmpty || names.values.contains { $0 !== server }
        defaultServer = server
        self.names = hasChoice ? names : nil
    }
}

/// How one variable gets its value, with everything that can be looked up beforehand looked up.
enum VariableEvaluator: Sendable {
    case row(VariableRow.Evaluation, VariableRow.Timing)
    case family(VariableFamily, suffix: [UInt8])
    case map(Int)
    case assigned(slot: Int)
    case assignedOverMap(Int, slot: Int)
    /// A script's value, unless `set` or a named group assigned one.
    case script(slot: Int, assigned: Int?)
    /// A name that the table does not know, which the configuration's compiler does not let through.
    case unknown

    init(_ definition: VariableDefinition) {
        switch definition.source {
        case .builtin:
            let row = VariableTable.row(named: definition.name)
            self = row.map { .row($0.evaluate, $0.timing) } ?? .unknown
        case .family(let family, let suffix): self = .family(family, suffix: suffix)
        case .map(let index): self = .map(index)
        case .assigned(let slot): self = .assigned(slot: slot)
        case .script(let slot, let assigned): self = .script(slot: slot, assigned: assigned)
        case .assignedOverMap(let map, let slot): self = .assignedOverMap(map, slot: slot)
        }
    }
}

/// A variable that a script asks for by its name.
package struct NamedVariable: Sendable {
    let evaluator: VariableEvaluator

    init(_ evaluator: VariableEvaluator) { self.evaluator = evaluator }

    /// Where `set` would keep a value of it; `nil` for one that cannot be assigned.
    package var assignedSlot: Int? {
        switch evaluator {
        case .assigned(let slot), .assignedOverMap(_, let slot): slot
        case .script(_, let slot): slot
        case .row, .family, .map, .unknown: nil
        }
    }
}
