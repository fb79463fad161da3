internal import Bytes
internal import Config
internal import EventLoop
internal import ProxyCore
internal import Wire

/// Peers of the upstream, tried one after the other until one answers.
extension ExchangeDriver {
    // MARK: A try at a peer

    func connect(to peers: UpstreamPeers) {
        guard let plan else { return }
        self.peers = peers
        selection = peers.group.begin(maxTries: plan.retry.maxTries)
        firstTryAt = loop.now
        tryNext()
    }

    /// Makes a try, and those that follow where it fails at once: one after the other rather than each within the one before,
    /// since there may be thousands of them.
    private func tryNext() {
        isTryDue = true
        guard !isTrying else { return }
        isTrying = true
        var tries = 0
        while isTryDue {
            isTryDue = false
            tries += 1
            connectNext()
        }
        isTrying = false
        // When the one before had failed, what the client has sent was looked at before there was another try.
        if tries > 1 { resumed() }
    }

    private func connectNext() {
        guard let peers else { return }
        assert(upstream == nil, "the try before has not ended")
        guard let index = nextPeer(of: peers.group) else {
            return giveUp(ProxyFailure(.noLivePeers))
        }
        let address = peers.group.peers[index].address
        var attempt = UpstreamAttempt(address: address.text, startedAt: worker.clock.now)
        attempt.followsRedirect = redirected
        redirected = false
        exchange.attempts.append(consume attempt)
        peers.statistics.attempts.add()
        let tls: TLSTarget?
        let isHTTP2 = usesHTTP2
        do throws(ProxyFailure) {
            let target = try tlsTarget()
            if isHTTP2 {
                if let carrier = peers.carrier(to: address, tls: target) {
                    return connect(over: carrier, peers)
                }
            } else if let idle = peers.takeIdle(to: address, tls: target) {
                peers.statistics.connectionsReused.add()
                upstream = idle
                idle.attach(to: self)
                return connected(reused: true)
            }
            tls = try identified(target, at: address)
        } catch {
            return giveUp(error)
        }
        if isHTTP2 { return connectOverHTTP2(to: address, tls: tls, peers) }
        guard worker.reserveConnection() else {
            return giveUp(ProxyFailure(.noConnections(limit: worker.connectionLimit)))
        }
        do throws(SystemError) {
            let connection = try UpstreamConnection(
                to: address, tls: tls, worker: worker,
                socketKeepalive: settings.values.proxySocketKeepalive)
            peers.statistics.connectionsOpened.add()
            upstream = connection
            connection.attach(to: self)
            isConnecting = true
            connection.setDeadline(loop.now + Int64(settings.values.proxyConnectTimeout))
        } catch {
            worker.releaseConnection()
            attemptFailed(ProxyFailure(.connectFailed(error.code)))
        }
    }

    private func nextPeer(of group: PeerGroup) -> Int? {
        if group.isRoundRobin { return group.next(&selection, now: loop.now) }
        let random = group.drawsRandomNumbers ? worker.randomNumber() : 0
        return group.next(&selection, key: balancingKey, random: random, now: loop.now)
    }

    /// An upgrade goes over HTTP/1.1, whatever `proxy_http_version` says.
    var usesHTTP2: Bool { settings.values.proxyHTTPVersion == .v2 && upstreamRequest.upgrade == nil }

    private func connectOverHTTP2(to address: PeerAddress, tls: TLSTarget?, _ peers: UpstreamPeers) {
        do throws(SystemError) {
            guard
                let carrier = try peers.makeCarrier(
                    to: address, tls: tls, worker: worker,
                    socketKeepalive: settings.values.proxySocketKeepalive)
            else { return giveUp(ProxyFailure(.noConnections(limit: worker.connectionLimit))) }
            connect(over: carrier, peers)
        } catch {
            attemptFailed(ProxyFailure(.connectFailed(error.code)))
        }
    }

    private func connect(over carrier: HTTP2UpstreamConnection, _ peers: UpstreamPeers) {
        let stream = carrier.openStream(host: exchange.proxyHost)
        upstream = stream
        stream.attach(to: self)
        if carrier.isReady {
            peers.statistics.connectionsReused.add()
            return connected(reused: true)
        }
        isConnecting = true
        stream.setDeadline(loop.now + Int64(settings.values.proxyConnectTimeout))
    }

    func upstreamConnected(error: Int32) {
        guard isConnecting, upstream != nil else { return }
        worker.tick()
        isConnecting = false
        guard error == 0 else { return attemptFailed(ProxyFailure(.connectFailed(error))) }
        let elapsed = Int(loop.now - lastAttemptStart)
        peers?.statistics.connectSeconds.observe(milliseconds: elapsed)
        connected(reused: false)
        resumed()
    }

    var lastAttemptStart: Int64 { exchange.attempts.last?.startedAt.monotonic ?? loop.now }

    private func connected(reused: Bool) {
        guard let upstream else { return }
        if isBodyLost { return refuseWithoutBody() }
        upstream.requests &+= 1
        machine.connected(reused: reused)
        updateAttempt { $0.connectTime = Int(self.loop.now - $0.startedAt.monotonic) }
        responseParser.reset()
        responseInbox.clear()
        interimHeads = 0
        isHeadPending = true
        sendContinue()
        if let replacement = upstreamRequest.replacementBody {
            sendUpstream(replacement.span)
        } else if !replay.isEmpty && isReplayable && !exchange.isSubrequest {
            resend()
        }
        if upstream.mayRead { upstream.scheduleRead() }
    }

    // MARK: A try that is over

    /// Gives up the current try, if there is one, without another.
    func dropUpstream() {
        isTryDue = false
        isConnecting = false
        isHeadPending = false
        if let peers { peers.group.finish(&selection, .passedOver, now: loop.now) }
        guard let upstream else { return }
        recordAttemptEnd()
        let unsent = Int64(upstream.unsentBytes)
        if unsent > 0 { updateAttempt { $0.bytesSent -= unsent } }
        self.upstream = nil
        upstream.end()
    }

    func recordAttemptEnd() {
        updateAttempt { attempt in
            if attempt.responseTime < 0 {
                attempt.responseTime = Int(self.loop.now - attempt.startedAt.monotonic)
            }
        }
    }

    /// The current try failed.
    func attemptFailed(_ failure: ProxyFailure) {
        guard let plan, let peers else { return giveUp(failure) }
        assert(!script.holdsResponse, "a peer whose response a hook waits with is left alone")
        log(failure.logLevel, failure.message(systemText: SystemError.reason))
        peers.statistics.failures.add()
        let isRefused = failure.kind == .refusedStream
        var reused = isRefused || machine.attemptReusedConnection && upstream?.hasOwnConnection == true
        if reused, usesHTTP2 {
            // A peer that refuses again and again is taken at its word.
            freeTries += 1
            reused = freeTries <= Self.maxFreeTries
        }
        recordAttemptEnd()
        updateAttempt { attempt in if attempt.status == 0 { attempt.status = failure.status } }
        let outcome = RetryPolicy.outcome(of: failure, reused: reused)
        let tried = triedAddress
        if peers.group.finish(&selection, outcome, now: loop.now) {
            log(.warn, peer: tried, failure.disablingMessage)
        }
        isConnecting = false
        isHeadPending = false
        upstream?.end()
        upstream = nil
        var mayMove = false
        let action = machine.attemptFailed { nonIdempotent in
            mayMove = !nonIdempotent || plan.retry.repeatsNonIdempotent
            return plan.retry.allows(
                failure, nonIdempotent: nonIdempotent && !isRefused, selection: selection,
                firstTryAt: firstTryAt, now: loop.now)
        }
        switch action {
        case .retry:
            peers.statistics.retries.add()
            exchange.forgetResponse()
            tryNext()
        case .respond: if !mayMove || !tryNextRoute() { fail(status: failure.status) }
        case .abort: return breakOff()
        case .ignore: return
        }
        resumed()
    }

    /// There is no try to be made.
    func giveUp(_ failure: ProxyFailure) {
        log(failure.logLevel, failure.message(systemText: SystemError.reason))
        machine.abandoned()
        // As nginx logs it: of a server that was not found there is nothing to tell.
        if failure.kind == .noLivePeers {
            var attempt = UpstreamAttempt(
                address: peers.map { $0.group.group.name } ?? exchange.proxyHost, startedAt: worker.clock.now)
            attempt.status = failure.status
            attempt.responseTime = 0
            exchange.attempts.append(attempt)
        }
        if !tryNextRoute() { fail(status: failure.status) }
        resumed()
    }
}
