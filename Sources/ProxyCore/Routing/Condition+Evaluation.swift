internal import Config

extension Condition {
    /// Whether the condition of an `if` holds. A match leaves its groups in the exchange, and the lack of one none.
    ///
    /// Where `escapingGroups` is set, groups that are compared or make a path are escaped.
    ///
    /// - Returns: `nil` where that could not be found out: see `Exchange.match`.
    func holds(_ exchange: Exchange, escapingGroups: Bool) -> Bool? {
        switch self {
        case .isTrue(let template): return exchange.isTrue(template)
        case .equals(let left, let right): return Self.areEqual(left, right, exchange, escapingGroups)
        case .notEquals(let left, let right): return !Self.areEqual(left, right, exchange, escapingGroups)
        case .matches(let template, let pattern, let namedGroups, let negated):
            var subject = exchange.takeBuffer()
            exchange.render(template, into: &subject)
            let matches = exchange.match(pattern, subject, namedGroups: namedGroups)
            exchange.giveBack(subject)
            guard let matches else { return nil }
            if !matches { exchange.forgetGroups() }
            return matches != negated
        case .file(let test, let template, let negated):
            var path = exchange.takeBuffer()
            exchange.render(template, escapingGroups: escapingGroups, into: &path)
            // A path with a NUL would name another file to the system than it does here.
            let passes = !path.contains(0) && exchange.runtime.environment.fileTest(test, path)
            exchange.giveBack(path)
            return passes != negated
        }
    }

    private static func areEqual(
        _ left: Template, _ right: Template, _ exchange: Exchange, _ escapingGroups: Bool
    ) -> Bool {
        var leftValue = exchange.takeBuffer()
        var rightValue = exchange.takeBuffer()
        exchange.render(left, escapingGroups: escapingGroups, into: &leftValue)
        exchange.render(right, escapingGroups: escapingGroups, into: &rightValue)
        let areEqual = leftValue == rightValue
        exchange.giveBack(leftValue)
        exchange.giveBack(rightValue)
        return areEqual
    }
}
