internal import Config

/// What is to be known of a configuration as a whole before exchanges run under it.
struct ConfigurationSurvey {
    private let configuration: Configuration
    private var logged: Set<Int> = []
    /// For each slot, whether some `set` assigns it.
    private(set) var slotsOfSet: [Bool]

    /// The variables that access logs can ask for, directly or through maps.
    var loggedVariables: [VariableID] { logged.sorted().map(VariableID.init(index:)) }

    init(_ configuration: Configuration) {
        self.configuration = configuration
        slotsOfSet = Array(repeating: false, count: configuration.assignedSlots)
        configuration.forEachLocation { location, rewrites in
            for log in location.settings.values.accessLogs {
                visit(log.format)
                if let condition = log.condition { visit(condition) }
                if let path = log.pathTemplate { visit(path) }
            }
            for case .set(let slot, _) in rewrites where slotsOfSet.indices.contains(slot) {
                slotsOfSet[slot] = true
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
            for template in configuration.maps[index].templates { visit(template) }
        }
    }
}
