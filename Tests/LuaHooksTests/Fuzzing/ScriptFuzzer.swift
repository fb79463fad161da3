import Config
import ProxyCore
import Synchronization
import Testing
import Wire

@testable import LuaHooks

/// Runs generated snippets in one interpreter, as hooks of exchanges that come and go, and has the world answer
/// what they wait for, or not.
final class ScriptFuzzer {
    /// What became of the functions of the API, by their numbers.
    final class Coverage: Sendable {
        private let counts = Mutex(
            [(returned: Int, failed: Int)](repeating: (0, 0), count: LuaAPI.functions.count))

        func count(_ function: Int, hasFailed: Bool) {
            counts.withLock {
                if hasFailed { $0[function].failed += 1 } else { $0[function].returned += 1 }
            }
        }

        /// Functions that never returned, or never failed.
        func missing(_ isMissing: ((returned: Int, failed: Int)) -> Bool) -> [Int] {
            counts.withLock { counts in counts.indices.filter { isMissing(counts[$0]) } }
        }
    }

    private let fixture: ScriptFixture
    private let otherWorker: OtherWorker
    private var interpreter: Interpreter { fixture.interpreter }
    private var writer: SnippetWriter
    private var random: SeededRandom
    private var exchanges: [Exchange] = []
    private var connections: [FakeConnection] = []
    /// Snippets that are no Lua.
    private(set) var invalid: [String] = []
    /// Of the snippets, hooks that returned, failed and waited.
    private(set) var outcomes = (ended: 0, failed: 0, waited: 0)

    private static let plugin = """
        local KEEP, environment, run = {}, _ENV, nil
        local function connect()
          KEEP.socket = sy.tcp.connect("127.0.0.1", 9, 1)
          return KEEP.socket
        end
        local function connect_redis()
          KEEP.redis = sy.redis.connect("redis://127.0.0.1", 1)
          return KEEP.redis
        end
        local function call(flow, a, b) if run then return run(flow, a, b) end end
        local function body(flow, chunk, last)
          if chunk:sub(1, 5) ~= "\\0load" then return call(flow, chunk, last) end
          local failure
          local own = {KEEP = KEEP, connect = connect, connect_redis = connect_redis}
          local globals = setmetatable(own, {__index = environment})
          run, failure = load("local flow, a, b = ... " .. chunk:sub(6), "=snippet", "t", globals)
          if failure then print("INVALID", failure) end
        end
        return {
          variables = {v = call}, request = call, upgrade = call, response = call, open = call, close = call,
          drain = call, log = call, request_body = body, response_body = call, message = call,
          frame = call,
        }
        """

    private static let request = """
        GET /chat?x=1&y=%20&x=2&z HTTP/1.1
        Host: example.test
        Upgrade: websocket
        Connection: Upgrade
        Origin: https://example.test
        Accept: text/html
        Cookie: a=1; b="2"; c
        X-A: 1
        X-A: 2
        Sec-WebSocket-Version: 13
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
        Sec-WebSocket-Protocol: chat, superchat
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other


        """

    init(seed: Int, coverage: Coverage) throws {
        random = SeededRandom(seed: seed)
        writer = SnippetWriter(seed: seed &+ 1)
        var settings = LuaSettings()
        settings.memoryLimit = random.pick([1, 2, 8]) << 20
        settings.hookTimeout = 10
        settings.maxWaiting = 40
        settings.sharedDictionaries = [
            SharedDictionarySettings(name: "small", bytes: 4096),
            SharedDictionarySettings(name: "large", bytes: 1 << 20),
        ]
        let bodies = LuaAPI.functions.enumerated().map { number, function in
            LuaFunction.BoxedBody { call throws(LuaError) in
                do throws(LuaError) {
                    let result = try function.body(call)
                    coverage.count(number, hasFailed: false)
                    return result
                } catch {
                    coverage.count(number, hasFailed: true)
                    throw error
                }
            }
        }
        let text = ScriptText(text: Array(Self.plugin.utf8), file: "fuzz.lua", line: 1)
        fixture = try ScriptFixture(
            [.test(.plugin(text, arguments: []))],
            variables: [
                ScriptVariable(
                    slot: 0, script: 0, name: Array("v".utf8), label: Array("v".utf8), fallback: [])
            ],
            settings: settings, request: Self.request, configuration: FlowCases.servers, bodies: bodies)
        otherWorker = OtherWorker(in: fixture.interpreter.shared.tunnels)
        for number in 0..<3 { otherWorker.open(UInt64(number), tags: ["far"]) }
        var facts = LegFacts()
        facts.address = Array("192.0.2.1".utf8)
        facts.port = 5000
        facts.roundTrip = 300
        fixture.facts = [.client: facts]
        var parser = ResponseHeadParser()
        let head = Array(FlowCases.ok.replacing("\n", with: "\r\n").utf8)
        let progress = parser.parse(
            RawSpan(_elements: head.span), isHead: false, maxHead: 4096, into: &fixture.exchange.response)
        try #require(progress == .complete(length: head.count))
        for _ in 0..<3 { exchanges.append(exchange()) }
    }

    private func exchange() -> Exchange {
        let copy = fixture.copy()
        copy.response = fixture.exchange.response
        return copy
    }

    private func flow(_ exchange: Exchange) -> ScriptFlow {
        let flow = interpreter.flow(of: exchange)
        flow.owner = fixture
        flow.settings = exchange.location.settings
        return flow
    }

    // MARK: One snippet

    /// - Parameter shown: is told the snippet before it runs.
    func step(_ shown: (String) -> Void) {
        let snippet = writer.snippet()
        shown(snippet)
        let index = random.below(exchanges.count)
        let flow = flow(exchanges[index])
        let isLoaded = interpreter.run(
            .requestBody, of: flow, piece: Array("\0load\(snippet)".utf8), isLast: false)
        if case .failed = isLoaded { outcomes.failed += 1 }
        run(flow)
        for _ in 0..<random.below(6) { event() }
        if random.oneIn(3) { replace(index) }
        takeLog()
    }

    private func run(_ flow: ScriptFlow) {
        let stages: [HookStage] = [
            .request, .request, .request, .upgrade, .upgrade, .response, .response, .response, .open, .drain,
            .log, .close, .requestBody,
            .responseBody, .message, .message, .message, .frame, .frame, .frame,
        ]
        fixture.isOpenTunnel = random.oneIn(2)
        let stage = random.pick(stages)
        if stage == .message || stage == .frame { return runItem(stage, flow) }
        let result =
            switch stage {
            case .requestBody:
                interpreter.run(.requestBody, of: flow, piece: bytes(), isLast: random.oneIn(2))
            case .responseBody:
                interpreter.run(.responseBody, of: flow, piece: bytes(), isLast: random.oneIn(2))
            case .close:
                interpreter.runClose(
                    of: flow, .init(code: 1006, reason: bytes(), by: .client, isClean: random.oneIn(2)))
            case let stage: interpreter.run(stage, of: flow)
            }
        switch result {
        case .waiting: outcomes.waited += 1
        case .failed: outcomes.failed += 1
        default: outcomes.ended += 1
        }
    }

    private func runItem(_ stage: HookStage, _ flow: ScriptFlow) {
        let opcode: WebSocketOpcode =
            stage == .message ? random.pick([.text, .binary]) : random.pick(WebSocketOpcode.allCases)
        let item = interpreter.items.take(
            stage == .message ? .message : .frame, opcode, from: random.pick([.client, .upstream]),
            isFinal: random.oneIn(2), isInjected: random.oneIn(4))
        item.data = bytes()
        let verdict = interpreter.run(item, of: flow, from: 0)
        switch verdict {
        case .waiting: return outcomes.waited += 1
        case .close(1011, _): outcomes.failed += 1
        default: outcomes.ended += 1
        }
        interpreter.items.giveBack(item)
    }

    private func takeLog() {
        for line in fixture.host.lines where line.hasPrefix("[notice] lua: INVALID") { invalid.append(line) }
        fixture.host.lines.removeAll(keepingCapacity: true)
        fixture.host.requests.removeAll(keepingCapacity: true)
        fixture.host.places.removeAll(keepingCapacity: true)
        fixture.ended.removeAll(keepingCapacity: true)
        fixture.closings.removeAll(keepingCapacity: true)
        fixture.judged.removeAll(keepingCapacity: true)
        fixture.events.removeAll(keepingCapacity: true)
        fixture.host.published.removeAll(keepingCapacity: true)
        for order in otherWorker.orders() { _ = otherWorker.list.take(order) }
    }

    private func replace(_ index: Int) {
        interpreter.end(flow(exchanges[index]))
        exchanges[index] = exchange()
    }

    // MARK: The world

    private func bytes() -> [UInt8] {
        let texts = [
            "", "x", "line\r\n", "\0\u{ff}", "{\"a\":[1]}", String(repeating: "long ", count: 500), "+OK\r\n",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "*3\r\n:1\r\n-ERR\r\n$-1\r\n",
        ]
        return Array(random.pick(texts).utf8)
    }

    private func event() {
        switch random.below(10) {
        case 9:
            guard !fixture.pings.isEmpty else { return }
            fixture.pings.removeFirst().finish(random.pick([.timedOut, .closing, .answered(1500)]))
        case 0, 1: fixture.advance(milliseconds: Int64(random.pick([0, 1, 20, 1000, 60_000])))
        case 2:
            guard !fixture.host.fetches.isEmpty else { return }
            let fetch = fixture.host.fetches.remove(at: random.below(fixture.host.fetches.count))
            fetch.finish(random.oneIn(3) ? .failure(.timedOut(.connecting)) : .success(response()))
        case 3, 4: connect()
        case 5:
            guard !connections.isEmpty else { return }
            random.pick(connections).sendingEnds(random.oneIn(4) ? .timedOut : nil)
        case 6:
            guard !connections.isEmpty else { return }
            random.pick(connections).receivingEnds(
                random.oneIn(4) ? .failure(.closed) : .success(bytes()))
        case 7: interpreter.bodyReceived(bytes(), of: flow(random.pick(exchanges)))
        default:
            let exchange = random.pick(exchanges)
            var value: [UInt8] = []
            exchange.scriptsMayWait = random.oneIn(2)
            _ = interpreter.append(0, of: exchange, to: &value)
            if random.oneIn(4) { interpreter.cancelCalls(of: flow(exchange)) }
        }
    }

    private func response() -> FetchResponse {
        var response = FetchResponse()
        response.status = 200 + random.below(400)
        response.reason = bytes()
        response.headers = (0..<random.below(4)).map { FetchHeader(Array("Name-\($0)".utf8), bytes()) }
        response.body = bytes()
        return response
    }

    private func connect() {
        guard !fixture.host.connects.isEmpty else { return }
        let attempt = fixture.host.connects.remove(at: random.below(fixture.host.connects.count))
        guard !random.oneIn(4) else { return attempt.finish(.failure(.noConnections)) }
        let connection = FakeConnection()
        connections.append(connection)
        attempt.finish(.success(connection))
        if connections.count > 20 { connections.removeFirst() }
    }

    // MARK: The end

    /// Ends everything, and sees to it that nothing is left.
    func finish() {
        for exchange in exchanges { interpreter.end(flow(exchange)) }
        #expect(interpreter.openFlows == 0)
        interpreter.shutDown()
        #expect(interpreter.waitingCalls == 0)
        #expect(interpreter.timerCount == 0)
        #expect(interpreter.openSockets == 0)
        #expect(interpreter.runningIndex == -1)
    }
}
