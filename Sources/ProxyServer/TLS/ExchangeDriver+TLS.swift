internal import Config
internal import EventLoop
internal import ProxyCore

/// TLS with the upstream.
extension ExchangeDriver {
    /// Whom to speak TLS with; `nil` where it is plain HTTP.
    func tlsTarget() throws(ProxyFailure) -> TLSTarget? {
        guard exchange.proxyIsTLS else { return nil }
        var name = settings.values.proxyTLS.name.map { exchange.value(of: $0) } ?? exchange.proxyHost
        if name.first == UInt8(ascii: "[") {
            name = Array(name.dropFirst().prefix { $0 != UInt8(ascii: "]") })
        } else if let colon = name.lastIndex(of: UInt8(ascii: ":")) {
            // As nginx: a port is no part of the name.
            name.removeSubrange(colon...)
        }
        // A name with NUL would be another one for whoever compares it with a certificate's.
        guard !name.contains(0) else { throw ProxyFailure(.invalidTarget("invalid name for TLS")) }
        let text = String(decoding: name, as: UTF8.self)
        if let target = generation.tlsTarget(settings, name: text, rendering: { exchange.value(of: $0) }) {
            return target
        }
        throw ProxyFailure(.invalidTarget("TLS is not set up for this location"))
    }

    /// What a new connection to `address` needs besides.
    func identified(_ target: TLSTarget?, at address: PeerAddress) throws(ProxyFailure) -> TLSTarget? {
        guard let target else { return nil }
        do throws(ConfigDiagnostic) {
            return try generation.identified(target, address: address.text)
        } catch {
            throw ProxyFailure(.invalidTarget(error.message))
        }
    }

    /// The connection is made: the handshake has as much time again.
    func handshakeBegan() {
        guard isConnecting, let upstream else { return }
        upstream.setDeadline(loop.now + Int64(settings.values.proxyConnectTimeout))
    }

    func handshakeFailed(_ failure: ProxyFailure) {
        guard isConnecting, upstream != nil else { return }
        worker.tick()
        guard case .invalidTarget = failure.kind else { return attemptFailed(failure) }
        // What was to be sent is at fault, with any peer.
        dropUpstream()
        giveUp(failure)
    }
}
