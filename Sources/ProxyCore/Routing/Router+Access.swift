internal import Config

/// Who is let in: `allow` and `deny`, `auth_basic`, and `satisfy` over both.
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
        enum Check { case address, password, none }

        var next = Check.address
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
                exchange.access.next = .none
                switch passwordCheck(exchange) {
                case .toDo(let check): return .checkPassword(check)
                case .done(let outcome): verdict = outcome
                }
            case .none:
                let status = exchange.access.refusal
                if status == 0 { return letIn(exchange) }
                if status == 403 { noteForbidden(exchange) }
                return fail(exchange, status: status)
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
            guard needsOne else { return fail(exchange, status: status) }
            // How to log in is worth more than that it is forbidden.
            if exchange.access.refusal != 401 { exchange.access.refusal = status }
            return nil
        case .fails(let status): return fail(exchange, status: status)
        }
    }

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
package struct PasswordCheck: Sendable {
    package let user: [UInt8]
    package let password: [UInt8]
    /// Its path.
    package let file: String
    /// What is shown to a client that is to ask again.
    package let realm: [UInt8]
}
