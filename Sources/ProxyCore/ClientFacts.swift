/// What is known of the connection that a request came on. `final class` so that a request only refers to it.
///
/// A request of which a trusted peer says where it comes from has facts of its own, with that address.
package final class ClientFacts {
    /// Numeric text, `unix:` for a UNIX socket: `$remote_addr`.
    package var address: [UInt8] = []
    package var port: UInt16 = 0
    /// 4 or 16 bytes in network order, or `unix:`: `$binary_remote_addr`.
    package var binaryAddress: [UInt8] = []
    /// The connection's own facts, where address and port are others than its peer's: `$realip_remote_addr`.
    package internal(set) var connection: ClientFacts?
    /// The local end: `$server_addr`, `$server_port`.
    package var serverAddress: [UInt8] = []
    package var serverPort: UInt16 = 0
    /// `$connection`, `$connection_requests`, `$connection_time`.
    package var serial: UInt64 = 0
    package var requests = 0
    package var connectedAt = Moment()
    /// What came before all else, where the listener has `proxy_protocol`, if that says where the client is.
    package var proxied: ProxyProtocolHeader?
    /// `nil` on a connection without TLS.
    package var tls: (any ClientTLS)?
    /// The listener is one of TLS, and the client spoke HTTP at once.
    package var isPlainOnTLSPort = false
    /// TLS is left out, as there is no socket: that the listener is one of TLS makes no difference.
    package var isInMemory = false
    /// A reload has made the listener one that does not take the connection as it is: it is not used again.
    package var isOutdated = false

    package init() {}

    /// The connection as one of its streams sees it, `requests` having come on it before.
    package init(_ connection: ClientFacts, requests: Int) {
        address = connection.address
        port = connection.port
        binaryAddress = connection.binaryAddress
        serverAddress = connection.serverAddress
        serverPort = connection.serverPort
        serial = connection.serial
        connectedAt = connection.connectedAt
        proxied = connection.proxied
        tls = connection.tls
        isInMemory = connection.isInMemory
        self.requests = requests
    }

    /// As one request has them that comes from elsewhere than the peer of its connection.
    convenience init(_ connection: ClientFacts, from address: [UInt8], port: UInt16) {
        self.init(connection, requests: connection.requests)
        self.connection = connection
        self.address = []
        AddressText.append(address, to: &self.address)
        self.port = port
        binaryAddress = address
    }

    /// Those of the connection itself.
    var ofConnection: ClientFacts { connection ?? self }
}
