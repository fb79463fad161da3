internal import CPCRE2

/// How a regular expression is read.
package struct PatternOptions: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let caseInsensitive = PatternOptions(rawValue: 1)
    /// `^` and `$` are at each line's ends too.
    package static let multiline = PatternOptions(rawValue: 2)
    /// `.` matches a line's end too.
    package static let dotMatchesAll = PatternOptions(rawValue: 4)
    /// White space and comments in the pattern say nothing.
    package static let extended = PatternOptions(rawValue: 8)
    /// Pattern and subject are UTF-8, and so are their characters.
    package static let utf8 = PatternOptions(rawValue: 16)
    /// A match begins where the search does.
    package static let anchored = PatternOptions(rawValue: 32)
    /// Groups may share a name.
    package static let duplicateNames = PatternOptions(rawValue: 64)

    var bits: UInt32 {
        var bits: UInt32 = 0
        if contains(.caseInsensitive) { bits |= UInt32(PCRE2_CASELESS) }
        if contains(.multiline) { bits |= UInt32(PCRE2_MULTILINE) }
        if contains(.dotMatchesAll) { bits |= UInt32(PCRE2_DOTALL) }
        if contains(.extended) { bits |= UInt32(PCRE2_EXTENDED) }
        if contains(.utf8) { bits |= UInt32(PCRE2_UTF) | UInt32(PCRE2_UCP) | UInt32(PCRE2_NEVER_BACKSLASH_C) }
        if contains(.anchored) { bits |= UInt32(PCRE2_ANCHORED) }
        if contains(.duplicateNames) { bits |= UInt32(PCRE2_DUPNAMES) }
        return bits
    }
}

/// How one search is made.
package struct MatchMode: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// An empty match is none where the search begins: how a search goes on after an empty match.
    package static let notEmptyAtStart = MatchMode(rawValue: 1)
    /// An earlier search of the same subject has found it to be the text that the pattern asks for.
    package static let knownText = MatchMode(rawValue: 2)

    var bits: UInt32 {
        var bits: UInt32 = 0
        if contains(.notEmptyAtStart) { bits |= UInt32(PCRE2_NOTEMPTY_ATSTART) }
        if contains(.knownText) { bits |= UInt32(PCRE2_NO_UTF_CHECK) }
        return bits
    }
}

/// What a search came to.
package enum MatchOutcome: Sendable {
    case found
    case notFound
    /// Given up: it would have taken too many steps, or too much memory.
    case gaveUp
    /// The subject is no UTF-8 where the pattern asks for it.
    case invalidText
    /// Broken off: see `Pattern.Search`.
    case interrupted

    init(_ result: Int32) {
        switch result {
        case 1...: self = .found
        case PCRE2_ERROR_NOMATCH, PCRE2_ERROR_PARTIAL: self = .notFound
        // Negative numbers, counted down from the first reason for which a text is not UTF-8.
        case PCRE2_ERROR_UTF8_ERR21...PCRE2_ERROR_UTF8_ERR1: self = .invalidText
        case Pattern.interrupted: self = .interrupted
        default: self = .gaveUp
        }
    }
}
