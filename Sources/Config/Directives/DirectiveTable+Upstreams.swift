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
        },
        Directive(
            "server", "address [weight=n] [max_conns=n] [max_fails=n] [fail_timeout=time] [backup] [down]",
            in: .upstream, takes: .atLeast(1), "A server of the group: host[:port] or unix:path.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            scope.upstream.servers.append(try upstreamServer(call))
        },
        Directive(
            "keepalive", "connections", in: .upstream, takes: .one,
            "Idle connections that each worker keeps to the group; without it none."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.upstream.keepalive = try call.number(call.arguments[0], in: 1...Int.max)
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
        .accepted(
            "zone", in: .upstream, takes: .between(1, 2),
            why: "Workers are threads that keep the state of servers themselves."),
    ]

    private static func upstreamServer(_ call: DirectiveUse) throws(ConfigDiagnostic) -> UpstreamServer {
        var server = UpstreamServer(
            endpoint: try endpoint(call.arguments[0], call), position: call.arguments[0].position)
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
                server.isBackup = true
            } else if word.text == "down" {
                server.isDown = true
            } else if word.text == "resolve" || word.value(after: "service=") != nil {
                throw call.failure(
                    "found \"\(word.text)\": an option of nginx that Switchyard does not support: with \"resolver\", "
                        + "\"set $u name; proxy_pass http://$u;\" has the name looked up anew when its time is over",
                    at: word)
            } else {
                throw call.failure(
                    found: word,
                    expected: "\"weight=\", \"max_conns=\", \"max_fails=\", \"fail_timeout=\", \"backup\" "
                        + "or \"down\"")
            }
        }
        return server
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
