internal import CSwitchyard
internal import EventLoop
internal import LuaHooks
internal import ProxyCore

/// What scripts are told of a leg, from where it is kept.
extension LegFacts {
    /// The client of an exchange, whose connection may be gone.
    init(clientOf exchange: Exchange) {
        self.init()
        address = exchange.client.address
        port = exchange.client.port
        bytesIn = exchange.receivedHeadBytes + exchange.receivedBodyBytes
        bytesOut = exchange.sentHeadBytes + exchange.sentBodyBytes
    }

    mutating func take(_ peer: PeerAddress) {
        address = peer.host
        switch peer.endpoint {
        case .ipv4(_, let port), .ipv6(_, let port): self.port = port
        case .unix: break
        }
    }

    /// The peer of an attempt whose connection may be gone: what logs say of it remains.
    init(_ attempt: UpstreamAttempt) {
        self.init()
        bytesIn = attempt.bytesReceived
        bytesOut = attempt.bytesSent
        address = attempt.address
        guard let colon = attempt.address.lastIndex(of: UInt8(ascii: ":")),
            let port = UInt16(String(decoding: attempt.address[(colon + 1)...], as: UTF8.self)),
            let peer = PeerAddress(numericHost: Array(attempt.address[..<colon]), port: port)
        else { return }
        take(peer)
    }

    mutating func read(from channel: StreamChannel?) {
        guard let channel, channel.isOpen else { return }
        buffered = channel.unsentBytes
        let socket = (channel as? DownstreamConnection)?.carrier ?? channel
        let microseconds = sy_tcp_rtt(socket.descriptor)
        if microseconds >= 0 { roundTrip = microseconds }
    }
}
