internal import Wire

/// One direction of a WebSocket: what its frames are at, and, for as long as there is anything, what it holds.
struct WebSocketDirection {
    var frames: WebSocketFrameStream
    private var flags: Flags = []
    /// Where hooks for frames left out the first of a message: what its header began with, which the next one takes
    /// over. 0 otherwise.
    var withheldStart: UInt8 = 0
    /// Messages that were sent on or injected, less those that came; wraps.
    var surplus: Int32 = 0
    /// Messages that came and that hooks for frames left out, which nobody else has seen; wraps.
    var leftOut: UInt32 = 0
    /// `nil` while nothing is held, and nothing waits.
    var busy: WebSocketBusy?

    /// Packed: there are two of these for each tunnel.
    private struct Flags: OptionSet {
        var rawValue: UInt8
        static let isCollecting = Flags(rawValue: 1 << 0)
        static let isProcessing = Flags(rawValue: 1 << 1)
        static let isDeaf = Flags(rawValue: 1 << 2)
        static let isTakingPongs = Flags(rawValue: 1 << 3)
        static let isJudgingJob = Flags(rawValue: 1 << 4)
    }

    /// The current message is put together: nothing of it has been sent on.
    var isCollecting: Bool {
        get { flags[.isCollecting] }
        set { flags[.isCollecting] = newValue }
    }

    /// Its input is being worked on, further up.
    var isProcessing: Bool {
        get { flags[.isProcessing] }
        set { flags[.isProcessing] = newValue }
    }

    /// Nothing of what comes is looked at any more: its frames are broken, or its close frame has come.
    var isDeaf: Bool {
        get { flags[.isDeaf] }
        set { flags[.isDeaf] = newValue }
    }

    /// Answers to pings are looked for in what is held, further up.
    var isTakingPongs: Bool {
        get { flags[.isTakingPongs] }
        set { flags[.isTakingPongs] = newValue }
    }

    /// Hooks look at a job, and do not wait: what is sent goes before it.
    var isJudgingJob: Bool {
        get { flags[.isJudgingJob] }
        set { flags[.isJudgingJob] = newValue }
    }

    init(receivedBy role: WebSocketRole, allowedReserved: UInt8, inflates: Bool) {
        frames = WebSocketFrameStream(role: role, allowedReserved: allowedReserved, inflates: inflates)
    }
}

extension OptionSet where RawValue == UInt8, Element == Self {
    /// Whether it is among them.
    @inline(__always)
    subscript(flag: Self) -> Bool {
        get { rawValue & flag.rawValue != 0 }
        set {
            self = Self(rawValue: newValue ? rawValue | flag.rawValue : rawValue & ~flag.rawValue)
        }
    }
}

/// What a direction holds while there is something to hold.
final class WebSocketBusy {
    /// Input that was not taken: the beginning of a frame, or what came while a hook waits.
    var held = WebSocketHeld()
    /// How many bytes of it are needed before it is worth another look.
    var needed = 0
    var assembly: WebSocketAssembly?
    /// What came, and waits for its hooks.
    var waiting: WebSocketWait?
    /// What did not come from the wire, and waits for its hooks.
    var waitingJob: WebSocketWait?
    /// Frames that hooks for frames have let through, while something waits.
    var gated = WebSocketHeld()
    /// What is to be sent when frames allow it.
    var jobs = WebSocketJobs()
    /// What is held could be looked at, once others have had their turn.
    var isResting = false

    var isIdle: Bool {
        held.isEmpty && !isResting && assembly == nil && !isWaiting && jobs.isEmpty && gated.isEmpty
    }

    /// Nothing more of what comes is looked at before hooks have come to their end.
    var isWaiting: Bool { waiting != nil || waitingJob != nil }
}

/// What a direction waits for: hooks that have not come to their end.
struct WebSocketWait {
    let item: WebSocketItem
    var what: What
    /// What they have decided, where something that goes before it waits for its own hooks.
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
    /// What its hooks have decided already.
    var decided: (item: WebSocketItem, verdict: WebSocketVerdict)?
}

/// Jobs in the order in which they are to be done.
struct WebSocketJobs {
    /// The next one last.
    private var next: [WebSocketJob] = []
    /// Behind those, the next one first.
    private var later: [WebSocketJob] = []
    /// What the hooks of one that is not among these have sent, and goes before it and them, once it is decided.
    private var sent: [WebSocketJob] = []
    /// Of their payloads.
    private(set) var bytes = 0

    var isEmpty: Bool { next.isEmpty && later.isEmpty && sent.isEmpty }
    /// Bytes of memory: jobs take room themselves, so that empty ones do not pile up without end.
    var room: Int { bytes &+ (next.count &+ later.count &+ sent.count) &* WebSocketPlane.roomOfMessage }
    var hasSent: Bool { !sent.isEmpty }

    mutating func append(_ job: WebSocketJob) {
        bytes &+= job.payload.count
        later.append(job)
    }

    /// Puts these before all others.
    mutating func prepend(_ jobs: [WebSocketJob]) {
        bytes &+= jobs.reduce(0) { $0 &+ $1.payload.count }
        next.append(contentsOf: jobs.reversed())
    }

    /// Keeps what the hooks of a job have sent until that is decided.
    mutating func collect(_ job: WebSocketJob) {
        bytes &+= job.payload.count
        sent.append(job)
    }

    /// Puts the job before all others, and what its hooks have sent before that.
    mutating func putSent(before job: WebSocketJob?) {
        if let job { prepend([job]) }
        // These are counted.
        next.append(contentsOf: sent.reversed())
        sent = []
    }

    /// Removes all.
    ///
    /// - Returns: the items of those that are decided.
    mutating func removeAll() -> [WebSocketItem] {
        let items = (next + later).compactMap { $0.decided?.item }
        self = WebSocketJobs()
        return items
    }

    mutating func popFirst() -> WebSocketJob? {
        if next.isEmpty {
            swap(&next, &later)
            next.reverse()
        }
        guard let job = next.popLast() else { return nil }
        bytes &-= job.payload.count
        return job
    }
}
