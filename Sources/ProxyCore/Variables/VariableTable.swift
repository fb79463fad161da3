internal import Config

/// A variable that the proxy provides by itself.
package struct VariableRow: Sendable {
    /// Whether a value can still change once a tunnel is open.
    package enum Timing: Sendable {
        case fixed
        case running
    }

    /// Appends the value, or returns false where there is none.
    package typealias Evaluation = @Sendable (Exchange, inout [UInt8]) -> Bool

    package let name: String
    /// One line of documentation.
    package let summary: String
    package let timing: Timing
    package let evaluate: Evaluation

    package init(
        _ name: String, _ summary: String, timing: Timing = .fixed, _ evaluate: @escaping Evaluation
    ) {
        self.name = name
        self.summary = summary
        self.timing = timing
        self.evaluate = evaluate
    }
}

/// All variables with a fixed name. Adding one is a row, in the file of its topic, and a test.
package enum VariableTable {
    package static let rows =
        requestRows + connectionRows + tlsRows + responseRows + upstreamRows + webSocketRows + timeRows
        + processRows

    package static let names = Set(rows.map(\.name))

    private static let rowsByName = Dictionary(rows.map { ($0.name, $0) }) { first, _ in first }

    package static func row(named name: String) -> VariableRow? { rowsByName[name] }

    /// The reference of all variables, as a table in Markdown.
    package static var markdown: String {
        var lines = ["| Variable | Value |", "|---|---|"]
        let fixed = rows.map { (name: $0.name, summary: $0.summary) }
        let families = VariableFamily.allCases.map { (name: $0.rawValue + "NAME", summary: $0.summary) }
        for entry in (fixed + families).sorted(by: { $0.name < $1.name }) {
            lines.append("| `$\(entry.name)` | \(entry.summary) |")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
