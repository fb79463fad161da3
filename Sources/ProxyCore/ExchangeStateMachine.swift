/// How far one proxied exchange has come, and what follows from each thing that happens to it.
///
/// Two legs move at their own pace: the request flows from the client to the upstream, the response flows back,
/// and either may end first. The machine decides what that means: whether a failed attempt may be repeated,
/// whether a response may still be replaced by a page of our own, and what becomes of both connections at the
/// end. It is driven by `ExchangeDriver`, which moves the bytes and holds the sockets.
///
///     connecting ──▶ awaitingHead ──▶ relaying ──▶ finished
///         ▲   │            │ ╲
///         └───┴── retry ───┘  ╲──▶ tunnelling
package struct ExchangeStateMachine: Sendable {
    private enum State: Sendable, Equatable {
        /// No connection to a peer yet: resolving a name, connecting, or between two attempts.
        case connecting
        /// The request is on its way; no final response head has come.
        case awaitingHead(Attempt)
        /// The response's head has gone to the client; its body follows.
        case relaying(Attempt, Relay)
        case tunnelling
        case finished
    }

    private struct Attempt: Sendable, Equatable {
        /// The connection came out of the pool, so the peer may have closed it before it saw the request.
        var reused: Bool
        /// Bytes of the request went out.
        var requestSent = false
        /// The upstream no longer takes the request; its response may still come.
        var requestRefused = false
    }

    private struct Relay: Sendable, Equatable {
        /// The upstream's connection can serve another request once the response has ended.
        var upstreamReusable: Bool
        /// The client was told that its connection stays open.
        var clientKeepAlive: Bool
    }

    private var state = State.connecting
    private var requestEnded: Bool
    /// What the request's method allows once it was sent: POST, LOCK and PATCH are not repeated.
    private let isIdempotent: Bool
    /// Everything of the body that was sent is still at hand, so that it can be sent again.
    private var bodyReplayable = true
    private let asksForUpgrade: Bool

    /// - Parameters:
    ///   - hasBody: a request body follows the head.
    ///   - isIdempotent: the method may be repeated after the request was sent.
    ///   - asksForUpgrade: the request sent upstream carries `Upgrade`.
    package init(hasBody: Bool, isIdempotent: Bool, asksForUpgrade: Bool) {
        requestEnded = !hasBody
        self.isIdempotent = isIdempotent
        self.asksForUpgrade = asksForUpgrade
    }

    // MARK: Where it stands

    /// The client has not been sent anything final, so an error can still be answered with a status.
    package var canRespond: Bool {
        switch state {
        case .connecting, .awaitingHead: true
        case .relaying, .tunnelling, .finished: false
        }
    }

    /// The request can be sent to another peer: nothing of it went out, or all that did is still at hand.
    package var mayRepeat: Bool {
        switch state {
        case .connecting: true
        case .awaitingHead(let attempt): bodyReplayable || !attempt.requestSent
        case .relaying, .tunnelling, .finished: false
        }
    }

    package var isAwaitingHead: Bool { if case .awaitingHead = state { true } else { false } }
    package var isRelaying: Bool { if case .relaying = state { true } else { false } }
    package var isTunnelling: Bool { if case .tunnelling = state { true } else { false } }

    /// The request's body is to be passed on; otherwise what comes of it is dropped.
    package var forwardsRequestBody: Bool {
        switch state {
        case .awaitingHead(let attempt), .relaying(let attempt, _): !attempt.requestRefused
        case .connecting, .tunnelling, .finished: false
        }
    }

    // MARK: The request's side

    package mutating func connected(reused: Bool) {
        guard case .connecting = state else { return }
        state = .awaitingHead(Attempt(reused: reused))
    }

    package mutating func requestBytesSent(replayable: Bool) {
        if !replayable { bodyReplayable = false }
        update { $0.requestSent = true }
    }

    /// Bytes of the request's body were dropped, as the upstream takes none.
    package mutating func requestBytesDropped(replayable: Bool) {
        if !replayable { bodyReplayable = false }
    }

    package mutating func requestBodyEnded() { requestEnded = true }

    package enum SendFailureAction: Sendable, Equatable {
        /// The response may have been sent before the connection broke: read on, drop the rest of the body.
        case readResponse
        case ignore
    }

    /// Writing to the upstream failed.
    package mutating func upstreamSendFailed() -> SendFailureAction {
        switch state {
        case .awaitingHead, .relaying:
            update { $0.requestRefused = true }
            return .readResponse
        case .connecting, .tunnelling, .finished:
            return .ignore
        }
    }

    // MARK: The response's side

    package enum HeadAction: Sendable, Equatable {
        /// 1xx: send it on (not 100, which answers an `Expect` that the proxy has dealt with).
        case forwardInformational
        case dropInformational
        /// Check it, and tunnel if it is right.
        case verifyUpgrade
        /// 101 without having been asked: a protocol violation, answered with 502.
        case refuseUpgrade
        /// An ordinary final response: may be retried elsewhere, intercepted or forwarded.
        case final
    }

    package func headReceived(status: Int) -> HeadAction {
        switch status {
        case 101: asksForUpgrade ? .verifyUpgrade : .refuseUpgrade
        case 100: .dropInformational
        case 102..<200: .forwardInformational
        default: .final
        }
    }

    /// The response's head goes to the client.
    ///
    /// - Parameters:
    ///   - upstreamKeepAlive: the peer keeps its connection, and said where its response ends.
    ///   - clientKeepAlive: what the head sent to the client says.
    package mutating func responseBegan(upstreamKeepAlive: Bool, clientKeepAlive: Bool) {
        guard case .awaitingHead(let attempt) = state else { return }
        state = .relaying(
            attempt,
            Relay(
                // After a refused upgrade nobody can tell which protocol the next bytes are of.
                upstreamReusable: upstreamKeepAlive && !asksForUpgrade, clientKeepAlive: clientKeepAlive))
    }

    package mutating func upgraded() { state = .tunnelling }

    package struct Ending: Sendable, Equatable {
        package enum Upstream: Sendable { case reuse, close }
        package enum Client: Sendable {
            /// The next request may be read.
            case keep
            case close
            /// The rest of the request is read and dropped for a while first, so that a reset does not destroy
            /// the response on its way (RFC 9112 §9.6).
            case lingeringClose
        }
        package var upstream: Upstream
        package var client: Client
    }

    /// The response's body has ended.
    ///
    /// - Parameters:
    ///   - exact: the upstream sent nothing after it.
    ///   - requestWasRead: nothing of the request is to come of the client any more, though a hook may still hold the end
    ///     of what goes upstream.
    /// - Returns: what becomes of the two connections.
    package mutating func responseEnded(exact: Bool, requestWasRead: Bool) -> Ending {
        guard case .relaying(let attempt, let relay) = state else {
            return Ending(upstream: .close, client: .close)
        }
        state = .finished
        let upstreamReusable = relay.upstreamReusable && exact && requestEnded && !attempt.requestRefused
        let client: Ending.Client =
            !requestWasRead ? .lingeringClose : relay.clientKeepAlive ? .keep : .close
        return Ending(upstream: upstreamReusable ? .reuse : .close, client: client)
    }

    /// The exchange is over for another reason: the client left, or was answered by the proxy itself.
    package mutating func abandoned() { state = .finished }

    // MARK: Failures

    package enum FailureAction: Sendable, Equatable {
        /// Try the next peer.
        case retry
        /// Answer with the failure's status.
        case respond
        /// The response had begun: all that is left is to break it off visibly.
        case abort
        case ignore
    }

    /// The current attempt failed, or ended in a status that may be retried.
    ///
    /// `policyAllows` says whether `proxy_next_upstream`, its tries and its timeout, and a peer that is left, allow
    /// another attempt; it is told whether this one counts as non-idempotent.
    package mutating func attemptFailed(policyAllows: (_ nonIdempotent: Bool) -> Bool) -> FailureAction {
        switch state {
        case .connecting:
            return policyAllows(false) ? .retry : .respond
        case .awaitingHead(let attempt):
            let mayRepeat = mayRepeat
            state = .connecting
            return mayRepeat && policyAllows(attempt.requestSent && !isIdempotent) ? .retry : .respond
        case .relaying:
            state = .finished
            return .abort
        case .tunnelling, .finished:
            return .ignore
        }
    }

    /// Whether the connection in use came out of the pool, where a failure says little about the peer.
    package var attemptReusedConnection: Bool {
        if case .awaitingHead(let attempt) = state { attempt.reused } else { false }
    }

    private mutating func update(_ change: (inout Attempt) -> Void) {
        switch state {
        case .awaitingHead(var attempt):
            change(&attempt)
            state = .awaitingHead(attempt)
        case .relaying(var attempt, let relay):
            change(&attempt)
            state = .relaying(attempt, relay)
        case .connecting, .tunnelling, .finished:
            break
        }
    }
}
