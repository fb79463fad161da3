extension DirectiveTable {
    static let upstreams: [Directive] = [
        Directive(
            "upstream", "name { … }", in: .http, takes: .one, "A group of servers that proxy_pass names.",
            form: .block, repeats: true, phase: .tables
        ) { scope, call throws(ConfigDiagnostic) in
            var block = scope.child(.upstream)
            DirectiveCompiler.apply(call.body, to: &block)
            let name = call.arguments[0]
            let group = block.upstream.finished(name: name.bytes)
            guard scope.compilation.upstreams.define(group) else {
                throw call.failure("duplicate upstream \"\(name.text)\"", at: name)
            }
            // Servers that were given but could not be read have been reported by themselves.
            guard !group.servers.isEmpty || block.seen.contains("server") else {
                throw call.failure("found no servers in upstream \"\(name.text)\"")
            }
            guard group.servers.contains(where: { !$0.isBackup }) || group.servers.isEmpty else {
                throw call.failure("found only backup servers in upstream \"\(name.text)\"")
            }
            if let position = block.upstream.resolvePosition, group.resolver == nil {
                scope.compilation.upstreams.needingResolver.append((group, position))
            }
            try checkRing(of: group, block.upstream.methodUse)
        },
        Directive(
            "server",
            "address [weight=n] [max_conns=n] [max_fails=n] [fail_timeout=time] [backup] [down] [resolve] [service=name]",
            in: .upstream, takes: .atLeast(1),
            "A server of the group: host[:port] or unix:path. With resolve a name is looked up while the configuration "
                + "runs, by resolver, each time that its records' time is over; with service the servers of its SRV records, "
                + "`_name._tcp.host`, or `name.host` where the name has a dot.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let (server, resolve) = try upstreamServer(call, in: scope.upstream)
            scope.upstream.servers.append(server)
            if let resolve, server.isFollowed, scope.upstream.resolvePosition == nil {
                scope.upstream.resolvePosition = resolve
            }
        },
        balancing(
            "least_conn", "", takes: .none,
            "The server with the fewest requests and WebSockets under way for its weight is chosen.",
            allowsBackups: true
        ) { _, _ in BalancingMethod(.leastConnections) },
        balancing(
            "ip_hash", "", takes: .none,
            "Clients of one address, in IPv4 of the first three numbers of one, have the same server."
        ) { _, _ in BalancingMethod(.addressHash) },
        balancing(
            "hash", "key [consistent]", takes: .between(1, 2),
            "Requests of one key have the same server; with consistent most keys keep theirs when servers come or go."
        ) { scope, call throws(ConfigDiagnostic) in
            let key = try scope.compilation.template(call.arguments[0], in: call.name)
            guard call.arguments.count > 1 else { return BalancingMethod(.keyHash, key: key) }
            return BalancingMethod(
                try call.choice(call.arguments[1], ["consistent": .consistentHash]), key: key)
        },
        balancing(
            "random", "[two [least_conn]]", takes: .between(0, 2),
            "Any server is chosen; with two the one of two that has fewer requests and WebSockets under way for its weight."
        ) { _, call throws(ConfigDiagnostic) in
            guard let two = call.arguments.first else { return BalancingMethod(.random) }
            let kind: BalancingMethod.Kind = try call.choice(two, ["two": .randomOfTwo])
            if call.arguments.count > 1 {
                return BalancingMethod(try call.choice(call.arguments[1], ["least_conn": kind]))
            }
            return BalancingMethod(kind)
        },
        Directive(
            "keepalive", "connections", in: .upstream, takes: .one,
            "Idle connections that each worker keeps to the group; without it none."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.upstream.keepalive = try call.number(call.arguments[0], in: 1...Int.max)
            scope.upstream.keepalivePosition = call.position
        },
        Directive(
            "keepalive_requests", "number", in: .upstream, takes: .one, default: "1000",
            "Requests on one connection to the group, after which it is closed."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.upstream.keepaliveRequests = try call.number(call.arguments[0])
        },
        Directive(
            "keepalive_timeout", "time", in: .upstream, takes: .one, default: "60s",
            "How long an idle connection to the group is kept."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.upstream.keepaliveTimeout = try call.time(call.arguments[0])
        },
        Directive(
            "keepalive_time", "time", in: .upstream, takes: .one, default: "1h",
            "Age of a connection to the group at which it is closed after the next response."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.upstream.keepaliveTime = try call.time(call.arguments[0])
        },
        resolver(
            in: .upstream, \.upstream.resolver,
            "Name servers for the group's servers with resolve, instead of the http block's."),
        Directive(
            "resolver_timeout", "time", in: .upstream, takes: .one,
            "How long a lookup for the group's servers may take, and requests wait for the first; by default the http "
                + "block's. After one that failed the next comes as much later, or a second where that is more."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.upstream.resolverTimeout = try call.time(call.arguments[0])
        },
        .accepted(
            "zone", in: .upstream, takes: .between(1, 2),
            why:
                "Workers are threads that keep the state of servers themselves, addresses that resolve follows "
                + "included."),
    ]

    /// A row that sets how the group's servers are chosen. Where `backup` is not allowed, that goes for the servers behind
    /// the directive, as in nginx.
    private static func balancing(
        _ name: String, _ syntax: String, takes arity: Arity, _ note: String, allowsBackups: Bool = false,
        method: @escaping @Sendable (Scope, DirectiveUse) throws(ConfigDiagnostic) -> BalancingMethod
    ) -> Directive {
        Directive(name, syntax, in: .upstream, takes: arity, note, repeats: true) {
            scope, call throws(ConfigDiagnostic) in
            if let other = scope.upstream.methodUse {
                let place = "\"\(other.name)\" on line \(other.position.line)"
                scope.compilation.report(
                    call.warning("load balancing method redefined: it takes the place of \(place)"))
            } else if let position = scope.upstream.keepalivePosition {
                scope.compilation.report(
                    call.warning(
                        "load balancing method redefined: nginx forgets \"keepalive\" on line \(position.line), "
                            + "which stands before it; here connections are kept"))
            }
            scope.upstream.methodUse = call
            scope.upstream.allowsBackups = allowsBackups
            scope.upstream.method = try method(scope, call)
        }
    }

    /// A ring has points by weight; nginx takes any number of them.
    private static func checkRing(
        of group: UpstreamGroup, _ use: DirectiveUse?
    ) throws(ConfigDiagnostic) {
        guard let use, group.method.kind == .consistentHash else { return }
        let weight = group.servers.reduce(0) { $0 + ($1.isBackup ? 0 : $1.weight) }
        guard weight <= maxRingWeight else {
            throw use.failure(
                "found weights of \(weight) together, expected at most \(maxRingWeight) with \"consistent\"")
        }
    }

    private static let maxRingWeight = 65_536

    /// The server, and where `resolve` stands.
    private static func upstreamServer(
        _ call: DirectiveUse, in upstream: UpstreamDraft
    ) throws(ConfigDiagnostic) -> (UpstreamServer, resolve: SourcePosition?) {
        let address = call.arguments[0]
        var resolve: SourcePosition?
        var service: Word?
        var server = UpstreamServer(
            endpoint: try endpoint(address, call), name: address.bytes, position: address.position)
        for word in call.arguments.dropFirst() {
            if let value = word.value(after: "weight=") {
                server.weight = try call.number(value, in: 1...1_000_000)
            } else if let value = word.value(after: "max_conns=") {
                server.maxConnections = try call.number(value)
            } else if let value = word.value(after: "max_fails=") {
                server.maxFails = try call.number(value)
            } else if let value = word.value(after: "fail_timeout=") {
                server.failTimeout = try call.seconds(value) * 1000
            } else if word.text == "backup" {
                if !upstream.allowsBackups, let method = upstream.methodUse {
                    throw call.failure(
                        "balancing method \"\(method.name)\" on line \(method.position.line) does not support "
                            + "parameter \"backup\"", at: word)
                }
                server.isBackup = true
            } else if word.text == "down" {
                server.isDown = true
            } else if word.text == "resolve" {
                // As in nginx, there is nothing to look up of an address.
                server.isFollowed = server.endpoint.isName
                resolve = word.position
            } else if let value = word.value(after: "service=") {
                service = value
            } else {
                throw call.failure(
                    found: word,
                    expected: "\"weight=\", \"max_conns=\", \"max_fails=\", \"fail_timeout=\", \"backup\", "
                        + "\"down\", \"resolve\" or \"service=\"")
            }
        }
        if let service {
            try checkService(service, of: server, resolves: resolve != nil, call)
            server.service = service.text
        }
        return (server, resolve)
    }

    /// Refuses what nginx does.
    private static func checkService(
        _ service: Word, of server: UpstreamServer, resolves: Bool, _ call: DirectiveUse
    ) throws(ConfigDiagnostic) {
        guard !service.bytes.isEmpty else { throw call.failure("service is empty", at: service) }
        let shown = "service upstream server \"\(call.arguments[0].text)\""
        guard resolves else { throw call.failure("\(shown) requires \"resolve\" parameter", at: service) }
        guard server.endpoint.isName
        else { throw call.failure("\(shown) requires domain name", at: call.arguments[0]) }
        guard (try? HostAndPort(server.name))?.port == nil
        else { throw call.failure("\(shown) may not have port", at: call.arguments[0]) }
    }

    /// `host[:port]` or `unix:path`, without a URI.
    private static func endpoint(_ word: Word, _ call: DirectiveUse) throws(ConfigDiagnostic)
        -> UpstreamEndpoint
    {
        if let path = word.value(after: "unix:") {
            return .unix(path: try call.socketPath(path, of: word))
        }
        do throws(HostAndPort.Fault) {
            let address = try HostAndPort(word.bytes)
            guard address.rest.isEmpty else { throw HostAndPort.Fault.badHost }
            return .host(String(decoding: address.host, as: UTF8.self), port: address.port ?? 80)
        } catch {
            throw call.failure(
                "\(error.rawValue) in upstream \"\(word.text)\", expected host[:port] or unix:path", at: word)
        }
    }
}
