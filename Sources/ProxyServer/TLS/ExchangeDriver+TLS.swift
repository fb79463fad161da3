internal import Config
internal import EventLoop
internal import ProxyCore

/// TLS with the upstream.
extension ExchangeDriver {
    /// Whom to speak TLS with at `address`; `nil` where it is plain HTTP.
    func tlsTarget(_ address: PeerAddress) throws(ProxyFailure) -> TLSTarget? {
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
        do throws(ConfigDiagnostic) {
            let target = try generation.tlsTarget(settings, name: text, address: address.text) {
                exchange.value(of: $0)
            }
            if let target { return target }
        } catch {
            throw ProxyFailure(.invalidTarget(error.message))
        }
        throw ProxyFailure(.invalidTarget("TLS is not set up for this location"))
    }

    /// The connection is made: the handshake has as much time again.
    func handshakeBegan() {
        guard isConnecting, let upstream else { return }
        upstream.setDeadline(loop.now + Int64(settings.values.proxyConnectTimeout))
    }

    func handshakeFailed(_ reason: String) {
        guard isConnecting, upstream != nil else { return }
        worker.tick()
        attemptFailed(ProxyFailure(.handshakeFailed(reason)))
    }
}
