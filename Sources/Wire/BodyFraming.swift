/// How the body that follows a head is delimited (RFC 9112 §6.3).
package enum BodyFraming: Sendable, Equatable {
    case none
    /// As `Content-Length` says; 0 when it says so.
    case length(Int64)
    case chunked
    /// Responses only: everything until the connection closes.
    case untilClose

    /// Whether bytes of a body can follow.
    package var hasBody: Bool { self != .none && self != .length(0) }
}
