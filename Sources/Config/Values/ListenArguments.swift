/// The arguments of `listen` behind the address.
struct ListenArguments {
    /// Those of the socket.
    var options = ListenOptions()
    /// Some option of the socket was given: only one `listen` of an address may do so.
    var setsOptions = false
    /// The server is the address's default.
    var isDefault = false
    var isHTTP2 = false
    /// Some `listen` of the address has `ssl`, which then holds for all of them.
    var isTLS = false
    /// As of `isTLS`.
    var hasProxyProtocol = false

    init() {}

    init(_ call: DirectiveUse) throws(ConfigDiagnostic) {
        for word in call.arguments.dropFirst() {
            switch word.text {
            case "default_server", "default":
                isDefault = true
                continue
            case "http2":
                isHTTP2 = true
                continue
            case "ssl":
                isTLS = true
                continue
            case "proxy_protocol":
                hasProxyProtocol = true
                continue
            case "reuseport": options.reusePort = true
            case "bind", "deferred": break
            default: try Self.apply(word, to: &options, call)
            }
            setsOptions = true
        }
    }

    /// More than one for a range of ports or a name with several addresses.
    static func addresses(
        _ word: Word, _ call: DirectiveUse, resolve: (String) -> [String]
    ) throws(ConfigDiagnostic) -> [ListenAddress] {
        if let path = word.value(after: "unix:") {
            return [.unix(path: try call.socketPath(path, of: word))]
        }
        let isDigitOrHyphen = { (byte: UInt8) in ConfigValue.isDigit(byte) || byte == UInt8(ascii: "-") }
        if let first = word.bytes.first, ConfigValue.isDigit(first), word.bytes.allSatisfy(isDigitOrHyphen) {
            guard let ports = ports(word.bytes) else {
                throw call.failure(found: word, expected: "a port from 1 to 65535")
            }
            return ports.map { .ipv4(host: "0.0.0.0", port: $0) }
        }
        let (host, portText) = split(word.bytes)
        guard let ports = portText.map(ports) ?? [80] else {
            throw call.failure(found: word, expected: "a port from 1 to 65535")
        }
        let hosts = try numericHosts(host, word, call, resolve: resolve)
        return hosts.flatMap { host in
            ports.map { host.isIPv6 ? .ipv6(host: host.text, port: $0) : .ipv4(host: host.text, port: $0) }
        }
    }

    private static func apply(
        _ word: Word, to options: inout ListenOptions, _ call: DirectiveUse
    ) throws(ConfigDiagnostic) {
        if let value = word.value(after: "backlog=") {
            options.backlog = try call.number(value, in: 1...Int(Int32.max))
        } else if let value = word.value(after: "rcvbuf=") {
            options.receiveBuffer = try call.size(value)
        } else if let value = word.value(after: "sndbuf=") {
            options.sendBuffer = try call.size(value)
        } else if let value = word.value(after: "ipv6only=") {
            options.ipv6Only = try call.parameterFlag(value)
        } else if let value = word.value(after: "so_keepalive=") {
            try applyProbes(value, to: &options, call)
        } else if let value = word.value(after: "fastopen=") {
            _ = try call.number(value)
        } else if ["spdy", "quic"].contains(word.text) {
            throw call.failure(
                "found \"\(word.text)\": an option of nginx that Switchyard does not support", at: word)
        } else {
            throw call.failure(
                found: word,
                expected:
                    "\"default_server\", \"ssl\", \"http2\", \"proxy_protocol\", \"backlog=\", \"rcvbuf=\", "
                    + "\"sndbuf=\", \"reuseport\", \"ipv6only=\" or \"so_keepalive=\"")
        }
    }

    /// `on`, `off`, or `[idle]:[interval]:[count]`.
    private static func applyProbes(
        _ word: Word, to options: inout ListenOptions, _ call: DirectiveUse
    ) throws(ConfigDiagnostic) {
        if let flag = ConfigValue.parameterFlag(word.bytes) {
            options.keepAliveProbes = flag
            return
        }
        let parts = word.bytes.split(
            separator: UInt8(ascii: ":"), maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count > 1, parts.contains(where: { !$0.isEmpty }) else {
            throw call.failure(found: word, expected: "\"on\", \"off\" or [idle]:[interval]:[count]")
        }
        options.keepAliveProbes = true
        options.keepAliveIdle =
            parts[0].isEmpty ? nil : try call.seconds(word.replacing(Array(parts[0])))
        options.keepAliveInterval =
            parts[1].isEmpty ? nil : try call.seconds(word.replacing(Array(parts[1])))
        if parts.count == 3, !parts[2].isEmpty {
            options.keepAliveCount = try call.number(word.replacing(Array(parts[2])))
        }
    }

    private static func split(_ bytes: [UInt8]) -> (host: [UInt8], port: [UInt8]?) {
        let colon = UInt8(ascii: ":")
        let searchStart = bytes.first == UInt8(ascii: "[") ? bytes.firstIndex(of: UInt8(ascii: "]")) ?? 0 : 0
        guard let index = bytes[searchStart...].firstIndex(of: colon) else { return (bytes, nil) }
        return (Array(bytes[..<index]), Array(bytes[(index + 1)...]))
    }

    /// One port, or `first-last`.
    private static func ports(_ bytes: [UInt8]) -> [UInt16]? {
        let parts = bytes.split(separator: UInt8(ascii: "-"), maxSplits: 1, omittingEmptySubsequences: false)
        let numbers = parts.compactMap { ConfigValue.number($0) }
            .compactMap { $0 > 0 ? UInt16(exactly: $0) : nil }
        guard numbers.count == parts.count, let first = numbers.first, let last = numbers.last, first <= last
        else { return nil }
        return Array(first...last)
    }

    private static func numericHosts(
        _ host: [UInt8], _ word: Word, _ call: DirectiveUse, resolve: (String) -> [String]
    ) throws(ConfigDiagnostic) -> [(text: String, isIPv6: Bool)] {
        let text = String(decoding: host, as: UTF8.self)
        if text == "*" { return [("0.0.0.0", false)] }
        if NetworkAddress.ipv4(host) != nil { return [(text, false)] }
        if host.first == UInt8(ascii: "["), host.last == UInt8(ascii: "]") {
            let inner = host.dropFirst().dropLast()
            guard NetworkAddress.ipv6(inner) != nil else {
                throw call.failure(found: word, expected: "an IPv6 address in brackets")
            }
            return [(String(decoding: inner, as: UTF8.self).lowercased(), true)]
        }
        let addresses = host.isEmpty ? [] : resolve(text)
        guard !addresses.isEmpty else {
            throw call.failure(
                found: word, expected: "an address, a port, \"unix:path\" or a name that can be resolved")
        }
        return addresses.map { ($0, $0.contains(":")) }
    }
}
