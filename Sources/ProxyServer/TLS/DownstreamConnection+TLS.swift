internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import TLS

/// The handshake of a client's connection.
extension DownstreamConnection: Handshaking {
    /// The first bytes of a connection to a listener with `ssl` have come, or more of its handshake.
    func continueHandshake(_ tls: DownstreamTLS) {
        if !hasSpoken {
            switch peekByte() {
            case .byte(let first):
                hasSpoken = true
                // A record of a handshake, or the greeting of SSL 2; anything else is taken for plain HTTP.
                guard first == 0x16 || first & 0x80 != 0 else { return speakPlainly() }
            case .wouldBlock:
                mayRead = false
                return
            case .end: return finish()
            }
        }
        if tls.beganAt == nil { tls.beganAt = loop.now }
        guard !awaitsHandshakeTurn else { return }
        awaitsHandshakeTurn = true
        worker.handshakes.add(self)
    }

    func stepHandshake() {
        awaitsHandshakeTurn = false
        guard isOpen, let tls = handshakingTLS else { return }
        worker.tick()
        let step = tls.session.handshake()
        if let staple = tls.session.stapleToRefresh {
            tls.session.stapleToRefresh = nil
            worker.refresh(staple, for: tls.certificateServer.server)
        }
        switch step {
        case .done:
            worker.statistics.clientHandshakes.established(
                isResumed: tls.session.isResumed, milliseconds: loop.now - (tls.beganAt ?? loop.now))
            handshakeEnded(tls)
        case .wantsRead: mayRead = false
        case .wantsIdentity: provideIdentity(tls)
        case .failed(let error): handshakeFailed("\(error)", isOurs: false)
        }
    }

    private func provideIdentity(_ tls: DownstreamTLS) {
        guard let facts = clientFacts, tls.request == nil else { return }
        guard let hello = tls.certificateHello(facts), let scripts = tls.generation?.scripts else {
            return provideConfiguredIdentity(tls)
        }
        let request = CertificateRequest(hello, tls.server.settings) { [unowned self] decision in
            tls.request = nil
            decided(decision, tls)
        }
        tls.request = request
        scripts.interpreter.choose(request)
    }

    private func decided(_ decision: CertificateRequest.Decision, _ tls: DownstreamTLS) {
        switch decision {
        case .configured: return provideConfiguredIdentity(tls)
        case .identity(let certificate, let key):
            if let fault = tls.use(certificate: certificate, key: key) {
                logHandshake("certificate hook: " + fault, isOurs: true)
                tls.session.rejectIdentity()
            } else {
                tls.session.useConfiguredIdentity()
            }
        case .rejected(let reason):
            logHandshake("a script rejected the handshake: \(reason)", isOurs: false)
            tls.session.rejectIdentity()
        }
        stepHandshake()
    }

    /// The connection ends while scripts are being asked.
    func forgetCertificateRequest() {
        guard let tls = handshakingTLS, let request = tls.request else { return }
        tls.request = nil
        tls.generation?.scripts?.interpreter.cancel(request)
    }

    private func provideConfiguredIdentity(_ tls: DownstreamTLS) {
        guard let facts = clientFacts else { return }
        let exchange = worker.takeExchange()
        if let generation = tls.generation { exchange.adopt(generation.generation.runtime) }
        exchange.begin(
            listener: target, client: facts, startedAt: facts.connectedAt, random: worker.random.pair())
        exchange.server = tls.server
        exchange.location = tls.server.root
        let fault = tls.provideIdentities { exchange.value(of: $0) }
        worker.giveBack(exchange)
        if let fault {
            logHandshake(fault, isOurs: true)
            tls.session.rejectIdentity()
        } else {
            tls.session.useConfiguredIdentity()
        }
        stepHandshake()
    }

    func handshakeFailed(_ reason: String, isOurs: Bool) {
        logHandshake(reason, isOurs: isOurs)
        finish()
    }

    private func logHandshake(_ reason: String, isOurs: Bool) {
        guard let facts = clientFacts, let tls = handshakingTLS else { return }
        worker.current.generation.errorLogger.log(
            isOurs ? .error : .info, connection: facts.serial,
            "\(reason) while SSL handshaking, client: \(String(decoding: facts.address, as: UTF8.self)), "
                + "server: \(tls.listenerName)")
    }
}
