extension DirectiveTable {
    /// The reference of all directives as Markdown: one table for those with an effect, one for those that are
    /// accepted, in the order of the rows.
    package static var markdown: String {
        let effective = rows.filter { $0.kind == .applied }
        let others = rows.filter { $0.kind != .applied }
        var lines = [
            "| directive | arguments | default | contexts | what it does |", "|---|---|---|---|---|",
        ]
        lines += effective.map { row in
            tableLine([
                "`\(row.name)`", code(row.syntax), code(row.defaultValue), row.contexts.description, row.note,
            ])
        }
        lines += [
            "", "Accepted in their places, whatever their values, and without effect:", "",
            "| directive | arguments | contexts | why |",
            "|---|---|---|---|",
        ]
        lines += others.map { row in
            let arguments = row.kind == .onlyOff ? "`off` only" : row.arity.description
            return tableLine(["`\(row.name)`", arguments, row.contexts.description, row.note])
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func tableLine(_ cells: [String]) -> String {
        "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |"
    }

    private static func code(_ text: String) -> String { text.isEmpty ? "" : "`\(text)`" }
}
