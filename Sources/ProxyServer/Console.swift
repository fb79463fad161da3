package import Config
internal import ProxyCore

/// Messages to whoever started the process, on standard error, in nginx's form.
package struct Console: Sendable {
    /// Only errors are shown: `-q`.
    package var isQuiet = false

    package init() {}

    package func write(_ level: LogLevel, _ message: String) {
        if isQuiet, level < .error { return }
        line("\(Product.name): [\(level.name)] \(message)")
    }

    /// A line as it is.
    package func line(_ text: String) { LogFile.standardError.write(Array((text + "\n").utf8)) }

    package func show(_ diagnostics: [ConfigDiagnostic]) {
        for diagnostic in diagnostics {
            write(diagnostic.severity == .error ? .emerg : .warn, diagnostic.withoutSeverity)
        }
    }

    func failure(_ message: String) -> StartFailure {
        write(.emerg, message)
        return StartFailure()
    }
}
