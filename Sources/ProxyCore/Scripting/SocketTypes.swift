/// What a script wants of a stream of bytes.
package enum ReceivePattern: Sendable, Equatable {
    /// This many bytes.
    case exactly(Int)
    /// Up to the next LF, which is left out, and so is a CR in front of it.
    case line
    /// Whatever is there, at least one byte.
    case available
    /// Everything until the peer ends its sending side.
    case untilClosed
}

/// Why a script's socket could not do what it was asked to.
package enum SocketFailure: Error, Sendable, Equatable {
    /// Host, port or number of bytes cannot be; the text says why.
    case invalidArgument(String)
    case unresolved(reason: String)
    /// `worker_connections` are used up.
    case noConnections
    /// A system call failed, with errno's number and what the system says of it.
    case system(call: String, code: Int32, reason: String)
    case timedOut
    /// The peer ended its sending side, or the socket was closed on this side.
    case closed
    /// A line longer than `ReceiveBuffer.maxLine`, or more in all than `ReceiveBuffer.maxBytes`.
    case tooLarge
    /// An operation of the same kind is under way.
    case busy

    /// What a script is told.
    package var message: String {
        switch self {
        case .invalidArgument(let text): text
        case .unresolved(let reason): "name could not be resolved (\(reason))"
        case .noConnections: "worker_connections are not enough"
        case .system(let call, let code, let reason): "\(call)() failed (\(code): \(reason))"
        case .timedOut: "timeout"
        case .closed: "closed"
        case .tooLarge: "too large"
        case .busy: "socket busy"
        }
    }
}
