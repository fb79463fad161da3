package import Config

/// What the error log is to say of how a request was routed.
package struct RoutingFault: Sendable, Equatable {
    package var level: LogLevel
    package var text: String
    /// Of the location that the request was in.
    package var logs: [ErrorLog]
}
