/// What is wrong with a configuration, and where.
package struct ConfigDiagnostic: Error, Sendable, Hashable {
    package enum Severity: Sendable, Hashable {
        /// The configuration cannot be used.
        case error
        /// It can, but something in it will not do what it seems to say.
        case warning
    }

    package var severity: Severity
    /// `nil` for what concerns no place, such as a root file that is missing.
    package var position: SourcePosition?
    /// The directive that it is about; empty for faults of syntax.
    package var directive: String
    package var message: String

    package init(
        severity: Severity = .error, position: SourcePosition?, directive: String = "", message: String
    ) {
        self.severity = severity
        self.position = position
        self.directive = directive
        self.message = message
    }

    /// `file:line:column: "directive": message`, without a column that is not known, and with `warning: ` before the message of a warning.
    package var description: String { place + (severity == .warning ? "warning: " : "") + content }

    /// The same for where the severity is told otherwise.
    package var withoutSeverity: String { place + content }

    private var place: String {
        guard let position else { return "" }
        let column = position.column > 0 ? ":\(position.column)" : ""
        return "\(position.file):\(position.line)\(column): "
    }

    private var content: String { (directive.isEmpty ? "" : "\"\(directive)\": ") + message }

    /// Sorted as the configuration is read, each message once.
    static func sorted(_ diagnostics: [ConfigDiagnostic]) -> [ConfigDiagnostic] {
        var known: Set<ConfigDiagnostic> = []
        return diagnostics.enumerated()
            .sorted {
                ($0.element.position?.order ?? 0, $0.offset) < ($1.element.position?.order ?? 0, $1.offset)
            }
            .map(\.element)
            .filter { known.insert($0).inserted }
    }
}
