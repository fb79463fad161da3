package import Config
package import ProxyCore

/// One exchange as scripts see it: what `flow` stands for, from the first hook to the end of the last.
///
/// Recycled by its interpreter; an object that a script keeps is told from the next exchange's by its generation.
package final class ScriptFlow {
    let slot: Int
    /// Grows when the exchange ends, so that objects of it refer to nothing.
    private(set) var generation: UInt32 = 1
    /// Tells this exchange from the next one that the flow is used for.
    package var generationNumber: UInt32 { generation }
    package private(set) var exchange: Exchange?
    /// Of the location that its tunnel is in, once there is one.
    package var settings: Settings?
    /// Held until the flow ends: a weak reference would slow down every count of the owner's references.
    package var owner: (any FlowOwner)?
    /// Where Lua keeps the `flow` objects of this slot, one after the other.
    var objectPlace: LuaReference?
    /// There is one of this exchange.
    var hasObject = false
    /// Calls of this flow's hooks that wait.
    var waiting: [Int] = []
    var timers: [ScriptTimers.ID] = []
    var variables: [VariableState] = []
    /// What its hooks have opened, closed ones perhaps included.
    var sockets: [ObjectHandle] = []

    /// What a hook decided; it ends the stage.
    package var answer: ScriptAnswer?
    /// Where `flow:route` leads, in the order to be tried; empty where the configuration decides.
    package var route: [[UInt8]] = []
    /// `flow.req:set_body`.
    package var replacementBody: [UInt8]?
    /// The request's body, once a script has read it.
    package var body: [UInt8]?
    /// How the tunnel ended, for its close hooks.
    var closeInfo: Interpreter.CloseInfo?
    package var tags: [[UInt8]] = []
    /// Whoever waits for the body.
    var bodyWaiters: [Waiter] = []

    /// A variable of a script, computed at most once in an exchange.
    enum VariableState {
        case unknown
        case evaluating
        /// Its function waits; so do these calls.
        case pending(call: Int, waiters: [Waiter])
        case known([UInt8])
    }

    init(slot: Int) { self.slot = slot }

    var handle: ObjectHandle { ObjectHandle(slot: UInt32(slot), generation: generation) }

    func begin(_ exchange: Exchange, variables count: Int) {
        self.exchange = exchange
        for _ in 0..<count { variables.append(.unknown) }
    }

    /// None of its calls waits, and no socket of its is open.
    package var isIdle: Bool { waiting.isEmpty && sockets.isEmpty }

    func end() {
        generation &+= 1
        exchange = nil
        settings = nil
        owner = nil
        answer = nil
        if !route.isEmpty { route = [] }
        replacementBody = nil
        body = nil
        closeInfo = nil
        if !tags.isEmpty { tags = [] }
        if !bodyWaiters.isEmpty { bodyWaiters = [] }
        if !variables.isEmpty { variables.removeAll(keepingCapacity: true) }
    }
}

/// A call that waits, and for which of its waits: what comes late, for a wait that is over, is ignored.
struct Waiter: Equatable {
    var call: Int
    var generation: UInt32
}
