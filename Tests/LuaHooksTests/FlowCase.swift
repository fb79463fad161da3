import Config
import ProxyCore
import Testing
import Wire

@testable import LuaHooks

/// A client's TLS with these facts.
private final class KnownTLS: ClientTLS {
    private let facts: [ClientTLSFact: String]

    init(_ facts: [ClientTLSFact: String]) { self.facts = facts }

    func append(_ fact: ClientTLSFact, to out: inout [UInt8]) -> Bool {
        guard let value = facts[fact] else { return false }
        out += Array(value.utf8)
        return true
    }

    var isEarly: Bool { false }

    func refusal(of exchange: Exchange) -> Int? { nil }
}

/// Hooks that run on one exchange, and all that can be seen of it: what they print, how each stage came out,
/// what became of the request.
struct FlowCase {
    enum Step {
        /// The driver has read the request's body.
        case body(String)
        case advance(milliseconds: Int64)
        /// The exchange is over, and the next begins.
        case end
        case respond(head: String)
        /// The status that the client was sent.
        case sent(Int)
        case run(HookStage)
        /// A message or frame comes.
        case item(
            WebSocketItem.Kind, WebSocketOpcode, from: TunnelSide, String, isFinal: Bool = true,
            isInjected: Bool = false)
        /// The ping that waits is answered after so many microseconds, or not in time.
        case pong(Int?)
    }

    var hooks: [(stage: HookStage, text: String)]
    var request = FlowCase.request
    var configuration = ScriptFixture.configuration
    var facts: [FlowLeg: LegFacts] = [:]
    /// There is an open WebSocket.
    var isTunnel = false
    /// What the client's TLS has to say; none of it means that there is none.
    var tls: [ClientTLSFact: String] = [:]
    var upstreamTLS: UpstreamTLSFacts?
    var steps: [Step]
    var expected: [String]

    static let request = "GET /a/b?x=1&y=2 HTTP/1.1\nHost: example.test\n\n"

    /// One hook that runs once.
    init(
        in stage: HookStage = .request, _ text: String, request: String = FlowCase.request,
        configuration: String = ScriptFixture.configuration, facts: [FlowLeg: LegFacts] = [:],
        before: [Step] = [], then steps: [Step] = [], _ expected: [String]
    ) {
        hooks = [(stage, text)]
        self.request = request
        self.configuration = configuration
        self.facts = facts
        self.steps = before + [.run(stage)] + steps
        self.expected = expected
    }

    /// The same over TLS.
    func over(_ tls: [ClientTLSFact: String]) -> FlowCase {
        var copy = self
        copy.tls = tls
        return copy
    }

    /// The same towards an upstream over TLS.
    func withUpstream(_ change: (inout UpstreamTLSFacts) -> Void) -> FlowCase {
        var copy = self
        var facts = UpstreamTLSFacts()
        change(&facts)
        copy.upstreamTLS = facts
        return copy
    }

    /// Hooks on an open WebSocket.
    init(
        tunnel hooks: [(stage: HookStage, text: String)], _ steps: [Step], facts: [FlowLeg: LegFacts] = [:],
        _ expected: [String]
    ) {
        self.hooks = hooks
        self.steps = steps
        self.facts = facts
        self.expected = expected
        isTunnel = true
    }

    /// Several, in the order of the steps.
    init(
        hooks: [(stage: HookStage, text: String)], request: String = FlowCase.request,
        steps: [Step], _ expected: [String]
    ) {
        self.hooks = hooks
        self.request = request
        self.steps = steps
        self.expected = expected
    }

    /// What can be seen, line by line. With `freezes`, the exchange is frozen before each step.
    func outcome(bodies: [LuaFunction.BoxedBody]? = nil, freezes: Bool = false) throws -> [String] {
        let scripts = hooks.map { hook in
            Script.test(.hook(hook.stage, ScriptText(text: Array(hook.text.utf8), file: "case.lua", line: 1)))
        }
        let fixture = try ScriptFixture(
            scripts, request: request, configuration: configuration, bodies: bodies)
        fixture.facts = facts
        fixture.isOpenTunnel = isTunnel
        fixture.knownUpstreamTLS = upstreamTLS
        if !tls.isEmpty { fixture.exchange.client.tls = KnownTLS(tls) }
        var lines: [String] = []
        for step in steps {
            if freezes { fixture.freeze() }
            try perform(step, on: fixture, &lines)
            lines += fixture.host.lines.map(Self.shortened)
            fixture.host.lines = []
            lines += fixture.ended.compactMap { Self.text(of: $0.result) }
            fixture.ended = []
            lines += fixture.judged.map { "then " + Self.text(of: $0.verdict, $0.payload) }
            fixture.judged = []
            lines += fixture.events
            fixture.events = []
        }
        lines += fixture.closings.map { "closed \($0.code) \($0.reason)" }
        if fixture.bodyReads > 0 { lines.append("body was asked for: \(fixture.bodyReads)") }
        if !fixture.flow.route.isEmpty {
            let names = fixture.flow.route.map { String(decoding: $0, as: UTF8.self) }
            lines.append("route: " + names.joined(separator: ", "))
        }
        if let body = fixture.flow.replacementBody {
            lines.append("body: " + String(decoding: body, as: UTF8.self))
        }
        if !fixture.flow.tags.isEmpty {
            let names = fixture.flow.tags.map { String(decoding: $0, as: UTF8.self) }
            lines.append("tags: " + names.joined(separator: ", "))
        }
        if fixture.interpreter.timerCount > 0 { lines.append("timers: \(fixture.interpreter.timerCount)") }
        fixture.interpreter.end(fixture.flow)
        if fixture.interpreter.timerCount > 0 { lines.append("timers outlive the exchange") }
        if fixture.interpreter.waitingCalls > 0 { lines.append("calls outlive the exchange") }
        return lines
    }

    private func perform(_ step: Step, on fixture: ScriptFixture, _ lines: inout [String]) throws {
        switch step {
        case .run(let stage):
            if let line = Self.text(of: fixture.run(stage)) { lines.append(line) }
        case .body(let text): fixture.interpreter.bodyReceived(Array(text.utf8), of: fixture.flow)
        case .advance(let time): fixture.advance(milliseconds: time)
        case .end: fixture.interpreter.end(fixture.flow)
        case .item(let kind, let opcode, let side, let text, let isFinal, let isInjected):
            let item = fixture.interpreter.items.take(
                kind, opcode, from: side, isFinal: isFinal, isInjected: isInjected)
            item.data = Array(text.utf8)
            let verdict = fixture.interpreter.run(item, of: fixture.flow, from: 0)
            lines.append(Self.text(of: verdict, item.data))
            if case .waiting = verdict { return }
            fixture.interpreter.items.giveBack(item)
        case .pong(let time):
            guard !fixture.pings.isEmpty else { break }
            fixture.pings.removeFirst().finish(time.map { .answered($0) } ?? .timedOut)
            fixture.interpreter.timePassed()
        case .sent(let status): fixture.thawExchange()?.status = status
        case .respond(let head):
            _ = fixture.thawExchange()
            let bytes = Array(head.replacing("\n", with: "\r\n").utf8)
            var parser = ResponseHeadParser()
            let progress = parser.parse(
                RawSpan(_elements: bytes.span), isHead: false, maxHead: 4096, into: &fixture.exchange.response
            )
            try #require(progress == .complete(length: bytes.count))
        }
    }

    /// A print's text, or of an error what it says, without place and traceback.
    private static func shortened(_ line: String) -> String {
        if line.hasPrefix("[notice] lua: ") { return String(line.dropFirst(14)) }
        let first = line.split(separator: "\n").first.map(String.init) ?? line
        let parts = first.split(separator: "case.lua:1: ", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count == 2 ? "error: " + parts[1] : first
    }

    private static func text(of verdict: WebSocketVerdict, _ payload: [UInt8]) -> String {
        switch verdict {
        case .pass: "pass"
        case .drop: "drop"
        case .rewritten: "replace " + String(decoding: payload, as: UTF8.self)
        case .replace(let payloads):
            "replace " + payloads.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "|")
        case .split(let payloads, let position):
            "split at \(position) "
                + payloads.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "|")
        case .close(let code, let reason): "close \(code) " + String(decoding: reason, as: UTF8.self)
        case .waiting: "waits"
        }
    }

    /// `nil` for what is not worth a line.
    private static func text(of result: StageResult) -> String? {
        switch result {
        case .proceed: nil
        case .waiting: "waiting"
        case .failed: "failed"
        case .piece(let piece): "piece \(piece)"
        case .grace(let time): "grace \(time)"
        case .answered(.internalRedirect(let target)): "goes to " + String(decoding: target, as: UTF8.self)
        case .answered(.close(let code, let reason)):
            "close \(code) " + String(decoding: reason, as: UTF8.self)
        case .answered(.respond(let response)):
            "answer \(response.status)"
                + response.fields.map { field in
                    " [\(String(decoding: field.name, as: UTF8.self)): \(String(decoding: field.value, as: UTF8.self))]"
                }.joined()
                + (response.body.map { " " + String(decoding: $0, as: UTF8.self) } ?? "")
        }
    }
}
