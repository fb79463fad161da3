extension DirectiveTable {
    private static let everywhere: Contexts = [.server, .location, .ifInServer, .ifInLocation]

    /// The steps of the rewrite phase, run in the order written.
    static let rewriting: [Directive] = [
        Directive(
            "set", "$variable value", in: everywhere, takes: .two, "Assigns a value to a variable.",
            repeats: true, phase: .rewrites
        ) { scope, call throws(ConfigDiagnostic) in
            let name = try variableName(call.arguments[0], call)
            let value = try scope.compilation.template(call.arguments[1], in: call.name)
            switch try assignmentTarget(name, call, scope.compilation) {
            case .arguments: scope.rewrites.append(.setArguments(value))
            case .slot(let slot): scope.rewrites.append(.set(slot: slot, value: value))
            }
        },
        Directive(
            "rewrite", "regex replacement [last | break | redirect | permanent]", in: everywhere,
            takes: .between(2, 3), "Changes the URI, or redirects, where it matches.", repeats: true,
            phase: .rewrites
        ) { scope, call throws(ConfigDiagnostic) in
            scope.rewrites.append(.rewrite(try rewriteRule(call, scope.compilation)))
        },
        Directive(
            "return", "code [text] | code url | url", in: everywhere, takes: .between(1, 2),
            "Answers at once; 444 and 499 close the connection without an answer.", repeats: true,
            phase: .rewrites
        ) { scope, call throws(ConfigDiagnostic) in
            scope.rewrites.append(.return(try returnAction(call, scope.compilation)))
        },
        Directive(
            "break", "", in: everywhere, takes: .none, "Ends the rewrite phase.", repeats: true,
            phase: .rewrites
        ) { scope, _ in
            scope.rewrites.append(.stop)
        },
        Directive(
            "if", "(condition) { … }", in: [.server, .location], takes: .atLeast(1),
            "Settings and rewrites for the requests for which the condition holds.", form: .block,
            repeats: true,
            phase: .rewrites
        ) { scope, call throws(ConfigDiagnostic) in
            var condition: Condition?
            do throws(ConfigDiagnostic) {
                condition = try ConditionParser.condition(call, scope.compilation)
            } catch {
                scope.compilation.report(error)
            }
            var block = scope.child(scope.context == .server ? .ifInServer : .ifInLocation)
            block.matcher = .ifBlock
            DirectiveCompiler.apply(call.body, to: &block)
            let location = block.finishedLocation(children: LocationTable(), source: call.position)
            if let condition { scope.rewrites.append(.when(condition, location)) }
        },
    ]

    /// What a value is assigned to by `name`, the directive's first argument.
    static func assignmentTarget(
        _ name: String, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> SubrequestRule.Assignment.Target {
        // The one built-in variable that may be assigned: it changes what is sent upstream.
        if name.lowercased() == "args" { return .arguments }
        return .slot(
            try compilation.slot(assigning: name, at: call.arguments[0].position, in: call.name))
    }

    /// The name in `$name`, without the `$`.
    static func variableName(_ word: Word, _ call: DirectiveUse) throws(ConfigDiagnostic) -> String {
        let name = word.bytes.dropFirst()
        guard word.bytes.first == UInt8(ascii: "$"), !name.isEmpty, name.allSatisfy(TemplateParser.isNameByte)
        else { throw call.failure(found: word, expected: "a variable such as $name") }
        return String(decoding: name, as: UTF8.self)
    }

    private static func isURL(_ bytes: [UInt8]) -> Bool {
        ["http://", "https://", "$scheme"].contains { bytes.starts(with: $0.utf8) }
    }

    private static func rewriteRule(
        _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> RewriteRule {
        let (pattern, groups) = try compilation.pattern(
            call.arguments[0], caseInsensitive: false, in: call.name)
        var replacement = call.arguments[1]
        guard !replacement.bytes.isEmpty else {
            throw call.failure("found an empty replacement", at: replacement)
        }
        var flag = RewriteRule.Flag.none
        if call.arguments.count == 3 {
            flag = try call.choice(
                call.arguments[2],
                [
                    "last": RewriteRule.Flag.last, "break": .break, "redirect": .redirect,
                    "permanent": .permanent,
                ])
        }
        let isRedirect = isURL(replacement.bytes) || flag == .redirect || flag == .permanent
        let dropsArguments = replacement.bytes.last == UInt8(ascii: "?")
        if dropsArguments { replacement.bytes.removeLast() }
        return RewriteRule(
            pattern: pattern, namedGroups: groups,
            replacement: try compilation.template(replacement, in: call.name), flag: flag,
            keepsArguments: !dropsArguments, isRedirect: isRedirect)
    }

    private static func returnAction(
        _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> ReturnAction {
        let first = call.arguments[0]
        guard let status = ConfigValue.number(first.bytes) else {
            guard call.arguments.count == 1, isURL(first.bytes) else {
                throw call.failure(found: first, expected: "a status, or a URL that begins with its scheme")
            }
            return .redirect(status: 302, try compilation.template(first, in: call.name))
        }
        guard status <= 999 else { throw call.failure(found: first, expected: "a status from 0 to 999") }
        guard call.arguments.count == 2 else { return .status(status) }
        let text = try compilation.template(call.arguments[1], in: call.name)
        // As in nginx, an error with an empty text has its built-in page.
        if status >= 400, text.constant?.isEmpty == true { return .status(status) }
        return [301, 302, 303, 307, 308].contains(status)
            ? .redirect(status: status, text) : .text(status: status, text)
    }
}
