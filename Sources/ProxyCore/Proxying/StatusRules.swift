/// What nginx does for some statuses and not for others.
enum StatusRules {
    /// nginx's own beyond 4xx, which an `error_page` may name and clients see as 400.
    private static let internalStatuses = 494...497

    /// By those statuses, what their pages say below their headings.
    private static let details = [
        "Request Header Or Cookie Too Large",
        "The SSL certificate error",
        "No required SSL certificate was sent",
        "The plain HTTP request was sent to HTTPS port",
    ].map { Array($0.utf8) }

    /// What the page says below its heading; `nil` for a status that is shown as it is.
    static func pageDetail(_ status: Int) -> [UInt8]? {
        internalStatuses.contains(status) ? details[status - internalStatuses.lowerBound] : nil
    }

    /// The status that clients see.
    static func visible(_ status: Int) -> Int { internalStatuses.contains(status) ? 400 : status }

    /// After an error with this status the state of the connection is not to be relied on: it is not used again.
    static func endsConnection(_ status: Int) -> Bool {
        switch status {
        case 400, 413, 414, internalStatuses, 500, 501: true
        default: false
        }
    }
}
