internal import Config
internal import Wire

extension VariableTable {
    static let connectionRows: [VariableRow] = [
        VariableRow("binary_remote_addr", "the client's address, 4 or 16 bytes") { exchange, out in
            out.append(contentsOf: exchange.client.binaryAddress)
            return true
        },
        VariableRow(
            "remote_addr", "the client's address, which `real_ip_header` may say; `unix:` on a UNIX socket"
        ) { exchange, out in
            out.append(contentsOf: exchange.client.address)
            return true
        },
        VariableRow(
            "remote_port", "the client's port; empty on a UNIX socket, and where `real_ip_header` has none"
        ) { exchange, out in
            _ = append(port: exchange.client.port, to: &out)
            return true
        },
        VariableRow(
            "realip_remote_addr", "the address of the connection's peer, whatever `real_ip_header` says"
        ) { exchange, out in
            out.append(contentsOf: exchange.client.ofConnection.address)
            return true
        },
        VariableRow(
            "realip_remote_port", "the port of the connection's peer, whatever `real_ip_header` says"
        ) { exchange, out in
            _ = append(port: exchange.client.ofConnection.port, to: &out)
            return true
        },
        VariableRow("proxy_protocol_addr", "the client's address by the PROXY protocol") { exchange, out in
            append(exchange.client.proxied?.client.address, to: &out)
        },
        VariableRow("proxy_protocol_port", "the client's port by the PROXY protocol") { exchange, out in
            append(port: exchange.client.proxied?.client.port, to: &out)
        },
        VariableRow("proxy_protocol_server_addr", "the address that the client asked by the PROXY protocol") {
            exchange, out in
            append(exchange.client.proxied?.server.address, to: &out)
        },
        VariableRow("proxy_protocol_server_port", "the port that the client asked by the PROXY protocol") {
            exchange, out in
            append(port: exchange.client.proxied?.server.port, to: &out)
        },
        VariableRow("server_addr", "address that the request came in on") { exchange, out in
            out.append(contentsOf: exchange.client.serverAddress)
            return true
        },
        VariableRow("server_port", "port that the request came in on; empty on a UNIX socket") {
            exchange, out in
            _ = append(port: exchange.client.serverPort, to: &out)
            return true
        },
        VariableRow("server_name", "first name of the server that took the request") { exchange, out in
            out.append(contentsOf: exchange.server.name)
            return true
        },
        VariableRow("connection", "serial number of the client's connection") { exchange, out in
            ASCII.appendDecimal(Int64(clamping: exchange.client.serial), to: &out)
            return true
        },
        VariableRow("connection_requests", "requests on the connection so far, this one included") {
            exchange, out in
            ASCII.appendDecimal(exchange.client.requests, to: &out)
            return true
        },
        VariableRow("connection_time", "seconds since the connection began", timing: .running) {
            exchange, out in
            let time = exchange.clock.now.monotonic - exchange.client.connectedAt.monotonic
            ByteText.appendSeconds(milliseconds: time, to: &out)
            return true
        },
        VariableRow("pipe", "`p` when the request was pipelined, else `.`") { exchange, out in
            out.append(exchange.isPipelined ? UInt8(ascii: "p") : ByteText.dot)
            return true
        },
        VariableRow("proxy_add_x_forwarded_for", "`X-Forwarded-For` of the client and its address, joined") {
            exchange, out in
            // As in nginx, an empty field is one too, of one element that is empty.
            let isThere = RequestFields.append(
                xForwardedFor, of: exchange, separator: ByteText.comma, to: &out)
            if isThere { RequestFields.append(separator: ByteText.comma, to: &out) }
            out.append(contentsOf: exchange.client.address)
            return true
        },
    ]

    private static func append(_ text: [UInt8]?, to out: inout [UInt8]) -> Bool {
        guard let text else { return false }
        out.append(contentsOf: text)
        return true
    }

    private static func append(port: UInt16?, to out: inout [UInt8]) -> Bool {
        guard let port, port > 0 else { return false }
        ASCII.appendDecimal(Int(port), to: &out)
        return true
    }

    private static let xForwardedFor = Array("x_forwarded_for".utf8)
}
