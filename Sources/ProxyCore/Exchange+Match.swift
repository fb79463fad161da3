internal import Config
internal import Patterns

extension Exchange {
    /// Matches a regular expression; when it matches, its groups become `$1`… and its named groups are assigned.
    /// When it does not, those of the match before stay.
    func match(_ pattern: Pattern, _ subject: [UInt8], namedGroups: [NamedGroup]) -> Bool {
        guard pattern.firstMatch(in: subject.span, captures: &captures) else { return false }
        captureSubject.removeAll(keepingCapacity: true)
        captureSubject.append(contentsOf: subject)
        for named in namedGroups {
            if let range = captureRange(named.group) {
                assigned.set(named.slot, to: captureSubject[range])
            } else {
                assigned.set(named.slot, to: [])
            }
        }
        return true
    }

    /// Makes `$1`… empty, as an expression of the rewrite directives does that does not match.
    func forgetGroups() { captures.removeAll(keepingCapacity: true) }
}
