extension DirectiveTable {
    /// What becomes of cookies that upstreams set.
    static let cookies: [Directive] = [
        Directive(
            "proxy_cookie_domain", "off | from to | ~regex to", in: .levels, takes: .between(1, 2),
            default: "off",
            "Changes the domain of cookies that upstreams set, the whole of it, where it is this one. Case makes no difference, "
                + "nor does a dot before it, which stays.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.settings.proxyCookieDomains = [] }
            guard try !isOff(call, &scope) else { return }
            scope.settings.proxyCookieDomains.append(try domainRewrite(call, scope.compilation))
        },
        Directive(
            "proxy_cookie_path", "off | from to | ~regex to | ~*regex to", in: .levels, takes: .between(1, 2),
            default: "off",
            "Changes what the path of cookies that upstreams set begins with; a regular expression, the whole path.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.settings.proxyCookiePaths = [] }
            guard try !isOff(call, &scope) else { return }
            scope.settings.proxyCookiePaths.append(try pathRewrite(call, scope.compilation))
        },
        Directive(
            "proxy_cookie_flags", "off | cookie flag … | ~regex flag …", in: .levels, takes: .between(1, 4),
            default: "off",
            "Gives cookies that upstreams set the flags secure, httponly, samesite=strict, samesite=lax or samesite=none, or "
                + "takes them away (nosecure, nohttponly, nosamesite). The first that the cookie's name matches decides; case "
                + "makes no difference.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.settings.proxyCookieFlags = [] }
            guard try !isOff(call, &scope) else { return }
            scope.settings.proxyCookieFlags.append(try cookieFlags(call, scope.compilation))
        },
    ]

    /// Whether it is `off`, which stands alone at its level.
    private static func isOff(_ call: DirectiveUse, _ scope: inout Scope) throws(ConfigDiagnostic) -> Bool {
        let isOff = call.arguments.count == 1
        if isOff, call.arguments[0].text != "off" {
            throw call.failure(found: call.arguments[0], expected: "\"off\", or something behind it")
        }
        guard call.isFirst || !isOff && !scope.cookiesOff.contains(call.name) else {
            throw call.failure("is duplicate: found \"off\" together with others at this level")
        }
        if isOff { scope.cookiesOff.insert(call.name) }
        return isOff
    }

    private static func domainRewrite(
        _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> CookieRewrite {
        let (from, to) = (call.arguments[0], call.arguments[1])
        if let pattern = try caselessPattern(from, call, compilation) {
            return .regex(pattern, to: try compilation.template(to, in: call.name))
        }
        return .literal(
            from: try compilation.template(withoutDot(from), in: call.name),
            to: try compilation.template(withoutDot(to), in: call.name))
    }

    private static func withoutDot(_ word: Word) -> Word {
        word.bytes.first == UInt8(ascii: ".") ? word.replacing(Array(word.bytes.dropFirst())) : word
    }

    private static func pathRewrite(
        _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> CookieRewrite {
        let from = call.arguments[0]
        let to = try compilation.template(call.arguments[1], in: call.name)
        if let pattern = try compilation.tildePattern(from, in: call.name) {
            return .regex(pattern, to: to)
        }
        return .literal(from: try compilation.template(from, in: call.name), to: to)
    }

    /// The regular expression behind a tilde, with which case makes no difference in any form; `nil` without one.
    private static func caselessPattern(
        _ word: Word, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> GroupedPattern? {
        guard word.bytes.first == UInt8(ascii: "~") else { return nil }
        let (pattern, groups) = try compilation.pattern(
            word.replacing(Array(word.bytes.dropFirst())), caseInsensitive: true, in: call.name)
        return GroupedPattern(pattern: pattern, namedGroups: groups)
    }

    private static func cookieFlags(
        _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> CookieFlags {
        let word = call.arguments[0]
        let cookie: CookieFlags.Name =
            if let pattern = try caselessPattern(word, call, compilation) {
                .regex(pattern)
            } else {
                .literal(try compilation.template(word, in: call.name))
            }
        var flags: [Template] = []
        for word in call.arguments.dropFirst() {
            let flag = try compilation.template(word, in: call.name)
            if let name = flag.constant, !name.isEmpty, CookieFlag(name) == nil {
                let text = "found \"\(word.text)\", which is no flag and has no effect"
                compilation.report(call.warning(text, at: word))
            }
            flags.append(flag)
        }
        return CookieFlags(cookie: cookie, flags: flags)
    }
}
