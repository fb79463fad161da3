internal import Config
internal import ProxyCore

/// A call that is under way.
struct HookCall {
    enum Purpose {
        case none
        /// A script is being loaded.
        case load
        case hook(HookStage)
        /// A hook that is asked for a certificate.
        case certificate
        /// A hook for messages or frames.
        case item(HookStage)
        case variable
        case timer
        /// `sy.spawn`.
        case spawned
        /// A test of scripts, or a function of one.
        case test
        /// `migrate`.
        case migration

        /// `nil` where it can.
        var whyItCannotWait: String? {
            switch self {
            case .load, .none: "while its script is being loaded"
            case .test: "in a test: advance(seconds) lets time pass"
            case .migration: "while a tunnel moves to new scripts"
            case .hook, .certificate, .item, .variable, .timer, .spawned: nil
            }
        }
    }

    /// What it waits for, with what gives that up.
    enum Wait {
        case none
        /// Its API function has not returned: till then the call must neither be gone on with nor ended, which would free
        /// the stack that it runs on.
        case begun((any ScriptOperation)?)
        /// Its coroutine is suspended.
        case suspended((any ScriptOperation)?)

        var isSuspended: Bool { if case .suspended = self { true } else { false } }

        var operation: (any ScriptOperation)? {
            get {
                switch self {
                case .none: nil
                case .begun(let operation), .suspended(let operation): operation
                }
            }
            set {
                switch self {
                case .none: break
                case .begun: self = .begun(newValue)
                case .suspended: self = .suspended(newValue)
                }
            }
        }

        mutating func suspend() {
            if case .begun(let operation) = self { self = .suspended(operation) }
        }
    }

    /// What a call that waits leads to once it has come to its end.
    enum Continuation {
        case hook(HookStage, position: Int, BodyState)
        case certificate(position: Int, CertificateRequest)
        case item(HookStage, position: Int, WebSocketItem)
        case variable(ScriptVariable)
    }

    var purpose = Purpose.none
    /// From its first wait on, unless it leads to nothing: most calls do not wait.
    var continuation: Continuation?
    /// The flow that it was begun for, which may be another exchange's by now, told by `flowGeneration`.
    private var begunFor: ScriptFlow?
    /// `nil` where it is of none, or its exchange is over: a call that runs outlives an exchange that it closes.
    var flow: ScriptFlow? {
        guard let begunFor, begunFor.generation == flowGeneration else { return nil }
        return begunFor
    }
    var script = -1
    /// What a call of no flow goes by on the network and in error logs: of whoever spawned it, or of the server whose handshake asks.
    var settings: Settings?
    var generation: UInt32 = 0
    private var flowGeneration: UInt32 = 0
    var wait = Wait.none
    /// A hook for messages or frames has ended its tunnel with this: several may run for one flow.
    var closing: (code: UInt16, reason: [UInt8])?

    var isWaiting: Bool { if case .none = wait { false } else { true } }

    /// It was of an exchange that is over.
    var outlivesExchange: Bool { begunFor != nil && flow == nil }

    mutating func begin(for flow: ScriptFlow?) {
        begunFor = flow
        if let flow { flowGeneration = flow.generation }
    }

    mutating func leaveFlow() { begunFor = nil }
}
