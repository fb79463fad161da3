internal import Config

/// The log files that a configuration names, those with variables in their path apart.
struct LogSurvey {
    private(set) var paths: Set<String> = []

    init(_ configuration: Configuration) {
        add(configuration.process.errorLogs)
        configuration.forEachLocation { location, _ in
            add(location.settings.values.errorLogs)
            for log in location.settings.values.accessLogs where log.pathTemplate == nil {
                if case .file(let path) = log.destination { paths.insert(path) }
            }
        }
    }

    private mutating func add(_ logs: [ErrorLog]) {
        for case .file(let path) in logs.map(\.destination) { paths.insert(path) }
    }
}
