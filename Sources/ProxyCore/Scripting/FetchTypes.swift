package import Wire

/// A request that a script makes: HTTP/1.1 to any server, answered by a `FetchResponse` or a `FetchFailure`.
package struct FetchRequest: Sendable, Equatable {
    /// A token (RFC 9110 §9.1), taken as it is written. CONNECT is refused.
    package var method: [UInt8]
    /// `http://host[:port][/path][?query]` or `https://…`, or `http://unix:/socket[:/path]` as in `proxy_pass`. The name of an
    /// `upstream` block stands for its peers.
    package var url: [UInt8]
    /// Sent in this order. `Host` and `Connection` stand in place of the ones that are sent otherwise; fields that
    /// delimit the body (`Content-Length`, `Transfer-Encoding`) are refused.
    package var headers: [FetchHeader]
    /// `nil` for a request without a body, which an empty one is not: it has a `Content-Length` of 0.
    package var body: [UInt8]?
    /// For everything from the name's lookup to the response's last byte; at least 1.
    package var timeoutMilliseconds: Int64
    /// A longer body of a response is a failure.
    package var maxBodyBytes: Int
    /// The connection may come from the pool, and may go there afterwards.
    package var keepalive: Bool
    /// Of `https://`: whether the server's certificate is checked.
    package var verifiesCertificate = true

    package static let defaultTimeout: Int64 = 10_000
    package static let defaultMaxBody = 1 << 20

    package init(
        method: [UInt8] = Array("GET".utf8), url: [UInt8], headers: [FetchHeader] = [], body: [UInt8]? = nil,
        timeoutMilliseconds: Int64 = FetchRequest.defaultTimeout,
        maxBodyBytes: Int = FetchRequest.defaultMaxBody, keepalive: Bool = true
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeoutMilliseconds = timeoutMilliseconds
        self.maxBodyBytes = maxBodyBytes
        self.keepalive = keepalive
    }
}

package struct FetchHeader: Sendable, Equatable {
    package var name: [UInt8]
    package var value: [UInt8]

    package init(_ name: [UInt8], _ value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

package struct FetchResponse: Sendable, Equatable {
    /// 200...999: informational responses are passed over.
    package var status = 0
    package var reason: [UInt8] = []
    /// As they came, names in the sender's spelling, repeated ones as often as they were sent.
    package var headers: [FetchHeader] = []
    package var body: [UInt8] = []

    package init() {}
}

/// Why there is no response.
package enum FetchFailure: Error, Sendable, Equatable {
    /// What a fetch was doing when it ended.
    package enum Phase: Sendable {
        case resolving, connecting, sending, awaitingHead, readingBody

        fileprivate var text: String {
            switch self {
            case .resolving: "while resolving the name"
            case .connecting: "while connecting"
            case .sending: "while sending the request"
            case .awaitingHead: "while waiting for the response"
            case .readingBody: "while reading the response"
            }
        }
    }

    /// The request cannot be made as it is; the text says why.
    case invalidRequest(String)
    case unresolved(reason: String)
    /// Every peer of the upstream is down or has failed too often.
    case noLivePeers
    /// `worker_connections` are used up.
    case noConnections
    /// A system call failed, with errno's number and what the system says of it.
    case system(call: String, code: Int32, reason: String)
    /// TLS: what failed.
    case handshakeFailed(String)
    case timedOut(Phase)
    /// The server closed before its response was whole.
    case closed(Phase)
    case invalidHead(ResponseViolation)
    case invalidBody(BodyViolation)
    /// 101, or more informational responses than anybody means.
    case unexpectedStatus(Int)
    case tooLarge(limit: Int)

    /// What a script is told.
    package var message: String {
        switch self {
        case .invalidRequest(let text): text
        case .unresolved(let reason): "name could not be resolved (\(reason))"
        case .noLivePeers: "no live upstreams"
        case .noConnections: "worker_connections are not enough"
        case .system(let call, let code, let reason): "\(call)() failed (\(code): \(reason))"
        case .handshakeFailed(let reason): reason
        case .timedOut(let phase): "timeout \(phase.text)"
        case .closed(let phase): "connection closed \(phase.text)"
        case .invalidHead(.headTooLarge):
            "response too large: its head is over \(FetchResponseReader.maxHead) bytes"
        case .invalidHead(let violation): "invalid response head (\(violation.fault))"
        case .invalidBody(let violation): "invalid response body (\(violation.fault))"
        case .unexpectedStatus(let status): "unexpected response with status \(status)"
        case .tooLarge(let limit): "response too large: its body is over \(limit) bytes"
        }
    }
}
