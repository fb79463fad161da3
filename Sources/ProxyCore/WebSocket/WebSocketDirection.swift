internal import Wire

/// One direction of a WebSocket: what its frames are at, and, for as long as there is anything, what it holds.
struct WebSocketDirection {
    var frames: WebSocketFrameStream
    private var flags: UInt8 = 0
    /// Messages that were sent on or injected, less those that came; wraps.
    var surplus: Int32 = 0
    /// `nil` while nothing is held, and nothing waits.
    var busy: WebSocketBusy?

    /// The current message goes by without being put together.
    var isPassing: Bool {
        get { flags & 1 != 0 }
        set { flags = newValue ? flags | 1 : flags & ~1 }
    }

    /// The current message is put together: nothing of it has been sent on.
    var isCollecting: Bool {
        get { flags & 2 != 0 }
        set { flags = newValue ? flags | 2 : flags & ~2 }
    }

    /// Its input is being worked on, further up.
    var isProcessing: Bool {
        get { flags & 4 != 0 }
        set { flags = newValue ? flags | 4 : flags & ~4 }
    }

    /// Nothing of what comes is looked at any more: its frames are broken, or its close frame has come.
    var isDeaf: Bool {
        get { flags & 8 != 0 }
        set { flags = newValue ? flags | 8 : flags & ~8 }
    }

    init(receivedBy role: WebSocketRole, allowedReserved: UInt8) {
        frames = WebSocketFrameStream(role: role, allowedReserved: allowedReserved)
    }
}

/// What a direction holds while there is something to hold.
final class WebSocketBusy {
    /// Input that was not taken: the beginning of a frame, or what came while a hook waits.
    var held: [UInt8] = []
    /// How many bytes of it are needed before it is worth another look.
    var needed = 0
    var assembly: WebSocketAssembly?
    var waiting: WebSocketWait?
    /// Frames that hooks for frames have let through, while one for messages waits.
    var gated: [UInt8] = []
    /// A frame behind those, whose hooks wait, too.
    var gateWait: WebSocketWait?
    /// What is to be sent when frames allow it, in this order.
    var jobs: [WebSocketJob] = []
    var jobBytes = 0
    /// Control frames of ours, which may stand between the frames of a message.
    var controls: [UInt8] = []

    var isIdle: Bool {
        held.isEmpty && assembly == nil && waiting == nil && jobs.isEmpty && controls.isEmpty
            && gated.isEmpty && gateWait == nil
    }
}

/// A message that comes in more than one frame or read, or that is inflated.
struct WebSocketAssembly {
    let opcode: WebSocketOpcode
    let isCompressed: Bool
    /// Hooks are to see it.
    var isWanted: Bool
    /// Its frames as they came.
    var raw: [UInt8]
    let keepsRaw: Bool
    let item: WebSocketItem
    var utf8 = UTF8Validator()
    /// Of the current frame.
    var maskKey: WebSocketMaskKey?
    var position = 0
    var isLastFrame = false
}

/// What a direction waits for: hooks that have not come to their end.
struct WebSocketWait {
    let item: WebSocketItem
    var what: What
    /// What its hooks have decided, when that comes before its turn.
    var verdict: WebSocketVerdict?

    enum What {
        /// A message that came; its frames as they were.
        case message(raw: [UInt8], isCompressed: Bool)
        case frame(raw: [UInt8], reserved: UInt8)
        case job(WebSocketJob)
    }
}

/// Something that did not come from the wire: what a script sends, or one of several that a message was split into.
struct WebSocketJob {
    enum Stage { case message, frame }

    var stage = Stage.message
    var opcode: WebSocketOpcode
    var payload: [UInt8]
    /// The first of the hooks for messages, and for frames, that see it.
    var firstMessageHook: Int
    var firstFrameHook: Int?
    var isInjected: Bool
    var wasCompressed = false
}
