extension DirectiveTable {
    static let proxying: [Directive] = [
        Directive(
            "proxy_pass", "url", in: [.location, .ifInLocation, .limitExcept], takes: .one,
            "Where requests go: http://host[:port][/uri], http://upstream, http://unix:path:/uri, "
                + "or a URL with variables."
        ) { scope, call throws(ConfigDiagnostic) in
            guard !scope.hasHandler else { throw call.failure("found a second handler in this location") }
            scope.handler = .proxy(try ProxyPassParser.proxyPass(call, in: scope))
            scope.hasHandler = true
        },
        Directive(
            "proxy_http_version", "1.0 | 1.1 | 2", in: .levels, takes: .one, default: "1.0",
            "The version of requests to upstreams. Keepalive and WebSocket need 1.1 at least; with 2, whose upstreams "
                + "must know it beforehand, requests share connections, and upgrades go over 1.1."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyHTTPVersion = try call.choice(
                call.arguments[0], ["1.0": ProxyHTTPVersion.v1_0, "1.1": .v1_1, "2": .v2])
        },
        Directive(
            "proxy_set_header", "name value", in: .levels, takes: .two,
            "A field of requests to upstreams, in place of the client's; none if the value is empty. "
                + "One at a level replaces all of the outer levels.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let name = call.arguments[0]
            let value = try scope.compilation.template(call.arguments[1], in: call.name)
            if call.isFirst { scope.settings.proxySetHeaders = [] }
            guard !name.bytes.isEmpty else {
                // nginx sends a line without a name, which is no field.
                let text = "found a field without a name, which is not sent"
                return scope.compilation.report(call.warning(text, at: name))
            }
            scope.settings.proxySetHeaders.append(ProxyHeader(name: name.bytes, value: value))
        },
        Directive(
            "proxy_hide_header", "name", in: .levels, takes: .one,
            "Keeps a field of upstream responses from the client.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.hiddenHeaders = [] }
            scope.hiddenHeaders.append(call.arguments[0].bytes.lowercased())
        },
        Directive(
            "proxy_pass_header", "name", in: .levels, takes: .one,
            "Passes on a field that is hidden otherwise, such as Server or Date.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            if call.isFirst { scope.passedHeaders = [] }
            scope.passedHeaders.append(call.arguments[0].bytes.lowercased())
        },
        .flag(
            "proxy_pass_request_headers", \.proxyPassRequestHeaders, default: "on",
            "Whether the client's fields go to the upstream."),
        .flag(
            "proxy_pass_request_body", \.proxyPassRequestBody, default: "on",
            "Whether the client's body goes to the upstream."),
        Directive(
            "proxy_set_body", "value", in: .levels, takes: .one, "The body of requests to upstreams."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxySetBody = try scope.compilation.template(call.arguments[0], in: call.name)
        },
        Directive(
            "proxy_method", "method", in: .levels, takes: .one, "The method of requests to upstreams."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyMethod = try scope.compilation.template(call.arguments[0], in: call.name)
        },
        Directive(
            "proxy_redirect", "default | off | from to | ~regex to", in: .levels, takes: .between(1, 2),
            default: "default", "Changes Location and Refresh of upstream responses.", repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let redirect = try proxyRedirect(call, scope)
            if call.isFirst { scope.settings.proxyRedirects = [] }
            let isOff = if case .off = redirect { true } else { false }
            let wasOff = if case .off = scope.settings.proxyRedirects.first { true } else { false }
            guard call.isFirst || !(isOff || wasOff) else {
                throw call.failure("is duplicate: found \"off\" together with others at this level")
            }
            scope.settings.proxyRedirects.append(redirect)
        },
        .time(
            "proxy_connect_timeout", \.proxyConnectTimeout, default: "60s", "How long connecting may take."),
        .time(
            "proxy_send_timeout", \.proxySendTimeout, default: "60s",
            "The longest pause between two writes to the upstream, in a tunnel as well."),
        .time(
            "proxy_read_timeout", \.proxyReadTimeout, default: "60s",
            "The longest pause between two reads from the upstream, in a tunnel as well."),
        .flag(
            "proxy_buffering", \.proxyBuffering, default: "on",
            "Responses are always passed on as they come. Whether more of one waits for a slow client than one read, as proxy_buffers says."
        ),
        .flag(
            "proxy_request_buffering", \.proxyRequestBuffering, default: "on",
            "Accepted: bodies are always passed on as they come, so only a body that was not begun to be sent "
                + "can be sent to another server."),
        .size(
            "proxy_buffer_size", \.proxyBufferSize, default: "4k",
            "The largest head of an upstream response."),
        Directive(
            "proxy_buffers", "number size", in: .levels, takes: .two, default: "8 4k",
            "Number times size is how much of a response may wait in memory for a slow client, where that is more than the "
                + "128k of one read, which always may, and proxy_buffering is on."
        ) { scope, call throws(ConfigDiagnostic) in
            let count = try call.number(call.arguments[0], in: 2...65_536)
            let (total, isTooLarge) = count.multipliedReportingOverflow(
                by: try call.bufferSize(call.arguments[1]))
            guard !isTooLarge else {
                throw call.failure(found: call.arguments[1], expected: "a smaller size")
            }
            scope.settings.proxyBuffersTotal = total
        },
        Directive(
            "proxy_busy_buffers_size", "size", in: .levels, takes: .one,
            "Accepted: there are no busy buffers to limit."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.proxyBusyBuffersSize = try call.size(call.arguments[0])
        },
        .flag(
            "proxy_intercept_errors", \.proxyInterceptErrors, default: "off",
            "Whether error_page applies to responses of upstreams."),
        Directive(
            "proxy_ignore_headers", "field …", in: .levels, takes: .atLeast(1),
            "Fields of upstreams that have no effect: X-Accel-Redirect, X-Accel-Limit-Rate. The others have none in any case.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            for word in call.arguments {
                switch try ignoredField(word, call) {
                case "X-Accel-Redirect": scope.settings.proxyFollowsAccelRedirect = false
                case "X-Accel-Limit-Rate": scope.settings.proxyFollowsAccelLimitRate = false
                default: break
                }
            }
        },
        .sizeTemplate(
            "proxy_limit_rate", \.proxyLimitRate,
            "Bytes in a second that are read of a response; may have variables."),
        .flag(
            "proxy_ignore_client_abort", \.proxyIgnoreClientAbort, default: "off",
            "Whether a request goes on upstream when the client went away."),
        .flag(
            "proxy_socket_keepalive", \.proxySocketKeepalive, default: "off",
            "TCP keepalive probes on connections to upstreams."),
        Directive(
            "proxy_upgrade_protocols", "any | off | protocol …", in: .levels, takes: .atLeast(1),
            default: "any", "Protocols that an upgrade may lead to; any is all but h2c and TLS."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.upgradeProtocols = try upgradeProtocols(call)
        },
    ]

    static let nextUpstream: [Directive] = [
        Directive(
            "proxy_next_upstream",
            "error | timeout | invalid_header | http_500 | … | non_idempotent | off …", in: .levels,
            takes: .atLeast(1), default: "error timeout", "When a request is tried on another server.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            var next: NextUpstream = call.isFirst ? [] : scope.settings.proxyNextUpstream
            for word in call.arguments {
                next.formUnion(
                    try call.choice(
                        word, ignoringCase: true,
                        [
                            "error": NextUpstream.error, "timeout": .timeout,
                            "invalid_header": .invalidHeader,
                            "non_idempotent": .nonIdempotent, "http_500": .http500, "http_502": .http502,
                            "http_503": .http503, "http_504": .http504, "http_403": .http403,
                            "http_404": .http404, "http_429": .http429, "off": .off,
                            // It says something of a cache alone, in nginx as well.
                            "updating": [],
                        ]))
            }
            scope.settings.proxyNextUpstream = next
        },
        .number(
            "proxy_next_upstream_tries", \.proxyNextUpstreamTries, default: "0",
            "Servers a request is tried on at most; 0 is without limit."),
        .time(
            "proxy_next_upstream_timeout", \.proxyNextUpstreamTimeout, default: "0",
            "How long a request may be tried on servers; 0 is without limit."),
    ]

    private static func proxyRedirect(_ call: DirectiveUse, _ scope: Scope) throws(ConfigDiagnostic)
        -> ProxyRedirect
    {
        let from = call.arguments[0]
        guard call.arguments.count == 2 else {
            let redirect = try call.choice(from, ["default": ProxyRedirect.default, "off": .off])
            if case .default = redirect { try checkDefaultRedirect(call, scope) }
            return redirect
        }
        let to = try scope.compilation.template(call.arguments[1], in: call.name)
        if let pattern = try scope.compilation.tildePattern(from, in: call.name) {
            return .regex(pattern, to: to)
        }
        return .literal(from: try scope.compilation.template(from, in: call.name), to: to)
    }

    /// `default` is made from the URL of the `proxy_pass`, which therefore must come first and be fixed.
    private static func checkDefaultRedirect(_ call: DirectiveUse, _ scope: Scope) throws(ConfigDiagnostic) {
        guard scope.hasHandler, case .proxy(let pass) = scope.handler else {
            throw call.failure("found \"default\" without a \"proxy_pass\" before it at this level")
        }
        if case .template = pass.target {
            throw call.failure("found \"default\" with a \"proxy_pass\" that has variables")
        }
    }

    /// The field's name as nginx writes it, of those that it can ignore.
    private static func ignoredField(_ word: Word, _ call: DirectiveUse) throws(ConfigDiagnostic) -> String {
        let names = [
            "X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Limit-Rate", "X-Accel-Buffering",
            "X-Accel-Charset", "Expires", "Cache-Control", "Set-Cookie", "Vary",
        ]
        let given = word.text.lowercased()
        guard let name = names.first(where: { $0.lowercased() == given }) else {
            throw call.failure(found: word, expected: DirectiveUse.listing(names))
        }
        return name
    }

    private static func upgradeProtocols(_ call: DirectiveUse) throws(ConfigDiagnostic) -> UpgradeProtocols {
        let names = call.arguments.map { $0.bytes.lowercased() }
        for word in call.arguments where ["any", "off"].contains(word.text) {
            guard names.count == 1 else {
                throw call.failure("found \"\(word.text)\" among others, expected it alone", at: word)
            }
            return word.text == "any" ? .any : .off
        }
        for (word, name) in zip(call.arguments, names) {
            // RFC 9110 §7.8: protocol-name ["/" protocol-version], both tokens.
            guard !name.isEmpty, name.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !",;\"()".utf8.contains($0) })
            else {
                throw call.failure(found: word, expected: "a protocol such as websocket")
            }
        }
        return .only(names)
    }
}
