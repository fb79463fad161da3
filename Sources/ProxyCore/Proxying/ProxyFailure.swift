package import Config
package import Wire

/// What went wrong with a try at an upstream, and whether another one is safe.
package struct ProxyFailure: Error, Sendable, Equatable {
    package enum Retry: Sendable {
        case never
        /// At any peer that has not been tried, as far as `RetryPolicy` allows.
        case anyPeer
    }

    /// What the upstream's connection was doing.
    package enum Phase: Sendable {
        case connecting, handshaking, sendingRequest, readingHead, readingBody

        fileprivate var text: String {
            switch self {
            case .connecting: "while connecting to upstream"
            case .handshaking: "while SSL handshaking to upstream"
            case .sendingRequest: "while sending request to upstream"
            case .readingHead: "while reading response header from upstream"
            case .readingBody: "while reading upstream"
            }
        }
    }

    package enum Kind: Sendable, Equatable {
        /// A system call failed; the number is errno's.
        case connectFailed(Int32)
        case sendFailed(Int32)
        case readFailed(Int32, Phase)
        case connectTimedOut
        /// TLS: what failed, in nginx's words.
        case handshakeFailed(String)
        case handshakeTimedOut
        case sendTimedOut
        case readTimedOut(Phase)
        /// The upstream closed before its response was whole.
        case closedEarly(Phase)
        case invalidHead(ResponseViolation)
        case invalidBody(BodyViolation)
        case invalidUpgrade(UpgradeRefusal)
        /// The upstream did nothing for the request (RFC 9113 §8.7): any may be made again.
        case refusedStream
        /// A status that `proxy_next_upstream` may name.
        case unwantedStatus(Int)
        case noLivePeers
        /// A name is to be looked up, and no `resolver` is there for that.
        case noResolver(name: String)
        /// The resolver's answer for the name: no such name, no answer in time, …
        case unresolved(name: String, reason: String)
        case invalidTarget(String)
        /// The worker has as many connections as it may: `worker_connections`.
        case noConnections(limit: Int)
    }

    package let kind: Kind
    package let retry: Retry
    /// What is known beyond the kind, for the error log: of an HTTP/2 stream, what ended it; of a head, the line at fault.
    private let detail: String?

    /// A failure with the retry that its kind implies.
    package init(_ kind: Kind, detail: String? = nil) {
        self.kind = kind
        self.detail = detail
        switch kind {
        case .connectFailed, .connectTimedOut, .handshakeFailed, .handshakeTimedOut, .sendFailed,
            .sendTimedOut, .invalidHead, .invalidUpgrade, .unwantedStatus, .refusedStream:
            retry = .anyPeer
        case .readFailed(_, let phase), .readTimedOut(let phase), .closedEarly(let phase):
            // Part of the response has gone to the client by then.
            retry = phase == .readingBody ? .never : .anyPeer
        case .invalidBody, .noLivePeers, .noResolver, .unresolved, .invalidTarget, .noConnections:
            retry = .never
        }
    }

    /// The condition of `proxy_next_upstream` that it falls under; `nil` for none.
    package var condition: NextUpstream? {
        switch kind {
        case .connectFailed, .handshakeFailed, .sendFailed, .readFailed, .closedEarly, .refusedStream: .error
        case .connectTimedOut, .handshakeTimedOut, .sendTimedOut, .readTimedOut: .timeout
        case .invalidHead, .invalidUpgrade: .invalidHeader
        case .unwantedStatus(let status): NextUpstream(status: status)
        case .invalidBody, .noLivePeers, .noResolver, .unresolved, .invalidTarget, .noConnections: nil
        }
    }

    /// The status that the client is answered with, where it can still be answered.
    package var status: Int {
        switch kind {
        case .connectTimedOut, .handshakeTimedOut, .sendTimedOut, .readTimedOut: 504
        case .unwantedStatus(let status): status
        case .invalidTarget, .noConnections: 500
        case .connectFailed, .handshakeFailed, .sendFailed, .readFailed, .closedEarly, .invalidHead,
            .invalidBody, .invalidUpgrade, .refusedStream, .noLivePeers, .noResolver, .unresolved:
            502
        }
    }

    package var logLevel: LogLevel {
        switch kind {
        case .unwantedStatus: .info
        case .noConnections: .alert
        default: .error
        }
    }

    /// The beginning of its line in the error log, in nginx's words; `LogContext` appends the rest. `systemText` is
    /// what the system says of errno's number, such as `Connection refused`.
    package func message(systemText: (Int32) -> String) -> String {
        let reason = detail ?? reason(systemText)
        return reason + phaseText
    }

    /// The beginning of the line that follows, where the failure had its peer put aside for `fail_timeout`.
    package var disablingMessage: String { "upstream server temporarily disabled" + phaseText }

    private var phaseText: String { phase.map { " " + $0.text } ?? "" }

    private func reason(_ systemText: (Int32) -> String) -> String {
        func system(_ call: String, _ code: Int32) -> String {
            "\(call)() failed (\(code): \(systemText(code)))"
        }
        switch kind {
        case .connectFailed(let code): return system("connect", code)
        case .sendFailed(let code): return system("send", code)
        case .readFailed(let code, _): return system("recv", code)
        case .connectTimedOut, .handshakeTimedOut, .sendTimedOut, .readTimedOut:
            return "upstream timed out (\(Self.timedOutCode): \(systemText(Self.timedOutCode)))"
        case .handshakeFailed(let reason): return reason
        case .refusedStream: return "upstream refused the stream"
        case .closedEarly: return "upstream prematurely closed connection"
        case .invalidHead(let violation): return violation.message()
        case .invalidBody(let violation): return "upstream sent invalid chunked response (\(violation.fault))"
        case .invalidUpgrade(let refusal): return refusal.message
        case .unwantedStatus(let status): return "upstream answered \(status)"
        case .noLivePeers: return "no live upstreams"
        case .noResolver(let name): return "no resolver defined to resolve \(name)"
        case .unresolved(let name, let reason): return "\(name) could not be resolved (\(reason))"
        case .invalidTarget(let reason): return reason
        case .noConnections(let limit): return "\(limit) worker_connections are not enough"
        }
    }

    /// What was being done; `nil` where the reason says it.
    private var phase: Phase? {
        switch kind {
        case .readFailed(_, let phase), .readTimedOut(let phase), .closedEarly(let phase): phase
        case .connectFailed, .connectTimedOut, .noLivePeers, .noConnections: .connecting
        case .handshakeFailed, .handshakeTimedOut: .handshaking
        case .sendFailed, .sendTimedOut: .sendingRequest
        case .refusedStream, .invalidHead, .invalidUpgrade, .unwantedStatus: .readingHead
        case .invalidBody: .readingBody
        case .noResolver, .unresolved, .invalidTarget: nil
        }
    }

    /// ETIMEDOUT, which nginx gives for its own timers too.
    private static let timedOutCode: Int32 = 110
}

extension NextUpstream {
    /// The condition that names `status`; `nil` when none does.
    package init?(status: Int) {
        switch status {
        case 500: self = .http500
        case 502: self = .http502
        case 503: self = .http503
        case 504: self = .http504
        case 403: self = .http403
        case 404: self = .http404
        case 429: self = .http429
        default: return nil
        }
    }
}
