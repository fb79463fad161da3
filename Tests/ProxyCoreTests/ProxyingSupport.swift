import Config
import ProxyCore
import Testing
import Wire

/// A configuration and a request that has been routed under it, for tests of what is built from them.
struct ProxyingFixture {
    let exchange: Exchange
    let configuration: Configuration
    let decision: RouteDecision

    /// Routes `request`, a whole head with lines ending in LF, under a server whose location `path` has the
    /// directives `location`, and whose `http` block begins with those of `http`.
    init(
        _ location: String, path: String = "/", http: String = "", request: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let text = """
            events {}
            http {
                \(http)
                server {
                    listen 127.0.0.1:8080;
                    server_name example.test;
                    location \(path) { \(location) }
                    location /error-page { proxy_pass http://127.0.0.1:9000; }
                }
            }
            """
        let result = ConfigurationCompiler.compile(
            text: text, name: "test.conf",
            environment: CompilationEnvironment(prefix: "/", builtinVariables: VariableTable.names))
        let messages = result.diagnostics.map { "\($0)" }.joined(separator: "\n")
        configuration = try #require(result.configuration, "\(messages)", sourceLocation: sourceLocation)
        let runtime = RuntimeConfiguration(
            configuration,
            environment: Environment(hostname: Array("here".utf8), pid: 1) { ConnectionCounts() })
        let clock = Clock()
        clock.advance(to: Moment(unix: Self.now * 1000, monotonic: 1_000_000))
        exchange = Exchange(runtime: runtime, clock: clock)
        let bytes = Array(request.replacingLineEnds.utf8)
        var parser = RequestHeadParser()
        let progress = parser.parse(RawSpan(_elements: bytes.span), limits: .init(), into: &exchange.request)
        try #require(progress == .complete(length: bytes.count), sourceLocation: sourceLocation)
        let client = ClientFacts()
        client.address = Array("192.0.2.7".utf8)
        client.binaryAddress = [192, 0, 2, 7]
        client.serverAddress = Array("127.0.0.1".utf8)
        client.serverPort = 8080
        client.requests = 1
        client.connectedAt = clock.now
        exchange.begin(listener: 0, client: client, startedAt: clock.now, random: (1, 2))
        decision = Router.route(exchange)
    }

    /// Mon, 01 Jan 2024 00:00:00 GMT
    static let now: Int64 = 1_704_067_200

    func pass(sourceLocation: SourceLocation = #_sourceLocation) throws -> ProxyPass {
        guard case .proxy(let pass) = decision else {
            throw Unexpected(what: "\(decision)")
        }
        return pass
    }

    struct Unexpected: Error { var what: String }

    // MARK: Upstream

    /// The head sent upstream, CRLF shown as LF, and what is known of it.
    func upstream(
        bodyLength: Int64? = 0, hooksLookInside: Bool = false
    ) throws -> (head: String, facts: UpstreamRequest) {
        let pass = try pass()
        var uri: [UInt8] = []
        _ = ProxyTarget.resolve(pass, for: exchange, uri: &uri)
        let settings = exchange.location.settings.values
        var head: [UInt8] = []
        let facts = UpstreamRequestBuilder.append(
            for: exchange, uri: uri, plan: ProxyPlan(settings, pass: pass).request,
            upgrade: UpgradePolicy.examine(exchange.request, allowed: settings.upgradeProtocols),
            bodyLength: bodyLength, hooksLookInside: hooksLookInside, to: &head)
        return (try head.textWithPlainLineEnds(), facts)
    }

    /// What `proxy_pass` comes to, as text: `group NAME`, `address …`, `resolve …` or the failure, and the URI.
    func target() throws -> String {
        var uri: [UInt8] = []
        let target = ProxyTarget.resolve(try pass(), for: exchange, uri: &uri)
        let text =
            switch target {
            case .group(let index): "group \(configuration.upstreams[index].name.text)"
            case .address(let address): "address \(address.text.text)"
            case .resolve(let name, let port): "resolve \(name.text):\(port)"
            case .failed(let reason): reason
            }
        return uri.isEmpty ? text : "\(text) \(uri.text)"
    }

    // MARK: Downstream

    /// The head sent to the client for this one of the upstream's.
    func downstream(
        _ response: String, toMethod method: String? = nil, mayKeepAlive: Bool = true
    ) throws -> (
        head: String, facts: DownstreamResponse
    ) {
        try receive(response, toMethod: method)
        return try downstream(mayKeepAlive: mayKeepAlive)
    }

    /// The head sent to the client for the one that was received.
    func downstream(mayKeepAlive: Bool = true) throws -> (head: String, facts: DownstreamResponse) {
        let plan = ProxyPlan(exchange.location.settings.values, pass: try pass())
        var head: [UInt8] = []
        let facts = DownstreamResponseBuilder.append(
            for: exchange, plan: plan, mayKeepAlive: mayKeepAlive, to: &head)
        return (try head.textWithPlainLineEnds(), facts)
    }

    /// Takes a response to a request that went upstream with `method`, where that is not the client's.
    func receive(_ response: String, toMethod method: String? = nil) throws {
        let bytes = Array(response.replacingLineEnds.utf8)
        var parser = ResponseHeadParser()
        let isHead = (method ?? exchange.method.text) == "HEAD"
        let progress = parser.parse(
            RawSpan(_elements: bytes.span), isHead: isHead, maxHead: 8192, into: &exchange.response)
        try #require(progress == .complete(length: bytes.count))
    }

    /// The whole response that the proxy makes itself.
    func local(_ response: LocalResponse? = nil, mayKeepAlive: Bool = true) throws -> (
        text: String, facts: DownstreamResponse
    ) {
        var made = response
        if made == nil, case .respond(let routed) = decision { made = routed }
        var bytes: [UInt8] = []
        let facts = LocalResponseBuilder.append(
            try #require(made), for: exchange, mayKeepAlive: mayKeepAlive, to: &bytes)
        return (bytes.text.replacing("\r\n", with: "\n"), facts)
    }
}

extension [UInt8] {
    var text: String { String(decoding: self, as: UTF8.self) }

    /// The lines, which must all end in CRLF, ending in LF.
    func textWithPlainLineEnds() throws -> String {
        let plain = text.replacing("\r\n", with: "\n")
        try #require(!plain.contains("\r"))
        try #require(plain.utf8.count { $0 == 10 } == count { $0 == 13 })
        return plain
    }
}

extension String {
    fileprivate var replacingLineEnds: String { replacing("\n", with: "\r\n") }
}
