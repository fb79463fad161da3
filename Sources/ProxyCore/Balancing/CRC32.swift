/// The checksum of zlib, Ethernet and nginx, taken piece by piece.
struct CRC32: Sendable {
    private var state: UInt32 = 0xFFFF_FFFF

    var value: UInt32 { ~state }

    mutating func update(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { update(byte) }
    }

    mutating func update(_ byte: UInt8) {
        state = Self.table[Int(UInt8(truncatingIfNeeded: state) ^ byte)] ^ state >> 8
    }

    mutating func update(littleEndian number: UInt32) {
        for shift in stride(from: UInt32(0), to: 32, by: 8) {
            update(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    /// The digits of `number`.
    mutating func update(decimal number: UInt32) {
        if number >= 10 { update(decimal: number / 10) }
        update(0x30 + UInt8(number % 10))
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { rest, _ in rest & 1 == 0 ? rest >> 1 : 0xEDB8_8320 ^ rest >> 1 }
    }
}
