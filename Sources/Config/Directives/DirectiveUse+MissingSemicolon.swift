/// A `;` that is missing makes the directive of the next line an argument of the one before: it is looked for where an argument
/// begins a line.
extension DirectiveUse {
    /// The first argument that begins a line and is named as a directive that may stand here.
    private func swallowed(in context: Contexts) -> Int? {
        var line = node.name.position.line
        for (index, word) in arguments.enumerated() {
            defer { line = word.position.line }
            guard word.position.line > line else { continue }
            let name = word.text
            if DirectiveTable.contexts(of: name).contains(context) || ForeignDirectives.isPlain(name) {
                return index
            }
        }
        return nil
    }

    /// With the question appended.
    func explained(_ fault: ConfigDiagnostic, in context: Contexts) -> ConfigDiagnostic {
        guard let index = swallowed(in: context) else { return fault }
        var fault = fault
        fault.message += ", is a \";\" missing before \"\(arguments[index].text)\"?"
        return fault
    }

    /// The same for a fault of the directive as a whole, which is then where the `;` would be.
    func placedAtSwallowed(_ fault: ConfigDiagnostic, in context: Contexts) -> ConfigDiagnostic {
        guard let index = swallowed(in: context) else { return fault }
        var fault = explained(fault, in: context)
        fault.position = arguments[index].position
        return fault
    }

    /// What may be said of a directive that is as it should be: nginx takes it, and so does this. `nil` where nothing is to be,
    /// and where the directive would lack something before that argument.
    func swallowingDoubt(in context: Contexts) -> ConfigDiagnostic? {
        guard let index = swallowed(in: context), directive.arity.range.contains(index) else { return nil }
        return warning(
            "found the argument \"\(arguments[index].text)\" at the beginning of a line, is a \";\" missing before it?",
            at: arguments[index])
    }
}
