extension VariableTable {
    static let timeRows: [VariableRow] = [
        VariableRow("msec", "the time, seconds since 1970 with milliseconds", timing: .running) {
            exchange, out in
            ByteText.appendSeconds(milliseconds: exchange.clock.now.unix, to: &out)
            return true
        },
        VariableRow("time_local", "the time, as in the common log format", timing: .running) {
            exchange, out in
            out.append(contentsOf: exchange.clock.localTime)
            return true
        },
        VariableRow("time_iso8601", "the time by ISO 8601", timing: .running) { exchange, out in
            out.append(contentsOf: exchange.clock.iso8601)
            return true
        },
        VariableRow("request_time", "seconds since the request's first byte", timing: .running) {
            exchange, out in
            let time = exchange.clock.now.monotonic - exchange.startedAt.monotonic
            ByteText.appendSeconds(milliseconds: time, to: &out)
            return true
        },
    ]
}
