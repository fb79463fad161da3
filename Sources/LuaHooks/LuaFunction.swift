internal import CSwitchyard

/// Kinds of objects that scripts hold.
enum LuaType: Int, CaseIterable {
    case flow = 1
    case request, response, requestHeaders, responseHeaders, arguments, cookies, variables
    case client, upstream, offer
    case timer, socket, redis, dictionary, counter, gauge, histogram, message, frame
    case remoteFlow, remoteClient, remoteUpstream
    case testProxy, testClient, testBackend, testServer, testRequest, testWebSocket, testSocket, expectation

    /// As messages have one of it.
    var indefinite: String { self == .expectation ? "an \(name)" : "a \(name)" }

    /// As messages and the reference name it.
    var name: String {
        switch self {
        case .flow: "flow"
        case .request: "flow.req"
        case .response: "flow.res"
        case .requestHeaders: "flow.req.headers"
        case .responseHeaders: "flow.res.headers"
        case .arguments: "flow.req.args"
        case .cookies: "flow.req.cookies"
        case .variables: "flow.var"
        case .client: "flow.client"
        case .upstream: "flow.upstream"
        case .offer: "flow.offer"
        case .timer: "timer"
        case .socket: "socket"
        case .redis: "redis"
        case .dictionary: "sy.shared.NAME"
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        case .message: "msg"
        case .frame: "frame"
        case .remoteFlow: "remote flow"
        case .remoteClient: "remote flow.client"
        case .remoteUpstream: "remote flow.upstream"
        case .testProxy: "proxy"
        case .testClient: "client"
        case .testBackend: "backend"
        case .testServer: "server"
        case .testRequest: "request"
        case .testWebSocket: "websocket"
        case .testSocket: "connection"
        case .expectation: "expectation"
        }
    }

    /// Known to the interpreters of tests only.
    var isOfTests: Bool { rawValue >= LuaType.testProxy.rawValue }

    /// How many parts are kept in one: see `LuaFunction.Place.part`.
    var parts: Int {
        switch self {
        case .flow: 3
        case .remoteFlow: 2
        default: 0
        }
    }

    /// Of `flow.ctx` among the parts of a flow.
    static let contextPart = 3

    /// Is a value that takes no memory, rather than an object: see `LuaTypes.c`. Not what scripts may have reason to use as
    /// a weak key.
    var isValue: Bool {
        switch self {
        case .request, .response, .requestHeaders, .responseHeaders, .arguments, .cookies, .variables, .offer,
            .message, .frame:
            true
        default: false
        }
    }
}

/// A failure of an API function, raised in the script that called it.
struct LuaError: Error {
    var message: String

    init(_ message: String) { self.message = message }
}

/// A row of the API: one function, method or field, with what the reference says about it.
struct LuaFunction: Sendable {
    typealias Body = @Sendable (borrowing LuaCall) throws(LuaError) -> LuaResult

    /// A function within an array is called through another, which passes its arguments in memory, and through a third
    /// where it is taken out to be kept: one in a box is called as it is.
    struct BoxedBody: Sendable {
        let run: Body
    }

    enum Place: Sendable {
        /// A function of a module: `sy`, `sy.log`.
        case module(String)
        /// A function by its name alone.
        case global
        case method(LuaType)
        /// A field that is read.
        case getter(LuaType)
        /// A field that is set: called with the object, the name and the value.
        case setter(LuaType)
        /// Reads every field without a definition: called with the object and the name.
        case anyGetter(LuaType)
        case anySetter(LuaType)
        /// `__len` and its kin.
        case metamethod(LuaType)
        /// Called by Swift's own means only, such as an iterator.
        case hidden
        /// A function of a module that is defined in C: the row is for the reference only.
        case library(String)
        /// A value of a module, likewise; its type is what the row returns.
        case libraryValue(String)
        /// An object of its own type, for the same exchange. It is kept at a position from 1 on, unless it is a value.
        case part(of: LuaType, LuaType, position: Int = 0)
        /// A table of the script's own.
        case ownTable(of: LuaType, position: Int)
    }

    let name: String
    let place: Place
    /// As LuaLS writes it: `seconds: number, fn: fun()`; `?` after a name that may be left out.
    let parameters: String
    /// Likewise, where there is another way to call it.
    let overload: String?
    /// As LuaLS writes it: `string?`, `Response?, string?`.
    let returns: String
    let summary: String
    /// The hook may be suspended until there is a result.
    let waits: Bool
    /// The arguments arrive as one string, joined as `print` joins them; only for functions of a module.
    let joinsArguments: Bool
    let body: Body

    var boxedBody: BoxedBody { BoxedBody(run: body) }

    init(
        _ name: String, _ place: Place, _ parameters: String, overload: String? = nil, returns: String = "",
        waits: Bool = false, joinsArguments: Bool = false, _ summary: String, _ body: @escaping Body
    ) {
        self.name = name
        self.place = place
        self.parameters = parameters
        self.overload = overload
        self.returns = returns
        self.waits = waits
        self.joinsArguments = joinsArguments
        self.summary = summary
        self.body = body
    }

    /// A message about an argument, which begins with that's name, with the function's in front where it is another.
    func naming(_ message: String) -> String {
        switch place {
        case .module, .global, .method: break
        default: return message
        }
        guard let end = message.firstRange(of: ": found ")?.lowerBound else { return message }
        let argument = message[..<end]
        let isWord = argument.allSatisfy { $0 == "_" || $0.isLetter }
        return isWord && argument != name ? "\(name): \(message)" : message
    }

    /// A field that is kept by the interpreter itself.
    init(_ name: String, _ place: Place, type: String, _ summary: String) {
        self.init(name, place, "", returns: type, summary) { _ in .none }
    }
}

/// What a function leaves: how many values it pushed, or that its hook is to wait.
struct LuaResult {
    let code: Int32

    static let none = LuaResult(code: 0)
    static let one = LuaResult(code: 1)
    static let two = LuaResult(code: 2)
    static let three = LuaResult(code: 3)
    static func values(_ count: Int) -> LuaResult { LuaResult(code: Int32(count)) }
    /// Only after `LuaCall.wait`.
    static let waits = LuaResult(code: Int32(SY_LUA_WAIT))
    /// Only from `LuaCall.callFunction`.
    fileprivate static let calls = LuaResult(code: Int32(SY_LUA_CALL))
}

/// A call of an API function: its arguments are on the stack from 1 up.
struct LuaCall: ~Copyable {
    let interpreter: Interpreter
    let stack: LuaStack

    var argumentCount: Int { stack.top }

    // MARK: Arguments

    func isGiven(_ index: Int) -> Bool {
        switch stack.kind(index) {
        case .none, .nil: false
        default: true
        }
    }

    func mismatch(_ index: Int, _ name: StaticString, _ expected: String) -> LuaError {
        LuaError("\(name): found \(stack.foundName(index)), expected \(expected)")
    }

    /// The bytes of a string or number argument.
    @_lifetime(borrow self)
    func span(_ index: Int, _ name: StaticString) throws(LuaError) -> Span<UInt8> {
        guard let span = stack.span(index) else { throw mismatch(index, name, "a string") }
        // The value stays on the stack for as long as the call lasts.
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    func bytes(_ index: Int, _ name: StaticString) throws(LuaError) -> [UInt8] {
        guard let bytes = stack.bytes(index) else { throw mismatch(index, name, "a string") }
        return bytes
    }

    func text(_ index: Int, _ name: StaticString) throws(LuaError) -> String {
        String(decoding: try bytes(index, name), as: UTF8.self)
    }

    func optionalBytes(_ index: Int, _ name: StaticString) throws(LuaError) -> [UInt8]? {
        isGiven(index) ? try bytes(index, name) : nil
    }

    func number(_ index: Int, _ name: StaticString) throws(LuaError) -> Double {
        guard let number = stack.number(index) else { throw mismatch(index, name, "a number") }
        return number
    }

    func integer(_ index: Int, _ name: StaticString) throws(LuaError) -> Int {
        guard let integer = stack.integer(index) else { throw mismatch(index, name, "an integer") }
        return Int(integer)
    }

    func optionalInteger(_ index: Int, _ name: StaticString) throws(LuaError) -> Int? {
        isGiven(index) ? try integer(index, name) : nil
    }

    /// Milliseconds, from seconds with a fraction: 0 up to ten years.
    func milliseconds(_ index: Int, _ name: StaticString) throws(LuaError) -> Int64 {
        let seconds = try number(index, name)
        guard seconds >= 0, seconds <= 315_360_000 else {
            throw LuaError("\(name): found \(seconds), expected 0 to 315360000 seconds")
        }
        return Int64((seconds * 1000).rounded(.up))
    }

    func flag(_ index: Int, _ name: StaticString) throws(LuaError) -> Bool {
        guard stack.kind(index) == .boolean else { throw mismatch(index, name, "a boolean") }
        return stack.boolean(index)
    }

    func function(_ index: Int, _ name: StaticString) throws(LuaError) {
        guard stack.kind(index) == .function else { throw mismatch(index, name, "a function") }
    }

    func table(_ index: Int, _ name: StaticString) throws(LuaError) {
        guard stack.kind(index) == .table else { throw mismatch(index, name, "a table") }
    }

    // MARK: Results

    /// Calls the script's function that is second from the top with the topmost value. Afterwards the API function of
    /// the number `next` goes on, with the same stack and on top of it the one result.
    func callFunction(then next: Int) -> LuaResult {
        stack.push(next)
        return .calls
    }

    func push(_ value: Bool) -> LuaResult {
        stack.push(value)
        return .one
    }

    func push(_ value: Int) -> LuaResult {
        stack.push(value)
        return .one
    }

    func push(_ value: Double) -> LuaResult {
        stack.push(value)
        return .one
    }

    func push(_ value: [UInt8]) -> LuaResult {
        stack.push(value)
        return .one
    }

    func push(_ value: String) -> LuaResult {
        stack.push(value)
        return .one
    }

    func push(_ value: [UInt8]?) -> LuaResult {
        if let value { stack.push(value) } else { stack.pushNil() }
        return .one
    }

    /// `nil, message`: how an operation that can fail in the ordinary course of things says so.
    func fail(_ message: String) -> LuaResult {
        stack.pushNil()
        stack.push(message)
        return .two
    }
}
