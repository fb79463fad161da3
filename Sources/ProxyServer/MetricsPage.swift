internal import LuaHooks
internal import ProxyCore

/// What `prometheus_metrics` answers: the text exposition format of Prometheus, version 0.0.4.
package struct MetricsPage {
    package static let contentType = Array("text/plain; version=0.0.4; charset=utf-8".utf8)

    package static func render(_ registry: ProcessRegistry) -> [UInt8] {
        var page = render(
            registry.workers, reloads: registry.reloads, scriptFailures: registry.scripts.failures)
        registry.scripts.metrics.render(into: &page)
        return page
    }

    package static func render(
        _ workers: [WorkerStatistics], reloads: ProcessRegistry.ReloadCounts, scriptFailures: Int
    ) -> [UInt8] {
        var page = MetricsPage()
        page.process(reloads)
        page.family(
            "script_failures_total", .counter, "Hooks, timers and variables of scripts that failed.",
            [("", scriptFailures)])
        for row in rows { page.family(row.name, row.kind, row.help, [("", sum(workers, row.counter))]) }
        page.responses(workers)
        page.family("request_duration_seconds", "From a request's first byte to the end of its response.")
        page.histogram("request_duration_seconds", labels: "", workers.map(\.requestSeconds))
        page.family("tunnel_duration_seconds", "How long tunnels were open.")
        page.histogram("tunnel_duration_seconds", labels: "", workers.map(\.tunnelSeconds))
        page.handshakes(workers)
        page.upstreams(workers)
        page.limits(workers)
        return page.bytes
    }

    private enum Kind: String { case counter, gauge, histogram }

    private struct Row<Source>: Sendable {
        var name: String
        var kind: Kind
        var help: String
        var counter: @Sendable (Source) -> Counter

        init(_ name: String, _ kind: Kind, _ help: String, _ counter: @escaping @Sendable (Source) -> Counter)
        {
            self.name = name
            self.kind = kind
            self.help = help
            self.counter = counter
        }
    }

    private static let rows: [Row<WorkerStatistics>] = [
        Row("connections_accepted_total", .counter, "Client connections accepted.") { $0.accepted },
        Row("connections_active", .gauge, "Client connections that are open.") { $0.active },
        Row("connections_reading", .gauge, "Connections whose request head is being read.") { $0.reading },
        Row("connections_writing", .gauge, "Connections with an exchange in progress.") { $0.writing },
        Row("requests_total", .counter, "Requests received.") { $0.requests },
        Row("bad_requests_total", .counter, "Requests refused as malformed.") { $0.badRequests },
        Row("client_aborts_total", .counter, "Clients that left before their response ended.") {
            $0.clientAborts
        },
        Row("client_received_bytes_total", .counter, "Bytes from clients.") { $0.clientBytesIn },
        Row("client_sent_bytes_total", .counter, "Bytes to clients.") { $0.clientBytesOut },
        Row("upgrades_total", .counter, "Connections that became tunnels.") { $0.upgrades },
        Row("upgrades_refused_total", .counter, "Upgrades that were asked for and not granted.") {
            $0.upgradesRefused
        },
        Row("tunnels_active", .gauge, "Tunnels that are open.") { $0.tunnels },
        Row("tunnel_client_bytes_total", .counter, "Bytes from clients through tunnels.") {
            $0.tunnelBytesIn
        },
        Row("tunnel_upstream_bytes_total", .counter, "Bytes from upstreams through tunnels.") {
            $0.tunnelBytesOut
        },
    ]

    private static let upstreamRows: [Row<UpstreamStatistics>] = [
        Row("upstream_attempts_total", .counter, "Tries at a server of the upstream.") { $0.attempts },
        Row("upstream_failures_total", .counter, "Tries that failed.") { $0.failures },
        Row("upstream_retries_total", .counter, "Tries after one that failed.") { $0.retries },
        Row("upstream_connections_opened_total", .counter, "Connections made to the upstream.") {
            $0.connectionsOpened
        },
        Row("upstream_connections_reused_total", .counter, "Requests sent on a kept connection.") {
            $0.connectionsReused
        },
        Row("upstream_connections_idle", .gauge, "Connections kept for later requests.") { $0.idle },
        Row("upstream_sent_bytes_total", .counter, "Bytes to the upstream.") { $0.bytesSent },
        Row("upstream_received_bytes_total", .counter, "Bytes from the upstream.") { $0.bytesReceived },
    ]

    private static let upstreamHistograms: [(String, String, @Sendable (UpstreamStatistics) -> Histogram)] = [
        ("upstream_connect_duration_seconds", "Until a connection was made.", { $0.connectSeconds }),
        ("upstream_header_duration_seconds", "Until a response head had arrived.", { $0.headerSeconds }),
    ]

    private var bytes: [UInt8] = []

    private static func sum<Source>(_ sources: [Source], _ counter: (Source) -> Counter) -> Int {
        sources.reduce(0) { $0 &+ counter($1).value }
    }

    private mutating func process(_ reloads: ProcessRegistry.ReloadCounts) {
        family(
            "info", .gauge, "The version that runs.", [("version=\"\(Self.escaped(Product.version))\"", 1)])
        family(
            "configuration_generation", .gauge, "1 at the start, one more with each reload.",
            [
                ("", reloads.generation)
            ])
        family(
            "configuration_reloads_total", .counter, "Reloads by outcome.",
            [
                ("result=\"success\"", reloads.succeeded), ("result=\"failure\"", reloads.failed),
            ])
    }

    private mutating func responses(_ workers: [WorkerStatistics]) {
        family(
            "responses_total", .counter, "Responses to clients by class of status.",
            (1...5).map { status in
                ("class=\"\(status)xx\"", Self.sum(workers) { $0.responses[status] })
            })
    }

    private mutating func handshakes(_ workers: [WorkerStatistics]) {
        let legs = [
            ("client", workers.map(\.clientHandshakes)), ("upstream", workers.map(\.upstreamHandshakes)),
        ]
        family(
            "tls_handshakes_total", .counter, "Handshakes of TLS by leg and outcome.",
            legs.flatMap { leg, parts in
                [
                    ("leg=\"\(leg)\",result=\"full\"", Self.sum(parts) { $0.full }),
                    ("leg=\"\(leg)\",result=\"resumed\"", Self.sum(parts) { $0.resumed }),
                    ("leg=\"\(leg)\",result=\"failed\"", Self.sum(parts) { $0.failed }),
                ]
            })
        let name = "tls_handshake_duration_seconds"
        family(name, "From a handshake's first message to its end.")
        for (leg, parts) in legs { histogram(name, labels: "leg=\"\(leg)\"", parts.map(\.seconds)) }
    }

    private mutating func upstreams(_ workers: [WorkerStatistics]) {
        var groups: [String: [UpstreamStatistics]] = [:]
        for worker in workers {
            for (name, statistics) in worker.upstreamsByName { groups[name, default: []].append(statistics) }
        }
        let named = groups.sorted { $0.key < $1.key }.map {
            (label: Self.label("upstream", $0.key), $0.value)
        }
        guard !named.isEmpty else { return }
        for row in Self.upstreamRows {
            family(row.name, row.kind, row.help, named.map { ($0.label, Self.sum($0.1, row.counter)) })
        }
        family(
            "upstream_responses_total", .counter, "Responses of the upstream by class of status.",
            named.flatMap {
                label, statistics in
                (1...5).map { status in
                    ("\(label),class=\"\(status)xx\"", Self.sum(statistics) { $0.responses[status] })
                }
            })
        for (name, help, source) in Self.upstreamHistograms {
            family(name, help)
            for (label, statistics) in named { histogram(name, labels: label, statistics.map(source)) }
        }
    }

    private mutating func limits(_ workers: [WorkerStatistics]) {
        var zones: [LimitStatistics.Zone: [LimitStatistics]] = [:]
        for worker in workers {
            for (zone, statistics) in worker.limitsByZone { zones[zone, default: []].append(statistics) }
        }
        let named = zones.sorted { $0.key.name < $1.key.name }
        for (limitsRequests, name, help) in [
            (true, "limit_req_total", "Requests that limit_req had wait or refused."),
            (false, "limit_conn_total", "Requests that limit_conn refused."),
        ] {
            let samples = named.filter { $0.key.limitsRequests == limitsRequests }.flatMap {
                zone, statistics in
                Self.limitRows.filter { limitsRequests || !$0.isDelay }.map { row in
                    (
                        "\(Self.label("zone", zone.name)),result=\"\(row.result)\"",
                        Self.sum(statistics, row.counter)
                    )
                }
            }
            if !samples.isEmpty { family(name, .counter, help, samples) }
        }
    }

    private static let limitRows:
        [(result: String, isDelay: Bool, counter: @Sendable (LimitStatistics) -> Counter)] = [
            ("delayed", true, { $0.delayed }), ("rejected", false, { $0.rejected }),
            ("delayed_dry_run", true, { $0.delayedInDryRun }),
            ("rejected_dry_run", false, { $0.rejectedInDryRun }),
        ]

    // MARK: Lines

    private mutating func family(_ name: String, _ kind: Kind, _ help: String, _ samples: [(String, Int)]) {
        head(name, kind, help)
        for (labels, value) in samples { sample(name, labels, "\(value)") }
    }

    private mutating func family(_ name: String, _ help: String) { head(name, .histogram, help) }

    private mutating func head(_ name: String, _ kind: Kind, _ help: String) {
        line("# HELP switchyard_\(name) \(help)")
        line("# TYPE switchyard_\(name) \(kind.rawValue)")
    }

    /// The sum of several histograms with the same bounds.
    private mutating func histogram(_ name: String, labels: String, _ parts: [Histogram]) {
        let separator = labels.isEmpty ? "" : ","
        // The total is taken from the same reads as the buckets' where it can be, so that it is never below them.
        var cumulative = 0
        for (index, bound) in (parts.first?.bounds ?? []).enumerated() {
            cumulative += Self.sum(parts) { $0.counts[index] }
            sample(name + "_bucket", "\(labels)\(separator)le=\"\(bound)\"", "\(cumulative)")
        }
        let count = max(cumulative, Self.sum(parts) { $0.count })
        sample(name + "_bucket", "\(labels)\(separator)le=\"+Inf\"", "\(count)")
        sample(name + "_sum", labels, "\(Double(Self.sum(parts) { $0.sum }) / 1000)")
        sample(name + "_count", labels, "\(count)")
    }

    private mutating func sample(_ name: String, _ labels: String, _ value: String) {
        line("switchyard_\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(value)")
    }

    private mutating func line(_ text: String) {
        bytes += text.utf8
        bytes.append(UInt8(ascii: "\n"))
    }

    private static func label(_ name: String, _ value: String) -> String { "\(name)=\"\(escaped(value))\"" }

    /// A label's value: backslash, quote and line feed are escaped.
    private static func escaped(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}
