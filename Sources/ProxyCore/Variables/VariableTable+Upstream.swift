internal import Wire

extension VariableTable {
    static let upstreamRows: [VariableRow] = [
        VariableRow("proxy_host", "host and port of the `proxy_pass` in use") { exchange, out in
            guard !exchange.proxyHost.isEmpty else { return false }
            out.append(contentsOf: exchange.proxyHost)
            return true
        },
        VariableRow("proxy_port", "port of the `proxy_pass` in use") { exchange, out in
            guard !exchange.proxyHost.isEmpty else { return false }
            out.append(contentsOf: exchange.proxyPort)
            return true
        },
        attempts("upstream_addr", "addresses of the peers tried") { attempt, out in
            out.append(contentsOf: attempt.address)
        },
        attempts("upstream_status", "statuses that the peers answered with") { attempt, out in
            if attempt.status > 0 {
                ASCII.appendDecimal(attempt.status, to: &out)
            } else {
                out.append(ByteText.dash)
            }
        },
        attempts("upstream_connect_time", "seconds that connecting took") { attempt, out in
            appendTime(attempt.connectTime, to: &out)
        },
        attempts("upstream_header_time", "seconds until the peer's head was read") { attempt, out in
            appendTime(attempt.headerTime, to: &out)
        },
        attempts("upstream_response_time", "seconds until the peer's response was read") { attempt, out in
            appendTime(attempt.responseTime, to: &out)
        },
        attempts("upstream_response_length", "bytes of the response's body") { attempt, out in
            ASCII.appendDecimal(attempt.responseLength, to: &out)
        },
        attempts("upstream_bytes_sent", "bytes sent to the peer") { attempt, out in
            ASCII.appendDecimal(attempt.bytesSent, to: &out)
        },
        attempts("upstream_bytes_received", "bytes received from the peer") { attempt, out in
            ASCII.appendDecimal(attempt.bytesReceived, to: &out)
        },
        VariableRow("upstream_cache_status", "never set, as nothing is cached") { _, _ in false },
    ]

    private typealias AttemptEvaluation = @Sendable (UpstreamAttempt, inout [UInt8]) -> Void

    /// A row that lists something of each try: `, ` between tries, ` : ` where an internal redirect came between.
    private static func attempts(
        _ name: String, _ summary: String, _ append: @escaping AttemptEvaluation
    ) -> VariableRow {
        VariableRow(name, summary, timing: .running) { exchange, out in
            for (index, attempt) in exchange.attempts.enumerated() {
                if index > 0 { out.append(contentsOf: attempt.followsRedirect ? redirected : retried) }
                append(attempt, &out)
            }
            return !exchange.attempts.isEmpty
        }
    }

    private static let retried = Array(", ".utf8)
    private static let redirected = Array(" : ".utf8)

    private static func appendTime(_ milliseconds: Int, to out: inout [UInt8]) {
        if milliseconds < 0 {
            out.append(ByteText.dash)
        } else {
            ByteText.appendSeconds(milliseconds: Int64(milliseconds), to: &out)
        }
    }
}
