/// Why a stream of ours ended before its time, for the error log.
package enum HTTP2Fault: Sendable, Equatable {
    /// The peer reset it, with a code of RFC 9113 §7 or another.
    case reset(UInt32)
    /// What the peer sent on it was malformed.
    case malformed(HTTP2Malformation)
    /// The peer says that it takes no more streams at a time than so many.
    case tooManyStreams(Int)
    /// The peer ended the connection with a GOAWAY.
    case goAway(UInt32)
    /// The peer broke the protocol: the code that it was told, and what it did, if that is known.
    case violation(UInt32, String)
    /// The connection is gone; how, in words.
    case gone(String)

    /// In the manner of nginx, whose lines begin so: "upstream" is who did it.
    package var message: String {
        switch self {
        case .reset(let code): "upstream sent RST_STREAM with error \(HTTP2ErrorCode.text(code))"
        case .malformed(let malformation): "upstream sent a malformed response: \(malformation.message)"
        case .tooManyStreams(0): "upstream takes no streams"
        case .tooManyStreams(let limit): "upstream takes no more streams at a time than \(limit)"
        case .goAway(let code): "upstream sent GOAWAY with error \(HTTP2ErrorCode.text(code))"
        case .violation(let code, ""):
            "upstream broke the protocol of HTTP/2 with error \(HTTP2ErrorCode.text(code))"
        case .violation(let code, let reason):
            "upstream broke the protocol of HTTP/2 with error \(HTTP2ErrorCode.text(code)): \(reason)"
        case .gone(let text): text
        }
    }
}
