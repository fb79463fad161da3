package import Config

/// What routing decided about a request.
package enum RouteDecision {
    case proxy(ProxyPass)
    /// A response of our own: `return`, a built-in page, a redirect.
    case respond(LocalResponse)
    /// The location has request hooks: `Router.proceed` says how to go on once they let the request pass.
    case runHooks
    /// `limit_req` or `auth_delay` has the request wait for so many milliseconds: `Router.goOn` says how to go on then.
    case delay(milliseconds: Int64)
    /// A variable of a script is waited for, by which the request is counted: then, `Router.goOn`.
    case awaitVariable
    /// The location asks for a password: `Router.proceed(_:after:)` takes what comes of looking it up.
    case checkPassword(PasswordCheck)
    /// The location asks that of this path by a subrequest: `Router.askLocation` begins it, and `Router.locationAnswered` takes
    /// what comes of it.
    case ask(uri: [UInt8])
    /// `return 444;` or `return 499;`, or a limit's status that nobody is answered with.
    case closeConnection
    case stubStatus
    case prometheusMetrics
}

/// A response that the proxy makes itself.
package struct LocalResponse {
    package var status: Int
    /// `Location`, for redirects; one that begins with a slash is completed when it is written.
    package var location: [UInt8]?
    package var contentType: [UInt8]?
    /// `nil`: the built-in page of the status.
    package var body: [UInt8]?
    /// Close the client's connection after it.
    package var closes = false
    /// Further fields, such as `Sec-WebSocket-Version: 13` on a 426.
    package var fields: [(name: [UInt8], value: [UInt8])] = []

    package init(status: Int, location: [UInt8]? = nil, contentType: [UInt8]? = nil, body: [UInt8]? = nil) {
        self.status = status
        self.location = location
        self.contentType = contentType
        self.body = body
    }
}
