internal import CPCRE2

/// A compiled regular expression, in PCRE2's syntax as nginx uses it.
package final class Pattern: Sendable {
    package let source: String
    /// Named groups and their numbers, in the pattern's order.
    package let groupNames: [(name: String, group: Int)]
    package let groupCount: Int

    /// - Throws: `PatternError` with PCRE2's message and the offset at which it stands.
    package init(_ source: String, caseInsensitive: Bool = false) throws(PatternError) {
        fatalError("being written")
    }

    /// Matches `subject` and stores where each group begins and ends into `captures` (2 × (groupCount + 1)
    /// offsets; -1 where a group took no part).
    ///
    /// - Returns: whether it matched. A match limit that is exceeded counts as no match.
    package func firstMatch(in subject: Span<UInt8>, captures: inout [Int32]) -> Bool {
        fatalError("being written")
    }

    package func matches(_ subject: Span<UInt8>) -> Bool {
        fatalError("being written")
    }
}

package struct PatternError: Error, Equatable, Sendable {
    package var message: String
    /// Bytes from the pattern's start.
    package var offset: Int
}
