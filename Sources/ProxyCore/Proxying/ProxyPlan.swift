package import Config
internal import Wire

/// Everything about a location with a `proxy_pass` that is worked out once rather than for each request.
package final class ProxyPlan: Sendable {
    package let request: ProxyHeaderPlan
    package let redirects: ProxyRedirectRewriter
    let cookies: ProxyCookieRewriter
    package let retry: RetryPolicy
    /// Fields of the upstream's response that the configuration keeps from the client.
    let hidden: FieldNameSet
    /// The request's body is a part of what is written besides it: it is read whole before the head goes out.
    package let asksForRequestBody: Bool

    package init(_ settings: Settings.Values, pass: ProxyPass, asksForRequestBody: Bool = false) {
        self.asksForRequestBody = asksForRequestBody
        request = ProxyHeaderPlan(settings)
        retry = RetryPolicy(settings)
        redirects = ProxyRedirectRewriter(settings.proxyRedirects, pass: pass)
        cookies = ProxyCookieRewriter(settings)
        hidden = FieldNameSet(settings.proxyHiddenHeaders)
    }
}

/// The plans of the locations that a worker has met. Confined to its worker.
package final class ProxyPlanCache {
    private var plans: [Key: ProxyPlan] = [:]
    private var last: (key: Key, plan: ProxyPlan)?
    private let configuration: Configuration
    private let bodyVariables: BodyVariables
    /// Some upstream chooses its servers by the request's body: where a script says the upstream, its plan does not tell.
    package let keysAskForRequestBody: Bool

    /// An `if` block inherits the `proxy_pass` of its location but has settings of its own, so both count.
    private struct Key: Hashable {
        var settings: ObjectIdentifier
        var pass: ObjectIdentifier
    }

    /// - Parameter configuration: kept, so that what the keys identify cannot go away while they are in use.
    package init(_ configuration: Configuration) {
        self.configuration = configuration
        bodyVariables = BodyVariables(configuration)
        keysAskForRequestBody = bodyVariables.areKeys
    }

    package func plan(for location: Location, _ pass: ProxyPass) -> ProxyPlan {
        let key = Key(settings: ObjectIdentifier(location.settings), pass: ObjectIdentifier(pass))
        if let last, last.key == key { return last.plan }
        let plan: ProxyPlan
        if let known = plans[key] {
            plan = known
        } else {
            let settings = location.settings.values
            plan = ProxyPlan(
                settings, pass: pass, asksForRequestBody: bodyVariables.areMentioned(in: settings, pass))
            plans[key] = plan
        }
        last = (key, plan)
        return plan
    }
}
