internal import ArgumentParser
internal import Config
internal import ProxyCore
internal import ProxyServer

struct DirectivesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "directives", abstract: "Lists the directives that configurations may use.")

    @Flag(help: "As the Markdown table of the documentation.")
    var markdown = false

    func run() {
        guard !markdown else { return StandardOutput.write(Array(DirectiveTable.markdown.utf8)) }
        for row in DirectiveTable.rows {
            StandardOutput.line("\(row.name) \(row.syntax);")
            StandardOutput.line("    in: \(row.contexts.description)")
            if !row.defaultValue.isEmpty { StandardOutput.line("    default: \(row.defaultValue)") }
            StandardOutput.line("    \(row.note)")
        }
    }
}

struct VariablesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "variables", abstract: "Lists the variables that configurations may use.")

    @Flag(help: "As the Markdown table of the documentation.")
    var markdown = false

    func run() {
        guard !markdown else { return StandardOutput.write(Array(VariableTable.markdown.utf8)) }
        let fixed = VariableTable.rows.map { (name: $0.name, summary: $0.summary) }
        let families = VariableFamily.allCases.map { (name: $0.rawValue + "NAME", summary: $0.summary) }
        for entry in (fixed + families).sorted(by: { $0.name < $1.name }) {
            StandardOutput.line("$\(entry.name)")
            StandardOutput.line("    \(entry.summary)")
        }
    }
}
