/// A `;` that is missing makes the directive of the next line an argument of the one before: it is looked for where an argument
/// begins a line.
extension DirectiveNode {
    var argumentsAtLineStarts: [Word] {
        var line = name.position.line
        return arguments.filter { word in
            defer { line = word.position.line }
            return word.position.line > line
        }
    }
}

extension ConfigDiagnostic {
    func asking(about word: Word) -> ConfigDiagnostic {
        var result = self
        result.message += ", is a \";\" missing before \"\(word.text)\"?"
        return result
    }

    /// The same of a fault of the directive as a whole, which is then told where the `;` would be.
    func asking(at word: Word) -> ConfigDiagnostic {
        var result = asking(about: word)
        result.position = word.position
        return result
    }
}

extension DirectiveUse {
    /// The first argument that begins a line and is named as a directive that may stand here.
    func swallowed(in context: Contexts) -> Word? {
        node.argumentsAtLineStarts.first {
            DirectiveTable.contexts(of: $0.text).contains(context) || ForeignDirectives.isPlain($0.text)
        }
    }

    /// What may be said of a directive that is as it should be: nginx takes it, and so does this. `nil` where nothing is to be,
    /// and where the directive would lack something before that argument. What has no argument of its own, or no `_` in its
    /// name, is more likely to be meant: `listen 443⏎ ssl⏎ http2`, `random⏎ two⏎ least_conn`.
    func swallowingDoubt(in context: Contexts) -> ConfigDiagnostic? {
        guard let word = swallowed(in: context), word.bytes.contains(UInt8(ascii: "_")),
            let index = arguments.firstIndex(where: { $0.position == word.position }),
            index + 1 < arguments.count, directive.arity.range.contains(index)
        else { return nil }
        return warning(
            "found the argument \"\(word.text)\" at the beginning of a line, is a \";\" missing before it?",
            at: word)
    }
}
