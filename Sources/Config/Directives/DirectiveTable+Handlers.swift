extension DirectiveTable {
    static let handlers: [Directive] = [
        Directive(
            "internal", "", in: .location, takes: .none,
            "The location answers internal redirects only; others get 404."
        ) { scope, _ in
            scope.isInternal = true
        },
        Directive(
            "stub_status", "", in: [.server, .location], takes: .between(0, 1),
            "Answers with a few counters, in nginx's form."
        ) { scope, call throws(ConfigDiagnostic) in
            try setHandler(.stubStatus, of: &scope, call)
        },
        Directive(
            "prometheus_metrics", "", in: .location, takes: .none,
            "Answers with all counters, in Prometheus's text form."
        ) { scope, call throws(ConfigDiagnostic) in
            try setHandler(.prometheusMetrics, of: &scope, call)
        },
    ]

    private static func setHandler(
        _ handler: ContentHandler, of scope: inout Scope, _ call: DirectiveUse
    ) throws(ConfigDiagnostic) {
        guard !scope.hasHandler else { throw call.failure("found a second handler in this location") }
        scope.handler = handler
        scope.hasHandler = true
    }
}
