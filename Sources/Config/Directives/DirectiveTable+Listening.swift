extension DirectiveTable {
    static let listening: [Directive] = [
        Directive(
            "listen",
            "address[:port] | port | unix:path [default_server] [ssl] [http2] [proxy_protocol] [backlog=n] [rcvbuf=size] "
                + "[sndbuf=size] "
                + "[reuseport] [ipv6only=on|off] [so_keepalive=on|off|…]",
            in: .server, takes: .atLeast(1), default: "*:80",
            "An address to accept connections on; 8000 replaces port 80 where root did not start the process.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let addresses = try ListenArguments.addresses(
                call.arguments[0], call, resolve: scope.compilation.environment.addressesOfHost)
            let arguments = try ListenArguments(call)
            if arguments.isHTTP2 {
                scope.compilation.report(
                    call.warning("\"listen … http2\" is deprecated, \"http2 on\" takes its place"))
            }
            scope.server.listens += addresses.map {
                ListenDraft(address: $0, arguments: arguments, position: call.position)
            }
        },
        Directive(
            "server_name", "name …", in: .server, takes: .atLeast(1), default: "\"\"",
            "Hosts that the server answers for: exact, *.suffix, .suffix, prefix.*, ~regex or \"\".",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            for word in call.arguments {
                do throws(ConfigDiagnostic) {
                    let (names, primary) = try serverNames(word, call, scope.compilation)
                    if scope.server.names.isEmpty { scope.server.primaryName = primary }
                    scope.server.names += names
                } catch {
                    scope.compilation.report(error)
                }
            }
        },
    ]

    /// The forms that a name stands for, and what `$server_name` says when it is the first.
    private static func serverNames(
        _ word: Word, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> (names: [ServerNameDraft], primary: [UInt8]) {
        if word.bytes.first == UInt8(ascii: "~") {
            let expression = word.replacing(Array(word.bytes.dropFirst()))
            guard !expression.bytes.isEmpty else {
                throw call.failure("found \"~\" with an empty regular expression", at: word)
            }
            // As nginx: an upper case letter in it makes the comparison ignore case, as Host is lower case.
            let ignoresCase = expression.bytes.contains { $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") }
            let (pattern, groups) = try compilation.pattern(
                expression, caseInsensitive: ignoresCase, in: call.name)
            return (
                [ServerNameDraft(form: .regex(pattern, namedGroups: groups), name: word)], word.bytes
            )
        }
        if word.bytes.lowercased() == Array("$hostname".utf8) {
            let hostname = compilation.environment.hostname.lowercased()
            return ([ServerNameDraft(form: .host(.exact(hostname)), name: word)], hostname)
        }
        if word.bytes.contains(UInt8(ascii: "/")) {
            compilation.report(call.warning("server name \"\(word.text)\" has suspicious symbols", at: word))
        }
        guard let forms = HostPattern.forms(of: word.bytes) else {
            throw call.failure(
                found: word, expected: "a name, \"*.name\", \".name\", \"name.*\" or \"~regex\"")
        }
        let names = forms.map { ServerNameDraft(form: .host($0), name: word) }
        let isDotted = word.bytes.first == UInt8(ascii: ".")
        return (names, (isDotted ? word.bytes.dropFirst() : word.bytes[...]).lowercased())
    }
}
