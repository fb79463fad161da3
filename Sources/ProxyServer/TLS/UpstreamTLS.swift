internal import Config
internal import EventLoop
internal import TLS

/// Whom a connection to an upstream speaks TLS with. Connections of equal targets to one address stand for each other.
struct TLSTarget: Equatable {
    let upstream: TLSUpstream
    /// What is sent, and what certificates are checked for, without a port.
    let name: String
    /// What is shown in place of the settings' own certificate, whose name has variables; `nil` where that has none.
    var shows: LateIdentity?
    /// What that names; read when a connection is made, and `nil` before.
    var identity: TLSIdentity?
    /// The last session with the target; `nil` where sessions are not resumed, and before a connection is made.
    var resumption: TLSResumption?

    /// RFC 6066 §3: an address is no host name.
    var sendsName: Bool {
        upstream.settings.sendsServerName && !name.isEmpty
            && SocketAddress(numericHost: name, port: 0) == nil
    }

    /// Bytes of a name that can be sent, as OpenSSL has it.
    static let maxNameLength = 255

    static func == (a: TLSTarget, b: TLSTarget) -> Bool {
        a.upstream === b.upstream && a.name == b.name && a.shows?.certificate == b.shows?.certificate
            && a.shows?.key == b.shows?.key
    }
}

/// TLS on one connection to a server.
final class UpstreamTLS {
    enum Progress {
        case established
        case wantsRead
        /// In nginx's words.
        case failed(String)
    }

    let target: TLSTarget
    let transport: TLSTransport
    private var session: TLSSession { transport.session }
    private let statistics: HandshakeStatistics
    private let loop: EventLoop
    private let beganAt: Int64
    private var isEstablished = false

    /// - Parameters:
    ///   - target: whom to speak with.
    ///   - channel: whose connection is made, and whose transport this becomes.
    ///   - worker: whose connection it is.
    ///   - protocols: what to offer by ALPN; with none, ALPN is not used.
    /// - Throws: when OpenSSL is out of memory, or the certificate is not that of its key.
    init(
        _ target: TLSTarget, on channel: StreamChannel, of worker: Worker,
        speaking protocols: [[UInt8]] = []
    ) throws(TLSError) {
        self.target = target
        statistics = worker.statistics.upstreamHandshakes
        loop = worker.loop
        beganAt = worker.loop.now
        let session = try TLSSession(
            client: target.upstream.context, descriptor: channel.descriptor, scratch: worker.tlsScratch,
            name: target.sendsName ? target.name : nil, resumption: target.resumption, protocols: protocols)
        if let identity = target.identity { try session.use(identity, isOnly: true) }
        transport = TLSTransport(session, on: channel)
        channel.transport = transport
    }

    deinit { if !isEstablished { statistics.failed.add() } }

    /// What ALPN chose; empty for nothing.
    var applicationProtocol: [UInt8] { session.applicationProtocol }

    /// Makes one step of the handshake; at its end, the server's certificate is looked at.
    func step() -> Progress {
        switch session.handshake() {
        case .done:
            if let fault = certificateFault {
                target.resumption?.forget()
                return .failed(fault)
            }
            isEstablished = true
            statistics.established(isResumed: session.isResumed, milliseconds: loop.now - beganAt)
            return .established
        case .wantsRead, .wantsIdentity: return .wantsRead
        case .failed(let error):
            // A session that the server chokes on is not offered again.
            target.resumption?.forget()
            return .failed(error.reason == TLSSession.peerClosed ? error.reason : "\(error)")
        }
    }

    private var certificateFault: String? {
        guard target.upstream.settings.verifies else { return nil }
        switch session.verification {
        case .none: return "upstream sent no SSL certificate"
        case .failed(let code, let reason), .unknownAuthority(let code, let reason):
            return "upstream SSL certificate verify error: (\(code):\(reason))"
        case .passed:
            return session.peerCertificateIs(for: target.name)
                ? nil : "upstream SSL certificate does not match \"\(target.name)\""
        }
    }
}
