extension DirectiveTable {
    /// Who clients are, and whether that matters where they are.
    static let authentication: [Directive] = [
        Directive(
            "satisfy", "all | any", in: .levels, takes: .one, default: "all",
            "Whether a client has to be let in by each of `allow` with `deny` and `auth_basic`, in this order, or by any of them."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.authentication.needsOne = try call.choice(
                call.arguments[0], ignoringCase: true, ["all": false, "any": true])
        },
        Directive(
            "auth_basic", "string | off", in: [.http, .server, .location, .limitExcept], takes: .one,
            default: "off",
            "Asks for a user name and a password (RFC 7617) and shows clients what for; 401 without, where there is an `auth_basic_user_file`."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.authentication.realm = try scope.compilation.template(call.arguments[0], in: call.name)
        },
        Directive(
            "auth_basic_user_file", "file", in: [.http, .server, .location, .limitExcept], takes: .one,
            "Lines `name:password`, read for each request. Passwords as `htpasswd` and `openssl passwd` hash them, those of crypt(3), `{SHA}`, `{SSHA}` and `{PLAIN}`."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.authentication.userFile = try scope.compilation.template(call.arguments[0], in: call.name)
        },
    ]
}

/// What a level says, or inherits, about who clients are.
struct AuthenticationDraft {
    var needsOne = false
    var realm: Template?
    var userFile: Template?

    /// `nil` where nobody is asked.
    func finished(under directory: String) -> Authentication? {
        guard let password = password(under: directory) else { return nil }
        return Authentication(needsOne: needsOne, password: password)
    }

    private func password(under directory: String) -> PasswordRule? {
        guard let realm, let userFile, realm.constant != PasswordRule.off else { return nil }
        return PasswordRule(realm: realm, userFile: userFile, directory: directory)
    }
}
