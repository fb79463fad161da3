internal import Config
internal import Patterns

extension Exchange {
    /// Matches a regular expression; when it matches, its groups become `$1`… and its named groups are assigned.
    /// When it does not, those of the match before stay.
    ///
    /// - Returns: whether it matches; `nil` where that took too many steps to find out, which is noted for the error log. A
    ///   client that can have a rule given up must not get past it.
    func match(_ pattern: Pattern, _ subject: [UInt8], namedGroups: [NamedGroup]) -> Bool? {
        switch pattern.firstMatch(in: subject.span, captures: &captures) {
        case .found: break
        case .notFound: return false
        case .gaveUp, .invalidText, .interrupted:
            note(
                fault: "the regular expression \"\(pattern.source)\" was given up after too many steps, on "
                    + "\(subject.count) bytes")
            return nil
        }
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

    /// Appends what the template comes to with the groups of a match, after which `$1`… are again what they were.
    ///
    /// - Returns: false where it does not match; then nothing is appended.
    func render(
        _ template: Template, into output: inout [UInt8], ifMatches pattern: GroupedPattern,
        _ subject: [UInt8]
    ) -> Bool {
        let outer = (captures, captureSubject)
        defer { (captures, captureSubject) = outer }
        guard match(pattern.pattern, subject, namedGroups: pattern.namedGroups) == true else { return false }
        render(template, into: &output)
        return true
    }

    /// Makes `$1`… empty, as an expression of the rewrite directives does that does not match.
    func forgetGroups() { captures.removeAll(keepingCapacity: true) }
}
