import Config
import ProxyCore
import Testing
import Wire

/// A configuration to send requests through, as far as routing goes.
final class RoutingBench {
    let runtime: RuntimeConfiguration
    let clock = Clock()
    let client = ClientFacts()
    private let parserLimits = RequestHeadParser.Limits()

    /// Compiles the text, which stands inside an `http` block; it must be without faults.
    init(
        _ http: String,
        fileTest: @escaping @Sendable (Condition.FileTest, [UInt8]) -> Bool = { _, _ in false }
    ) throws {
        let result = ConfigurationCompiler.compile(
            text: "events {}\nhttp {\ndefault_type text/plain;\n\(http)\n}\n", name: "test.conf",
            environment: CompilationEnvironment(prefix: "/", builtinVariables: VariableTable.names))
        let messages = result.diagnostics.map { String(describing: $0) }.joined(separator: "\n")
        let configuration = try #require(result.configuration, "\(messages)")
        var environment = Environment(hostname: Array("machine".utf8), pid: 4711) {
            var counts = ConnectionCounts()
            counts.active = 4
            counts.reading = 1
            counts.writing = 2
            counts.waiting = 3
            return counts
        }
        environment.version = Array("1.2.3".utf8)
        environment.fileTest = fileTest
        runtime = RuntimeConfiguration(configuration, environment: environment)
        clock.advance(to: Moment(unix: 1_795_470_543_250, monotonic: 10_000))
        client.address = Array("192.0.2.7".utf8)
        client.binaryAddress = [192, 0, 2, 7]
        client.port = 5555
        client.serverAddress = Array("198.51.100.1".utf8)
        client.serverPort = 8080
        client.serial = 42
        client.requests = 3
        client.connectedAt = Moment(unix: 1_795_470_540_000, monotonic: 6_750)
    }

    /// An exchange with a request taken up, not yet routed.
    func exchange(
        _ target: String, host: String? = "main.test", method: String = "GET", fields: [String] = [],
        version: String = "HTTP/1.1"
    ) throws -> Exchange {
        var text = "\(method) \(target) \(version)\r\n"
        if let host { text += "Host: \(host)\r\n" }
        text += fields.map { $0 + "\r\n" }.joined() + "\r\n"
        let exchange = Exchange(runtime: runtime, clock: clock)
        var parser = RequestHeadParser()
        let bytes = Array(text.utf8)
        let progress = unsafe parser.parse(bytes.span.bytes, limits: parserLimits, into: &exchange.request)
        try #require(progress == .complete(length: bytes.count))
        exchange.begin(
            listener: 0, client: client, startedAt: Moment(unix: 1_795_470_543_000, monotonic: 9_750),
            random: (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210))
        return exchange
    }

    /// What becomes of a request: status and text, `-> URL` for a redirect, or where it is proxied to.
    func answer(
        _ target: String, host: String? = "main.test", method: String = "GET", fields: [String] = [],
        version: String = "HTTP/1.1"
    ) throws -> String {
        let exchange = try exchange(target, host: host, method: method, fields: fields, version: version)
        return describe(Router.route(exchange), exchange)
    }

    func describe(_ decision: RouteDecision, _ exchange: Exchange) -> String {
        switch decision {
        case .proxy(let pass):
            let keeps = exchange.uriChanged ? (exchange.locationMatchesURI ? " changed" : " whole") : ""
            let status = exchange.errorStatus > 0 ? " as \(exchange.errorStatus)" : ""
            let arguments = exchange.arguments.isEmpty ? "" : "?" + text(exchange.arguments)
            return
                "\(text(exchange.method)) \(text(exchange.uri))\(arguments) at \(text(pass.host))\(keeps)\(status)"
        case .respond(let response):
            if let location = response.location {
                return "\(response.status) -> \(text(RedirectURL.absolute(location, exchange)))"
                    + (response.body.map { " " + text($0) } ?? "")
            }
            guard let body = response.body else { return "\(response.status) page" }
            return body.isEmpty ? "\(response.status)" : "\(response.status) \(text(body))"
        case .runHooks: return "hooks"
        case .delay(let milliseconds): return "delay \(milliseconds)"
        case .awaitVariable: return "variable"
        case .checkPassword(let check):
            return
                "is \(text(check.user)):\(text(check.password)) in \(check.file), for \(text(check.realm))?"
        case .ask(let uri): return "ask \(text(uri))"
        case .closeConnection: return "close"
        case .stubStatus: return "stub_status"
        case .prometheusMetrics: return "prometheus_metrics"
        }
    }
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
