/// The forms that a request target has (RFC 9112 §3.2).
package enum TargetForm: Sendable {
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
        } else if Self.connect.equals(bytes, method) {
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
    private static let connect = Method("CONNECT")
}

/// A method's name, to be compared byte for byte: methods distinguish case (RFC 9110 §9.1).
package struct Method: Sendable {
    private let word: UInt64
    private let length: Int

    /// - Parameter name: at most 8 bytes.
    package init(_ name: String) {
        let bytes = Array(name.utf8)
        precondition(bytes.count <= 8, "a method to compare with has at most 8 letters")
        length = bytes.count
        word = bytes.span.word(at: 0, length: bytes.count)
    }

    @inline(__always)
    package func equals(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        range.count == length && bytes.word(at: range.lowerBound, length: length) == word
    }

    package static let get = Method("GET")
    package static let head = Method("HEAD")
}

/// `host[:port]`, in the Host field and in targets (RFC 9110 §7.2, RFC 3986 §3.2).
package enum Authority {
    /// Whether the bytes at `range` name a host: a registered name, an IPv4 address or an address in
    /// brackets, and a port of 0...65535 or none. An empty host is invalid, and so is an empty label, as
    /// nginx has it.
    package static func isValid(_ bytes: Span<UInt8>, _ range: Range<Int>, requiresPort: Bool = false) -> Bool
    {
        guard !range.isEmpty else { return false }
        var position = range.lowerBound
        let end = range.upperBound
        if bytes[position] == UInt8(ascii: "[") {
            position &+= 1
            let start = position
            while position < end, ByteSet.addressLiteral.contains(bytes[position]) { position &+= 1 }
            guard position < end, bytes[position] == UInt8(ascii: "]"), position > start else { return false }
            position &+= 1
        } else {
            guard let nameEnd = registeredName(bytes, range) else { return false }
            position = nameEnd
        }
        guard position < end else { return !requiresPort }
        guard bytes[position] == UInt8(ascii: ":") else { return false }
        let port = (position &+ 1)..<end
        if port.isEmpty { return !requiresPort }
        guard port.count <= 5, let number = ASCII.decimal(bytes, port) else { return false }
        return number <= 65535
    }

    /// The end of the name that starts `range`, or `nil` when it is none.
    private static func registeredName(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int? {
        var position = range.lowerBound
        let end = range.upperBound
        while position < end {
            let byte = bytes[position]
            if ByteSet.hostName.contains(byte) {
                if byte == UInt8(ascii: "."), position &+ 1 < end, bytes[position &+ 1] == byte { return nil }
            } else if byte == UInt8(ascii: "%") {
                guard position &+ 2 < end, ASCII.hexadecimalDigit(bytes[position &+ 1]) != nil,
                    ASCII.hexadecimalDigit(bytes[position &+ 2]) != nil
                else { return nil }
                position &+= 2
            } else {
                break
            }
            position &+= 1
        }
        return position > range.lowerBound ? position : nil
    }
}
