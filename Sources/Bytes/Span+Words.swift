extension Span<UInt8> {
    /// Eight bytes from `position` on, the first one lowest, by a single load.
    @inline(__always)
    package func loadWord(at position: Int) -> UInt64 {
        precondition(position >= 0 && position <= count &- 8)
        // Holds because: the line above.
        return unsafe UInt64(
            littleEndian: RawSpan(_elements: self).unsafeLoadUnaligned(
                fromByteOffset: position, as: UInt64.self))
    }

    /// Whether the 64 bytes from `position` on are all below 128.
    @inline(__always)
    package func isASCIIBlock(at position: Int) -> Bool {
        precondition(position >= 0 && position <= count &- 64)
        // Holds because: the line above.
        let block = unsafe RawSpan(_elements: self).unsafeLoadUnaligned(
            fromByteOffset: position, as: SIMD8<UInt64>.self)
        let half = block.lowHalf | block.highHalf
        let quarter = half.lowHalf | half.highHalf
        return (quarter[0] | quarter[1]) & 0x8080_8080_8080_8080 == 0
    }
}
