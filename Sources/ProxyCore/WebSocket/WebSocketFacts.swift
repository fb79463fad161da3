internal import Wire

/// What variables say of a WebSocket.
package struct WebSocketFacts: Sendable {
    /// 0 while it is open.
    var closeCode: UInt16
    /// Microseconds; `nil` where no ping was answered.
    var clientRoundTrip: Int?
    var upstreamRoundTrip: Int?
    package var fromClient: Int
    package var toClient: Int
    package var fromUpstream: Int
    package var toUpstream: Int

    package init(_ plane: WebSocketPlane) {
        closeCode = plane.endedBy?.code ?? 0
        clientRoundTrip = plane.roundTrip(.client)
        upstreamRoundTrip = plane.roundTrip(.upstream)
        fromClient = plane.messages(from: .client)
        toClient = plane.messages(to: .client)
        fromUpstream = plane.messages(from: .upstream)
        toUpstream = plane.messages(to: .upstream)
    }
}

extension Exchange {
    package var currentWebSocketFacts: WebSocketFacts? {
        webSocketFacts ?? webSocket.map(WebSocketFacts.init)
    }
}

extension VariableTable {
    static let webSocketRows: [VariableRow] = [
        VariableRow(
            "websocket_close_code",
            "code of the close frame that ended the WebSocket; 1005 without a code, 1006 without a frame",
            timing: .running
        ) { exchange, out in
            guard let code = exchange.currentWebSocketFacts?.closeCode, code > 0 else { return false }
            ASCII.appendDecimal(Int64(code), to: &out)
            return true
        },
        VariableRow(
            "websocket_rtt_client", "round trip of the last ping that the client answered, in microseconds",
            timing: .running
        ) { exchange, out in append(exchange.currentWebSocketFacts?.clientRoundTrip, to: &out) },
        VariableRow(
            "websocket_rtt_upstream",
            "round trip of the last ping that the upstream answered, in microseconds",
            timing: .running
        ) { exchange, out in append(exchange.currentWebSocketFacts?.upstreamRoundTrip, to: &out) },
        VariableRow(
            "websocket_messages_from_client", "messages that came from the client", timing: .running
        ) { exchange, out in append(exchange.currentWebSocketFacts?.fromClient, to: &out) },
        VariableRow("websocket_messages_to_client", "messages that were sent to the client", timing: .running)
        {
            exchange, out in append(exchange.currentWebSocketFacts?.toClient, to: &out)
        },
        VariableRow(
            "websocket_messages_from_upstream", "messages that came from the upstream", timing: .running
        ) { exchange, out in append(exchange.currentWebSocketFacts?.fromUpstream, to: &out) },
        VariableRow(
            "websocket_messages_to_upstream", "messages that were sent to the upstream", timing: .running
        ) { exchange, out in append(exchange.currentWebSocketFacts?.toUpstream, to: &out) },
    ]

    /// Whether a value of these is to be found out while a WebSocket is open.
    package static func isOfWebSockets(_ name: String) -> Bool { webSocketRows.contains { $0.name == name } }

    private static func append(_ number: Int?, to out: inout [UInt8]) -> Bool {
        guard let number else { return false }
        ASCII.appendDecimal(Int64(number), to: &out)
        return true
    }
}
