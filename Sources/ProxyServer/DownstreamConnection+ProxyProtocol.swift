internal import Config
internal import EventLoop
internal import ProxyCore

/// `listen … proxy_protocol`: what a balancer says in front of the client's bytes.
extension DownstreamConnection {
    /// Takes the header off the socket, and nothing of what follows: that may be TLS's, which reads there itself.
    func readProxyHeader() {
        switch peek(limit: ProxyProtocolHeader.maxLength) {
        case .bytes(let count): take(loop.withReceived(count) { ProxyProtocolHeader.read($0) })
        // There is more once the loop says so.
        case .wouldBlock: mayRead = false
        case .end, .failed: finish()
        }
    }

    private func take(_ progress: ProxyProtocolHeader.Progress) {
        switch progress {
        // What has come stays where it is, so that the next of it is news to the loop.
        case .partial where isEnding: finish()
        case .partial: mayRead = false
        case .whole(let length, let header):
            _ = read(limit: length)
            proxyHeaderRead(header)
        case .broken(let fault):
            worker.statistics.badRequests.add()
            log(.error, fault, while: "reading PROXY protocol")
            finish()
        }
    }
}
