package import Config
internal import Digest
package import ProxyCore

/// What an interpreter needs of the world: the worker it runs on, or a test in its place.
package protocol ScriptHost: AnyObject {
    /// Kept up to date before scripts run.
    var clock: Clock { get }
    /// The clock is a test's: `os.time` and its kin follow it.
    var hasFakeClock: Bool { get }
    /// Writes to an error log: that of the exchange's location, or where there is none that of `settings`, `nil` standing for
    /// `http`.
    func log(_ level: LogLevel, _ text: String, of exchange: Exchange?, under settings: Settings?)
    /// `Interpreter.timePassed` is to be called at this time at the latest, in milliseconds of the monotonic clock.
    func setAlarm(at time: Int64)
    /// The last of the init hooks that waited has ended.
    func scriptsAreInitialised()
    /// What chance in an interpreter begins with, where a test is to come out the same each time; elsewhere 0, for what
    /// nobody can foresee.
    var seed: UInt64 { get }
    /// Unpredictable bytes, fit for keys, but in tests.
    func randomBytes(_ count: Int) -> [UInt8]
    /// Makes a request for a script. `settings` are those of where it runs, `nil` outside of any server. `done` is called
    /// once, after this has returned; never once it was cancelled.
    func fetch(
        _ request: FetchRequest, under settings: Settings?,
        done: @escaping (Result<FetchResponse, FetchFailure>) -> Void
    ) -> any ScriptOperation
    /// Sends a text to the clients of all open tunnels with this tag, on every worker.
    func publish(_ tag: [UInt8], _ message: ScriptMessage)
    /// The peers of an upstream as the worker sees them; `nil` where there is none of that name, or no worker yet.
    func peers(ofUpstream name: [UInt8]) -> PeerGroup?
    /// The open tunnels of the worker, as others see them; `nil` where there are none.
    var tunnels: TunnelList? { get }
    /// Carries out, at once, what a script asks of one of these.
    func perform(_ order: TunnelOrder)
    /// Opens a connection for a script. `host` is a name, a numeric address, or `unix:` and a path (`port` is 0 then);
    /// `timeout` is in milliseconds. `settings` and `done` are as for `fetch`.
    func connect(
        host: [UInt8], port: UInt16, timeout: Int64, under settings: Settings?,
        done: @escaping (Result<any ScriptConnection, SocketFailure>) -> Void
    ) -> any ScriptOperation
}

extension ScriptHost {
    package var hasFakeClock: Bool { false }
    package var seed: UInt64 { 0 }

    package func randomBytes(_ count: Int) -> [UInt8] {
        var numbers = UnpredictableNumbers()
        return numbers.bytes(count)
    }
}

/// A host of scripts that cannot wait, since they are only loaded, or are tests: nothing below is ever asked of it.
package protocol WaitlessHost: ScriptHost {}

extension WaitlessHost {
    package func setAlarm(at time: Int64) {}
    package func scriptsAreInitialised() {}
    package func publish(_ tag: [UInt8], _ message: ScriptMessage) {}
    package func peers(ofUpstream name: [UInt8]) -> PeerGroup? { nil }
    package var tunnels: TunnelList? { nil }
    package func perform(_ order: TunnelOrder) {}

    package func fetch(
        _ request: FetchRequest, under settings: Settings?,
        done: @escaping (Result<FetchResponse, FetchFailure>) -> Void
    ) -> any ScriptOperation { NoOperation() }

    package func connect(
        host: [UInt8], port: UInt16, timeout: Int64, under settings: Settings?,
        done: @escaping (Result<any ScriptConnection, SocketFailure>) -> Void
    ) -> any ScriptOperation { NoOperation() }
}

private final class NoOperation: ScriptOperation {
    func cancel() {}
}

/// A connection that a script has opened. Each `done` is called once, after the function has returned; never once the
/// connection was closed on this side.
package protocol ScriptConnection: AnyObject {
    /// Sends all of it; `timeout` is in milliseconds.
    func send(_ bytes: [UInt8], timeout: Int64, done: @escaping (SocketFailure?) -> Void)
    /// Takes what the pattern asks for out of what the peer sends; a failure takes nothing.
    func receive(
        _ pattern: ReceivePattern, timeout: Int64, done: @escaping (Result<[UInt8], SocketFailure>) -> Void)
    func close()
}

/// Something under way that a script waits for.
package protocol ScriptOperation: AnyObject {
    /// Nobody waits any more: ends it, without a call to `done`.
    func cancel()
}

/// The exchange's driver, or its tunnel, as a flow sees it.
package protocol FlowOwner: AnyObject {
    /// A stage that waited has come to its end.
    func stageEnded(_ stage: HookStage, _ result: StageResult)
    /// A variable for whose value rendering broke off has it now.
    func variableIsReady()
    /// A script asks for the request's whole body: to be handed over by `Interpreter.bodyReceived`. Returns false where
    /// some of it was sent on before, and is not kept.
    func readBody() -> Bool
    /// A script ends the tunnel, outside of a hook's own result.
    func close(code: UInt16, reason: [UInt8])
    func facts(of leg: FlowLeg) -> LegFacts
    /// The TLS of the connection to the upstream; `nil` where there is none.
    func upstreamTLS() -> UpstreamTLSFacts?
    /// The hooks for a message or frame, of which one waited, have decided.
    func itemJudged(_ item: WebSocketItem, _ verdict: WebSocketVerdict)
    /// A script sends a message to a peer; hooks from these positions on see it.
    ///
    /// - Returns: why it cannot be sent, else `nil`.
    func send(_ message: ScriptMessage, to leg: FlowLeg) -> String?
    /// A script asks for a round trip to a peer; `done` is called once, unless it was cancelled, perhaps while bytes of
    /// the tunnel, or of another, are being looked at.
    ///
    /// - Returns: what is under way, or why it cannot be.
    func ping(
        _ leg: FlowLeg, payload: [UInt8]?, done: @escaping (WebSocketPingOutcome) -> Void
    ) -> Result<any ScriptOperation, TunnelFailure>
    /// A script ends the tunnel, with this for the one peer.
    func close(_ leg: FlowLeg, code: UInt16, reason: [UInt8])
    /// There is a WebSocket that messages can be sent on.
    var isOpenTunnel: Bool { get }
    /// Something of the flow that was to go on may have ended: a call that waited, a timer, a connection. What this makes
    /// possible is to be done later: whoever says it is in the middle of something.
    func somethingEnded()
    /// The flow's exchange, which the owner has frozen, is asked for: gives it to the flow by `exchangeWasThawed`.
    func thawExchange() -> Exchange?
}

/// Why something cannot be done on a tunnel.
package struct TunnelFailure: Error {
    package let message: String
    package init(_ message: String) { self.message = message }
}

extension FlowOwner {
    package func upstreamTLS() -> UpstreamTLSFacts? { nil }
    package func itemJudged(_ item: WebSocketItem, _ verdict: WebSocketVerdict) {}
    package func send(_ message: ScriptMessage, to leg: FlowLeg) -> String? { "there is no open WebSocket" }
    package func ping(
        _ leg: FlowLeg, payload: [UInt8]?, done: @escaping (WebSocketPingOutcome) -> Void
    ) -> Result<any ScriptOperation, TunnelFailure> { .failure(TunnelFailure("there is no open WebSocket")) }
    package func close(_ leg: FlowLeg, code: UInt16, reason: [UInt8]) { close(code: code, reason: reason) }
    package var isOpenTunnel: Bool { false }
    package func somethingEnded() {}
    package func thawExchange() -> Exchange? { nil }
}

/// What a script sends on a tunnel.
package struct ScriptMessage: Sendable {
    package var isText: Bool
    package var payload: [UInt8]
    /// The first hooks that see it.
    package var firstMessageHook: Int
    package var firstFrameHook: Int
    /// What the hook that sends it was called for, if that has waited.
    package var item: ObjectIdentifier?
    /// Of what goes to several tunnels: who sends it, by which these are found.
    var sender: TunnelOrder.Sender?

    package init(isText: Bool, payload: [UInt8], firstMessageHook: Int = 0, firstFrameHook: Int = 0) {
        self.isText = isText
        self.payload = payload
        self.firstMessageHook = firstMessageHook
        self.firstFrameHook = firstFrameHook
    }
}

package enum FlowLeg: Sendable { case client, upstream }

/// What is known of a connection at the moment.
package struct LegFacts: Sendable {
    /// Numeric, or `unix:` and a path; `nil` without a connection.
    package var address: [UInt8]?
    package var port: UInt16 = 0
    /// Microseconds, as the kernel smooths it.
    package var roundTrip: Int64?
    package var bytesIn: Int64 = 0
    package var bytesOut: Int64 = 0
    /// Bytes that wait to be sent.
    package var buffered = 0
    /// Messages of a WebSocket that came from the peer, and that were sent to it.
    package var messagesIn = 0
    package var messagesOut = 0

    package init() {}
}

/// What is known of a session of TLS with an upstream. What is empty is not there.
package struct UpstreamTLSFacts: Sendable {
    /// `TLSv1.3`
    package var version: [UInt8] = []
    package var cipher: [UInt8] = []
    /// The name that was asked for.
    package var serverName: [UInt8] = []
    /// Chosen by ALPN.
    package var applicationProtocol: [UInt8] = []
    /// Of the server's certificate, as RFC 2253 writes it.
    package var subject: [UInt8] = []
    package var isResumed = false

    package init() {}
}

/// How a stage ended.
package enum StageResult: Sendable {
    /// Nothing stands in the way.
    case proceed
    /// `FlowOwner.stageEnded` follows.
    case waiting
    /// A script decided what becomes of the exchange.
    case answered(ScriptAnswer)
    /// A hook failed, and `lua_on_error` says that this ends the exchange.
    case failed
    /// What becomes of a piece of a body.
    case piece(BodyPiece)
    /// Milliseconds that a draining tunnel may have.
    case grace(Int64)
}

package enum BodyPiece: Sendable, Equatable {
    case unchanged
    case dropped
    case replaced([UInt8])
}

package enum ScriptAnswer: Sendable {
    case respond(ScriptResponse)
    /// A path with or without arguments, or `@name`.
    case internalRedirect([UInt8])
    /// Both legs of the tunnel; before there is one, the connection.
    case close(code: UInt16, reason: [UInt8])
}

package struct ScriptResponse: Sendable {
    package var status = 200
    package var fields: [(name: [UInt8], value: [UInt8])] = []
    package var body: [UInt8]?

    package init() {}
}
