internal import Config
internal import EventLoop
internal import LuaHooks
internal import ProxyCore
internal import TLS

/// The handshake of a client's connection.
extension DownstreamConnection: Handshaking {
    /// The first bytes of a connection to a listener with `ssl` have come, or more of its handshake.
    func continueHandshake(_ tls: DownstreamTLS) {
        // What comes meanwhile is read when the answer is there.
        guard tls.statusRequest == nil else { return }
        if !hasSpoken {
            switch peek(limit: 1) {
            case .bytes:
                hasSpoken = true
                let first = loop.withReceived(1) { $0[0] }
                // A record of a handshake, or the greeting of SSL 2; anything else is taken for plain HTTP.
                guard first == 0x16 || first & 0x80 != 0 else { return speakPlainly() }
            case .wouldBlock:
                mayRead = false
                return
            case .end, .failed: return finish()
            }
        }
        if tls.beganAt == nil { tls.beganAt = loop.now }
        worker.handshakes.add(self)
    }

    func stepHandshake() {
        guard isOpen, let tls = handshakingTLS else { return }
        worker.tick()
        let step = tls.session.handshake()
        if let staple = tls.session.stapleToRefresh {
            tls.session.stapleToRefresh = nil
            worker.refresh(staple, for: tls.certificateServer)
        }
        switch step {
        case .done: checkStatus(tls)
        case .wantsRead: mayRead = false
        case .wantsIdentity: provideIdentity(tls)
        case .failed(let error):
            switch tls.session.rejection {
            case nil: handshakeFailed("\(error)", isOurs: false)
            case .ofServer: handshakeFailed("handshake rejected", isOurs: false)
            // Whoever rejected it has said why.
            case .ofIdentity: finish()
            }
        }
    }

    // MARK: OCSP

    /// The handshake itself is over; by `ssl_ocsp`, the first request waits until responders have said what the client's
    /// certificate is worth.
    private func checkStatus(_ tls: DownstreamTLS) {
        do throws(TLSError) {
            guard let validation = try tls.session.ocspValidation() else { return established(tls) }
            take(validation.next(now: worker.unixSeconds), of: validation, tls)
        } catch {
            handshakeFailed("\(error)", isOurs: true)
        }
    }

    private func take(_ step: OCSPValidation.Step, of validation: OCSPValidation, _ tls: DownstreamTLS) {
        switch step {
        case .ended(let status):
            tls.status = .known(status)
            established(tls)
        case .failed(let error): statusFailed(error.summary, responder: nil, tls)
        case .ask(let query):
            do throws(FetchFailure) {
                // As in nginx, no more than the rest of the time for the whole handshake.
                tls.statusRequest = try worker.ask(
                    query, for: tls.certificateServer, in: tls.generation ?? worker.current,
                    timeout: Int64(headRules.timeout)
                ) { [unowned self] outcome in
                    tls.statusRequest = nil
                    worker.tick()
                    switch outcome {
                    case .answered(let answer, _):
                        take(
                            validation.answered(answer, to: query, now: worker.unixSeconds), of: validation,
                            tls)
                    case .failed(let reason): statusFailed(reason, responder: query.responder, tls)
                    }
                }
            } catch {
                statusFailed(error.message, responder: query.responder, tls)
            }
        }
    }

    private func statusFailed(_ reason: String, responder: String?, _ tls: DownstreamTLS) {
        log(
            .error, reason,
            while: "requesting certificate status" + (responder.map { ", responder: " + $0 } ?? ""))
        tls.status = .requestFailed
        established(tls)
    }

    private func established(_ tls: DownstreamTLS) {
        worker.statistics.clientHandshakes.established(
            isResumed: tls.session.isResumed, milliseconds: loop.now - (tls.beganAt ?? loop.now))
        handshakeEnded(tls)
    }

    // MARK: Certificates

    private func provideIdentity(_ tls: DownstreamTLS) {
        guard let facts = clientFacts, tls.certificateRequest == nil else { return }
        guard let hello = tls.certificateHello(facts), let scripts = tls.generation?.scripts else {
            return provideConfiguredIdentity(tls)
        }
        let request = CertificateRequest(hello, tls.server.settings) { [unowned self] decision in
            tls.certificateRequest = nil
            decided(decision, tls)
        }
        tls.certificateRequest = request
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
        guard let tls = handshakingTLS, let request = tls.certificateRequest else { return }
        tls.certificateRequest = nil
        tls.generation?.scripts?.interpreter.cancel(request)
    }

    private func provideConfiguredIdentity(_ tls: DownstreamTLS) {
        guard let facts = clientFacts else { return }
        let exchange = worker.takeExchange()
        if let generation = tls.generation { exchange.adopt(generation.generation.runtime) }
        exchange.begin(
            listener: listenerIndex, client: facts, startedAt: facts.connectedAt, random: worker.randomPair()
        )
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
        log(isOurs ? .error : .info, reason, while: "SSL handshaking")
    }
}

extension StreamChannel {
    /// The peer was cut off for messages of TLS that carry nothing.
    var isTLSFlooded: Bool { (transport as? TLSTransport)?.session.failure == TLSSession.flooded }

    /// Counts a flood and logs it, if that is why reading from the client has failed.
    func noteFlood(of client: ClientFacts?, on worker: Worker) {
        guard isTLSFlooded, let client else { return }
        worker.statistics.badRequests.add()
        worker.current.generation.errorLogger.log(
            .info, connection: client.serial,
            "TLS flood detected, client: \(String(decoding: client.address, as: UTF8.self))")
    }
}
