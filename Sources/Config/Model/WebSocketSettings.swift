/// What a location says about WebSockets. Times in milliseconds, sizes in bytes.
package struct WebSocketSettings: Sendable, Hashable {
    /// Between two pings of ours on a leg; 0 sends none.
    package var pingInterval = 0
    /// How long a pong may take.
    package var pongTimeout = 10_000
    package var pingTo = WebSocketLegs.both
    /// 0 is without limit.
    package var idleTimeout = 0
    package var idleCounts = WebSocketIdleCounts.data
    /// The longest message, inflated. With 0, messages are measured only where they are assembled anyway, and
    /// `defaultMaxMessage` holds.
    package var maxMessage = 0
    /// What `maxMessage` may be at most, so that sums with it have room.
    package static let mostMaxMessage = 1 << 40
    /// Bytes that a worker may hold of messages that are put together, before a message that is not short is refused. 0 is
    /// without limit.
    package var maxHeld = 256 << 20
    /// The most frames of one message; 0 is without limit.
    package var maxFragments = 0
    /// How long a peer may take to answer a close frame.
    package var closeTimeout = 5000
    /// Tunnels that are to end together do so within this time, each at a moment of its own.
    package var drainJitter = 0
    package var clientDeflate = WebSocketDeflate.pass
    package var upstreamDeflate = WebSocketDeflate.pass

    package static let defaultMaxMessage = 16 << 20

    package init() {}
}

package struct WebSocketLegs: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let client = WebSocketLegs(rawValue: 1)
    package static let upstream = WebSocketLegs(rawValue: 2)
    package static let both: WebSocketLegs = [.client, .upstream]
}

/// What puts `websocket_idle_timeout` off.
package enum WebSocketIdleCounts: Sendable, Hashable {
    /// Application messages only.
    case messages
    /// Any frame.
    case data
}

/// `websocket_deflate` for one leg.
package enum WebSocketDeflate: Sendable, Hashable {
    /// permessage-deflate is not offered, nor accepted.
    case off
    /// Whatever both ends agree on; it is one extension from end to end.
    case pass
    /// The proxy is an end of it.
    case on(WebSocketDeflateOptions)
}

package struct WebSocketDeflateOptions: Sendable, Hashable {
    package var contextTakeover = true
    /// 9...15
    package var windowBits = 15
    /// 1...9
    package var level = 6
    /// Messages below this size are sent as they are.
    package var minimumSize = 0

    package init() {}
}
