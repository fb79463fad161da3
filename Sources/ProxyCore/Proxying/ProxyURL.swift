internal import Wire

/// The parts of the URL that a `proxy_pass` with variables comes to.
struct ProxyURL: Sendable, Equatable {
    /// Lower case; an IPv6 address is in brackets. Empty for a UNIX socket.
    private(set) var host: [UInt8] = []
    private(set) var port: UInt16 = 80
    /// `https://`
    private(set) var isTLS = false
    private(set) var explicitPort: UInt16?
    private(set) var unixPath: [UInt8]?
    /// From the first `/` or `?` on, `/` being put before a `?`; empty when the URL ends with the host.
    private(set) var uri: [UInt8] = []
    /// What `$proxy_host` shows: without the port when that is the scheme's own.
    private(set) var hostField: [UInt8] = []
    private(set) var portText: [UInt8] = []

    enum Fault: Error, Equatable {
        case prefix, noHost, port, address

        /// nginx's wording, with what was expected where that does not say it.
        func message(for url: [UInt8]) -> String {
            let text = String(decoding: url, as: UTF8.self)
            switch self {
            case .prefix: return "invalid URL prefix in \"\(text)\", expected http:// or https://"
            case .noHost: return "no host in upstream \"\(text)\""
            case .port: return "invalid port in upstream \"\(text)\""
            case .address: return "invalid host in upstream \"\(text)\""
            }
        }
    }

    init(_ url: [UInt8]) throws(Fault) {
        isTLS = ByteText.matchesIgnoringCase(url, at: 0, Self.https)
        guard isTLS || ByteText.matchesIgnoringCase(url, at: 0, Self.http) else { throw .prefix }
        if isTLS { port = 443 }
        let start = isTLS ? Self.https.count : Self.http.count
        if ByteText.matchesIgnoringCase(url, at: start, Self.unix) {
            try parseUnix(url, from: start + Self.unix.count)
        } else {
            try parseHost(url, from: start)
        }
        if let first = uri.first, first != ByteText.slash { uri.insert(ByteText.slash, at: 0) }
    }

    /// `unix:/path` and, after another colon, a URI.
    private mutating func parseUnix(_ url: [UInt8], from start: Int) throws(Fault) {
        let end = url[start...].firstIndex(of: ByteText.colon) ?? url.count
        guard end > start else { throw .noHost }
        // A path with NUL would name another socket than the one that is logged.
        guard !url[start..<end].contains(0) else { throw .address }
        unixPath = Array(url[start..<end])
        if end < url.count { uri = Array(url[(end + 1)...]) }
        hostField = Array("localhost".utf8)
    }

    private mutating func parseHost(_ url: [UInt8], from start: Int) throws(Fault) {
        let end =
            url[start...].firstIndex {
                $0 == ByteText.slash || $0 == ByteText.question || $0 == ByteText.hash
            }
            ?? url.count
        uri = Array(url[end...])
        var hostEnd: Int
        if start < end, url[start] == ByteText.openBracket {
            guard let bracket = url[start..<end].firstIndex(of: ByteText.closeBracket) else { throw .address }
            hostEnd = bracket + 1
            guard hostEnd == end || url[hostEnd] == ByteText.colon else { throw .address }
        } else {
            hostEnd = url[start..<end].firstIndex(of: ByteText.colon) ?? end
        }
        guard hostEnd > start else { throw .noHost }
        let written = url[start..<hostEnd]
        // A blank stands in no name that can be found, which is for whoever looks it up to say, as in nginx.
        guard !written.contains(where: { ByteText.isControl($0) || $0 == ByteText.at }) else {
            throw .address
        }
        host = written.map(ASCII.lowercased)
        let defaultPort = port
        portText = Array(String(defaultPort).utf8)
        hostField = Array(written)
        guard hostEnd < end else { return }
        guard let value = ASCII.decimal(url.span, hostEnd + 1..<end), (1...65535).contains(value) else {
            throw .port
        }
        port = UInt16(value)
        explicitPort = port
        guard port != defaultPort else { return }
        portText = Array(url[(hostEnd + 1)..<end])
        hostField = Array(url[start..<end])
    }

    private static let http = Array("http://".utf8)
    private static let https = Array("https://".utf8)
    private static let unix = Array("unix:".utf8)
}
