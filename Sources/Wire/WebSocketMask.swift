/// The four bytes that a client's payload is combined with (RFC 6455 §5.3).
package struct WebSocketMaskKey: Sendable, Equatable {
    /// The first byte lowest.
    private let word: UInt32

    /// - Parameter random: four unpredictable bytes, where the key is made for sending.
    package init(random: UInt32) { word = random }

    package init(_ first: UInt8, _ second: UInt8, _ third: UInt8, _ fourth: UInt8) {
        word = UInt32(first) | UInt32(second) << 8 | UInt32(third) << 16 | UInt32(fourth) << 24
    }

    /// The byte of the key for the payload byte at `index`.
    @inline(__always)
    package subscript(index: Int) -> UInt8 { UInt8(truncatingIfNeeded: word &>> UInt32((index & 3) &* 8)) }

    /// Masks or unmasks (it is the same) the bytes of `range`.
    ///
    /// - Parameter position: where the first of them stands in its frame's payload, so that a payload can be
    ///   worked on in parts.
    package func apply(to bytes: inout [UInt8], in range: Range<Int>, position: Int = 0) {
        var span = bytes.mutableSpan
        apply(to: &span, in: range, position: position)
    }

    /// The same for memory that is no array.
    package func apply(to bytes: inout MutableSpan<UInt8>, in range: Range<Int>, position: Int = 0) {
        let phase = position & 3
        var part = bytes._mutatingExtracting(range)
        let (k0, k1, k2, k3) = (self[phase], self[phase &+ 1], self[phase &+ 2], self[phase &+ 3])
        var index = 0
        let count = part.count
        // Eight steps with bounds known in advance: the compiler makes one wide operation of them.
        while index &+ 8 <= count {
            var block = part._mutatingExtracting(index..<(index &+ 8))
            block[0] ^= k0
            block[1] ^= k1
            block[2] ^= k2
            block[3] ^= k3
            block[4] ^= k0
            block[5] ^= k1
            block[6] ^= k2
            block[7] ^= k3
            index &+= 8
        }
        while index < count {
            part[index] ^= self[phase &+ index]
            index &+= 1
        }
    }
}
