internal import Wire

/// The texts that go with statuses of our own making, in nginx's wording where it has one.
package enum ReasonPhrases {
    /// The reason phrase for a status line; empty when there is none.
    package static func phrase(_ status: Int) -> [UInt8] {
        var phrase: [UInt8] = []
        append(status, to: &phrase)
        return phrase
    }

    static func append(_ status: Int, to output: inout [UInt8]) {
        guard status >= 0, status + 1 < starts.count else { return }
        output.append(copying: text.span, Int(starts[status])..<Int(starts[status + 1]))
    }

    /// What the built-in page says; `nil` when the status has none.
    static func pageTitle(_ status: Int) -> [UInt8]? {
        if let detail = StatusRules.pageDetail(status) { return Array("400 ".utf8) + detail }
        guard status >= 300, status != 304, status != 300, !phrase(status).isEmpty else { return nil }
        var title: [UInt8] = []
        ASCII.appendDecimal(status, to: &title)
        title.append(ByteText.space)
        return title + (pageWording[status] ?? phrase(status))
    }

    /// Where nginx's page and its status line differ.
    private static let pageWording = [302: Array("Found".utf8), 401: Array("Authorization Required".utf8)]

    /// All phrases, one after the other. In arrays of their own, a response would count references to one that all workers
    /// share.
    private static let text = Array(rows.map(\.1).joined().utf8)

    /// Where in `text` the phrase of each status begins; it ends where that of the next begins.
    private static let starts: [UInt16] = {
        var starts: [UInt16] = []
        var end = 0
        var rest = rows[...]
        for status in 0...600 {
            starts.append(UInt16(end))
            guard let row = rest.first, row.0 == status else { continue }
            end += row.1.utf8.count
            rest.removeFirst()
        }
        return starts
    }()

    /// In the order of the statuses.
    private static let rows = [
        (101, "Switching Protocols"),
        (103, "Early Hints"),
        (200, "OK"),
        (201, "Created"),
        (202, "Accepted"),
        (204, "No Content"),
        (206, "Partial Content"),
        (301, "Moved Permanently"),
        (302, "Moved Temporarily"),
        (303, "See Other"),
        (304, "Not Modified"),
        (307, "Temporary Redirect"),
        (308, "Permanent Redirect"),
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (402, "Payment Required"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (405, "Not Allowed"),
        (406, "Not Acceptable"),
        (408, "Request Time-out"),
        (409, "Conflict"),
        (410, "Gone"),
        (411, "Length Required"),
        (412, "Precondition Failed"),
        (413, "Request Entity Too Large"),
        (414, "Request-URI Too Large"),
        (415, "Unsupported Media Type"),
        (416, "Requested Range Not Satisfiable"),
        (421, "Misdirected Request"),
        (426, "Upgrade Required"),
        (429, "Too Many Requests"),
        (500, "Internal Server Error"),
        (501, "Not Implemented"),
        (502, "Bad Gateway"),
        (503, "Service Temporarily Unavailable"),
        (504, "Gateway Time-out"),
        (505, "HTTP Version Not Supported"),
        (507, "Insufficient Storage"),
    ]
}
