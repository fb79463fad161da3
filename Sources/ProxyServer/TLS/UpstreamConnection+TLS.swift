internal import EventLoop
internal import LuaHooks
internal import TLS

extension UpstreamConnection {
    /// What scripts are told of its TLS; `nil` before the handshake is over, and without TLS.
    var tlsFacts: UpstreamTLSFacts? {
        guard isOpen, let session = (socketTransport as? TLSTransport)?.session, session.isEstablished else {
            return nil
        }
        var facts = UpstreamTLSFacts()
        facts.version = Array(session.version.utf8)
        facts.cipher = Array(session.cipher.utf8)
        facts.serverName = session.serverName
        facts.applicationProtocol = session.applicationProtocol
        facts.subject = session.peerCertificate(.subject) ?? []
        facts.isResumed = session.isResumed
        return facts
    }
}
