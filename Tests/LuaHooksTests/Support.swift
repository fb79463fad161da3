import Config
import ProxyCore
import Testing
import Wire

@testable import LuaHooks

/// Stands for a worker: keeps what is logged, and time that tests move.
final class FakeHost: ScriptHost {
    let clock = Clock()
    var lines: [String] = []
    var alarm: Int64?
    var isInitialised = false

    init() { clock.advance(to: Moment(unix: 1_704_067_200_000, monotonic: 1_000_000)) }

    /// What lines of `print` begin with, file and line, is left out unless this is set.
    var keepsPlaces = false
    /// Of each line, where it is of no exchange.
    var logSettings: [Settings?] = []
    /// The `$request_id` of each line's exchange.
    var logExchanges: [String?] = []

    func log(_ level: LogLevel, _ text: String, of exchange: Exchange?, under settings: Settings?) {
        var text = text
        if level == .notice, !keepsPlaces, let place = text.prefixMatch(of: #/lua: [^:\n]+:[0-9]+: /#) {
            text = "lua: " + text[place.range.upperBound...]
        }
        lines.append("[\(level.name)] \(text)")
        logSettings.append(settings)
        logExchanges.append(exchange?.requestIDText)
        printed?(text)
    }
    /// Called with each line.
    var printed: ((String) -> Void)?
    func setAlarm(at time: Int64) { alarm = min(alarm ?? .max, time) }
    func scriptsAreInitialised() { isInitialised = true }
    var published: [(tag: [UInt8], message: ScriptMessage)] = []
    private let peers = FakeHost.makePeers()

    /// Two peers, of which the second is `down` in the configuration, in the upstream `app`.
    private static func makePeers() -> PeerGroup {
        var (first, second) = (
            UpstreamServer(endpoint: .host("a.test", port: 80), name: Array("a.test".utf8)),
            UpstreamServer(endpoint: .unix(path: "/s"), name: Array("unix:/s".utf8))
        )
        first.weight = 3
        second.isBackup = true
        second.isDown = true
        return PeerGroup(
            UpstreamGroup(name: Array("app".utf8), servers: [first, second]),
            addresses: [
                [PeerAddress(.ipv4(0x0a00_0001, port: 80))],
                [PeerAddress(.unix(path: Array("/s".utf8)))],
            ],
            marks: PeerMarks())
    }

    func peers(ofUpstream name: [UInt8]) -> PeerGroup? { name == Array("app".utf8) ? peers : nil }
    func publish(_ tag: [UInt8], _ message: ScriptMessage) { published.append((tag, message)) }
    var tunnels: TunnelList?
    var carryOut: ((TunnelOrder) -> Void)?
    func perform(_ order: TunnelOrder) { carryOut?(order) }
    func randomBytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0) } }

    // MARK: The network

    /// What is under way, until a test answers it.
    var fetches: [FakeOperation<Result<FetchResponse, FetchFailure>>] = []
    var requests: [FetchRequest] = []
    /// What they are to go by.
    var networkSettings: [Settings?] = []
    var connects: [FakeOperation<Result<any ScriptConnection, SocketFailure>>] = []
    var places: [String] = []
    var cancelled = 0

    func fetch(
        _ request: FetchRequest, under settings: Settings?,
        done: @escaping (Result<FetchResponse, FetchFailure>) -> Void
    ) -> any ScriptOperation {
        requests.append(request)
        networkSettings.append(settings)
        let operation = FakeOperation(done) { [unowned self] in cancelled += 1 }
        fetches.append(operation)
        return operation
    }

    func connect(
        host: [UInt8], port: UInt16, timeout: Int64, under settings: Settings?,
        done: @escaping (Result<any ScriptConnection, SocketFailure>) -> Void
    ) -> any ScriptOperation {
        networkSettings.append(settings)
        places.append("\(String(decoding: host, as: UTF8.self)):\(port) \(timeout)")
        let operation = FakeOperation(done) { [unowned self] in cancelled += 1 }
        connects.append(operation)
        return operation
    }
}

final class FakeOperation<Outcome>: ScriptOperation {
    private var done: ((Outcome) -> Void)?
    private let cancelled: () -> Void

    init(_ done: @escaping (Outcome) -> Void, cancelled: @escaping () -> Void) {
        self.done = done
        self.cancelled = cancelled
    }

    /// Does nothing when it was cancelled.
    func finish(_ outcome: Outcome) {
        let done = done
        self.done = nil
        done?(outcome)
    }

    func cancel() {
        done = nil
        cancelled()
    }
}

/// A peer that says what a test has it say.
final class FakeConnection: ScriptConnection {
    var sent: [String] = []
    var wanted: [ReceivePattern] = []
    var timeouts: [Int64] = []
    var isClosed = false
    private var sending: ((SocketFailure?) -> Void)?
    private var receiving: ((Result<[UInt8], SocketFailure>) -> Void)?

    func send(_ bytes: [UInt8], timeout: Int64, done: @escaping (SocketFailure?) -> Void) {
        sent.append(String(decoding: bytes, as: UTF8.self))
        timeouts.append(timeout)
        sending = done
    }

    func receive(
        _ pattern: ReceivePattern, timeout: Int64, done: @escaping (Result<[UInt8], SocketFailure>) -> Void
    ) {
        wanted.append(pattern)
        timeouts.append(timeout)
        receiving = done
    }

    func close() {
        isClosed = true
        sending = nil
        receiving = nil
    }

    func sendingEnds(_ failure: SocketFailure? = nil) {
        let done = sending
        sending = nil
        done?(failure)
    }

    func says(_ text: String) { receivingEnds(.success(Array(text.utf8))) }

    func receivingEnds(_ result: Result<[UInt8], SocketFailure>) {
        let done = receiving
        receiving = nil
        done?(result)
    }
}

/// An interpreter with scripts, and an exchange in a location that has them all.
final class ScriptFixture: FlowOwner {
    let host = FakeHost()
    let interpreter: Interpreter
    let exchange: Exchange
    var ended: [(stage: HookStage, result: StageResult)] = []
    var variablesReady = 0
    var bodyReads = 0
    var closings: [(code: UInt16, reason: String)] = []
    var facts: [FlowLeg: LegFacts] = [:]

    static let configuration =
        "events {} http { server { listen 127.0.0.1:8080; location / { set $mine 1; return 200; } } }"

    init(
        _ scripts: [Script], variables: [ScriptVariable] = [], settings: LuaSettings = .patient,
        failure: ScriptFailurePolicy = .closed,
        request: String = "GET /a/b?x=1&y=2 HTTP/1.1\nHost: example.test\n\n",
        configuration text: String = ScriptFixture.configuration, bodies: [LuaFunction.BoxedBody]? = nil,
        shared: ScriptCommons = ScriptCommons()
    ) throws {
        var values = Settings.Values()
        values.scriptPlan = 0
        values.scriptVariables = variables
        values.luaFailure = failure
        let compiled = Configuration.parse(text, builtinVariables: VariableTable.names)
        let configuration = try #require(compiled.configuration)
        var set = ScriptSet(configuration)
        set.scripts = scripts
        set.plans = [Array(scripts.indices)]
        set.slots = variables.count
        set.settings = settings
        interpreter = try Interpreter(
            set, host: host, shared: shared, bodies: bodies ?? LuaAPI.functions.map(\.boxedBody))
        let runtime = RuntimeConfiguration(
            configuration,
            environment: Environment(hostname: Array("here".utf8), pid: 1) { ConnectionCounts() })
        exchange = Exchange(runtime: runtime, clock: host.clock)
        let bytes = Array(request.replacing("\n", with: "\r\n").utf8)
        var parser = RequestHeadParser()
        let progress = parser.parse(RawSpan(_elements: bytes.span), limits: .init(), into: &exchange.request)
        try #require(progress == .complete(length: bytes.count))
        let client = ClientFacts()
        client.address = Array("192.0.2.7".utf8)
        client.port = 40_000
        exchange.begin(listener: 0, client: client, startedAt: host.clock.now, random: (1, 2))
        _ = Router.route(exchange)
        let place = exchange.location
        exchange.location = Location(
            matcher: place.matcher, settings: Settings(values), rewrites: [], handler: place.handler,
            children: LocationTable(), limitExcept: nil, accessRules: [], isInternal: false, source: "test")
        exchange.scripts = interpreter
    }

    deinit { interpreter.endAllFlows() }

    /// A flow holds its owner, and the fixture the flow: this lets go of the fixture.
    private lazy var relay = FlowRelay(self)

    /// One hook's text.
    convenience init(
        _ stage: HookStage, _ text: String, settings: LuaSettings = .patient,
        failure: ScriptFailurePolicy = .closed,
        request: String = "GET /a/b?x=1&y=2 HTTP/1.1\nHost: example.test\n\n"
    ) throws {
        try self.init(
            [.test(.hook(stage, ScriptText(text: Array(text.utf8), file: "test.lua", line: 1)))],
            settings: settings, failure: failure, request: request)
    }

    var flow: ScriptFlow {
        let flow = interpreter.flow(of: exchange)
        flow.settings = exchange.location.settings
        flow.owner = relay
        return flow
    }

    /// Another exchange of the same location.
    func copy() -> Exchange {
        let copy = Exchange(runtime: exchange.runtime, clock: host.clock)
        copy.request = exchange.request
        copy.begin(listener: 0, client: exchange.client, startedAt: host.clock.now, random: (3, 4))
        copy.location = exchange.location
        copy.scripts = interpreter
        return copy
    }

    private let freezer = ExchangeFreezer(RecordDeflater())
    private var frozen: FrozenExchange?

    /// Freezes the exchange, as that of a tunnel may be between hooks; not while one waits.
    func freeze() {
        let flow = flow
        guard flow.isIdle, frozen == nil else { return }
        frozen = freezer.freeze(exchange)
        flow.exchangeWasFrozen()
        let location = exchange.location
        exchange.reset(runtime: exchange.runtime)
        exchange.location = location
        exchange.scriptFlow = flow.slot
    }

    func run(_ stage: HookStage = .request) -> StageResult { interpreter.run(stage, of: flow) }

    /// Runs a request hook and gives what it left in `flow.ctx.result` by `print`.
    func printed() -> [String] {
        _ = run()
        return host.lines.filter { $0.hasPrefix("[notice] lua: ") }.map { String($0.dropFirst(14)) }
    }

    func advance(milliseconds: Int64) {
        let now = host.clock.now
        host.clock.advance(
            to: Moment(unix: now.unix + milliseconds, monotonic: now.monotonic + milliseconds))
        interpreter.timePassed()
    }

    // MARK: FlowOwner

    func stageEnded(_ stage: HookStage, _ result: StageResult) { ended.append((stage, result)) }
    func variableIsReady() { variablesReady += 1 }
    func readBody() -> Bool {
        bodyReads += 1
        return true
    }
    func close(code: UInt16, reason: [UInt8]) {
        closings.append((code: code, reason: String(decoding: reason, as: UTF8.self)))
    }
    func facts(of leg: FlowLeg) -> LegFacts { facts[leg] ?? LegFacts() }
    func upstreamTLS() -> UpstreamTLSFacts? { knownUpstreamTLS }
    var knownUpstreamTLS: UpstreamTLSFacts?

    func thawExchange() -> Exchange? {
        guard let frozen else { return exchange }
        self.frozen = nil
        let flow = flow
        frozen.thaw(into: exchange, freezer)
        exchange.scripts = interpreter
        flow.exchangeWasThawed(exchange)
        return exchange
    }

    // MARK: A tunnel

    var isOpenTunnel = false
    /// What happened on the tunnel, in words.
    var events: [String] = []
    var judged: [(payload: [UInt8], verdict: WebSocketVerdict)] = []
    /// The next ping's answer; `nil` while there is none.
    var pings: [FakeOperation<WebSocketPingOutcome>] = []
    /// Why nothing can be sent.
    var failure: String?

    func itemJudged(_ item: WebSocketItem, _ verdict: WebSocketVerdict) {
        judged.append((item.data, verdict))
        interpreter.items.giveBack(item)
    }

    func send(_ message: ScriptMessage, to leg: FlowLeg) -> String? {
        guard isOpenTunnel, failure == nil else { return failure ?? "there is no open WebSocket" }
        events.append(
            "\(message.isText ? "text" : "binary") to \(leg) from \(message.firstMessageHook),"
                + "\(message.firstFrameHook): " + String(decoding: message.payload, as: UTF8.self))
        return nil
    }

    func ping(
        _ leg: FlowLeg, payload: [UInt8]?, done: @escaping (WebSocketPingOutcome) -> Void
    ) -> Result<any ScriptOperation, TunnelFailure> {
        guard isOpenTunnel else { return .failure(TunnelFailure("there is no open WebSocket")) }
        events.append("ping to \(leg)" + (payload.map { ": " + String(decoding: $0, as: UTF8.self) } ?? ""))
        let operation = FakeOperation(done) { [unowned self] in events.append("ping cancelled") }
        pings.append(operation)
        return .success(operation)
    }

    func close(_ leg: FlowLeg, code: UInt16, reason: [UInt8]) {
        events.append("close \(leg) \(code) " + String(decoding: reason, as: UTF8.self))
    }
}

/// Passes on what is said to the owner of a flow, without holding it.
private final class FlowRelay: FlowOwner {
    private weak var owner: ScriptFixture?

    init(_ owner: ScriptFixture) { self.owner = owner }

    func stageEnded(_ stage: HookStage, _ result: StageResult) { owner?.stageEnded(stage, result) }
    func variableIsReady() { owner?.variableIsReady() }
    func readBody() -> Bool { owner?.readBody() ?? false }
    func close(code: UInt16, reason: [UInt8]) { owner?.close(code: code, reason: reason) }
    func facts(of leg: FlowLeg) -> LegFacts { owner?.facts(of: leg) ?? LegFacts() }
    func upstreamTLS() -> UpstreamTLSFacts? { owner?.upstreamTLS() }
    func itemJudged(_ item: WebSocketItem, _ verdict: WebSocketVerdict) { owner?.itemJudged(item, verdict) }
    func send(_ message: ScriptMessage, to leg: FlowLeg) -> String? { owner?.send(message, to: leg) }
    func ping(
        _ leg: FlowLeg, payload: [UInt8]?, done: @escaping (WebSocketPingOutcome) -> Void
    ) -> Result<any ScriptOperation, TunnelFailure> {
        owner?.ping(leg, payload: payload, done: done) ?? .failure(TunnelFailure("gone"))
    }
    func close(_ leg: FlowLeg, code: UInt16, reason: [UInt8]) {
        owner?.close(leg, code: code, reason: reason)
    }
    var isOpenTunnel: Bool { owner?.isOpenTunnel ?? false }
    func thawExchange() -> Exchange? { owner?.thawExchange() }
}

extension Script {
    static func test(_ body: Body) -> Script {
        Script(body: body, position: SourcePosition(file: "test.conf", line: 1, column: 1, order: 0))
    }
}

extension LuaSettings {
    /// For tests of anything but time: other tests have threads watched, these may run on one of them, and slowly.
    static let patient: LuaSettings = {
        var settings = LuaSettings()
        settings.hookTimeout = 60_000
        settings.packagePath = "./?.lua"
        return settings
    }()
}
