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

    private var content: String {
        Self.visible((directive.isEmpty ? "" : "\"\(directive)\": ") + message)
    }

    /// What looks like a blank or like nothing, by its number: nginx takes none of it for a blank.
    private static func visible(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 >= 0x80 }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .spaceSeparator where scalar != " ", .format, .lineSeparator, .paragraphSeparator:
                let digits = String(scalar.value, radix: 16, uppercase: true)
                result += "<U+" + String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits + ">"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

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
