internal import Config
internal import EventLoop
internal import ProxyCore
internal import Wire

/// What the checks of a location need the world for.
extension ExchangeDriver {
    // MARK: Passwords

    func checkPassword(_ check: PasswordCheck) {
        let stored: StoredPassword?
        do throws(SystemError) {
            stored = try UserFile.password(of: check.user, in: check.file)
        } catch {
            log(error.isMissingFile ? .error : .crit, "\(error)")
            return proceed(error.isMissingFile ? .refuses(status: 403) : .fails(status: 500))
        }
        guard let stored else {
            let user = String(decoding: check.user, as: UTF8.self)
            log(.error, "user \"\(user)\" was not found in \"\(check.file)\"")
            return proceed(Router.challenge(exchange, realm: check.realm))
        }
        let outcome = worker.passwords.check(check.password, against: stored) { [unowned self] verdict in
            passwordTicket = nil
            worker.tick()
            stage = .proxying
            passwordChecked(check, verdict)
            resumed()
        }
        switch outcome {
        case .known(let verdict): passwordChecked(check, verdict)
        case .waiting(let ticket):
            passwordTicket = ticket
            stage = .checkingPassword
            if let downstream, downstream.mayRead { downstream.scheduleRead() }
        }
    }

    private func passwordChecked(_ check: PasswordCheck, _ verdict: StoredPassword.Verdict) {
        switch verdict {
        case .matches: proceed(.letsIn)
        case .differs:
            log(.error, "user \"\(String(decoding: check.user, as: UTF8.self))\": password mismatch")
            proceed(Router.challenge(exchange, realm: check.realm))
        case .failed(let code):
            log(.crit, "\(SystemError("crypt_r", code: code))")
            proceed(.fails(status: 500))
        }
    }

    private func proceed(_ verdict: Router.AccessVerdict) {
        perform(Router.proceed(exchange, after: verdict))
    }

    // MARK: Subrequests

    /// What is kept of the request's progress while it is put aside for a subrequest, which the same machinery serves.
    struct Asking {
        fileprivate let machine: ExchangeStateMachine
        fileprivate let upgrade: UpgradeDecision
        fileprivate let failedStatus: Int
    }

    func askLocation(_ uri: [UInt8]) {
        askedBy = Asking(machine: machine, upgrade: upgrade, failedStatus: failedStatus)
        perform(Router.askLocation(uri, for: exchange))
    }

    /// Neither a body nor hooks go along, and no protocol is changed.
    func proxySubrequest(to pass: ProxyPass) {
        plan = generation.plans.plan(for: exchange.location, pass)
        upgrade = exchange.request.upgradeIndex < 0 ? .notAsked : .withheld
        chooseTarget(bodyLength: 0)
    }

    /// The proxy itself has the answer.
    func answerSubrequest(_ response: LocalResponse) {
        dropUpstream()
        var output = worker.takeBuffer()
        _ = LocalResponseBuilder.append(response, for: exchange, mayKeepAlive: false, to: &output)
        keepHead(output[..<Self.headLength(output)])
        worker.giveBack(consume output)
        subrequestEnded(isUpstreams: false)
    }

    /// An upstream has answered. Of the body there is what came with the head, which is dropped; more is not waited for.
    func subrequestAnswered(_ rest: Span<UInt8>) {
        guard let plan else { return }
        var output = worker.takeBuffer()
        _ = DownstreamResponseBuilder.append(for: exchange, plan: plan, mayKeepAlive: false, to: &output)
        keepHead(output[...])
        worker.giveBack(consume output)
        machine.responseBegan(upstreamKeepAlive: upstreamKeepsAlive, clientKeepAlive: false)
        count(rest.count)
        let isWhole = isWholeBody(rest)
        let ending = machine.responseEnded(exact: isWhole, requestWasRead: true)
        releaseUpstream(ending.upstream)
        subrequestEnded(isUpstreams: true)
        resumed()
    }

    /// For `$sent_http_…`, though nobody is sent it.
    private func keepHead(_ head: ArraySlice<UInt8>) {
        exchange.sentHead.clear()
        exchange.sentHead.append(contentsOf: head)
    }

    private func isWholeBody(_ bytes: Span<UInt8>) -> Bool {
        var body = BodyDecoder(exchange.response.framing)
        var offset = 0
        while true {
            switch body.next(bytes.raw, from: offset) {
            case .payload(let range): offset = range.upperBound
            case .end(let consumed): return consumed == bytes.count
            case .needsMore: return body.isComplete
            case .invalid: return false
            }
        }
    }

    private func subrequestEnded(isUpstreams: Bool) {
        guard let asking = askedBy else { return }
        if settings.values.logSubrequest { generation.log(exchange, worker: worker) }
        let decision = Router.locationAnswered(exchange, isUpstreams: isUpstreams)
        goBack(to: asking)
        perform(decision)
    }

    private func goBack(to asking: Asking) {
        askedBy = nil
        machine = asking.machine
        upgrade = asking.upgrade
        failedStatus = asking.failedStatus
        proxyPass = nil
        plan = nil
        upstreamSendError = 0
        freeTries = 0
        uri.clear()
        stage = .proxying
    }

    // MARK: The end

    /// The exchange ends: nobody waits for a password any more, nor for what another location says.
    func forgetChecks() {
        if let ticket = passwordTicket {
            passwordTicket = nil
            worker.passwords.giveBack(ticket)
        }
        if askedBy != nil {
            askedBy = nil
            exchange.endSubrequest()
        }
    }
}
