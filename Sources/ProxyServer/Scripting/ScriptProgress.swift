internal import Config
internal import LuaHooks

/// What the scripts of an exchange have under way.
struct ScriptProgress {
    /// What goes on once a hook or a variable that waits has its result.
    enum Wait {
        case none
        /// The keys that the request is counted by are rendered again.
        case limits
        case request
        case upgrade
        /// The request's head is rendered again.
        case target(bodyLength: Int64?)
        case response(opensTunnel: Bool)
        case open
        /// The response's head is rendered again.
        case head
    }

    /// What scripts have done with the request's body as a whole.
    enum Body {
        case untouched
        /// A script waits for the whole of it, which is gathered in the driver's `replay`.
        case reading
        /// `replay` holds the whole of it.
        case read
        /// `flow.req:set_body` gave this: what the client sends is dropped.
        case replacing([UInt8])
        /// `replay` holds what it gave.
        case replaced
    }

    var wait = Wait.none
    /// For which the location that is proxied has hooks.
    // Written out: what OptionSet has for an empty one is not specialised across modules.
    var stages = HookStages(rawValue: 0)
    /// The exchange outlives the driver: in a tunnel with scripts, or until its log hooks have ended.
    var keepsExchange = false

    // MARK: The request

    /// Where `flow:route` leads, and how many of these were tried.
    var route: [[UInt8]] = []
    var routesTried = 0
    var hasRequestBodyHooks = false
    /// Some of the body has gone through hooks: what is left of it may be of another length.
    var changesBody = false
    var body = Body.untouched
    /// A piece of the request's body is with a hook that waits.
    var requestPiece: (bytes: [UInt8], isLast: Bool)?

    // MARK: The response

    /// What came of the response after what a hook is looking at.
    var held: [UInt8] = []
    var holdsResponse = false
    var responsePiece: (bytes: [UInt8], isLast: Bool, exact: Bool)?
    var sawLastPiece = false
    /// Of the location whose open hooks have begun, for a tunnel that has not come about yet.
    var openedIn: Settings?
    /// Why it will not.
    var closing: Interpreter.CloseInfo?
    /// What open hooks have sent, before there was a tunnel.
    var openSends: [(message: ScriptMessage, leg: FlowLeg)] = []

    func has(_ stage: HookStage) -> Bool { stages.contains(stage) }
    var isReadingBody: Bool { if case .reading = body { true } else { false } }
    var replacesBody: Bool { if case .replacing = body { true } else { false } }
    var isBodyReplaced: Bool { if case .replaced = body { true } else { false } }
    /// The driver's `replay` holds all that there is of it.
    var isBodyWhole: Bool {
        switch body {
        case .read, .replaced: true
        case .untouched, .reading, .replacing: false
        }
    }
    var requestPieceIsHeld: Bool { requestPiece != nil }
    var currentRoute: [UInt8]? { route.indices.contains(routesTried) ? route[routesTried] : nil }
    var hasNextRoute: Bool { routesTried + 1 < route.count }

    /// Something waits that a client's end makes pointless.
    var waits: Bool {
        if case .none = wait { return requestPieceIsHeld || holdsResponse || isReadingBody }
        return true
    }
}
