/// Numeric addresses, read without the system's resolver.
enum NetworkAddress {
    /// Four bytes in network order.
    static func ipv4(_ text: some Collection<UInt8>) -> [UInt8]? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard part.count <= 3, let value = ConfigValue.number(part), value <= 255 else { return nil }
            bytes.append(UInt8(value))
        }
        return bytes
    }

    /// Sixteen bytes in network order. RFC 4291 §2.2, without a zone.
    static func ipv6(_ text: some Collection<UInt8>) -> [UInt8]? {
        let text = Array(text)
        let colon = UInt8(ascii: ":")
        guard let gap = text.indices.first(where: { text[$0...].starts(with: [colon, colon]) }) else {
            return groups(text[...], most: 8, endsAddress: true).flatMap { $0.count == 16 ? $0 : nil }
        }
        guard let head = groups(text[..<gap], most: 7, endsAddress: false),
            let tail = groups(text[(gap + 2)...], most: 7, endsAddress: true),
            head.count + tail.count <= 14
        else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    /// The last four bytes of an address may be written as those of IPv4.
    private static func groups(_ text: ArraySlice<UInt8>, most: Int, endsAddress: Bool) -> [UInt8]? {
        guard !text.isEmpty else { return [] }
        let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard parts.count <= most else { return nil }
        var bytes: [UInt8] = []
        for (index, part) in parts.enumerated() {
            if endsAddress, index == parts.count - 1, let dotted = ipv4(part) {
                bytes += dotted
                continue
            }
            guard part.count <= 4, let value = UInt16(String(decoding: part, as: UTF8.self), radix: 16),
                part.first != UInt8(ascii: "+"), part.first != UInt8(ascii: "-")
            else { return nil }
            bytes += [UInt8(value >> 8), UInt8(value & 0xFF)]
        }
        return bytes
    }

    /// Zeros the bits behind the first `bits`.
    static func masked(_ bytes: [UInt8], bits: Int) -> [UInt8] {
        bytes.enumerated().map { index, byte in
            let kept = min(max(bits - index * 8, 0), 8)
            return kept == 0 ? 0 : byte & ~UInt8(truncatingIfNeeded: (1 << (8 - kept)) - 1)
        }
    }
}

extension FixedWidthInteger {
    /// The number that bytes in network order are, of which there are no more than it has.
    package init(networkOrder bytes: some Sequence<UInt8>) {
        self = bytes.reduce(0) { $0 << 8 | Self(truncatingIfNeeded: $1) }
    }
}

/// `host[:port][/uri]` as `proxy_pass`, `server` and `listen` write it, not resolved.
struct HostAndPort: Equatable {
    /// Without the brackets of an IPv6 address.
    var host: [UInt8]
    var isIPv6 = false
    var port: UInt16?
    /// From the first `/` or `?` on.
    var rest: [UInt8] = []

    enum Fault: String, Error {
        case noHost = "no host"
        case badHost = "invalid host"
        case badPort = "invalid port"
    }

    init(_ text: [UInt8]) throws(Fault) {
        let authorityEnd =
            text.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? text.count
        var authority = text[..<authorityEnd]
        rest = Array(text[authorityEnd...])
        if authority.first == UInt8(ascii: "[") {
            guard let close = authority.firstIndex(of: UInt8(ascii: "]")) else { throw .badHost }
            host = Array(authority[1..<close])
            guard NetworkAddress.ipv6(host) != nil else { throw .badHost }
            isIPv6 = true
            authority = authority[(close + 1)...]
            guard authority.isEmpty || authority.first == UInt8(ascii: ":") else { throw .badHost }
        } else {
            let hostPart = authority.prefix { $0 != UInt8(ascii: ":") }
            host = Array(hostPart)
            authority = authority[hostPart.endIndex...]
        }
        guard !host.isEmpty else { throw .noHost }
        guard !authority.isEmpty else { return }
        guard let number = ConfigValue.number(authority.dropFirst()), number > 0,
            let port = UInt16(exactly: number)
        else { throw .badPort }
        self.port = port
    }

    /// The host as it stands in a URL.
    var urlHost: [UInt8] {
        isIPv6 ? [UInt8(ascii: "[")] + host + [UInt8(ascii: "]")] : host
    }
}
