/// The forms that a request target has (RFC 9112 §3.2).
package enum TargetForm: UInt8, Sendable {
    /// `/path?query`
    case origin
    /// `http://host/path?query`, with http or https
    case absolute
    /// `host:port`, of CONNECT only; `CONNECT /` is taken as `origin`. nginx answers either with 405.
    case authority
    /// `*`, of OPTIONS only
    case asterisk
}

/// Where the parts of a request target stand.
package struct RequestTarget: Sendable {
    package var form = TargetForm.origin
    /// `host[:port]` in `absolute` and `authority`; otherwise empty.
    package var authority = Range<Int>.empty
    /// Starts with a slash, or is empty where an absolute form has none.
    package var path = Range<Int>.empty
    /// Behind the question mark; `nil` without one.
    package var query: Range<Int>?

    package init() {}

    /// Takes apart the target at `range`; `nil` when it has none of the forms.
    ///
    /// The bytes are known to be neither controls nor spaces. Bytes above 127 pass, as nginx lets them:
    /// senders of unescaped UTF-8 exist. A fragment does not: readers disagree on whether it is part of the
    /// path.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>, method: Range<Int>) {
        let first = bytes[range.lowerBound]
        if first == UInt8(ascii: "/") {
            guard setPath(bytes, range) else { return nil }
        } else if first == UInt8(ascii: "*") {
            guard range.count == 1, Self.options.equals(bytes, method) else { return nil }
            form = .asterisk
        } else if Method.connect.equals(bytes, method) {
            // RFC 9112 §3.2.3: host and port, neither left out.
            guard Authority.isValid(bytes, range, requiresPort: true) else { return nil }
            form = .authority
            authority = range
        } else {
            let schemeEnd = bytes.first(UInt8(ascii: ":"), in: range)
            let scheme = range.lowerBound..<schemeEnd
            guard Self.http.matches(bytes, scheme) || Self.https.matches(bytes, scheme),
                schemeEnd + 3 < range.upperBound, bytes[schemeEnd + 1] == UInt8(ascii: "/"),
                bytes[schemeEnd + 2] == UInt8(ascii: "/")
            else { return nil }
            form = .absolute
            let start = schemeEnd + 3
            var end = start
            while end < range.upperBound, bytes[end] != UInt8(ascii: "/"), bytes[end] != UInt8(ascii: "?") {
                end &+= 1
            }
            authority = start..<end
            // Userinfo is refused with all else that is no host: RFC 9110 §4.2.4 deprecates it as a trap.
            guard Authority.isValid(bytes, authority, requiresPort: false),
                setPath(bytes, end..<range.upperBound)
            else { return nil }
        }
    }

    /// Splits path and query; false when there is a fragment.
    private mutating func setPath(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        path = range
        for position in range {
            let byte = bytes[position]
            if byte == UInt8(ascii: "?"), query == nil {
                path = range.lowerBound..<position
                query = (position &+ 1)..<range.upperBound
            } else if byte == UInt8(ascii: "#") {
                return false
            }
        }
        return true
    }

    mutating func shift(by offset: Int) {
        authority = authority.shifted(by: form == .absolute || form == .authority ? offset : 0)
        path = path.shifted(by: form == .absolute || form == .origin ? offset : 0)
        query = query?.shifted(by: offset)
    }

    private static let http: Keyword = "http"
    private static let https: Keyword = "https"
    private static let options = Method("OPTIONS")
}
