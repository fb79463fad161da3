/// Reads the condition of an `if`: its words are arguments, the parentheses part of the first and the last.
enum ConditionParser {
    static func condition(_ call: DirectiveUse, _ compilation: Compilation) throws(ConfigDiagnostic)
        -> Condition
    {
        let words = try withoutParentheses(call)
        guard let first = words.first else { throw call.failure("found an empty condition") }
        if first.bytes.count > 1, first.bytes.first == UInt8(ascii: "$") {
            return try comparison(words, call, compilation)
        }
        if let (test, negated) = fileTest(first.text) {
            guard words.count == 2 else { throw unexpected(words, call) }
            return .file(test, try compilation.template(words[1], in: call.name), negated: negated)
        }
        throw unexpected(words, call)
    }

    private static func comparison(
        _ words: [Word], _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> Condition {
        // Only a variable may stand on the left, not a text with variables in it.
        _ = try DirectiveTable.variableName(words[0], call)
        let subject = try compilation.template(words[0], in: call.name)
        switch words.count {
        case 1: return .isTrue(subject)
        case 3: break
        default: throw unexpected(words, call)
        }
        switch words[1].text {
        case "=": return .equals(subject, try compilation.template(words[2], in: call.name))
        case "!=": return .notEquals(subject, try compilation.template(words[2], in: call.name))
        case "~": return try match(subject, words[2], ignoringCase: false, negated: false, call, compilation)
        case "~*": return try match(subject, words[2], ignoringCase: true, negated: false, call, compilation)
        case "!~": return try match(subject, words[2], ignoringCase: false, negated: true, call, compilation)
        case "!~*": return try match(subject, words[2], ignoringCase: true, negated: true, call, compilation)
        default:
            throw call.failure(
                found: words[1], expected: "\"=\", \"!=\", \"~\", \"~*\", \"!~\" or \"!~*\"")
        }
    }

    private static func match(
        _ subject: Template, _ expression: Word, ignoringCase: Bool, negated: Bool, _ call: DirectiveUse,
        _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> Condition {
        let (pattern, groups) = try compilation.pattern(
            expression, caseInsensitive: ignoringCase, in: call.name)
        return .matches(subject, pattern, namedGroups: groups, negated: negated)
    }

    private static func fileTest(_ text: String) -> (Condition.FileTest, negated: Bool)? {
        let negated = text.hasPrefix("!")
        switch negated ? String(text.dropFirst()) : text {
        case "-f": return (.isFile, negated)
        case "-d": return (.isDirectory, negated)
        case "-e": return (.exists, negated)
        case "-x": return (.isExecutable, negated)
        default: return nil
        }
    }

    private static func withoutParentheses(_ call: DirectiveUse) throws(ConfigDiagnostic) -> [Word] {
        var words = call.arguments
        guard let first = words.first, first.bytes.first == UInt8(ascii: "("), let last = words.last,
            last.bytes.last == UInt8(ascii: ")"), words.count > 1 || first.bytes.count > 1
        else {
            throw call.failure("found \"\(text(of: words))\", expected a condition in parentheses")
        }
        words[0].bytes.removeFirst()
        words[words.count - 1].bytes.removeLast()
        // A parenthesis may stand by itself. An operand that is empty text in quotes is never one of these
        // two: a quoted word ends before the parenthesis.
        if words[0].bytes.isEmpty { words.removeFirst() }
        if words.last?.bytes.isEmpty == true { words.removeLast() }
        return words
    }

    private static func unexpected(_ words: [Word], _ call: DirectiveUse) -> ConfigDiagnostic {
        call.failure(
            "found the condition \"\(text(of: words))\", expected a variable, a comparison of one, "
                + "or a file test such as -f")
    }

    private static func text(of words: [Word]) -> String { words.map(\.text).joined(separator: " ") }
}
