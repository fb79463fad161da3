internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import TLS
internal import Wire

/// TLS on one client's connection: which server its handshake is under, and what there is to say of it.
final class DownstreamTLS: TLSServerPolicy, ClientTLS {
    let session: TLSSession
    let transport: TLSTransport
    private let listener: TLSListener
    // Its connection holds the worker, and closes the session before it goes.
    private unowned let worker: Worker
    private let socket: ListeningSocket
    /// Its position in the configuration that the handshake began under.
    private let listenerIndex: Int
    /// That of the configuration that the handshake began under.
    private let generationNumber: Int
    /// The server that the handshake is under, and the one whose certificate that is.
    private(set) var server: VirtualServer
    private(set) var certificateServer: VirtualServer
    /// The latter's contexts, which all workers share.
    private var certificates: TLSServer
    /// The client's name led to it.
    private var wasNamed = false
    /// What a later configuration makes of the handshake.
    private struct Standing {
        var generationNumber: Int
        /// That the handshake would be under.
        var server: VirtualServer
        /// It would come to the same about the client's certificate.
        var isVerified: Bool
    }
    /// Of the last request since a reload.
    private var standing: Standing?
    /// How heads are read by the server that the client named, once the handshake is over; `nil` where it named none.
    private(set) var headRules: HeadRules?
    /// When the handshake began, in milliseconds of the loop's clock; `nil` before its first byte.
    var beganAt: Int64?
    /// What scripts are being asked.
    var certificateRequest: CertificateRequest?
    enum CertificateStatus {
        /// Nobody was asked.
        case unchecked
        case known(OCSPStatus)
        /// No responder said anything that will do.
        case requestFailed
    }

    /// What responders say of the client's certificate and of those above it.
    var status = CertificateStatus.unchecked
    /// A responder is being asked.
    var statusRequest: FetchHandle?
    /// Whose servers these are; until the handshake has ended.
    var generation: WorkerGeneration?

    init(
        _ listener: TLSListener, on connection: DownstreamConnection, of socket: ListeningSocket
    ) throws(TLSError) {
        self.listener = listener
        self.socket = socket
        worker = connection.worker
        let serving = socket.serving(on: connection.worker)
        generation = serving
        generationNumber = serving.generation.number
        listenerIndex = connection.listenerIndex
        certificates = listener.defaultServer
        certificateServer = serving.server(of: listener.defaultServer)
        server = certificateServer
        session = try TLSSession(
            server: listener.defaultServer.context, descriptor: connection.descriptor,
            scratch: connection.worker.tlsScratch, takesEarlyData: listener.takesEarlyData)
        transport = TLSTransport(session, on: connection)
        session.policy = self
    }

    // MARK: The handshake

    func context(for hello: TLSHello) -> TLSContext? {
        if let generation,
            let (server, tls) = generation.server(named: hello, onListener: listenerIndex, listener)
        {
            self.server = server
            certificates = tls
            certificateServer = generation.server(of: tls)
            wasNamed = true
        }
        return certificates.context
    }

    /// What the server's `certificate` hooks are asked with; `nil` where it has none.
    func certificateHello(_ facts: ClientFacts) -> CertificateRequest.Hello? {
        guard server.tls.asksScripts else { return nil }
        var hello = CertificateRequest.Hello()
        hello.serverName = session.hello.serverName
        hello.protocols = session.hello.protocols
        hello.versions = session.hello.versions
        hello.ciphers = session.hello.ciphers
        hello.address = facts.address
        hello.port = facts.port
        return hello
    }

    /// Has the session use what a script gave.
    ///
    /// - Returns: what is wrong with it.
    func use(certificate: [UInt8], key: [UInt8]) -> String? {
        func source(_ text: [UInt8], _ directive: String) -> TLSSource {
            let isText = text.starts(with: "-----BEGIN".utf8) || text.contains(UInt8(ascii: "\n"))
            return TLSSource(
                isText ? .data(text) : .file(String(decoding: text, as: UTF8.self)), directive: directive,
                position: SourcePosition(file: "", line: 0, column: 0))
        }
        return use(source(certificate, "certificate"), source(key, "key"), isOnly: true)
    }

    /// Has the session use the certificates whose names have variables in them.
    ///
    /// - Returns: what is wrong with them, in which case the handshake cannot go on.
    func provideIdentities(rendering: (Template) -> [UInt8]) -> String? {
        for (certificate, key) in certificates.lateIdentities {
            let problem = use(
                certificate.rendered(by: rendering), key.rendered(by: rendering), isOnly: false)
            if problem != nil { return problem }
        }
        return nil
    }

    /// - Returns: what is wrong with them.
    private func use(_ certificate: TLSSource, _ key: TLSSource, isOnly: Bool) -> String? {
        for source in [certificate, key] {
            if let fault = source.fault { return "\"\(source.directive)\" \(fault)" }
        }
        do throws(ConfigDiagnostic) {
            let identity = try (generation ?? worker.current).identity(
                (certificate, key), passwords: certificates.passwords,
                caching: certificateServer.tls.certificateCache)
            do throws(TLSError) {
                try session.use(identity, isOnly: isOnly)
                return nil
            } catch {
                return "\(error)"
            }
        } catch {
            return error.message
        }
    }

    func handshakeEnded() {
        if wasNamed { headRules = generation?.headRules(of: server) }
        generation = nil
    }

    // MARK: Requests

    var isEarly: Bool { session.isEarly }

    func refusal(of exchange: Exchange) -> Int? {
        let asked = exchange.server.tls.verifyClient
        guard asked != .off else { return nil }
        if exchange.server !== server, let reason = misdirection(of: exchange) {
            log(reason, exchange)
            return 421
        }
        guard let refusal = asked.refusal(of: certificate) else { return nil }
        return refuse(exchange, refusal.status, refusal.reason)
    }

    private var certificate: ClientCertificate {
        switch session.verification {
        case .none: .none
        case .passed: statusFault.map { .faulty(reason: $0) } ?? .accepted
        case .unknownAuthority(let code, let reason): .unknownAuthority(reason: "(\(code):\(reason))")
        case .failed(let code, let reason): .faulty(reason: "(\(code):\(reason))")
        }
    }

    /// Why the handshake will not do for the exchange's server, which is not the one that it was under; `nil` where it
    /// will. The exchange is given the server that it would be under.
    private func misdirection(of exchange: Exchange) -> String? {
        let current = serving
        guard current.generation.number != generationNumber else {
            guard wasNamed || server.tls.verifyClient != .off else { return nil }
            exchange.direct(to: server)
            return "client attempted to request the server name different from the one that was negotiated"
        }
        let standing = standing(in: current, listener: exchange.listener)
        guard exchange.server !== standing.server || !standing.isVerified else { return nil }
        // As nginx, which has no connection outlive its configuration.
        exchange.closesConnection = true
        exchange.client.isOutdated = true
        if exchange.server !== standing.server { exchange.direct(to: standing.server) }
        return "client's handshake was under a configuration that verified otherwise"
    }

    /// What the handshake comes to under a later configuration, whose authorities and lists count from then on.
    private func standing(in current: WorkerGeneration, listener index: Int) -> Standing {
        let generation = current.generation
        if let standing, standing.generationNumber == generation.number { return standing }
        var found = Standing(generationNumber: generation.number, server: server, isVerified: false)
        if let listener = generation.tls.listener(index) {
            let (next, tls) =
                current.server(named: session.hello, onListener: index, listener)
                ?? (current.server(of: listener.defaultServer), listener.defaultServer)
            found.server = next
            found.isVerified =
                statusStands(for: current.server(of: tls).tls)
                && session.verification(under: tls.context) == session.verification
        }
        standing = found
        return found
    }

    /// No more is to be asked of responders than was.
    private func statusStands(for next: ServerTLSSettings) -> Bool {
        let former = certificateServer.tls
        guard next.ocsp != .off else { return true }
        return next.ocspResponder?.text == former.ocspResponder?.text
            && (next.ocsp == former.ocsp || former.ocsp == .on)
    }

    private func refuse(_ exchange: Exchange, _ status: Int, _ message: String) -> Int {
        session.forgetSession()
        log(message, exchange)
        return status
    }

    private var serving: WorkerGeneration { socket.serving(on: worker) }

    /// In nginx's words.
    private var statusFault: String? {
        switch status {
        case .unchecked, .known(.good): nil
        case .known(.revoked): "certificate revoked"
        case .known(.unknown): "certificate status unknown"
        case .requestFailed: "certificate status request failed"
        }
    }

    private func log(_ message: String, _ exchange: Exchange) {
        let logger = serving.generation.errorLogger(for: exchange.location.settings.values.errorLogs)
        logger.log(.info, of: exchange, message + " while reading client request headers")
    }

    func append(_ fact: ClientTLSFact, to out: inout [UInt8]) -> Bool {
        // As in nginx, there is no difference between nothing and an empty text.
        guard let value = value(of: fact), !value.isEmpty else { return false }
        out.append(contentsOf: value)
        return true
    }

    private func value(of fact: ClientTLSFact) -> [UInt8]? {
        switch fact {
        case .version: Array(session.version.utf8)
        case .cipher: Array(session.cipher.utf8)
        case .ciphers: Array(session.offeredCiphers.utf8)
        case .curve: Array(session.group.utf8)
        case .curves: Array(session.offeredGroups.utf8)
        case .signatureScheme: Array(session.signatureScheme.utf8)
        case .clientSignatureScheme: Array(session.peerSignatureScheme.utf8)
        case .serverName: session.hello.serverName
        case .applicationProtocol: session.applicationProtocol
        case .sessionID: Hexadecimal.encode(session.sessionID)
        case .sessionReused: [UInt8(ascii: session.isResumed ? "r" : ".")]
        case .earlyData: session.isEarly ? [UInt8(ascii: "1")] : nil
        case .verification: Array(verificationText.utf8)
        case .certificate: session.peerCertificate(.pem)
        case .subject: session.peerCertificate(.subject)
        case .issuer: session.peerCertificate(.issuer)
        case .legacySubject: session.peerCertificate(.legacySubject)
        case .legacyIssuer: session.peerCertificate(.legacyIssuer)
        case .serial: session.peerCertificate(.serial)
        case .fingerprint: session.peerCertificate(.fingerprint)
        case .start: session.peerCertificate(.start)
        case .end: session.peerCertificate(.end)
        case .remainingDays: session.peerCertificate(.remainingDays)
        }
    }

    private var verificationText: String {
        switch session.verification {
        case .none: "NONE"
        case .passed: statusFault.map { "FAILED:" + $0 } ?? "SUCCESS"
        case .failed(_, let reason), .unknownAuthority(_, let reason): "FAILED:\(reason)"
        }
    }
}
