internal import Config
internal import Wire

/// The client's address as a trusted peer has it in a field of the request, or in front of the connection.
enum ForwardedAddress {
    /// Lets the request come from where that says, if it says so; from then on that stands.
    ///
    /// To be asked in nginx's phases: once the server is known, and again in each location until there is an address.
    static func take(_ exchange: Exchange, _ rules: RealIP) {
        let client = exchange.client
        guard client.connection == nil else { return }
        guard let found = find(exchange, rules, from: client.binaryAddress) else { return }
        exchange.client = ClientFacts(client, from: found.address, port: found.port)
    }

    /// - Parameters:
    ///   - exchange: whose request it is.
    ///   - rules: where to look, and whom to believe.
    ///   - address: the peer's, which is to be a trusted one.
    /// - Returns: what is said by it of where the request comes from.
    static func find(
        _ exchange: Exchange, _ rules: RealIP, from address: [UInt8]
    ) -> (address: [UInt8], port: UInt16)? {
        var search = Search(bytes: exchange.request.bytes, rules: rules, address: address)
        let fields = exchange.request.fields
        switch rules.source {
        case .forwardedFor:
            for field in fields.reversed() where field.id == .xForwardedFor {
                guard search.read(field.value), rules.isRecursive else { break }
            }
        case .field(let name):
            let line = FieldLookup.index(
                of: name.span, in: fields, search.bytes, from: 0,
                within: exchange.server.connection.strangestFieldName)
            if let line { _ = search.read(fields[line].value) }
        case .proxyProtocol:
            if let end = exchange.client.proxied?.client { search.take(end) }
        }
        return search.isFound ? (search.address, search.port) : nil
    }

    /// Reads lists of addresses from their ends, or what is no list.
    private struct Search {
        let bytes: [UInt8]
        let rules: RealIP
        /// The last that was found; the peer's at first.
        var address: [UInt8]
        var port: UInt16 = 0
        var isFound = false

        /// - Returns: false when the search is over, be it that the last address is not trusted or that there is none.
        mutating func read(_ line: Range<Int>) -> Bool {
            guard !line.isEmpty else { return false }
            let start = line.lowerBound
            var end = line.upperBound
            var first = start
            repeat {
                guard AccessControl.contains(rules.trusted, address) else { return false }
                // The first byte of a line separates nothing, to nginx.
                while end - 1 > start, isSeparator(bytes[end - 1]) { end -= 1 }
                first = end - 1
                while first > start, !isSeparator(bytes[first - 1]) || first - 1 == start { first -= 1 }
                guard let found = AddressText.addressAndPort(bytes[first..<end]) else { return false }
                address = found.address
                port = found.port
                isFound = true
                end = first - 1
            } while rules.isRecursive && first > start
            return true
        }

        mutating func take(_ end: ProxyProtocolHeader.End) {
            guard AccessControl.contains(rules.trusted, address),
                let found = AddressText.addressAndPort(end.address[...])
            else { return }
            address = found.address
            port = end.port
            isFound = true
        }

        private func isSeparator(_ byte: UInt8) -> Bool { byte == ByteText.space || byte == ByteText.comma }
    }
}
