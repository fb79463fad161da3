package import Config
package import ProxyCore

/// One exchange as scripts see it: what `flow` stands for, from the first hook to the end of the last.
///
/// Recycled by its interpreter; an object that a script keeps is told from the next exchange's by its generation.
package final class ScriptFlow {
    private let number: UInt32
    /// Grows when the exchange ends, so that objects of it refer to nothing.
    private(set) var generation: UInt32 = 1
    /// Tells this exchange from the next one that the flow is used for.
    package var generationNumber: UInt32 { generation }
    /// `nil` while the exchange is frozen.
    private var whole: Exchange?
    /// There is an exchange.
    private(set) var isOpen = false
    /// The exchange was asked for. For whoever freezes it, to be reset.
    package var usedExchange = false
    /// There is an object of this exchange.
    var hasObject = false
    /// Where its open tunnel is in the worker's `TunnelList`. It stands here where it takes no room of its own.
    var listing = TunnelList.nowhere
    /// Of the location that its tunnel is in, once there is one.
    package var settings: Settings? {
        didSet { plan = Int32(truncatingIfNeeded: settings?.values.scriptPlan ?? -1) }
    }
    /// Held until the flow ends: a weak reference would slow down every count of the owner's references. Thaws the
    /// exchange if it is frozen.
    package var owner: (any FlowOwner)?
    /// Where Lua keeps the `flow` objects of this slot, one after the other; `.none` before the first.
    var objectPlace = LuaReference.none
    /// The position of the hooks of the location in `settings`, or -1: read for each message, without a reference to those.
    private(set) var plan: Int32 = -1
    var variables: [VariableState] = []
    private var extras: Extras?

    /// What most flows have not, most of the time.
    private final class Extras {
        var waiting: [Int] = []
        var timers: [ScriptTimers.ID] = []
        var sockets: [ObjectHandle] = []
        var answer: ScriptAnswer?
        var route: [[UInt8]] = []
        var replacementBody: [UInt8]?
        var body: [UInt8]?
        var closeInfo: Interpreter.CloseInfo?
        var tags: [[UInt8]] = []
        var bodyWaiters: [Waiter] = []
    }

    /// A variable of a script, computed at most once in an exchange for each script that it is of.
    enum VariableState {
        case unknown
        case evaluating
        /// Its function waits; so do these calls.
        case pending(call: Int, script: Int, waiters: [VariableWaiter])
        case known([UInt8], script: Int)
    }

    /// As many tags as one may have, and bytes of each.
    static let maxTags = 64
    package static let maxTagLength = 255

    init(slot: Int) { number = UInt32(slot) }

    package var slot: Int { Int(number) }
    var handle: ObjectHandle { ObjectHandle(slot: number, generation: generation) }

    /// The exchange, thawed where it was frozen; `nil` once it is over. Not to be kept beyond the call of a script.
    package var exchange: Exchange? {
        usedExchange = true
        return whole ?? (isOpen ? owner?.thawExchange() : nil)
    }

    /// The exchange is frozen, so that the flow lets go of it; only while `isIdle`.
    package func exchangeWasFrozen() { whole = nil }

    /// The exchange is whole again.
    package func exchangeWasThawed(_ exchange: Exchange) {
        guard isOpen else { return }
        exchange.scriptFlow = slot
        whole = exchange
    }

    func begin(_ exchange: Exchange, variables count: Int) {
        whole = exchange
        isOpen = true
        for _ in 0..<count { variables.append(.unknown) }
    }

    /// None of its calls waits, and no socket of its is open.
    package var isIdle: Bool { waiting.isEmpty && sockets.isEmpty }

    func end() {
        generation &+= 1
        whole?.scriptFlow = -1
        whole = nil
        isOpen = false
        listing = TunnelList.nowhere
        settings = nil
        owner = nil
        extras = nil
        if !variables.isEmpty { variables.removeAll(keepingCapacity: true) }
    }
}

extension ScriptFlow {
    private var needed: Extras {
        if let extras { return extras }
        let made = Extras()
        extras = made
        return made
    }

    /// Calls of this flow's hooks that wait.
    var waiting: [Int] {
        get { extras?.waiting ?? [] }
        _modify { yield &needed.waiting }
    }

    var timers: [ScriptTimers.ID] {
        get { extras?.timers ?? [] }
        _modify { yield &needed.timers }
    }

    /// What its hooks have opened, closed ones perhaps included.
    var sockets: [ObjectHandle] {
        get { extras?.sockets ?? [] }
        _modify { yield &needed.sockets }
    }

    /// What a hook decided; it ends the stage.
    package var answer: ScriptAnswer? {
        get { extras?.answer }
        set { if extras != nil || newValue != nil { needed.answer = newValue } }
    }

    /// Where `flow:route` leads, in the order to be tried; empty where the configuration decides.
    package var route: [[UInt8]] {
        get { extras?.route ?? [] }
        set { needed.route = newValue }
    }

    /// `flow.req:set_body`.
    package var replacementBody: [UInt8]? {
        get { extras?.replacementBody }
        set { needed.replacementBody = newValue }
    }

    /// The request's body, once a script has read it.
    package var body: [UInt8]? {
        get { extras?.body }
        set { needed.body = newValue }
    }

    /// How the tunnel ended, for its close hooks.
    var closeInfo: Interpreter.CloseInfo? {
        get { extras?.closeInfo }
        set { needed.closeInfo = newValue }
    }

    package var tags: [[UInt8]] {
        get { extras?.tags ?? [] }
        _modify { yield &needed.tags }
    }

    /// Whoever waits for the body.
    var bodyWaiters: [Waiter] {
        get { extras?.bodyWaiters ?? [] }
        _modify { yield &needed.bodyWaiters }
    }
}

/// A call that waits, and for which of its waits: what comes late, for a wait that is over, is ignored.
struct Waiter: Equatable {
    var call: Int
    var generation: UInt32
}

/// A call that waits for the value of a variable.
struct VariableWaiter {
    let waiter: Waiter
    let variable: NamedVariable
}
