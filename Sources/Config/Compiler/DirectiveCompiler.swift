/// Applies the directives of one block to its scope, by their rows in the table.
enum DirectiveCompiler {
    static func apply(_ nodes: [DirectiveNode], to scope: inout Scope) {
        var calls: [DirectiveUse] = []
        for node in nodes {
            if let call = checked(node, in: &scope) { calls.append(call) }
        }
        for phase in Directive.Phase.allCases {
            for call in calls where call.directive.phase == phase {
                do {
                    try call.directive.apply(&scope, call)
                    if let doubt = call.swallowingDoubt(in: scope.context) {
                        scope.compilation.report(doubt)
                    }
                } catch {
                    let suspect = call.swallowed(in: scope.context)
                    scope.compilation.report(suspect.map { error.asking(about: $0) } ?? error)
                }
            }
        }
    }

    /// The directive with its row, or `nil` and a report when it must not stand here as it does.
    private static func checked(_ node: DirectiveNode, in scope: inout Scope) -> DirectiveUse? {
        let name = node.name.text
        guard let directive = DirectiveTable.row(name, in: scope.context) else {
            scope.compilation.report(unknown(node))
            if ForeignDirectives.definesVariable(name) || OtherProgramsDirectives.definesVariable(name) {
                // That it is refused says it all: its variable's uses are not faults of their own.
                for word in node.arguments { scope.compilation.variables.excuse(word.text) }
            }
            return nil
        }
        let isFirst = scope.seen.insert(name).inserted
        let call = DirectiveUse(node: node, directive: directive, isFirst: isFirst)
        if let fault = misuse(call, in: scope.context) {
            scope.compilation.report(fault)
            return nil
        }
        return call
    }

    private static func misuse(_ call: DirectiveUse, in context: Contexts) -> ConfigDiagnostic? {
        let directive = call.directive
        let form: Directive.Form =
            switch call.node.body {
            case .none: .simple
            case .block: .block
            case .script: .script
            }
        if form != directive.form {
            let fault = call.failure(
                form == .simple
                    ? "found \";\", expected \"{\"" : "found \"{\", expected \";\": it takes no block")
            guard form == .block, let suspect = call.swallowed(in: context) else { return fault }
            return fault.asking(at: suspect)
        }
        guard directive.contexts.contains(context) else {
            return call.failure(
                "found in \(context.description), expected in "
                    + DirectiveTable.contexts(of: call.name).description)
        }
        guard directive.arity.range.contains(call.arguments.count) else {
            let count = call.arguments.count
            let fault = call.failure(
                "found \(count) argument\(count == 1 ? "" : "s"), expected \(directive.arity.description)")
            return call.swallowed(in: context).map { fault.asking(at: $0) } ?? fault
        }
        guard call.isFirst || directive.isRepeatable else {
            return call.failure("is duplicate: found it a second time at this level")
        }
        return nil
    }

    private static func unknown(_ node: DirectiveNode) -> ConfigDiagnostic {
        let name = node.name.text
        if let message = ForeignDirectives.message(for: name) ?? ScriptDirectiveHints.message(for: name)
            ?? OtherProgramsDirectives.message(for: name)
        {
            return ConfigDiagnostic(position: node.position, directive: name, message: message)
        }
        if name.unicodeScalars.first == "\u{FEFF}" {
            return ConfigDiagnostic(
                position: node.position, directive: name,
                message: "begins with a byte order mark, which nginx does not take either")
        }
        return ConfigDiagnostic(
            position: node.position, directive: name,
            message: "unknown directive" + Spelling.hint(for: name, among: DirectiveTable.names))
    }
}
