internal import Config

/// `allow` and `deny`.
enum AccessControl {
    private static let unixAddress = Array("unix:".utf8)
    /// RFC 4291 §2.5.5.2: what stands before an IPv4 address in an IPv6 one.
    private static let mappedPrefix = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]

    /// The first rule for the address, 4 or 16 bytes or `unix:`. Without one, everybody is let in.
    static func rule(for address: [UInt8], in rules: [AccessRule]) -> AccessRule? {
        if rules.isEmpty { return nil }
        let plain = plain(address)
        return rules.first { contains($0.network, plain) }
    }

    /// Whether one of the networks holds the address.
    static func contains(_ networks: [AccessRule.Network], _ address: [UInt8]) -> Bool {
        let plain = plain(address)
        return networks.contains { contains($0, plain) }
    }

    /// An IPv4 address within one of IPv6 by itself.
    static func plain(_ address: [UInt8]) -> [UInt8] {
        let isMapped = address.count == 16 && ByteText.hasPrefix(address, mappedPrefix)
        return isMapped ? Array(address[mappedPrefix.count...]) : address
    }

    private static func contains(_ network: AccessRule.Network, _ plain: [UInt8]) -> Bool {
        switch network {
        case .all: true
        case .unix: plain == unixAddress
        case .cidr(let network, let bits): plain != unixAddress && contains(network, bits, plain)
        }
    }

    private static func contains(_ network: [UInt8], _ bits: Int, _ address: [UInt8]) -> Bool {
        guard network.count == address.count, bits >= 0, bits <= network.count * 8 else { return false }
        let whole = bits / 8
        for index in 0..<whole where network[index] != address[index] { return false }
        let rest = bits % 8
        if rest == 0 { return true }
        let mask = ~(UInt8.max >> UInt8(rest))
        return network[whole] & mask == address[whole] & mask
    }
}
