package import Config
package import Wire

/// What the WebSockets of a location have in common under one configuration.
package final class WebSocketRules {
    package let settings: WebSocketSettings
    let commons: WebSocketCommons
    package let limits: WebSocketLimits
    /// Bytes that a message may have where it is put together.
    package let assembledLimit: Int
    /// Bytes that the frames of such a message may have on the wire, headers and what is compressed included, where they
    /// are held until it is whole. Room for frames of six bytes; what is above it are frames with next to nothing in them.
    let heldLimit: Int
    /// Bytes of memory that the worker's messages may take together, where they are put together.
    private let heldInAll: Int
    /// `proxy_read_timeout`, in milliseconds.
    package let readTimeout: Int64
    /// `proxy_send_timeout`, in milliseconds.
    let sendTimeout: Int64
    /// `send_timeout`, likewise.
    let clientSendTimeout: Int64
    /// What is no message does not put `websocket_idle_timeout` off.
    let countsMessages: Bool
    private let messagesFromClient: WebSocketInterest
    private let messagesFromUpstream: WebSocketInterest
    private let framesFromClient: WebSocketInterest
    private let framesFromUpstream: WebSocketInterest

    /// `messages` says which messages have hooks, by the side that they come from; `frames` likewise.
    package init(
        _ settings: Settings.Values, commons: WebSocketCommons,
        messages: (TunnelSide) -> WebSocketInterest = { _ in .none },
        frames: (TunnelSide) -> WebSocketInterest = { _ in .none }
    ) {
        self.settings = settings.webSocket
        self.commons = commons
        readTimeout = Int64(settings.proxyReadTimeout)
        sendTimeout = Int64(settings.proxySendTimeout)
        clientSendTimeout = Int64(settings.sendTimeout)
        countsMessages = settings.webSocket.idleCounts == .messages
        let maxMessage = settings.webSocket.maxMessage
        let maxFragments = settings.webSocket.maxFragments
        assembledLimit = maxMessage > 0 ? maxMessage : WebSocketSettings.defaultMaxMessage
        heldLimit = assembledLimit * 2 + Self.heldOverhead
        heldInAll = settings.webSocket.maxHeld > 0 ? settings.webSocket.maxHeld : .max
        limits = WebSocketLimits(
            maxMessage: maxMessage > 0 ? Int64(maxMessage) : .max, maxDeflated: Int64(heldLimit),
            maxFragments: maxFragments > 0 ? UInt32(clamping: maxFragments) : .max)
        messagesFromClient = messages(.client)
        messagesFromUpstream = messages(.upstream)
        framesFromClient = frames(.client)
        framesFromUpstream = frames(.upstream)
    }

    private static let heldOverhead = 64 * 1024

    /// Bytes of a message that is put together whatever others take: who fills the worker's memory is not to be in the way
    /// of those that say little.
    private static let shortMessage = 64 * 1024

    /// Bytes that a message may take with what others leave it.
    func allowance(of item: WebSocketItem) -> Int {
        max(Self.shortMessage, heldInAll &- (commons.items.heldBytes &- item.heldBytes))
    }

    @inline(__always)
    func messages(from side: TunnelSide) -> WebSocketInterest {
        side == .client ? messagesFromClient : messagesFromUpstream
    }

    @inline(__always)
    func frames(from side: TunnelSide) -> WebSocketInterest {
        side == .client ? framesFromClient : framesFromUpstream
    }

    /// Frames are to be followed, whatever else there is.
    package var followsFrames: Bool {
        settings.pingInterval > 0 || settings.idleTimeout > 0 || settings.maxMessage > 0
            || settings.maxFragments > 0 || settings.drainJitter > 0
    }

    /// Some hook is to see messages.
    package var looksAtMessages: Bool { !messagesFromClient.isEmpty || !messagesFromUpstream.isEmpty }

    /// Some hook is to see messages or frames, and may change them.
    package var looksInside: Bool {
        looksAtMessages || !framesFromClient.isEmpty || !framesFromUpstream.isEmpty
    }
}

/// Which messages, or frames, hooks are to see.
package struct WebSocketInterest: Sendable {
    /// A bit for each opcode.
    private var opcodes: UInt16 = 0
    /// Bytes of payload, for each opcode, those of control frames last; of longer ones nothing is seen.
    private var maxSizes: [6 of Int] = [-1, -1, -1, -1, -1, -1]

    package static let none = WebSocketInterest()

    package init() {}

    package init(_ opcodes: [WebSocketOpcode], maxSize: Int = .max) {
        for opcode in opcodes {
            self.opcodes |= 1 &<< UInt16(opcode.rawValue)
            maxSizes[Self.place(opcode)] = maxSize
        }
    }

    @inline(__always)
    private static func place(_ opcode: WebSocketOpcode) -> Int {
        switch opcode {
        case .continuation: 0
        case .text: 1
        case .binary: 2
        case .close: 3
        case .ping: 4
        case .pong: 5
        }
    }

    package mutating func add(_ other: WebSocketInterest) {
        opcodes |= other.opcodes
        for index in maxSizes.indices { maxSizes[index] = max(maxSizes[index], other.maxSizes[index]) }
    }

    @inline(__always)
    package var isEmpty: Bool { opcodes == 0 }

    @inline(__always)
    package func includes(_ opcode: WebSocketOpcode) -> Bool { opcodes &>> UInt16(opcode.rawValue) & 1 != 0 }

    @inline(__always)
    package func includes(_ opcode: WebSocketOpcode, size: Int) -> Bool {
        includes(opcode) && size <= maxSizes[Self.place(opcode)]
    }
}
