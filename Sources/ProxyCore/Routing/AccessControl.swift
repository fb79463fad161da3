internal import Config

/// `allow` and `deny`.
enum AccessControl {
    private static let unixAddress = Array("unix:".utf8)
    /// RFC 4291 §2.5.5.2: what stands before an IPv4 address in an IPv6 one.
    private static let mappedPrefix = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]

    /// Whether the first rule for the address, 4 or 16 bytes or `unix:`, allows it. Without one, everybody is let in.
    static func allows(_ address: [UInt8], _ rules: [AccessRule]) -> Bool {
        if rules.isEmpty { return true }
        let isMapped = address.count == 16 && ByteText.hasPrefix(address, mappedPrefix)
        let plain = isMapped ? Array(address[mappedPrefix.count...]) : address
        for rule in rules {
            switch rule.network {
            case .all: return rule.allows
            case .unix: if address == unixAddress { return rule.allows }
            case .cidr(let network, let bits):
                if address != unixAddress, contains(network, bits, plain) { return rule.allows }
            }
        }
        return true
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
