package import Config
package import Wire

/// What the WebSockets of a location have in common under one configuration.
package final class WebSocketRules {
    package let settings: WebSocketSettings
    let commons: WebSocketCommons
    package let limits: WebSocketLimits
    /// Bytes that a message may have where it is put together.
    package let assembledLimit: Int
    /// `proxy_read_timeout`, in milliseconds.
    package let readTimeout: Int64
    /// What is no message does not put `websocket_idle_timeout` off.
    let countsMessages: Bool
    private let messagesFromClient: WebSocketInterest
    private let messagesFromUpstream: WebSocketInterest
    private let framesFromClient: WebSocketInterest
    private let framesFromUpstream: WebSocketInterest

    /// `messages` says which messages have hooks, by the side that they come from; `frames` likewise.
    package init(
        _ settings: Settings.Values, commons: WebSocketCommons,
        messages: (TunnelStateMachine.Side) -> WebSocketInterest = { _ in .none },
        frames: (TunnelStateMachine.Side) -> WebSocketInterest = { _ in .none }
    ) {
        self.settings = settings.webSocket
        self.commons = commons
        readTimeout = Int64(settings.proxyReadTimeout)
        countsMessages = settings.webSocket.idleCounts == .messages
        let maxMessage = settings.webSocket.maxMessage
        let maxFragments = settings.webSocket.maxFragments
        limits = WebSocketLimits(
            maxMessage: maxMessage > 0 ? Int64(maxMessage) : .max,
            maxFragments: maxFragments > 0 ? UInt32(clamping: maxFragments) : .max)
        assembledLimit = maxMessage > 0 ? maxMessage : WebSocketSettings.defaultMaxMessage
        messagesFromClient = messages(.client)
        messagesFromUpstream = messages(.upstream)
        framesFromClient = frames(.client)
        framesFromUpstream = frames(.upstream)
    }

    @inline(__always)
    func messages(from side: TunnelStateMachine.Side) -> WebSocketInterest {
        side == .client ? messagesFromClient : messagesFromUpstream
    }

    @inline(__always)
    func frames(from side: TunnelStateMachine.Side) -> WebSocketInterest {
        side == .client ? framesFromClient : framesFromUpstream
    }

    /// Frames are to be followed, whatever else there is.
    package var followsFrames: Bool {
        settings.pingInterval > 0 || settings.idleTimeout > 0 || settings.maxMessage > 0
            || settings.maxFragments > 0 || settings.drainJitter > 0
    }

    /// Some hook is to see messages.
    package var looksAtMessages: Bool { !messagesFromClient.isEmpty || !messagesFromUpstream.isEmpty }
}

/// Which messages, or frames, hooks are to see.
package struct WebSocketInterest: Sendable, Equatable {
    /// A bit for each opcode.
    private var opcodes: UInt16 = 0
    /// Bytes of payload; of longer ones nothing is seen.
    package private(set) var maxSize = 0

    package static let none = WebSocketInterest()

    package init() {}

    package init(_ opcodes: [WebSocketOpcode], maxSize: Int = .max) {
        for opcode in opcodes { self.opcodes |= 1 &<< UInt16(opcode.rawValue) }
        self.maxSize = maxSize
    }

    package mutating func add(_ other: WebSocketInterest) {
        opcodes |= other.opcodes
        maxSize = max(maxSize, other.maxSize)
    }

    @inline(__always)
    package var isEmpty: Bool { opcodes == 0 }

    @inline(__always)
    package func includes(_ opcode: WebSocketOpcode) -> Bool { opcodes &>> UInt16(opcode.rawValue) & 1 != 0 }

    @inline(__always)
    package func includes(_ opcode: WebSocketOpcode, size: Int) -> Bool {
        includes(opcode) && size <= maxSize
    }
}
