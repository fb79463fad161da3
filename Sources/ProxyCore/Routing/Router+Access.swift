internal import Config

/// Who is let in: `allow` and `deny`, `auth_basic`, `auth_request`, and `satisfy` over them.
extension Router {
    /// What a check says of a request.
    package enum AccessVerdict: Sendable {
        /// It has nothing to say.
        case declines
        case letsIn
        /// Another check may let the client in all the same, by `satisfy any`. 401 or 403.
        case refuses(status: Int)
        /// The check came to nothing, and so does the request.
        case fails(status: Int)
    }

    /// How far a request has come through the checks of its location.
    struct AccessProgress {
        enum Check {
            case address, password, subrequest, none
            /// The 401 has been decided on, and waits by `auth_delay`.
            case delayed
        }

        var next = Check.address
        /// When the last check that takes time began.
        var delaysFrom: Int64 = 0
        /// With `satisfy any`, what the client is refused with unless a check lets it in; 0 for nothing.
        var refusal = 0
    }

    /// Goes on behind the check that the last decision asked for.
    package static func proceed(_ exchange: Exchange, after verdict: AccessVerdict) -> RouteDecision {
        weigh(verdict, exchange) ?? check(exchange)
    }

    /// Goes through the checks of the exchange's location, in nginx's order, up to one that the driver has to see to.
    static func check(_ exchange: Exchange) -> RouteDecision {
        while true {
            let verdict: AccessVerdict
            switch exchange.access.next {
            case .address:
                exchange.access.next = .password
                verdict = addressVerdict(exchange)
            case .password:
                exchange.access.next = .subrequest
                exchange.access.delaysFrom = exchange.clock.now.monotonic
                switch passwordCheck(exchange) {
                case .toDo(let check): return .checkPassword(check)
                case .done(let outcome): verdict = outcome
                }
            case .subrequest:
                exchange.access.next = .none
                guard let rule = exchange.location.authentication?.subrequest else { continue }
                return .ask(uri: rule.uri)
            case .none, .delayed:
                let status = exchange.access.refusal
                if status == 0 { return letIn(exchange) }
                if status == 403 { noteForbidden(exchange) }
                return turnAway(exchange, status: status)
            }
            if let decision = weigh(verdict, exchange) { return decision }
        }
    }

    private static func weigh(_ verdict: AccessVerdict, _ exchange: Exchange) -> RouteDecision? {
        let needsOne = exchange.location.authentication?.needsOne ?? false
        switch verdict {
        case .declines: return nil
        case .letsIn:
            guard needsOne else { return nil }
            exchange.access = AccessProgress(next: .none)
            exchange.carried.dropChallenges()
            return nil
        case .refuses(let status):
            guard needsOne else { return turnAway(exchange, status: status) }
            // How to log in is worth more than that it is forbidden.
            if exchange.access.refusal != 401 { exchange.access.refusal = status }
            return nil
        case .fails(let status): return fail(exchange, status: status)
        }
    }

    /// Answers with the status, a 401 by `auth_delay` only once it is time.
    ///
    /// What a password cost to be looked at is part of the wait, so that it does not tell whether there is such a user. As in
    /// nginx, where that holds the worker up, whose clock stands still meanwhile.
    private static func turnAway(_ exchange: Exchange, status: Int) -> RouteDecision {
        guard status == 401, let delay = exchange.location.authentication?.delay, delay > 0
        else { return fail(exchange, status: status) }
        exchange.note(fault: "delaying unauthorized request", level: .info)
        let end = exchange.access.delaysFrom + Int64(delay)
        let left = end - exchange.clock.now.monotonic
        guard left > 0 else { return fail(exchange, status: status) }
        exchange.access.next = .delayed
        return .delay(milliseconds: left)
    }

    // MARK: Subrequests

    /// Begins the subrequest that the last decision asked for. Whatever decisions it leads to are its own, until
    /// `locationAnswered`.
    package static func askLocation(_ uri: [UInt8], for exchange: Exchange) -> RouteDecision {
        exchange.beginSubrequest(uri)
        return run(exchange, from: .serverRewrite)
    }

    /// The subrequest has its response, of which `status` and `sentHead` are in the exchange as if it went to the client.
    ///
    /// - Parameters:
    ///   - exchange: it goes on with its request.
    ///   - isUpstreams: the response is an upstream's, and none of our own.
    /// - Returns: how to go on.
    package static func locationAnswered(_ exchange: Exchange, isUpstreams: Bool) -> RouteDecision {
        let status = exchange.status
        let assignments = exchange.mainRequest?.location.authentication?.subrequest?.assignments ?? []
        let values = assignments.map { exchange.value(of: $0.value) }
        var challenges = exchange.carried
        if isUpstreams { challenges.takeChallenges(of: exchange.response) }
        exchange.endSubrequest()
        exchange.access.delaysFrom = exchange.clock.now.monotonic
        exchange.status = 0
        for (assignment, value) in zip(assignments, values) {
            switch assignment.target {
            case .slot(let slot): exchange.assigned.set(slot, to: value)
            case .arguments: exchange.setArguments(value)
            }
        }
        switch status {
        case 200..<300: return proceed(exchange, after: .letsIn)
        case 401:
            exchange.carried.takeChallenges(of: challenges)
            return proceed(exchange, after: .refuses(status: status))
        case 403: return proceed(exchange, after: .refuses(status: status))
        default:
            exchange.note(fault: "auth request unexpected status: \(status)")
            return proceed(exchange, after: .fails(status: 500))
        }
    }

    // MARK: Addresses and passwords

    private static func noteForbidden(_ exchange: Exchange) {
        exchange.note(fault: "access forbidden by rule")
    }

    /// Finds out where the client is, as far as that is not known yet, and whether it is let in from there.
    private static func addressVerdict(_ exchange: Exchange) -> AccessVerdict {
        let location = exchange.location
        if let rules = location.realIP { ForwardedAddress.take(exchange, rules) }
        guard let rule = AccessControl.rule(for: exchange.client.binaryAddress, in: location.accessRules)
        else { return .declines }
        if rule.allows { return .letsIn }
        if location.authentication?.needsOne != true { noteForbidden(exchange) }
        return .refuses(status: 403)
    }

    private enum PasswordCheckNeeded {
        case toDo(PasswordCheck)
        case done(AccessVerdict)
    }

    private static func passwordCheck(_ exchange: Exchange) -> PasswordCheckNeeded {
        guard let rule = exchange.location.authentication?.password else { return .done(.declines) }
        let realm = exchange.value(of: rule.realm)
        if realm == PasswordRule.off { return .done(.declines) }
        guard let (user, password) = BasicCredentials.read(from: exchange.request) else {
            exchange.note(
                fault: "no user/password was provided for basic authentication", level: .info)
            return .done(challenge(exchange, realm: realm))
        }
        let file = String(decoding: exchange.value(of: rule.userFile), as: UTF8.self)
        return .toDo(
            PasswordCheck(
                user: user, password: password, file: Paths.path(file, under: rule.directory), realm: realm))
    }

    /// Asks the client for a name and a password.
    package static func challenge(_ exchange: Exchange, realm: [UInt8]) -> AccessVerdict {
        exchange.carried.challenge(realm: realm)
        return .refuses(status: 401)
    }
}

/// A name and a password that a client gave, to be looked up in a file.
///
/// An object, so that decisions are no larger for it.
package final class PasswordCheck: Sendable {
    package let user: [UInt8]
    package let password: [UInt8]
    /// Its path.
    package let file: String
    /// What is shown to a client that is to ask again.
    package let realm: [UInt8]

    fileprivate init(user: [UInt8], password: [UInt8], file: String, realm: [UInt8]) {
        self.user = user
        self.password = password
        self.file = file
        self.realm = realm
    }
}
