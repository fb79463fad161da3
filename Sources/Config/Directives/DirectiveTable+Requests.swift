extension DirectiveTable {
    /// What concerns the client's connection and requests.
    static let requests: [Directive] = [
        Directive(
            "client_header_timeout", "time", in: .httpAndServer, takes: .one, default: "60s",
            "How long reading a request's head may take; then 408."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.connection.clientHeaderTimeout = try call.time(call.arguments[0])
        },
        Directive(
            "client_header_buffer_size", "size", in: .httpAndServer, takes: .one, default: "1k",
            "Heads up to this size need no large buffer."
        ) { scope, call throws(ConfigDiagnostic) in
            let word = call.arguments[0]
            scope.connection.clientHeaderBufferSize = try call.headSize(call.size(word), word)
        },
        Directive(
            "large_client_header_buffers", "number size", in: .httpAndServer, takes: .two, default: "4 8k",
            "A request line or a field longer than size is refused with 414 or 400, "
                + "as is a head longer than number times size. As soon as the client has named the host, that server's "
                + "value holds, for what came before as well; over HTTP/2, that of the connection's server holds throughout."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.connection.largeHeaderBufferCount = try call.number(call.arguments[0], in: 1...65_536)
            let word = call.arguments[1]
            scope.connection.largeHeaderBufferSize = try call.headSize(call.bufferSize(word), word)
        },
        .connectionFlag(
            "ignore_invalid_headers", \.ignoreInvalidHeaders, default: "on",
            "Drops fields with names of other than letters, digits, hyphens (and underscores, if allowed). The server that the host leads to decides, also about fields before `Host`. A name that is no token (RFC 9110 §5.6.2) is a 400 in any case."
        ),
        .connectionFlag(
            "underscores_in_headers", \.underscoresInHeaders, default: "off",
            "Takes a field whose name has an underscore for valid, where the server that the host leads to says so."
        ),
        .connectionFlag(
            "merge_slashes", \.mergeSlashes, default: "on", "Takes several slashes in a URI for one."),
        .time(
            "client_body_timeout", \.clientBodyTimeout, default: "60s",
            "The longest pause between two reads of a request's body; then 408."),
        .size(
            "client_body_buffer_size", \.clientBodyBufferSize, default: "16k",
            "How much of a request's body is kept while it is passed on, for another upstream or an `error_page`."
        ),
        Directive(
            "client_max_body_size", "size", in: .levels, takes: .one, default: "1m",
            "The largest request body; more is refused with 413. 0 is without limit, but for 64 MB of a body that has to be "
                + "gathered in memory first."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.clientMaxBodySize = try call.largeSize(call.arguments[0])
        },
        .time(
            "send_timeout", \.sendTimeout, default: "60s",
            "The longest pause between two writes to the client."),
        Directive(
            "keepalive_timeout", "time [header]", in: .levels, takes: .between(1, 2), default: "75s",
            "How long a client's idle connection is kept; 0 closes it after each response. "
                + "The second time is told to the client as Keep-Alive: timeout."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.keepaliveTimeout = try call.time(call.arguments[0])
            scope.settings.keepaliveHeaderTimeout =
                call.arguments.count > 1 ? try call.seconds(call.arguments[1]) : nil
        },
        .number(
            "keepalive_requests", \.keepaliveRequests, default: "1000",
            "Requests on one connection, after which it is closed."),
        .time(
            "keepalive_time", \.keepaliveTime, default: "1h",
            "Age of a connection at which it is closed after the next response."),
        Directive(
            "keepalive_disable", "none | msie6 | safari …", in: .levels, takes: .between(1, 2),
            default: "msie6",
            "Browsers whose connections are not kept.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            var disabled: KeepaliveDisable = call.isFirst ? [] : scope.settings.keepaliveDisable
            for word in call.arguments {
                disabled.formUnion(
                    try call.choice(
                        word, ignoringCase: true,
                        ["none": KeepaliveDisable(), "msie6": .msie6, "safari": .safari]))
            }
            scope.settings.keepaliveDisable = disabled
        },
        .flag(
            "tcp_nodelay", \.tcpNoDelay, default: "on",
            "Sends small packets to the client without delay. HTTP/2 has it from the server that answers by default; upstreams are always sent to without delay."
        ),
        .flag(
            "reset_timedout_connection", \.resetTimedoutConnection, default: "off",
            "Resets a client's connection where the head or the body of a request, or the sending of a response, timed out, instead of answering 408 and closing it; over HTTP/2, the stream of a response alone."
        ),
        Directive(
            "allow", "address | network/bits | unix: | all", in: [.http, .server, .location, .limitExcept],
            takes: .one, "Lets these clients in; the first allow or deny that matches decides.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            try addAccessRule(allows: true, to: &scope, call)
        },
        Directive(
            "deny", "address | network/bits | unix: | all", in: [.http, .server, .location, .limitExcept],
            takes: .one, "Refuses these clients with 403.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            try addAccessRule(allows: false, to: &scope, call)
        },
        resolver(
            in: .levels, \.settings.resolver,
            "Name servers for host names that come out of variables, `localhost` among them: the hosts file is not looked into. An answer is kept for as long as its records say, those of aliases included, at most 16 of which are followed in one answer. Each request begins with any one of a name's addresses, those of IPv4 before those of IPv6."
        ),
        .time(
            "resolver_timeout", \.resolverTimeout, default: "30s",
            "How long a request waits for a name's addresses."),
    ]

    private static func addAccessRule(
        allows: Bool, to scope: inout Scope, _ call: DirectiveUse
    ) throws(ConfigDiagnostic) {
        // allow and deny form one list: the first of either at a level replaces what the level inherited.
        if !scope.hasAccessRules { scope.accessRules = [] }
        scope.hasAccessRules = true
        scope.accessRules.append(
            AccessRule(allows: allows, network: try network(call.arguments[0], call, scope.compilation)))
    }

    private static func network(
        _ word: Word, _ call: DirectiveUse, _ compilation: Compilation
    ) throws(ConfigDiagnostic) -> AccessRule.Network {
        switch word.text {
        case "all": return .all
        case "unix:": return .unix
        default: break
        }
        guard let network = try call.network(word, compilation) else {
            throw call.failure(
                found: word, expected: "an address, a network such as 10.0.0.0/8, \"unix:\" or \"all\"")
        }
        return network
    }

    static func resolver(
        in contexts: Contexts, _ setting: any WritableKeyPath<Scope, Resolver?> & Sendable, _ note: String
    ) -> Directive {
        Directive(
            "resolver", "address[:port] … [valid=time] [ipv4=on|off] [ipv6=on|off]", in: contexts,
            takes: .atLeast(1), note
        ) { scope, call throws(ConfigDiagnostic) in
            scope[keyPath: setting] = try resolver(call, scope.compilation.environment.addressesOfHost)
        }
    }

    private static func resolver(
        _ call: DirectiveUse, _ resolve: (String) -> [String]
    ) throws(ConfigDiagnostic) -> Resolver {
        var resolver = Resolver(servers: [])
        for word in call.arguments {
            if let value = word.value(after: "valid=") {
                resolver.valid = try call.seconds(value) * 1000
            } else if let value = word.value(after: "ipv4=") {
                resolver.ipv4 = try call.parameterFlag(value)
            } else if let value = word.value(after: "ipv6=") {
                resolver.ipv6 = try call.parameterFlag(value)
            } else {
                resolver.servers += try nameServers(word, call, resolve)
            }
        }
        guard !resolver.servers.isEmpty else {
            throw call.failure("found no address, expected the address of a name server")
        }
        guard resolver.ipv4 || resolver.ipv6 else {
            throw call.failure("found both \"ipv4=off\" and \"ipv6=off\", expected one of them at most")
        }
        return resolver
    }

    private static func nameServers(
        _ word: Word, _ call: DirectiveUse, _ resolve: (String) -> [String]
    ) throws(ConfigDiagnostic) -> [String] {
        let expected = "the address of a name server, \"valid=\", \"ipv4=\" or \"ipv6=\""
        guard let address = try? HostAndPort(word.bytes), address.rest.isEmpty else {
            throw call.failure(found: word, expected: expected)
        }
        let host = String(decoding: address.host, as: UTF8.self)
        let isNumeric = address.isIPv6 || NetworkAddress.ipv4(address.host) != nil
        let hosts = isNumeric ? [host] : resolve(host)
        guard !hosts.isEmpty else { throw call.failure(found: word, expected: expected) }
        return hosts.map { ($0.contains(":") ? "[\($0)]" : $0) + ":\(address.port ?? 53)" }
    }
}
