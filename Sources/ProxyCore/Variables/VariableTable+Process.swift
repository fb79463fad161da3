internal import Wire

extension VariableTable {
    static let processRows: [VariableRow] = [
        VariableRow("hostname", "name of the machine") { exchange, out in
            out.append(contentsOf: exchange.runtime.environment.hostname)
            return true
        },
        VariableRow("nginx_version", "version of the proxy") { exchange, out in
            out.append(contentsOf: exchange.runtime.environment.version)
            return true
        },
        VariableRow("pid", "number of the process") { exchange, out in
            ASCII.appendDecimal(Int(exchange.runtime.environment.pid), to: &out)
            return true
        },
        counter("connections_active", "client connections that are open", \.active),
        counter("connections_reading", "connections on which a request's head is being read", \.reading),
        counter("connections_writing", "connections on which a response is being sent", \.writing),
        counter("connections_waiting", "connections that wait for a request", \.waiting),
    ]

    private static func counter(
        _ name: String, _ summary: String, _ count: KeyPath<ConnectionCounts, Int> & Sendable
    ) -> VariableRow {
        VariableRow(name, summary, timing: .running) { exchange, out in
            ASCII.appendDecimal(exchange.runtime.environment.connectionCounts()[keyPath: count], to: &out)
            return true
        }
    }
}
