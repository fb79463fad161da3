internal import Wire

/// Writes response heads.
struct DemoResponse {
    enum Body {
        /// Whole, and sent with the head.
        case bytes([UInt8])
        /// Follows, this long.
        case length(Int64)
        /// Follows, in chunks.
        case chunked
        /// The status has none.
        case none
    }

    var status: Int
    var contentType = "text/plain; charset=utf-8"
    var fields: [(name: String, value: String)] = []
    var body: Body

    static func text(_ status: Int, _ text: String) -> DemoResponse {
        DemoResponse(status: status, body: .bytes(Array(text.utf8)))
    }

    /// An answer that says no more than its status.
    static func plain(_ status: Int) -> DemoResponse {
        // RFC 9110 §6.4.1: these have no content.
        if status == 204 || status == 205 || status == 304 {
            return DemoResponse(status: status, body: .none)
        }
        return text(status, "\(status) \(reason(status))\n")
    }

    /// Appends the head and, unless the request was a HEAD, a body that is whole.
    ///
    /// - Parameters:
    ///   - output: what is to be sent.
    ///   - isHead: the request was a HEAD, so the body is only told of.
    ///   - keepsAlive: the connection serves another request after this.
    ///   - unixTime: milliseconds since 1970.
    func append(to output: inout [UInt8], isHead: Bool, keepsAlive: Bool, unixTime: Int64) {
        var head = "HTTP/1.1 \(status) \(Self.reason(status))\r\n"
        head += "Server: switchyard-demo\r\nDate: \(HTTPDate.text(unixTime / 1000))\r\n"
        switch body {
        case .bytes(let bytes): head += "Content-Type: \(contentType)\r\nContent-Length: \(bytes.count)\r\n"
        case .length(let length): head += "Content-Type: \(contentType)\r\nContent-Length: \(length)\r\n"
        case .chunked: head += "Content-Type: \(contentType)\r\nTransfer-Encoding: chunked\r\n"
        // RFC 9112 §6.3: a 205 is the one of these that is not framed by its status.
        case .none: if status == 205 { head += "Content-Length: 0\r\n" }
        }
        for field in fields { head += "\(field.name): \(field.value)\r\n" }
        if !keepsAlive { head += "Connection: close\r\n" }
        head += "\r\n"
        output.append(contentsOf: head.utf8)
        if case .bytes(let bytes) = body, !isHead { output.append(contentsOf: bytes) }
    }

    static func reason(_ status: Int) -> String { reasons[status] ?? "Status \(status)" }

    private static let reasons = [
        200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 205: "Reset Content",
        206: "Partial Content", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
        307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized",
        403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout",
        409: "Conflict",
        410: "Gone", 413: "Content Too Large", 414: "URI Too Long", 418: "I'm a Teapot",
        422: "Unprocessable Content", 426: "Upgrade Required", 429: "Too Many Requests",
        500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
        504: "Gateway Timeout", 505: "HTTP Version Not Supported",
    ]
}

/// Dates of HTTP (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
enum HTTPDate {
    private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// The date of a number of seconds since 1970, which is not negative.
    static func text(_ seconds: Int64) -> String {
        let dayNumber = seconds / 86_400
        let rest = seconds % 86_400
        // Counted from a 1st of March, leap days come last, so that a month's start is a linear formula
        // and centuries and years are plain divisions.
        let shifted = dayNumber + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 2 : monthFromMarch - 10
        let year = yearOfEra + era * 400 + (month < 2 ? 1 : 0)
        return "\(days[Int(dayNumber % 7)]), \(two(day)) \(months[Int(month)]) \(year) "
            + "\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60)) GMT"
    }

    private static func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
