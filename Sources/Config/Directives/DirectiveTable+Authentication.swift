extension DirectiveTable {
    /// Who clients are, and whether that matters where they are.
    static let authentication: [Directive] = [
        Directive(
            "satisfy", "all | any", in: .levels, takes: .one, default: "all",
            "Whether a client has to be let in by each of `allow` with `deny`, `auth_basic` and `auth_request`, in this order, or by any of them."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.authentication.needsOne = try call.choice(
                call.arguments[0], ignoringCase: true, ["all": false, "any": true])
        },
        Directive(
            "auth_delay", "time", in: .levels, takes: .one, default: "0",
            "How long a client waits for a 401 of `auth_basic` or `auth_request`, counted from where its password began to be looked at: how long that took does not show."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.authentication.delay = try call.time(call.arguments[0])
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
        Directive(
            "auth_request", "uri | off", in: .levels, takes: .one, default: "off",
            "Asks the location of this path by GET whether the client is let in: 2xx is yes, 401 and 403 are passed on, and anything else is a 500."
        ) { scope, call throws(ConfigDiagnostic) in
            let uri = call.arguments[0].bytes
            scope.authentication.uri = uri == Array("off".utf8) ? [] : uri
        },
        Directive(
            "auth_request_set", "$variable value", in: .levels, takes: .two,
            "Assigns a value to a variable once `auth_request` has its answer, which variables in the value are of, such as `$upstream_http_…`. One at a level replaces all of the outer levels.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let name = try variableName(call.arguments[0], call)
            let value = try scope.compilation.template(call.arguments[1], in: call.name)
            let target = try assignmentTarget(name, call, scope.compilation)
            if call.isFirst { scope.authentication.assignments = [] }
            scope.authentication.assignments.append(.init(target: target, value: value))
        },
    ]
}

/// What a level says, or inherits, about who clients are.
struct AuthenticationDraft {
    var needsOne = false
    /// Milliseconds.
    var delay = 0
    var realm: Template?
    var userFile: Template?
    /// Of whom to ask; empty for nobody.
    var uri: [UInt8] = []
    var assignments: [SubrequestRule.Assignment] = []

    /// `nil` where nobody is asked.
    func finished(under directory: String) -> Authentication? {
        let password = password(under: directory)
        let subrequest = uri.isEmpty ? nil : SubrequestRule(uri: uri, assignments: assignments)
        guard password != nil || subrequest != nil else { return nil }
        return Authentication(
            needsOne: needsOne, delay: delay, password: password, subrequest: subrequest)
    }

    private func password(under directory: String) -> PasswordRule? {
        guard let realm, let userFile, realm.constant != PasswordRule.off else { return nil }
        return PasswordRule(realm: realm, userFile: userFile, directory: directory)
    }
}
