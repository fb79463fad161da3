internal import Wire

extension VariableTable {
    static let responseRows: [VariableRow] = [
        VariableRow("status", "status of the response, three digits", timing: .running) { exchange, out in
            // Inside an error page the response is still to come, but its status is known.
            let status = exchange.status != 0 ? exchange.status : exchange.errorStatus
            ByteText.appendDecimal(Int64(status), minimumDigits: 3, to: &out)
            return true
        },
        VariableRow("bytes_sent", "bytes sent to the client", timing: .running) { exchange, out in
            ASCII.appendDecimal(exchange.sentHeadBytes + exchange.sentBodyBytes, to: &out)
            return true
        },
        VariableRow("body_bytes_sent", "bytes sent to the client after the head", timing: .running) {
            exchange, out in
            ASCII.appendDecimal(exchange.sentBodyBytes, to: &out)
            return true
        },
        VariableRow(
            "request_completion", "`OK` when the whole response was sent, else empty", timing: .running
        ) {
            exchange, out in
            if exchange.isComplete { out.append(contentsOf: "OK".utf8) }
            return true
        },
        VariableRow("gzip_ratio", "never set, as nothing is compressed") { _, _ in false },
    ]
}
