internal import Bytes
internal import Config
internal import EventLoop
internal import ProxyCore
internal import Wire

/// From the client to the upstream.
extension ExchangeDriver {
    // MARK: Finding the upstream

    func proxy(to pass: ProxyPass) {
        proxyPass = pass
        redirected = !exchange.attempts.isEmpty
        if redirected { exchange.forgetResponse() }
        if exchange.isSubrequest { return proxySubrequest(to: pass) }
        if bodyLimit == nil { bodyLimit = settings.values.clientMaxBodySize }
        plan = generation.plans.plan(for: exchange.location, pass)
        examineUpgrade()
        script.hasRequestBodyHooks = false
        if exchange.scripts != nil, runUpgradeHooks() { return }
        prepareBody()
    }

    /// An error page has the status that it is for, and cannot be a change of protocols.
    func examineUpgrade() {
        if exchange.request.upgradeIndex < 0 {
            upgrade = .notAsked
        } else if exchange.errorStatus != 0 {
            upgrade = .withheld
        } else {
            upgrade = UpgradePolicy.examine(exchange.request, allowed: settings.values.upgradeProtocols)
        }
    }

    /// Goes on to the upstream, at once or when what must be known of the body is.
    func prepareBody() {
        if isBodyLost {
            // A page that is fetched by GET needs none.
            guard Method.get.equals(exchange.method) || Method.head.equals(exchange.method) else {
                return refuseWithoutBody()
            }
            exchange.bodyIsDiscarded = true
        }
        if exchange.bodyIsDiscarded { replay.clear() }
        // Read by a script, set by one, or sent to an upstream of another location in vain: these hooks have not seen it.
        // Nor has an empty one been seen, of which nothing is to come that would tell them of its end.
        let isUnseen =
            script.hasRequestBodyHooks && !script.replacesBody && (!replay.isEmpty || isEmptyBody)
        let isAwaited = !requestBody.isComplete && (script.replacesBody || needsWholeBody)
        guard isUnseen || isAwaited else { return chooseTarget(bodyLength: knownBodyLength) }
        stage = .gatheringBody
        if isUnseen {
            let body = replay
            replay = []
            runRequestBodyHooks(body.span, isLast: requestBody.isComplete)
            guard isGathering, !requestBody.isComplete else { return }
        }
        sendContinue()
        downstream?.processInbox()
        if let downstream, downstream.mayRead { downstream.scheduleRead() }
    }

    /// Nothing more of the body is to come: neither of the client nor of a hook that waits with a piece.
    /// A subrequest has none.
    var bodyIsTaken: Bool {
        requestBody.isComplete && !script.requestPieceIsHeld || exchange.isSubrequest
    }

    /// There is a body, and it is whole, without a byte.
    private var isEmptyBody: Bool {
        guard bodyIsTaken, replay.isEmpty, !exchange.bodyIsDiscarded else { return false }
        switch exchange.request.framing {
        case .length, .chunked: return true
        case .none, .untilClose: return script.isBodyReplaced
        }
    }

    /// The body is to go upstream, but was sent to another before, and was too long to be kept.
    var isBodyLost: Bool {
        !isReplayable && !exchange.bodyIsDiscarded && !script.replacesBody
            && settings.values.proxyPassRequestBody
            && settings.values.proxySetBody == nil
    }

    /// An upload must not seem to have come through without its body.
    func refuseWithoutBody() {
        log(
            .error,
            "the request's body was sent to another upstream, and is no longer at hand: it is larger than "
                + "client_body_buffer_size, or a hook waits with a piece of it")
        exchange.errorStatus = 0
        respond(LocalResponse(status: failedStatus))
    }

    /// HTTP/1.0 knows no chunks: the length of a body has to be known before the head can go out. So has what of it is in
    /// the head.
    private var needsWholeBody: Bool {
        if let plan, exchange.request.framing.hasBody, !exchange.bodyIsDiscarded,
            plan.asksForRequestBody || script.currentRoute != nil && generation.plans.keysAskForRequestBody
        {
            return true
        }
        guard settings.values.proxyHTTPVersion == .v1_0, settings.values.proxyPassRequestBody,
            settings.values.proxySetBody == nil
        else { return false }
        if exchange.bodyIsDiscarded { return false }
        if case .chunked = exchange.request.framing { return true }
        return script.hasRequestBodyHooks || script.changesBody
    }

    /// `nil` for a body that is sent on in chunks.
    var knownBodyLength: Int64? {
        if exchange.bodyIsDiscarded { return 0 }
        switch exchange.request.framing {
        case .none, .untilClose: return script.isBodyReplaced ? Int64(replay.count) : 0
        case .length(let length):
            if script.isBodyWhole { return Int64(replay.count) }
            guard script.hasRequestBodyHooks || script.changesBody else { return length }
            return bodyIsTaken && isReplayable ? Int64(replay.count) : nil
        case .chunked: return bodyIsTaken && isReplayable ? Int64(replay.count) : nil
        }
    }

    func chooseTarget(bodyLength: Int64?) {
        guard let plan, let proxyPass else { return }
        uri.clear()
        exchange.scriptsMayWait = true
        var target = ProxyTarget.resolve(proxyPass, for: exchange, uri: &uri)
        if let route = script.currentRoute {
            target = ProxyTarget.resolve(route: route, for: exchange, uri: &uri)
        }
        upstreamHead.clear()
        var hooksLookInside = false
        if case .offered(webSocket: true) = upgrade, exchange.scripts != nil {
            hooksLookInside = generation.webSocketRules(settings, on: worker).looksInside
        }
        upstreamRequest = UpstreamRequestBuilder.append(
            for: exchange, uri: uri, plan: plan.request, upgrade: upgrade, bodyLength: bodyLength,
            hooksLookInside: hooksLookInside, to: &upstreamHead)
        if generation.hasKeyedUpstreams { renderBalancingKey(for: target) }
        exchange.scriptsMayWait = false
        if exchange.scriptIsPending { return waitForVariable(.target(bodyLength: bodyLength)) }
        if let rejection = upstreamRequest.rejection {
            worker.statistics.upgradesRefused.add()
            log(.info, rejection.message)
            return respond(rejection.response)
        }
        if upstreamRequest.withholdsUpgrade, exchange.errorStatus == 0, !exchange.isSubrequest {
            log(.info, UpgradePolicy.withholding(exchange.request))
        } else if case .offered(webSocket: true) = upgrade, exchange.errorStatus == 0, !exchange.isSubrequest,
            UpgradePolicy.omits(upstreamRequest, settings)
        {
            log(.info, UpgradePolicy.omission(of: upstreamRequest, settings))
        }
        machine = ExchangeStateMachine(
            hasBody: !bodyIsTaken, isIdempotent: RetryPolicy.isIdempotent(exchange.method),
            asksForUpgrade: upstreamRequest.upgrade != nil)
        switch target {
        case .group(let index): connect(toGroup: index)
        case .address(let address): connect(to: generation.peers(ofHost: exchange.proxyHost, [address]))
        case .resolve(let name, let port): resolve(name, port: port)
        case .failed(let reason): giveUp(ProxyFailure(.invalidTarget(reason)))
        }
    }

    private func renderBalancingKey(for target: ProxyTarget) {
        balancingKey.clear()
        guard case .group(let index) = target else { return }
        generation.peers(ofGroup: index).group.appendKey(of: exchange, to: &balancingKey)
    }

    // MARK: The request's bytes

    /// Another try: what was sent of the body before goes out again, as it lies there, since it may be long.
    func resend() {
        let body = replay
        switch upstreamRequest.framing {
        case .none, .untilClose: sendUpstream(Span())
        case .length: sendUpstream(body.span)
        case .chunked:
            sendChunk(body.span)
            if bodyIsTaken { sendLastChunk() }
        }
    }

    /// The head goes out now if nothing of a body has taken it along.
    func flushHead() {
        guard isHeadPending, machine.isAwaitingHead else { return }
        sendUpstream(Span())
        if exchange.isSubrequest { return }
        // What a hook holds is still to come, and ends the body then.
        if script.requestPieceIsHeld { return }
        if requestBody.isComplete, case .chunked = upstreamRequest.framing, replay.isEmpty {
            let lastChunk = ChunkedEncoding.lastChunk
            sendUpstream(lastChunk.span)
        }
    }

    /// Sends what is of the request, behind its head where that has not gone yet.
    func sendUpstream(
        _ first: Span<UInt8>, then second: Span<UInt8> = Span(), then third: Span<UInt8> = Span()
    ) {
        guard let upstream else { return }
        var count = first.count + second.count + third.count
        if isHeadPending {
            isHeadPending = false
            count += upstreamHead.count
            let head = upstreamHead
            if third.count == 0 {
                upstream.send(head.span, then: first, then: second)
            } else {
                upstream.send(head.span)
                upstream.send(first, then: second, then: third)
            }
        } else {
            upstream.send(first, then: second, then: third)
        }
        sent(count)
        armUpstreamDeadline()
    }

    private func sendChunk(_ payload: Span<UInt8>) {
        var line = worker.takeBuffer()
        ChunkedEncoding.appendChunkHead(payload.count, to: &line)
        let chunkEnd = ChunkedEncoding.chunkEnd
        sendUpstream(line.span, then: payload, then: chunkEnd.span)
        worker.giveBack(consume line)
    }

    private func sendLastChunk() {
        var end = worker.takeBuffer()
        ChunkedEncoding.appendEnd(requestBody.trailers, to: &end)
        sendUpstream(end.span)
        worker.giveBack(consume end)
    }

    private func sent(_ count: Int) {
        machine.requestBytesSent(replayable: isReplayable || exchange.isSubrequest)
        peers?.statistics.bytesSent.add(count)
        updateAttempt { $0.bytesSent += Int64(count) }
    }

    func updateAttempt(_ change: (inout UpstreamAttempt) -> Void) {
        guard let last = exchange.attempts.indices.last else { return }
        change(&exchange.attempts[last])
    }

    /// While bytes wait to be sent the peer must take some now and then; after that it must answer.
    func armUpstreamDeadline() {
        // While a hook waits with its response, the peer is not even read.
        guard let upstream, !isConnecting, !script.holdsResponse else { return }
        let timeout = upstream.isDrained ? settings.values.proxyReadTimeout : settings.values.proxySendTimeout
        var deadline = loop.now + Int64(timeout)
        if let pacing, pacing.resumesAt > loop.now {
            // What is not read does not time out; what is not taken of the request does.
            deadline = upstream.isDrained ? pacing.resumesAt : min(pacing.resumesAt, deadline)
        }
        upstream.setDeadline(deadline)
    }

    /// `Expect: 100-continue` is answered by the proxy itself, as nginx does, once it wants the body.
    func sendContinue() {
        guard !mayExpectBody, !requestBody.isComplete, !exchange.isSubrequest, let downstream else { return }
        mayExpectBody = true
        let head = ResponseHead.continueHead
        downstream.send(response: head.span)
        downstream.setReadDeadline(after: settings.values.clientBodyTimeout)
    }

    // MARK: The body

    /// More of the request's body is to come, and the client does not wait to be asked for it.
    var expectsBody: Bool { !requestBody.isComplete && mayExpectBody && !hasEnded }

    /// More of the request's body can be used now.
    var wantsBody: Bool {
        guard !requestBody.isComplete else { return false }
        if script.requestPieceIsHeld { return false }
        if isDiscarding || isGathering || script.isReadingBody { return true }
        guard isProxying, !isConnecting, !exchange.isSubrequest, let upstream else { return false }
        return !machine.forwardsRequestBody || upstream.isDrained
    }

    /// Milliseconds between two pieces of the body that is read.
    var bodyTimeout: Int {
        isDiscarding || exchange.bodyIsDiscarded
            ? DownstreamConnection.lingeringSilence : settings.values.clientBodyTimeout
    }

    /// How many bytes of the body to read at once, at most.
    var bodyReadSize: Int { upstream?.relaySize ?? StreamChannel.usualReadSize }

    /// Takes the next bytes of the request's body.
    ///
    /// - Returns: how many were used.
    func receiveBody(_ bytes: Span<UInt8>) -> Int {
        var offset = 0
        while true {
            switch requestBody.next(bytes.raw, from: offset) {
            case .needsMore:
                exchange.receivedBodyBytes += Int64(bytes.count)
                worker.statistics.clientBytesIn.add(bytes.count)
                downstream?.setReadDeadline(after: bodyTimeout)
                return bytes.count
            case .payload(let range):
                offset = range.upperBound
                if isTooLarge {
                    bodyTooLarge()
                    return bytes.count
                }
                take(bytes.extracting(range))
                if hasEnded { return offset }
                if script.requestPieceIsHeld {
                    exchange.receivedBodyBytes += Int64(offset)
                    worker.statistics.clientBytesIn.add(offset)
                    return offset
                }
            case .end(let consumed):
                exchange.receivedBodyBytes += Int64(consumed)
                worker.statistics.clientBytesIn.add(consumed)
                requestBodyEnded()
                return consumed
            case .invalid(let violation):
                record(violation)
                badBody()
                return bytes.count
            }
        }
    }

    /// As in nginx, of chunks alone: a length was looked at where the location was chosen by the URI. Where an error leads, by
    /// a name or otherwise, no more is asked of a body in chunks that an upstream was to have.
    private var isTooLarge: Bool {
        let limit = Int64(bodyLimit ?? settings.values.clientMaxBodySize)
        guard limit > 0, requestBody.payloadBytes > limit, case .chunked = exchange.request.framing else {
            return false
        }
        return !exchange.bodyIsDiscarded && machine.canRespond
    }

    private func take(_ payload: Span<UInt8>) {
        if exchange.bodyIsDiscarded || script.replacesBody {
            if generation.keepsRequestBody, isDiscarding { keepForLog(payload) }
            return
        }
        if script.hasRequestBodyHooks, !script.isReadingBody {
            return runRequestBodyHooks(payload, isLast: false)
        }
        forwardRequestBody(payload)
    }

    /// A body that was to go to an upstream, of which none could be had, is `$request_body` all the same.
    private func keepForLog(_ payload: Span<UInt8>) {
        guard plan != nil, isReplayable else { return }
        if replay.count + payload.count <= settings.values.clientBodyBufferSize {
            replay.append(payload)
        } else {
            isReplayable = false
            replay.clear()
        }
    }

    /// Takes a piece of the body to where it goes: to the upstream, or to what is gathered.
    func forwardRequestBody(_ payload: Span<UInt8>) {
        if isGathering || script.isReadingBody {
            guard Int64(replay.count + payload.count) <= gatherLimit else { return refuseToGather() }
            replay.append(payload)
            return
        }
        let isForwarded = machine.forwardsRequestBody
        if isReplayable {
            // A peer may close a pooled connection before it sees any of this, or refuse a stream: then it is asked
            // again, even where there is no other.
            // So is another location, where there are error pages or one that X-Accel-Redirect may name, and another
            // upstream of a route.
            let mayRepeat =
                selection.tries > 1 || machine.attemptReusedConnection || usesHTTP2
                || !settings.values.errorPages.isEmpty || !exchange.server.namedLocations.isEmpty
                || script.hasNextRoute || !isForwarded
            let limit = settings.values.clientBodyBufferSize
            if mayRepeat || generation.keepsRequestBody, replay.count + payload.count <= limit {
                replay.append(payload)
            } else {
                isReplayable = false
                replay.clear()
            }
        }
        guard isForwarded else { return machine.requestBytesDropped(replayable: isReplayable) }
        switch upstreamRequest.framing {
        case .none, .untilClose: break  // proxy_pass_request_body off, or a body of another's making
        case .length:
            if upstreamRequest.replacementBody == nil { sendUpstream(payload) }
        case .chunked: sendChunk(payload)
        }
    }

    func requestBodyEnded() {
        downstream?.clearReadDeadline()
        if script.hasRequestBodyHooks, !script.isReadingBody, !exchange.bodyIsDiscarded, !script.replacesBody
        {
            return runRequestBodyHooks(Span(), isLast: true)
        }
        finishBody()
    }

    /// Everything of the body has been taken.
    func finishBody() {
        if generation.keepsRequestBody, isReplayable, !replay.isEmpty { exchange.requestBody = replay }
        if isDiscarding { return complete(.keep) }
        if script.isReadingBody { return bodyWasRead() }
        if isGathering {
            stage = .proxying
            if script.replacesBody {
                replaceBody()
                return prepareBody()
            }
            return chooseTarget(bodyLength: knownBodyLength)
        }
        machine.requestBodyEnded()
        if case .chunked = upstreamRequest.framing, machine.forwardsRequestBody { sendLastChunk() }
    }

    /// How much of a body is gathered in memory. A length was looked at before, and so are chunks; where there is no limit, or
    /// hooks make more of a body than came, memory still has one.
    private var gatherLimit: Int64 {
        max(Self.maxGathered, Int64(bodyLimit ?? settings.values.clientMaxBodySize))
    }

    private func refuseToGather() {
        log(
            .error,
            "the request's body has to be gathered in memory, and is larger than the \(gatherLimit) bytes that may be"
        )
        refuseBody(status: 413)
    }

    private func bodyTooLarge() {
        if case .length(let length) = exchange.request.framing {
            log(.error, "client intended to send too large body: \(length) bytes")
        } else {
            log(.error, "client intended to send too large chunked body")
        }
        refuseBody(status: 413)
    }

    private func record(_ violation: BodyViolation) {
        worker.statistics.badRequests.add()
        log(.error, "client sent invalid chunked body (\(violation.fault))")
    }

    /// What is wrong with a body that nobody is to read, as far as it has come.
    private var unreadViolation: BodyViolation? {
        guard case .chunked = exchange.request.framing, !requestBody.isComplete, let downstream else {
            return nil
        }
        return earlyViolation ?? downstream.violation(of: requestBody)
    }

    /// Has the connection end after a response that is about to be sent where what came of the body is broken.
    ///
    /// - Returns: false where the request is refused instead: as in nginx, for all but an error's own page.
    func acceptsUnreadBody(for response: LocalResponse) -> Bool {
        guard let violation = unreadViolation else { return true }
        record(violation)
        exchange.closesConnection = true
        requestBody = BodyDecoder(.none)
        if response.body == nil, response.status >= 400 { return true }
        exchange.redirectURL = nil
        refuseBody(status: 400)
        return false
    }

    private func badBody() {
        // What an error page makes of it goes on without a body.
        if exchange.bodyIsDiscarded { requestBody = BodyDecoder(.none) }
        refuseBody(status: 400)
    }

    private func refuseBody(status: Int) {
        if isDiscarding { return endDiscarding() }
        // What is left of the body is not waited for.
        downstream?.clearReadDeadline()
        exchange.closesConnection = true
        exchange.bodyIsDiscarded = true
        failPastHooks(status: status)
    }

    // MARK: The upstream's side

    func upstreamDrained() {
        armUpstreamDeadline()
        guard let downstream, wantsBody else { return }
        worker.tick()
        downstream.bodyIsWanted(by: self)
        downstream.processInbox()
        if downstream.mayRead { downstream.scheduleRead() }
    }

    func upstreamWriteFailed(_ error: Int32) {
        guard machine.upstreamSendFailed() == .readResponse, let upstream else { return }
        upstreamSendError = error
        // A response may have come before the connection broke.
        upstream.mayRead = true
        upstream.scheduleRead()
    }

    func upstreamDeadlinePassed() {
        worker.tick()
        guard let upstream else { return }
        if isConnecting {
            return attemptFailed(
                ProxyFailure(upstream.isHandshaking ? .handshakeTimedOut : .connectTimedOut))
        }
        if pacing != nil, resumeReading(of: upstream) { return }
        if !upstream.isDrained {
            upstream.timedOut(after: settings.values.proxySendTimeout)
            return attemptFailed(ProxyFailure(.sendTimedOut))
        }
        guard let downstream else { return }
        // A response that waits for a slow client, or a request that its client has yet to finish, is not the
        // upstream's fault.
        let waitsForClient = !downstream.isDrained && !hasRoom(downstream)
        if waitsForClient || machine.isAwaitingHead && !bodyIsTaken {
            return armUpstreamDeadline()
        }
        upstream.timedOut(after: settings.values.proxyReadTimeout)
        attemptFailed(ProxyFailure(.readTimedOut(machine.isRelaying ? .readingBody : .readingHead)))
    }
}
