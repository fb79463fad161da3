/// The hash by which nginx splits clients: MurmurHash2 of 32 bits, seeded with 0.
enum MurmurHash2 {
    private static let factor: UInt32 = 0x5bd1_e995

    static func value(of bytes: [UInt8]) -> UInt32 {
        var hash = UInt32(truncatingIfNeeded: bytes.count)
        var rest = bytes[...]
        while rest.count >= 4 {
            var word = rest.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            word = word &* factor
            word = (word ^ word >> 24) &* factor
            hash = hash &* factor ^ word
            rest = rest.dropFirst(4)
        }
        if !rest.isEmpty {
            hash = (hash ^ rest.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }) &* factor
        }
        hash = (hash ^ hash >> 13) &* factor
        return hash ^ hash >> 15
    }
}
