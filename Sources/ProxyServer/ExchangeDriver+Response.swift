internal import Bytes
internal import Config
internal import EventLoop
internal import HTTP2
internal import ProxyCore
internal import Wire

/// From the upstream to the client.
extension ExchangeDriver {
    /// Pieces of a body below this size are gathered and sent with one call; larger ones go out where they lie.
    private static let directSize = 4096

    func resumeUpstream() {
        if let upstream, upstream.mayRead, !script.holdsResponse { upstream.scheduleRead() }
    }

    func upstreamReadable() {
        // What the client has not taken yet is waited for: nothing queues up beyond one read, or `proxy_buffers`.
        guard let upstream, let downstream, !isConnecting, isProxying, !script.holdsResponse else { return }
        guard downstream.isDrained || machine.isAwaitingHead || hasRoom(downstream) else { return }
        worker.tick()
        guard let size = readSize(of: upstream, to: downstream) else { return }
        switch upstream.read(limit: size) {
        case .bytes(let count):
            pacing?.read += Int64(count)
            peers?.statistics.bytesReceived.add(count)
            updateAttempt { $0.bytesReceived += Int64(count) }
            armUpstreamDeadline()
            loop.withReceived(count) { received($0) }
            if let upstream = self.upstream, upstream.mayRead { upstream.scheduleRead() }
        case .wouldBlock: break
        case .end: upstreamEnded()
        case .failed where upstream.wasRefused && !machine.isRelaying:
            attemptFailed(ProxyFailure(.refusedStream, detail: upstream.fault?.message))
        case .failed(let error):
            attemptFailed(
                ProxyFailure(
                    upstreamSendError != 0
                        ? .sendFailed(upstreamSendError)
                        : .readFailed(error, machine.isRelaying ? .readingBody : .readingHead),
                    detail: upstream.fault?.message))
        }
    }

    /// More of the response may wait for a client that has not taken all of it yet.
    func hasRoom(_ downstream: DownstreamConnection) -> Bool {
        settings.values.proxyBuffering
            && downstream.unsentBytes + StreamChannel.usualReadSize <= settings.values.proxyBuffersTotal
    }

    private func received(_ bytes: Span<UInt8>) {
        if machine.isRelaying { return relayOnly(bytes) }
        guard responseInbox.isEmpty else {
            var gathered = responseInbox
            responseInbox = []
            gathered.append(bytes)
            let used = readHeads(gathered.span)
            if !hasEnded, used < gathered.count { responseInbox = Array(gathered[used...]) }
            return
        }
        let used = readHeads(bytes)
        guard !hasEnded, upstream != nil, used < bytes.count, machine.isAwaitingHead else { return }
        responseInbox.append(bytes.extracting(used...))
    }

    /// Reads heads up to the final one, and what follows that.
    ///
    /// - Returns: how many bytes were used.
    private func readHeads(_ bytes: Span<UInt8>) -> Int {
        var offset = 0
        while machine.isAwaitingHead {
            // The head is bounded by one buffer, as in nginx.
            let maxHead = settings.values.proxyBufferSize
            switch responseParser.parse(
                bytes.extracting(offset...).raw, isHead: upstreamRequest.isHead, maxHead: maxHead,
                into: &exchange.response)
            {
            case .incomplete:
                return offset
            case .invalid(let violation):
                let head = bytes.extracting(offset...)
                let line = FaultyLine.text(responseParser.fault(violation, in: head), of: head)
                attemptFailed(ProxyFailure(.invalidHead(violation), detail: violation.message(line: line)))
                return bytes.count
            case .complete(let length):
                offset += length
                responseParser.reset()
                guard headReceived(bytes.extracting(offset...)) else { return bytes.count }
            }
        }
        return bytes.count
    }

    /// - Returns: whether another head follows in the same bytes. Asking the machine would not do: when a response
    ///   has ended, it may already be at a pipelined request, to which these bytes are no answer.
    private func headReceived(_ rest: Span<UInt8>) -> Bool {
        guard let plan else { return false }
        let status = exchange.response.status
        if status < 200, status != 101 {
            interimHeads += 1
            guard interimHeads <= ResponseHead.maxInterimHeads else {
                attemptFailed(ProxyFailure(.invalidHead(.headTooLarge)))
                return false
            }
        }
        switch machine.headReceived(status: status) {
        case .dropInformational: return true
        case .forwardInformational where exchange.isSubrequest: return true
        case .forwardInformational:
            var output = worker.takeBuffer()
            DownstreamResponseBuilder.appendInterim(exchange.response, for: exchange, plan: plan, to: &output)
            downstream?.send(response: output.span)
            worker.giveBack(consume output)
            return !hasEnded
        case .refuseUpgrade:
            attemptFailed(ProxyFailure(.invalidUpgrade(.notAsked)))
        case .verifyUpgrade:
            let sent = upstreamRequest.upgrade
            switch UpgradePolicy.verify(exchange.response, decision: upgrade, sent: sent) {
            case .accepted(let isWebSocket):
                do {
                    if isWebSocket {
                        try exchange.settleWebSocket()
                        UpgradePolicy.answerClient(of: exchange, sent: sent)
                    }
                } catch {
                    refuseUpgrade(error)
                    break
                }
                opensWebSocket = isWebSocket
                openTunnel(rest)
            case .refused(let refusal): refuseUpgrade(refusal)
            }
        case .final:
            finalHeadReceived(rest)
        }
        return false
    }

    private func refuseUpgrade(_ refusal: UpgradeRefusal) {
        worker.statistics.upgradesRefused.add()
        attemptFailed(ProxyFailure(.invalidUpgrade(refusal)))
    }

    private func recordHead() {
        let status = exchange.response.status
        updateAttempt {
            $0.status = status
            $0.headerTime = Int(self.loop.now - $0.startedAt.monotonic)
        }
        guard let statistics = peers?.statistics else { return }
        statistics.countResponse(status: status)
        statistics.headerSeconds.observe(milliseconds: Int(loop.now - lastAttemptStart))
    }

    private func finalHeadReceived(_ rest: Span<UInt8>) {
        guard let plan else { return }
        recordHead()
        let status = exchange.response.status
        if upstream?.isStream == true { exchange.setResponseStatus(status) }
        // To a client that asked by RFC 8441 it would say that its WebSocket is open.
        if opensStreamAsWebSocket, (200..<300).contains(status) {
            return attemptFailed(ProxyFailure(.invalidUpgrade(.notSwitched)))
        }
        let nonIdempotent = !RetryPolicy.isIdempotent(exchange.method)
        // An answer that cannot be improved on is passed on as it is.
        if machine.mayRepeat,
            plan.retry.rejects(
                status: status, nonIdempotent: nonIdempotent,
                hasOther: selection.tries > 1 || script.hasNextRoute, firstTryAt: firstTryAt, now: loop.now)
        {
            return attemptFailed(ProxyFailure(.unwantedStatus(status)))
        }
        if exchange.response.hasAccelFields, !exchange.isSubrequest { exchange.noteLimitRate() }
        if settings.values.proxyInterceptErrors, status >= 300,
            let decision = Router.errorPage(exchange, status: status)
        {
            if status == 401 { exchange.carried.takeChallenges(of: exchange.response) }
            return goOn(to: decision, failedStatus: status)
        }
        if settings.values.proxyFollowsAccelRedirect, let target = Router.accelRedirect(exchange) {
            exchange.carryDescription(plan)
            return goOn(to: Router.followAccelRedirect(exchange, to: target), failedStatus: 502)
        }
        if exchange.isSubrequest { return subrequestAnswered(rest) }
        if exchange.scripts != nil, runResponseHooks(rest) { return }
        sendResponseHead(rest)
    }

    /// The upstream's response is not passed on: what `decision` leads to takes its place.
    private func goOn(to decision: RouteDecision, failedStatus status: Int) {
        peers?.group.finish(&selection, .succeeded, now: loop.now)
        dropUpstream()
        failedStatus = status
        leaveLocation()
        perform(decision)
        resumed()
    }

    /// The response goes to the client: its head, and what of the body came with that.
    func sendResponseHead(_ rest: Span<UInt8>) {
        guard let plan, let downstream else { return }
        var output = worker.takeBuffer()
        let mayKeepAlive = !downstream.isLeaving && requestBody.isComplete && upstreamRequest.upgrade == nil
        exchange.scriptsMayWait = true
        clientResponse = DownstreamResponseBuilder.append(
            for: exchange, plan: plan, mayKeepAlive: mayKeepAlive, to: &output)
        exchange.scriptsMayWait = false
        if exchange.scriptIsPending {
            exchange.sentHead.clear()
            hold(rest)
            return waitForVariable(.head)
        }
        recordSent(output[...])
        downstream.sendAtOnce(settings.values.tcpNoDelay)
        machine.responseBegan(
            upstreamKeepAlive: upstreamKeepsAlive, clientKeepAlive: clientResponse.keepsAlive)
        responseBody = BodyDecoder(exchange.response.framing)
        setPace(rest.count)
        relay(rest, with: &output, to: downstream)
        worker.giveBack(consume output)
    }

    /// The peer keeps its connection after the response.
    var upstreamKeepsAlive: Bool {
        exchange.response.wantsKeepAlive && upstreamRequest.connection != .close
            && settings.values.proxyHTTPVersion == .v1_1
    }

    // MARK: The body

    private func relayOnly(_ bytes: Span<UInt8>) {
        guard let downstream else { return }
        var output = worker.takeBuffer()
        relay(bytes, with: &output, to: downstream)
        worker.giveBack(consume output)
    }

    /// Sends what `output` holds and the payload in `bytes` on to the client.
    func relay(_ bytes: Span<UInt8>, with output: inout [UInt8], to downstream: DownstreamConnection) {
        var offset = 0
        while true {
            switch responseBody.next(bytes.raw, from: offset) {
            case .needsMore:
                count(bytes.count - offset)
                return flush(&output, to: downstream)
            case .payload(let range):
                count(range.upperBound - offset)
                offset = range.upperBound
                if exchange.responseBodyIsScripted {
                    if runResponseBodyHooks(bytes.extracting(range), with: &output, to: downstream) {
                        hold(bytes.extracting(offset...))
                        return flush(&output, to: downstream)
                    }
                    if hasEnded { return }
                    continue
                }
                forwardResponseBody(bytes.extracting(range), with: &output, to: downstream)
                if hasEnded { return }
            case .end(let consumed):
                count(consumed - offset)
                return responseBodyEnded(exact: consumed == bytes.count, &output, to: downstream)
            case .invalid(let violation):
                flush(&output, to: downstream)
                if !hasEnded { attemptFailed(ProxyFailure(.invalidBody(violation))) }
                return
            }
        }
    }

    /// As in nginx, what makes chunks of a body is part of `$upstream_response_length`.
    func count(_ bytes: Int) {
        if bytes > 0 { updateAttempt { $0.responseLength += Int64(bytes) } }
    }

    /// Takes a piece of the body to the client, by way of `output`.
    func forwardResponseBody(
        _ payload: Span<UInt8>, with output: inout [UInt8], to downstream: DownstreamConnection
    ) {
        let chunked: Bool
        switch clientResponse.framing {
        case .none: return
        case .length, .untilClose: chunked = false
        case .chunked: chunked = true
        }
        exchange.sentBodyBytes += Int64(payload.count)
        if chunked {
            let start = output.count
            ChunkedEncoding.appendChunkHead(payload.count, to: &output)
            exchange.sentBodyBytes += Int64(output.count - start + ChunkedEncoding.chunkEnd.count)
        }
        if payload.count < Self.directSize {
            output.append(payload)
            if chunked { output.append(contentsOf: ChunkedEncoding.chunkEnd) }
        } else {
            let end = chunked ? ChunkedEncoding.chunkEnd : []
            send(output.span, then: payload, then: end.span, to: downstream)
            output.removeAll(keepingCapacity: true)
        }
    }

    func flush(_ output: inout [UInt8], to downstream: DownstreamConnection) {
        guard !output.isEmpty else { return }
        send(output.span, to: downstream)
        output.removeAll(keepingCapacity: true)
    }

    private func responseBodyEnded(exact: Bool, _ output: inout [UInt8], to downstream: DownstreamConnection)
    {
        if exchange.responseBodyIsScripted, !script.sawLastPiece {
            script.sawLastPiece = true
            if runResponseBodyHooks(Span(), isLast: true, exact: exact, with: &output, to: downstream) {
                return flush(&output, to: downstream)
            }
            if hasEnded { return }
        }
        responseEnded(exact: exact, &output, to: downstream)
    }

    func responseEnded(
        exact: Bool, _ output: inout [UInt8], to downstream: DownstreamConnection
    ) {
        exchange.responseTrailers = responseBody.trailers
        if case .chunked = clientResponse.framing {
            let before = output.count
            if clientResponse.sendsTrailers {
                output.append(contentsOf: ChunkedEncoding.lastChunkLine)
                let start = output.count
                DownstreamResponseBuilder.appendTrailers(for: exchange, plan: plan, to: &output)
                exchange.sentTrailers.append(contentsOf: output[start...])
            } else {
                output.append(contentsOf: ChunkedEncoding.lastChunk)
            }
            exchange.sentBodyBytes += Int64(output.count - before)
        } else if clientResponse.sendsTrailers {
            sendTrailers(plan: plan, to: downstream)
        }
        flush(&output, to: downstream)
        guard !hasEnded else { return }
        let ending = machine.responseEnded(exact: exact, requestWasRead: requestBody.isComplete)
        releaseUpstream(ending.upstream)
        exchange.isComplete = true
        complete(ending.client)
    }

    /// To a client whose content is not in chunks: over HTTP/2.
    func sendTrailers(plan: ProxyPlan?, to downstream: DownstreamConnection) {
        var lines = worker.takeBuffer()
        DownstreamResponseBuilder.appendTrailers(for: exchange, plan: plan, to: &lines)
        exchange.sentTrailers.append(contentsOf: lines)
        downstream.send(trailers: lines.span)
        worker.giveBack(consume lines)
    }

    func releaseUpstream(_ ending: ExchangeStateMachine.Ending.Upstream) {
        guard let upstream, let peers else { return }
        recordAttemptEnd()
        peers.group.finish(&selection, .succeeded, now: loop.now)
        self.upstream = nil
        switch ending {
        case .reuse where !generation.isRetired && upstream.isDrained && !upstream.mayRead:
            upstream.leavePool()
            peers.put(upstream, now: loop.now)
        case .reuse, .close:
            upstream.end()
        }
    }

    private func upstreamEnded() {
        if machine.isRelaying {
            // RFC 9112 §9.8: over TLS, only an end that was announced is one of the response.
            let isCutOff = upstream?.endedImproperly == true
            guard responseBody.endsWithConnection, !isCutOff, let downstream else {
                return attemptFailed(ProxyFailure(.closedEarly(.readingBody)))
            }
            var output = worker.takeBuffer()
            responseBodyEnded(exact: false, &output, to: downstream)
            worker.giveBack(consume output)
            return
        }
        attemptFailed(
            ProxyFailure(upstreamSendError != 0 ? .sendFailed(upstreamSendError) : .closedEarly(.readingHead))
        )
    }

    // MARK: Upgrades

    /// The 101 was accepted; `early` is what came with it in one packet.
    private func openTunnel(_ early: Span<UInt8>) {
        recordHead()
        if exchange.scripts != nil, runResponseHooks(early, opensTunnel: true) { return }
        startTunnel(early)
    }

    /// Sends the 101 on, and goes over to relaying bytes. With `ending`, only to end at once.
    func startTunnel(_ early: Span<UInt8>, ending: (code: UInt16, reason: [UInt8])? = nil) {
        guard let downstream, let upstream, let plan, let peers else { return }
        var output = worker.takeBuffer()
        clientResponse = DownstreamResponseBuilder.append(
            for: exchange, plan: plan, mayKeepAlive: false, to: &output)
        recordSent(output[...])
        downstream.sendAtOnce(settings.values.tcpNoDelay)
        let form = TunnelForm(exchange, generation, on: worker, isWebSocket: opensWebSocket)
        if form.isOpaque {
            downstream.send(response: output.span, then: early)
        } else {
            downstream.send(response: output.span)
        }
        worker.giveBack(consume output)
        guard !hasEnded else { return }
        if form.isOpaque {
            exchange.sentBodyBytes += Int64(early.count)
            updateAttempt { $0.responseLength += Int64(early.count) }
        }
        machine.upgraded()
        let sends = script.openSends
        let tunnel = Tunnel(
            exchange, form, downstream: downstream, upstream: upstream,
            use: UpstreamUse(peers: peers, peer: PeerInUse(selection)), generation: generation)
        self.upstream = nil
        script.keepsExchange = tunnel.scripts != nil
        release()
        tunnel.start(form.isOpaque ? Span() : early, sends: sends, ending: ending)
    }
}
