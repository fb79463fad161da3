internal import EventLoop
internal import ProxyCore

extension StreamChannel {
    /// Sets the socket's options for a connection to `address` that has begun, and watches it. To be called by the
    /// initialisers of whatever connects.
    ///
    /// - Throws: as `registerOrClose`.
    func beginConnecting(to address: PeerAddress, keepalive: Bool = false) throws(SystemError) {
        if case .unix = address.endpoint {
        } else {
            delays(false)
            if keepalive { enableKeepAlive() }
        }
        try registerOrClose()
    }
}
