internal import Config

/// `return`, errors and `error_page`.
extension Router {
    /// Answers with an error, a redirect or another status that has a built-in page, unless an `error_page` takes
    /// its place.
    ///
    /// `status` is 300…599; 494 to 497 are nginx's own, which an `error_page` may name and clients see as 400.
    /// `location` is where a redirect leads, absolute or not. The body goes to where an `error_page` leads, unless whoever
    /// found it bad, too large or late has discarded it.
    package static func fail(
        _ exchange: Exchange, status: Int, location: [UInt8]? = nil
    ) -> RouteDecision {
        exchange.errorStatus = status
        if StatusRules.endsConnection(status) { exchange.closesConnection = true }
        if let location { exchange.redirectURL = location }
        if let page = findErrorPage(exchange, status) { return send(page, exchange) }

        exchange.errorStatus = StatusRules.visible(status)
        // nginx's own statuses keep their pages, though clients see 400.
        var response = LocalResponse(status: status)
        response.location = exchange.redirectURL
        response.closes = exchange.closesConnection
        return .respond(response)
    }

    /// What an `error_page` makes of a status that the upstream or the driver came to.
    ///
    /// - Returns: `nil` when no `error_page` of the location names the status.
    package static func errorPage(_ exchange: Exchange, status: Int) -> RouteDecision? {
        let pages = exchange.location.settings.values.errorPages
        guard pages.contains(where: { $0.status == status }) else { return nil }
        return fail(exchange, status: status)
    }

    private static func findErrorPage(_ exchange: Exchange, _ status: Int) -> ErrorPage? {
        let settings = exchange.location.settings
        let pages = settings.values.errorPages
        guard !pages.isEmpty, !exchange.errorPageWasTried, exchange.remainingURIChanges > 0 else {
            return nil
        }
        if !settings.values.recursiveErrorPages { exchange.errorPageWasTried = true }
        return pages.first { $0.status == status }
    }

    private static func send(_ page: ErrorPage, _ exchange: Exchange) -> RouteDecision {
        switch page.response {
        case .unchanged: exchange.errorStatus = StatusRules.visible(page.status)
        case .fixed(let status): exchange.errorStatus = status
        case .fromPage: exchange.errorStatus = 0
        }
        let target = exchange.value(of: page.target)
        switch target.first {
        case ByteText.slash:
            asksByGet(exchange)
            return redirect(exchange, toURI: target)
        case UInt8(ascii: "@"): return enter(exchange, named: target)
        default:
            var status = 302
            if case .fixed(let given) = page.response, isRedirect(given) { status = given }
            exchange.errorStatus = status
            var response = LocalResponse(status: status, location: target)
            response.closes = exchange.closesConnection
            return .respond(response)
        }
    }

    private static func isRedirect(_ status: Int) -> Bool {
        switch status {
        case 301, 302, 303, 307, 308: true
        default: false
        }
    }

    // MARK: return

    /// Ends the connection without an answer; logs have the status.
    static func close(_ exchange: Exchange, status: Int) -> RouteDecision {
        exchange.status = status
        return .closeConnection
    }

    static func perform(_ action: ReturnAction, _ exchange: Exchange) -> RouteDecision {
        switch action {
        // Nobody is answered with these: 444 stands for that, 499 for a client that has gone.
        case .status(let status) where status == 444 || status == 499:
            return close(exchange, status: status)
        case .status(let status):
            if isRedirect(status) { return fail(exchange, status: status, location: []) }
            return status < 400 ? respond(exchange, status, body: []) : fail(exchange, status: status)
        case .redirect(let status, let url):
            return fail(exchange, status: status, location: value(of: url, status: status, exchange))
        case .text(let status, let text):
            let body = value(of: text, status: status, exchange)
            if isRedirect(status) { return fail(exchange, status: status, location: body) }
            return respond(exchange, status, body: body)
        }
    }

    /// What the template comes to where `$status` is that of the response it is for.
    private static func value(of template: Template, status: Int, _ exchange: Exchange) -> [UInt8] {
        let before = exchange.status
        exchange.status = exchange.errorStatus > 0 ? exchange.errorStatus : status
        defer { exchange.status = before }
        return exchange.value(of: template)
    }

    private static func respond(_ exchange: Exchange, _ status: Int, body: [UInt8]) -> RouteDecision {
        var response = LocalResponse(status: exchange.errorStatus > 0 ? exchange.errorStatus : status)
        // A redirect that an `error_page` writes the text of stays one.
        response.location = exchange.redirectURL
        response.contentType =
            exchange.carried.contentType ?? exchange.location.settings.mediaType(for: exchange.uri)
        response.body = body
        response.closes = exchange.closesConnection
        return .respond(response)
    }
}
