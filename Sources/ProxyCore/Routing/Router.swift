package import Config
internal import Wire

/// Leads a request to what answers it, through nginx's phases in nginx's order.
///
/// The server's rewrite directives run; then a location is chosen, and its rewrite directives run; where these
/// changed the URI, a location is chosen anew. What may be asked of the location is checked, and its handler is the
/// decision. An error on the way, or one that the driver reports later, goes through `error_page`, which may send
/// the request through the phases again.
///
///     serverRewrite → location → locationRewrite → limits → access → content
///                        ↑______________|
package enum Router {
    enum Phase { case serverRewrite, location, locationRewrite, limits, access }

    /// Decides about a request whose head was parsed and which `Exchange.begin` took up.
    package static func route(_ exchange: Exchange) -> RouteDecision {
        if let status = takeUp(exchange) ?? tlsRefusal(exchange) {
            if status == 400 { exchange.bodyIsDiscarded = true }
            return fail(exchange, status: status)
        }
        if let rules = exchange.location.realIP { ForwardedAddress.take(exchange, rules) }
        return run(exchange, from: .serverRewrite)
    }

    /// Finds the location that a request which nobody waits for any more would have come to first, for the logs there. Nothing is run
    /// on the way: no `rewrite`, no limit, no hook.
    ///
    /// - Returns: the status that the request would have been refused with, or `nil`.
    package static func locate(_ exchange: Exchange) -> Int? {
        if let status = takeUp(exchange) { return status }
        // The locations of a server are not for clients that it does not know.
        guard tlsRefusal(exchange) == nil else { return nil }
        if let rules = exchange.location.realIP { ForwardedAddress.take(exchange, rules) }
        if case .unknown = LocationSearch.find(exchange) { exchange.location = exchange.server.root }
        return nil
    }

    /// Sends the request to another URI of its server, as `X-Accel-Redirect` does: a path with or without a query,
    /// or `@name`.
    package static func redirect(_ exchange: Exchange, toURI uri: [UInt8]) -> RouteDecision {
        if uri.first == UInt8(ascii: "@") { return enter(exchange, named: uri) }
        let end = uri.firstIndex(of: ByteText.question) ?? uri.endIndex
        return redirect(exchange, path: uri[..<end], arguments: uri[end...].dropFirst())
    }

    /// As `redirect(_:toURI:)`, for a path that is escaped as a client would write it. It is brought into its normal
    /// form; one that has none is an error, 500.
    package static func redirect(_ exchange: Exchange, toEscapedURI uri: [UInt8]) -> RouteDecision {
        guard uri.first == ByteText.slash else { return redirect(exchange, toURI: uri) }
        let end = uri.firstIndex(of: ByteText.question) ?? uri.endIndex
        guard let path = normalPath(of: uri, for: exchange) else { return fail(exchange, status: 500) }
        return redirect(exchange, path: path[...], arguments: uri[end...].dropFirst())
    }

    /// The normal form of the path that an escaped URI begins with; `nil` for one that leads above the root, or has a
    /// malformed escape.
    package static func normalPath(of uri: [UInt8], for exchange: Exchange) -> [UInt8]? {
        let end = uri.firstIndex(of: ByteText.question) ?? uri.endIndex
        var normalizer = URINormalizer(mergeSlashes: exchange.server.connection.mergeSlashes)
        var path: [UInt8] = []
        return normalizer.normalize(uri[..<end], into: &path) ? path : nil
    }

    // MARK: The request's own host and URI

    /// - Returns: the status to refuse the request with, or `nil`.
    private static func takeUp(_ exchange: Exchange) -> Int? {
        if let status = takeUpURI(exchange) {
            note(
                status == 405 ? "client sent CONNECT method" : "client sent invalid request",
                "while reading client request line", exchange)
            return status
        }
        guard takeUpHost(exchange) else {
            note("client sent invalid host header", "while reading client request headers", exchange)
            return 400
        }
        let serverIsKnown = exchange.chooseServer()
        exchange.location = exchange.server.root
        guard serverIsKnown else { return 500 }
        if !exchange.hostIsGiven { exchange.host.append(contentsOf: exchange.server.name) }
        // A tunnel to wherever the client asks is no business of a reverse proxy, and an echo of the request would
        // show what the proxy adds to it. Whoever asked for a tunnel may send on what is no request.
        guard Method.connect.equals(exchange.method) || Method.trace.equals(exchange.method) else {
            return nil
        }
        exchange.closesConnection = true
        let method = Method.connect.equals(exchange.method) ? "CONNECT" : "TRACE"
        note("client sent \(method) method", "while reading client request headers", exchange)
        return 405
    }

    private static func note(_ refusal: String, _ phase: StaticString, _ exchange: Exchange) {
        exchange.note(fault: "\(refusal) \(phase)", level: .info)
    }

    /// Takes up what there is of a head that was refused behind its request line. What is wrong with the parts makes no
    /// difference any more: it is then as if they had not come.
    static func takeUpRefused(_ exchange: Exchange) {
        guard !exchange.request.target.isEmpty, takeUpURI(exchange) == nil else { return }
        guard takeUpHost(exchange) else {
            exchange.host.clear()
            exchange.hostIsGiven = false
            return
        }
        // One that might have come yet leaves the first server; none at all is a name of its own.
        guard exchange.hostIsGiven || exchange.parser.sawEnd else { return }
        let first = exchange.server
        let isKnown = exchange.chooseServer()
        exchange.location = exchange.server.root
        // The pages of a server are not for clients that it does not know.
        let refusal = exchange.listenerIsTLS ? exchange.client.tls?.refusal(of: exchange) : nil
        if !isKnown || refusal != nil && refusal != 421 {
            exchange.server = first
            exchange.location = first.root
        }
    }

    /// - Returns: the status to refuse the request with, or `nil`.
    private static func takeUpURI(_ exchange: Exchange) -> Int? {
        let parts = exchange.request.targetParts
        switch parts.form {
        case .origin: break
        case .absolute: exchange.requestURI = pathAndQuery(parts, end: exchange.request.target.upperBound)
        case .authority:
            exchange.closesConnection = true
            return 405
        // nginx knows no `OPTIONS *`.
        case .asterisk: return 400
        }

        if parts.path.isEmpty {
            exchange.uri.append(ByteText.slash)
        } else {
            // The default server's setting counts, as the host is not known to be good yet.
            var normalizer = URINormalizer(mergeSlashes: exchange.server.connection.mergeSlashes)
            let path = exchange.request.bytes[parts.path]
            guard normalizer.normalize(path, into: &exchange.uri) else {
                exchange.uri.removeAll(keepingCapacity: true)
                return 400
            }
            exchange.pathHadEscapes = normalizer.hadEscapes
            exchange.pathHadPlus = normalizer.hadPlus
        }
        if let query = parts.query { exchange.arguments.append(contentsOf: exchange.request.bytes[query]) }
        return nil
    }

    private static func tlsRefusal(_ exchange: Exchange) -> Int? {
        // What the listener is now counts: the connection may be older than the reload that made it so.
        guard exchange.listenerIsTLS else { return nil }
        if let tls = exchange.client.tls { return tls.refusal(of: exchange) }
        guard !exchange.client.isInMemory else { return nil }
        exchange.client.isOutdated = true
        return 497
    }

    /// What an absolute target stands for; the last slash of `http://host` serves where it has neither.
    private static func pathAndQuery(_ parts: RequestTarget, end: Int) -> Range<Int> {
        if parts.path.isEmpty, parts.query == nil {
            return (parts.authority.lowerBound - 1)..<parts.authority.lowerBound
        }
        return parts.authority.upperBound..<end
    }

    /// The host of an absolute target comes before the Host field (RFC 9112 §3.2.2).
    private static func takeUpHost(_ exchange: Exchange) -> Bool {
        var text = exchange.request.targetParts.authority
        if text.isEmpty {
            let index = exchange.request.hostIndex
            guard exchange.request.fields.indices.contains(index) else { return true }
            text = exchange.request.fields[index].value
        }
        exchange.hostIsGiven = true
        let bytes = exchange.request.bytes
        return HostName.append(bytes.span.extracting(text), to: &exchange.host)
    }

    // MARK: Phases

    static func run(_ exchange: Exchange, from first: Phase) -> RouteDecision {
        var phase = first
        while true {
            switch phase {
            case .serverRewrite:
                exchange.location = exchange.server.root
                switch RewriteScript.run(exchange.server.rewrites, exchange, ofServer: true) {
                case .decided(let decision): return decision
                case .ended: phase = .location
                }

            case .location:
                if let decision = chooseLocation(exchange) { return decision }
                phase = .locationRewrite

            case .locationRewrite:
                let instructions = isServerRoot(exchange) ? [] : exchange.location.rewrites
                switch RewriteScript.run(instructions, exchange, ofServer: false) {
                case .decided(let decision): return decision
                case .ended(uriChanged: true):
                    guard countURIChange(exchange, "processing", exchange.uri) else {
                        return fail(exchange, status: 500)
                    }
                    phase = .location
                case .ended(uriChanged: false):
                    phase = .limits
                }

            case .limits:
                if exchange.location.hasLimits, let decision = limit(exchange) { return decision }
                phase = .access

            case .access:
                // As in nginx, a subrequest is let in anywhere.
                if exchange.isSubrequest { return content(exchange) }
                guard exchange.location.checksAccess else { return letIn(exchange) }
                exchange.access = AccessProgress()
                return check(exchange)
            }
        }
    }

    /// Nothing that the location asks of its clients is in the way any more.
    static func letIn(_ exchange: Exchange) -> RouteDecision {
        if let scripts = exchange.scripts, !exchange.passedRequestHooks,
            scripts.hasRequestHooks(in: exchange.location.settings)
        {
            return .runHooks
        }
        return content(exchange)
    }

    /// The request hooks of the location have let the request pass. Where they chose the upstream, `pass` serves a
    /// location that has no handler of its own.
    package static func proceed(_ exchange: Exchange, routedBy pass: ProxyPass? = nil) -> RouteDecision {
        exchange.passedRequestHooks = true
        if let pass, exchange.lacksHandler { return .proxy(pass) }
        return content(exchange)
    }

    private static func isServerRoot(_ exchange: Exchange) -> Bool {
        exchange.location === exchange.server.root
    }

    /// - Returns: false when the request has changed its URI too often, which is noted for the error log.
    static func countURIChange(_ exchange: Exchange, _ doing: StaticString, _ uri: [UInt8]) -> Bool {
        if exchange.remainingURIChanges > 0 { exchange.remainingURIChanges -= 1 }
        if exchange.remainingURIChanges > 0 { return true }
        exchange.note(
            fault:
                "rewrite or internal redirection cycle while \(doing) \"\(String(decoding: uri, as: UTF8.self))\""
        )
        return false
    }

    /// Sets the location for the exchange's URI, or decides at once.
    private static func chooseLocation(_ exchange: Exchange) -> RouteDecision? {
        exchange.location = exchange.server.root
        exchange.handler = .none
        exchange.passedRequestHooks = false
        let found = LocationSearch.find(exchange)
        if case .unknown = found {
            exchange.location = exchange.server.root
            return fail(exchange, status: 500)
        }
        let location = exchange.location
        if location.isInternal, !exchange.isInternal { return fail(exchange, status: 404) }
        exchange.handler = location.handler
        applyLimitExcept(exchange)
        if let length = excessiveLength(exchange) {
            exchange.note(fault: "client intended to send too large body: \(length) bytes")
            exchange.bodyIsDiscarded = true
            return fail(exchange, status: 413)
        }
        guard case .slashMissing(let name) = found else { return nil }
        var url: [UInt8] = []
        URIEscape.appendPath(name[...], to: &url)
        if !exchange.arguments.isEmpty {
            url.append(ByteText.question)
            url.append(contentsOf: exchange.arguments)
        }
        return fail(exchange, status: 301, location: url)
    }

    private static func applyLimitExcept(_ exchange: Exchange) {
        guard let limit = exchange.location.limitExcept else { return }
        if !limit.methods.contains(exchange.method) { enterBlock(limit.location, exchange) }
    }

    /// Lets the settings of an `if` or `limit_except` block take over, and its handler if it has one.
    static func enterBlock(_ block: Location, _ exchange: Exchange) {
        exchange.location = block
        if case .none = block.handler { return }
        exchange.handler = block.handler
    }

    /// What takes the place of the request's target is asked for by GET, or by HEAD as before.
    static func asksByGet(_ exchange: Exchange) {
        guard !Method.head.equals(exchange.method) else { return }
        exchange.method.clear()
        Method.get.append(to: &exchange.method)
    }

    /// The body's length, where it is above what the location takes.
    private static func excessiveLength(_ exchange: Exchange) -> Int64? {
        let limit = exchange.location.settings.values.clientMaxBodySize
        guard limit > 0, !exchange.bodyIsDiscarded, case .length(let length) = exchange.request.framing else {
            return nil
        }
        return length > Int64(limit) ? length : nil
    }

    private static func content(_ exchange: Exchange) -> RouteDecision {
        switch exchange.handler {
        case .none: return fail(exchange, status: 404)
        case .proxy(let pass): return .proxy(pass)
        case .stubStatus:
            guard Method.get.equals(exchange.method) || Method.head.equals(exchange.method) else {
                return fail(exchange, status: 405)
            }
            return .stubStatus
        case .prometheusMetrics: return .prometheusMetrics
        }
    }

    // MARK: Internal redirects

    static func redirect(
        _ exchange: Exchange, path: ArraySlice<UInt8>, arguments: ArraySlice<UInt8>
    ) -> RouteDecision {
        // The slices may be of the very arrays that are replaced.
        let path = Array(path)
        guard countURIChange(exchange, "internally redirecting to", path) else {
            return fail(exchange, status: 500)
        }
        let arguments = Array(arguments)
        exchange.uri = path
        exchange.arguments = arguments
        exchange.forgetProxying()
        exchange.isInternal = true
        exchange.uriChanged = true
        exchange.locationMatchesURI = true
        return run(exchange, from: .serverRewrite)
    }

    static func enter(_ exchange: Exchange, named name: [UInt8]) -> RouteDecision {
        guard countURIChange(exchange, "redirecting to the named location", name), !exchange.uri.isEmpty
        else {
            return fail(exchange, status: 500)
        }
        guard let location = exchange.server.namedLocations[name] else {
            exchange.note(
                fault: "could not find named location \"\(String(decoding: name, as: UTF8.self))\"")
            return fail(exchange, status: 500)
        }
        exchange.forgetProxying()
        exchange.isInternal = true
        exchange.location = location
        exchange.passedRequestHooks = false
        exchange.handler = location.handler
        applyLimitExcept(exchange)
        return run(exchange, from: .locationRewrite)
    }
}
