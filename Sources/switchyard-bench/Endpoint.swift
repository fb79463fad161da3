internal import ArgumentParser
internal import EventLoop

/// Where to connect or to listen: `address:port`, `[IPv6]:port` or `unix:path`.
struct Endpoint: ExpressibleByArgument {
    let address: SocketAddress
    let text: String

    init?(argument: String) {
        text = argument
        if argument.hasPrefix("unix:") {
            let path = String(argument.dropFirst("unix:".count))
            guard !path.isEmpty else { return nil }
            address = .unix(path: path)
            return
        }
        guard let colon = argument.lastIndex(of: ":"),
            let port = UInt16(argument[argument.index(after: colon)...])
        else { return nil }
        var host = argument[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard
            let address = SocketAddress(
                numericHost: host == "localhost" ? "127.0.0.1" : String(host), port: port)
        else { return nil }
        self.address = address
    }

    /// The value of a request's `Host`.
    var host: String {
        if case .unix = address { return "localhost" }
        return text
    }
}
