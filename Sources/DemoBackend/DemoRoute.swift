internal import Wire

/// What the demo backend serves, a row for each.
struct DemoRoute: Sendable {
    enum Action: Sendable {
        case page
        case hello
        case headers
        case status
        case slow
        case bytes
        case echo
        case webSocketEcho
        case chat
    }

    /// The whole path or, where it ends in a slash, what the path starts with; `/` is itself alone.
    let path: String
    let action: Action
    /// A request target to try.
    let example: String
    let summary: String

    static let all = [
        DemoRoute("/", .page, "a page that talks to the rest of these"),
        DemoRoute("/hello", .hello, "a short text"),
        DemoRoute("/headers", .headers, "the request head as it arrived"),
        DemoRoute("/status/", .status, "an answer with this status", example: "/status/503"),
        DemoRoute("/slow", .slow, "an answer after so many milliseconds", example: "/slow?ms=2000"),
        DemoRoute("/bytes", .bytes, "so many bytes, streamed", example: "/bytes?n=1000000"),
        DemoRoute("/echo", .echo, "POST: the body back as it arrives"),
        DemoRoute("/ws/echo", .webSocketEcho, "WebSocket: each message back"),
        DemoRoute("/chat", .chat, "WebSocket: each message to everybody"),
    ]

    init(_ path: String, _ action: Action, _ summary: String, example: String? = nil) {
        self.path = path
        self.action = action
        self.example = example ?? path
        self.summary = summary
    }

    var isWebSocket: Bool {
        switch action {
        case .webSocketEcho, .chat: true
        case .page, .hello, .headers, .status, .slow, .bytes, .echo: false
        }
    }

    /// The values of an `Allow` field.
    var methods: String {
        switch action {
        case .echo: "POST, PUT"
        case .webSocketEcho, .chat: "GET"
        case .page, .hello, .headers, .status, .slow, .bytes: "GET, HEAD"
        }
    }

    static func find(_ path: String) -> DemoRoute? {
        all.first { route in
            route.path == path
                || route.path.count > 1 && route.path.hasSuffix("/") && path.hasPrefix(route.path)
        }
    }
}

/// The parts of a request that the routes decide by.
struct DemoRequest {
    let method: String
    let path: String
    let query: String

    init(_ head: RequestHead) {
        func text(_ range: Range<Int>) -> String { String(decoding: head.bytes[range], as: UTF8.self) }
        method = text(head.method)
        path = head.targetParts.path.isEmpty ? "/" : text(head.targetParts.path)
        query = head.targetParts.query.map(text) ?? ""
    }

    /// A number in the query, `defaultValue` without one, and `nil` when it is none or out of `range`.
    func number(_ name: String, default defaultValue: Int64, in range: ClosedRange<Int64>) -> Int64? {
        for pair in query.split(separator: "&") where pair.hasPrefix(name + "=") {
            guard let number = Int64(pair.dropFirst(name.count + 1)), range.contains(number) else {
                return nil
            }
            return number
        }
        return defaultValue
    }

    /// The status that the path ends in, `nil` when it is not one that ends an exchange.
    var pathStatus: Int? {
        guard let number = Int(path.dropFirst("/status/".count)), (200...599).contains(number) else {
            return nil
        }
        return number
    }
}
