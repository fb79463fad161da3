import Config
import ProxyCore
import Wire

/// Exchanges under configurations that rewrite heads in each way there is, without a network.
final class RoutedExchange {
    let exchange: Exchange
    private let runtime: RuntimeConfiguration
    private let clock: Clock
    private let client: ClientFacts

    /// One of many settings of a proxied location.
    static func chosen(_ choices: inout Choices) -> RoutedExchange {
        // Holds because: libFuzzer calls from one thread.
        unsafe all[choices.below(all.count)]
    }

    // Holds because: see `chosen`.
    private nonisolated(unsafe) static let all: [RoutedExchange] = [
        "location / { proxy_pass http://127.0.0.1:9000; }",
        """
        proxy_http_version 1.1; underscores_in_headers on; ignore_invalid_headers off;
        location / {
            proxy_pass http://127.0.0.1:9000; proxy_set_header Connection $c; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header X-All "$request|$http_cookie|$args|$host|$remote_user"; proxy_pass_header Server;
            add_header X-Was "$upstream_http_x_was|$sent_http_location|$upstream_status" always;
            expires 1h; proxy_set_header Host $http_host;
        }
        """,
        """
        proxy_http_version 1.1; merge_slashes off; chunked_transfer_encoding off;
        location / { rewrite ^/(.*)/x$ /$1?y last; proxy_pass http://127.0.0.1:9000/b/; proxy_redirect http:// /z/; }
        location ~ ^/a(.*)$ { proxy_pass http://127.0.0.1:9000/r$1$is_args$args; proxy_set_header Host $1; }
        """,
    ].map { RoutedExchange($0) }

    convenience init(_ server: String) {
        let text = """
            events {}
            http {
                map $http_upgrade $c { default upgrade; '' ''; }
                server { listen 127.0.0.1:8080; server_name a *.b; \(server) }
            }
            """
        let result = Configuration.parse(text, builtinVariables: VariableTable.names)
        guard let configuration = result.configuration else { fatalError("\(result.diagnostics)") }
        self.init(configuration)
    }

    init(_ configuration: Configuration) {
        runtime = RuntimeConfiguration(
            configuration, environment: Environment(hostname: [UInt8]("here"), pid: 1) { ConnectionCounts() })
        clock = Clock()
        clock.advance(to: Moment(unix: 1_704_067_200_000, monotonic: 1_000_000))
        client = ClientFacts()
        client.address = [UInt8]("192.0.2.7")
        client.binaryAddress = [192, 0, 2, 7]
        client.serverAddress = [UInt8]("127.0.0.1")
        client.serverPort = 8080
        client.requests = 1
        client.connectedAt = clock.now
        exchange = Exchange(runtime: runtime, clock: clock)
    }

    /// Routes a request.
    func route(_ head: RequestHead, listener: Int = 0) -> RouteDecision {
        exchange.reset(runtime: runtime)
        exchange.request = head
        exchange.begin(listener: listener, client: client, startedAt: clock.now, random: (1, 2))
        return Router.route(exchange)
    }

    /// The head that goes upstream; `nil` for a request that does not.
    func upstream(_ head: RequestHead, listener: Int = 0) -> (head: [UInt8], facts: UpstreamRequest)? {
        guard case .proxy(let pass) = route(head, listener: listener) else { return nil }
        var uri: [UInt8] = []
        guard case .address = ProxyTarget.resolve(pass, for: exchange, uri: &uri) else { return nil }
        let settings = exchange.location.settings.values
        // A body in chunks can only go to HTTP/1.1 as it is.
        let length: Int64? =
            switch exchange.request.framing {
            case .none, .untilClose: 0
            case .length(let length): length
            case .chunked: settings.proxyHTTPVersion == .v1_0 ? 5 : nil
            }
        var output: [UInt8] = []
        let facts = UpstreamRequestBuilder.append(
            for: exchange, uri: uri, plan: ProxyPlan(settings, pass: pass).request,
            upgrade: UpgradePolicy.examine(exchange.request, allowed: settings.upgradeProtocols),
            bodyLength: length, to: &output)
        return (output, facts)
    }

    /// The head that goes to the client for this one of the upstream's.
    func downstream(
        _ response: ResponseHead, to request: RequestHead
    ) -> (head: [UInt8], facts: DownstreamResponse)? {
        guard case .proxy(let pass) = route(request) else { return nil }
        exchange.response = response
        exchange.status = response.status
        let plan = ProxyPlan(exchange.location.settings.values, pass: pass)
        var output: [UInt8] = []
        let facts = DownstreamResponseBuilder.append(
            for: exchange, plan: plan, mayKeepAlive: true, to: &output)
        return (output, facts)
    }
}
