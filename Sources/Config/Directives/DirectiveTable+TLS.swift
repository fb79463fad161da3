/// TLS with clients.
extension DirectiveTable {
    static let tls: [Directive] = [
        Directive(
            "ssl_certificate", "file | data:…", in: .httpAndServer, takes: .one,
            "A certificate with its chain, in PEM. One for each kind of key; with variables, it is looked for in each "
                + "handshake, and kept as ssl_certificate_cache says.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.tls.certificates = [] }
            scope.tls.certificates.append(try source(call, scope))
        },
        Directive(
            "ssl_certificate_key", "file | data:…", in: .httpAndServer, takes: .one,
            "The private key of the certificate in the same place of the order, in PEM.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.tls.keys = [] }
            scope.tls.keys.append(try keySource(call, scope))
        },
        Directive(
            "ssl_certificate_cache", "off | max=count [inactive=time] [valid=time]", in: .httpAndServer,
            takes: .between(1, 3), default: "off",
            "Whether each worker keeps certificates and keys whose names have variables, and those that scripts give: max of "
                + "them together, the least recently used ones leaving first. After valid (60s) a file is looked at, "
                + "and read if it has changed; what nobody asked for in inactive (10s) may leave."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.tls.certificateCache = try certificateCaching(call)
        },
        .tlsFile(
            "ssl_password_file", \.passwordFile,
            "Passwords of private keys, one a line, tried in turn."),
        Directive(
            "ssl_protocols", "SSLv2 | SSLv3 | TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3 …", in: .httpAndServer,
            takes: .atLeast(1), default: "TLSv1.2 TLSv1.3",
            "Versions that clients may use. SSLv2 adds none. Several at one level add up.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            scope.tls.protocols = try protocols(call, besides: scope.tls.protocols)
        },
        Directive(
            "ssl_ciphers", "list", in: .httpAndServer, takes: .one, default: "HIGH:!aNULL:!MD5",
            "Ciphers of TLS 1.2 and before, in OpenSSL's notation."
        ) { scope, call in
            scope.tls.ciphers = word(call)
        },
        .tlsFlag(
            "ssl_prefer_server_ciphers", \.prefersServerCiphers, default: "off",
            "Whether the order of ssl_ciphers comes before the client's."),
        Directive(
            "ssl_conf_command", "name value", in: .httpAndServer, takes: .two,
            "A command of OpenSSL's configuration files, such as Ciphersuites. One at a level replaces all of the outer "
                + "level.",
            repeats: true
        ) { scope, call in
            if call.isFirst { scope.tls.commands = [] }
            scope.tls.commands.append(command(call))
        },
        Directive(
            "ssl_ecdh_curve", "auto | curve:…", in: .httpAndServer, takes: .one, default: "auto",
            "Groups for the key exchange, by OpenSSL's names."
        ) { scope, call in
            scope.tls.curves = call.arguments[0].text == "auto" ? nil : word(call)
        },
        .tlsFile(
            "ssl_dhparam", \.dhParameters,
            "Parameters of ciphers with DHE, in PEM; without it these are not used."),
        Directive(
            "ssl_session_cache", "off | none | [builtin[:sessions]] [shared:name:size]", in: .httpAndServer,
            takes: .between(1, 2), default: "none",
            "Where sessions are kept that are not in tickets. A shared one is kept across reloads; builtin:0 has no limit. The "
                + "last one at a level counts.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            try sessionCache(&scope, call)
        },
        .tlsFlag(
            "ssl_session_tickets", \.sessionTickets, default: "on",
            "Whether sessions are resumed by tickets, which the client keeps."),
        Directive(
            "ssl_session_ticket_key", "file", in: .httpAndServer, takes: .one,
            "48 or 80 random bytes that tickets are encrypted with; further files only open tickets. Without it, keys "
                + "are the process's own, and change each hour.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.tls.ticketKeys = [] }
            scope.tls.ticketKeys.append(file(call, scope))
        },
        Directive(
            "ssl_session_timeout", "time", in: .httpAndServer, takes: .one, default: "5m",
            "How long a session may be resumed."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.tls.sessionTimeout = try call.seconds(call.arguments[0])
        },
        Directive(
            "ssl_buffer_size", "size", in: .httpAndServer, takes: .one, default: "16k",
            "The most that goes into one record."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.tls.bufferSize = try call.bufferSize(call.arguments[0])
        },
        .tlsFlag(
            "ssl_reject_handshake", \.rejectsHandshakes, default: "off",
            "Ends handshakes for the server with the alert unrecognized_name."),
        Directive(
            "ssl_key_log", "file", in: .httpAndServer, takes: .one,
            "A file that the secrets of clients' connections are written to, in the format of SSLKEYLOGFILE: whoever reads it "
                + "reads these connections."
        ) { scope, call in
            scope.tls.keyLog = logPath(call, scope)
        },
        .tlsFlag(
            "ssl_early_data", \.takesEarlyData, default: "off",
            "Whether requests are taken that clients send with the first message of a handshake of TLS 1.3. $ssl_early_data tells "
                + "them: each is taken once by this process, but one that somebody kept may be sent again to another."
        ),
        Directive(
            "ssl_alpn", "protocol …", in: .httpAndServer, takes: .atLeast(1),
            "The protocols that clients may choose from by ALPN, the one that is liked best first: h2, http/1.1 and http/1.0. "
                + "A client that offers others alone gets the alert no_application_protocol. Without it: h2 where "
                + "http2 is on, and http/1.1."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.tls.applicationProtocols = []
            for word in call.arguments {
                let name = try call.choice(
                    word, ["h2": "h2", "http/1.1": "http/1.1", "http/1.0": "http/1.0"])
                guard !scope.tls.applicationProtocols.contains(where: { $0.text == name }) else {
                    throw call.failure(found: word, expected: "each protocol once")
                }
                scope.tls.applicationProtocols.append(
                    TLSWord(name, directive: call.name, position: word.position))
            }
        },
    ]

    /// Certificates of clients, and what the server's own comes with.
    static let tlsVerification: [Directive] = [
        Directive(
            "ssl_verify_client", "on | off | optional | optional_no_ca", in: .httpAndServer, takes: .one,
            default: "off",
            "Whether clients are asked for a certificate. A bad or missing one is answered over HTTP, by 495 and 496 for "
                + "error_page, which clients see as 400."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.tls.verifyClientPosition = call.position
            scope.tls.verifyClient = try call.choice(
                call.arguments[0], ignoringCase: true,
                [
                    "off": ServerTLSSettings.ClientVerification.off, "on": .on, "optional": .optional,
                    "optional_no_ca": .optionalWithoutAuthority,
                ])
        },
        Directive(
            "ssl_verify_depth", "number", in: .httpAndServer, takes: .one, default: "1",
            "How long the chain of a client's certificate may be."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.tls.verifyDepth = try call.number(call.arguments[0], in: 0...Int.max)
        },
        .tlsFile(
            "ssl_client_certificate", \.clientCertificate,
            "Authorities for clients' certificates, in PEM; clients are told their names."),
        .tlsFile(
            "ssl_trusted_certificate", \.trustedCertificate,
            "Further authorities, in PEM, that clients are not told of."),
        .tlsFile(
            "ssl_crl", \.revocationLists,
            "Lists of revoked certificates, in PEM: one for each authority of a chain."),
        Directive(
            "ssl_ocsp", "on | leaf | off", in: .httpAndServer, takes: .one, default: "off",
            "Whether responders are asked by OCSP for the status of clients' certificates: of the whole chain but its root, or "
                + "of the client's own certificate alone. The first request waits for the answer, for as long as "
                + "client_header_timeout says, and is answered by 495 for error_page, which clients see as 400, "
                + "unless that is good. It needs ssl_verify_client on or optional."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.tls.ocsp = try call.choice(
                call.arguments[0], ignoringCase: true,
                ["off": ServerTLSSettings.StatusCheck.off, "on": .on, "leaf": .leaf])
            scope.tls.ocspAt = scope.tls.ocsp == .off ? nil : call.position
        },
        Directive(
            "ssl_ocsp_responder", "url", in: .httpAndServer, takes: .one,
            "Whom to ask for the status of clients' certificates, by http://, in place of whom these name."
        ) { scope, call in
            scope.tls.ocspResponder = word(call)
        },
        Directive(
            "ssl_ocsp_cache", "off | shared:name:size", in: .httpAndServer, takes: .one, default: "off",
            "Where answers to ssl_ocsp are kept for as long as they hold. A cache is kept across reloads."
        ) { scope, call throws(ConfigDiagnostic) in
            let word = call.arguments[0]
            if word.text == "off" {
                scope.tls.ocspCache = nil
            } else if let zone = word.value(after: "shared:") {
                scope.tls.ocspCache = try sharedZone(zone, of: word, "OCSP cache", scope, call)
            } else {
                throw call.failure(found: word, expected: "\"off\" or \"shared:name:size\"")
            }
        },
        .tlsFlag(
            "ssl_stapling", \.stapling, default: "off",
            "Whether handshakes carry an OCSP response for the server's certificate. It is fetched from the responder when "
                + "the first client asks for it, and again halfway to its end, by the server's resolver; the "
                + "certificate's issuer is looked for in its chain and in ssl_trusted_certificate."),
        .tlsFile(
            "ssl_stapling_file", \.staplingFile,
            "The OCSP response, in DER, in place of one that is fetched."),
        Directive(
            "ssl_stapling_responder", "url", in: .httpAndServer, takes: .one,
            "Whom to ask for OCSP responses, by http://, in place of whom the certificate names."
        ) { scope, call in
            scope.tls.staplingResponder = word(call)
        },
        .tlsFlag(
            "ssl_stapling_verify", \.verifiesStaple, default: "off",
            "Whether who signed an OCSP response that was fetched must lead to an authority of ssl_trusted_certificate."
        ),
    ]

    /// TLS with upstreams.
    static let proxyTLS: [Directive] = [
        Directive(
            "proxy_ssl_name", "name", in: .levels, takes: .one, default: "$proxy_host",
            "The name that an upstream's certificate is checked for, and that is sent with proxy_ssl_server_name."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyTLS.name = try scope.compilation.template(call.arguments[0], in: call.name)
        },
        .flag(
            "proxy_ssl_server_name", \.proxyTLS.sendsServerName, default: "off",
            "Whether upstreams are told the name (SNI)."),
        Directive(
            "proxy_ssl_verify", "on | off", in: .levels, takes: .one, default: "off",
            "Whether upstreams' certificates are checked. A bad one is a failed attempt."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyTLS.verifies = try call.flag(call.arguments[0])
            scope.settings.proxyTLS.verifyWord = scope.settings.proxyTLS.verifies ? word(call) : nil
        },
        Directive(
            "proxy_ssl_verify_depth", "number", in: .levels, takes: .one, default: "1",
            "How long the chain of an upstream's certificate may be."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyTLS.verifyDepth = try call.number(call.arguments[0], in: 0...Int.max)
        },
        .proxyTLSFile(
            "proxy_ssl_trusted_certificate", \.proxyTLS.trustedCertificate,
            "Authorities for upstreams' certificates, in PEM."),
        .proxyTLSFile(
            "proxy_ssl_crl", \.proxyTLS.revocationLists,
            "Lists of revoked certificates, in PEM: one for each authority of a chain."),
        Directive(
            "proxy_ssl_certificate", "file | data:…", in: .levels, takes: .one,
            "The certificate that upstreams are shown, in PEM. With variables, it is looked for when a connection is made, "
                + "and kept as proxy_ssl_certificate_cache says; an empty value is none."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyTLS.certificate = try source(call, scope)
        },
        Directive(
            "proxy_ssl_certificate_key", "file | data:…", in: .levels, takes: .one,
            "Its private key, in PEM; it may have variables too."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyTLS.key = try keySource(call, scope)
        },
        Directive(
            "proxy_ssl_certificate_cache", "off | max=count [inactive=time] [valid=time]", in: .levels,
            takes: .between(1, 3), default: "off",
            "As ssl_certificate_cache, of proxy_ssl_certificate and its key."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyTLS.certificateCache = try certificateCaching(call)
        },
        .proxyTLSFile(
            "proxy_ssl_password_file", \.proxyTLS.passwordFile,
            "Passwords of private keys, one a line, tried in turn."),
        Directive(
            "proxy_ssl_protocols", "SSLv2 | SSLv3 | TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3 …", in: .levels,
            takes: .atLeast(1), default: "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
            "Versions that upstreams may use. SSLv2 adds none. Several at one level add up.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyTLS.protocols = try protocols(
                call, besides: scope.settings.proxyTLS.protocols)
        },
        Directive(
            "proxy_ssl_ciphers", "list", in: .levels, takes: .one, default: "DEFAULT",
            "Ciphers of TLS 1.2 and before, in OpenSSL's notation."
        ) { scope, call in
            scope.settings.proxyTLS.ciphers = word(call)
        },
        Directive(
            "proxy_ssl_conf_command", "name value", in: .levels, takes: .two,
            "A command of OpenSSL's configuration files. One at a level replaces all of the outer levels.",
            repeats: true
        ) { scope, call in
            if call.isFirst { scope.settings.proxyTLS.commands = [] }
            scope.settings.proxyTLS.commands.append(command(call))
        },
        Directive(
            "proxy_ssl_key_log", "file", in: .levels, takes: .one,
            "As ssl_key_log, of connections to upstreams."
        ) { scope, call in
            scope.settings.proxyTLS.keyLog = logPath(call, scope)
        },
        .flag(
            "proxy_ssl_session_reuse", \.proxyTLS.reusesSessions, default: "on",
            "Whether sessions with upstreams are resumed."),
    ]

    // MARK: Values

    private static func word(_ call: DirectiveUse) -> TLSWord {
        let word = call.arguments[0]
        return TLSWord(word.text, directive: call.name, position: word.position)
    }

    private static func logPath(_ call: DirectiveUse, _ scope: Scope) -> TLSWord {
        let word = call.arguments[0]
        return TLSWord(scope.compilation.path(word), directive: call.name, position: word.position)
    }

    private static func command(_ call: DirectiveUse) -> TLSCommand {
        let value = call.arguments[1]
        return TLSCommand(
            name: call.arguments[0].text,
            value: TLSWord(value.text, directive: call.name, position: value.position))
    }

    fileprivate static func file(_ call: DirectiveUse, _ scope: Scope) -> TLSSource {
        let word = call.arguments[0]
        let path = Paths.path(word.text, under: scope.compilation.configurationDirectory)
        return TLSSource(.file(path), directive: call.name, position: word.position)
    }

    private static func source(_ call: DirectiveUse, _ scope: Scope) throws(ConfigDiagnostic) -> TLSSource {
        let word = call.arguments[0]
        guard !word.bytes.isEmpty else { throw call.failure(found: word, expected: "a file, or \"data:…\"") }
        if TemplateParser.hasVariables(word.bytes) {
            let template = try scope.compilation.template(word, in: call.name)
            return TLSSource(
                .template(template, directory: scope.compilation.configurationDirectory),
                directive: call.name, position: word.position)
        }
        if let data = word.value(after: "data:") {
            return TLSSource(.data(data.bytes), directive: call.name, position: word.position)
        }
        return file(call, scope)
    }

    private static func keySource(_ call: DirectiveUse, _ scope: Scope) throws(ConfigDiagnostic) -> TLSSource
    {
        if call.arguments[0].bytes.starts(with: "engine:".utf8) {
            throw call.failure("found a key of an engine, which Switchyard does not support")
        }
        return try source(call, scope)
    }

    private static func certificateCaching(_ call: DirectiveUse) throws(ConfigDiagnostic)
        -> CertificateCaching?
    {
        if call.arguments.count == 1, call.arguments[0].text == "off" { return nil }
        var caching = CertificateCaching(
            maxElements: 0, inactive: 10_000, valid: 60_000, declaredAt: call.position)
        for word in call.arguments {
            if let count = word.value(after: "max=") {
                caching.maxElements = try call.number(count, in: 1...Int(Int32.max))
            } else if let time = word.value(after: "inactive=") {
                caching.inactive = try call.seconds(time) * 1000
            } else if let time = word.value(after: "valid=") {
                caching.valid = try call.seconds(time) * 1000
            } else {
                throw call.failure(
                    found: word,
                    expected: "\"max=count\", \"inactive=time\" or \"valid=time\"; or \"off\" alone")
            }
        }
        guard caching.maxElements > 0 else { throw call.failure("must have the \"max\" parameter") }
        return caching
    }

    /// Those of the call and of others before it at the same level, which `known` has behind the first.
    private static func protocols(
        _ call: DirectiveUse, besides known: TLSProtocols
    ) throws(ConfigDiagnostic) -> TLSProtocols {
        var protocols: TLSProtocols = call.isFirst ? [] : known
        for word in call.arguments {
            protocols.formUnion(
                try call.choice(
                    word, ignoringCase: true,
                    [
                        "SSLv2": TLSProtocols(), "SSLv3": .ssl3, "TLSv1": .tls1, "TLSv1.1": .tls1_1,
                        "TLSv1.2": .tls1_2,
                        "TLSv1.3": .tls1_3,
                    ]))
        }
        return protocols
    }

    private static func sessionCache(_ scope: inout Scope, _ call: DirectiveUse) throws(ConfigDiagnostic) {
        var cache: ServerTLSSettings.SessionCache?
        for word in call.arguments {
            if word.text == "off" || word.text == "none" {
                cache = word.text == "off" ? .off : ServerTLSSettings.SessionCache.none
            } else if word.text == "builtin" {
                if cache == nil { cache = .builtin(nil) }
            } else if let count = word.value(after: "builtin:") {
                let number = try call.number(count, in: 0...Int(Int32.max))
                if cache == nil { cache = .builtin(number) }
            } else if let zone = word.value(after: "shared:") {
                cache = .shared(try sharedZone(zone, of: word, "session cache", scope, call))
            } else {
                throw call.failure(
                    found: word, expected: "\"off\", \"none\", \"builtin[:sessions]\" or \"shared:name:size\""
                )
            }
        }
        if let cache { scope.tls.sessionCache = cache }
    }

    /// What `zone`, which follows `shared:` in `word`, says of something that is `what`.
    private static func sharedZone(
        _ zone: Word, of word: Word, _ what: String, _ scope: Scope, _ call: DirectiveUse
    ) throws(ConfigDiagnostic) -> ServerTLSSettings.Zone {
        let parts = zone.bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else {
            throw call.failure(found: word, expected: "\"shared:name:size\"")
        }
        let name = String(decoding: parts[0], as: UTF8.self)
        let size = try call.size(zone.replacing(Array(parts[1])))
        guard size >= 32 * 1024 else { throw call.failure("\(what) \"\(name)\" is too small", at: word) }
        try scope.compilation.noteSharedZone(name, of: what, size: size, call, word)
        return ServerTLSSettings.Zone(name: name, size: size)
    }
}

// MARK: Rows of the common kinds

extension Directive {
    fileprivate typealias TLSSetting<Value> = any WritableKeyPath<ServerTLSSettings, Value> & Sendable

    /// `on` or `off`.
    fileprivate static func tlsFlag(
        _ name: String, _ setting: TLSSetting<Bool>, default defaultValue: String, _ note: String
    ) -> Directive {
        Directive(name, "on | off", in: .httpAndServer, takes: .one, default: defaultValue, note) {
            scope, call throws(ConfigDiagnostic) in
            scope.tls[keyPath: setting] = try call.flag(call.arguments[0])
        }
    }

    /// A file that is read as the configuration is loaded.
    fileprivate static func tlsFile(
        _ name: String, _ setting: TLSSetting<TLSSource?>, _ note: String
    ) -> Directive {
        Directive(name, "file", in: .httpAndServer, takes: .one, note) { scope, call in
            scope.tls[keyPath: setting] = DirectiveTable.file(call, scope)
        }
    }

    /// As `tlsFile`, for TLS with upstreams.
    fileprivate static func proxyTLSFile(
        _ name: String, _ setting: Setting<TLSSource?>, _ note: String
    ) -> Directive {
        Directive(name, "file", in: .levels, takes: .one, note) { scope, call in
            scope.settings[keyPath: setting] = DirectiveTable.file(call, scope)
        }
    }
}

extension Compilation {
    /// A name is of one kind and has one size, wherever it stands.
    func noteSharedZone(
        _ name: String, of what: String, size: Int, _ call: DirectiveUse, _ word: Word
    ) throws(ConfigDiagnostic) {
        if let known = sharedZones[name] {
            guard known.what == what else {
                throw call.failure(
                    "the shared memory zone \"\(name)\" is already declared for a different use", at: word)
            }
            guard known.size == size else {
                throw call.failure(
                    "the size \(size) of shared memory zone \"\(name)\" conflicts with already declared size \(known.size)",
                    at: word)
            }
        }
        sharedZones[name] = (what, size)
    }
}
