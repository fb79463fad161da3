internal import Bytes

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

    /// Masks or unmasks (it is the same) the bytes of `range`, the first of which stands at `position` in its
    /// frame's payload; so a payload can be worked on in parts.
    package func apply(to bytes: inout [UInt8], in range: Range<Int>, position: Int = 0) {
        var span = bytes.mutableSpan
        apply(to: &span, in: range, position: position)
    }

    /// The same for memory that is no array.
    package func apply(to bytes: inout MutableSpan<UInt8>, in range: Range<Int>, position: Int = 0) {
        var part = bytes._mutatingExtracting(range)
        part.combine(xor: turned(to: position))
    }

    /// Appends `bytes` masked or unmasked, the first of which stands at `position` in its frame's payload: the copy
    /// and the mask in one pass.
    package func append(masking bytes: Span<UInt8>, position: Int = 0, to output: inout [UInt8]) {
        output.append(bytes, xor: turned(to: position))
    }

    /// The key as it is from the payload byte at `position` on.
    private func turned(to position: Int) -> UInt32 {
        // A shift by 32 is one by 0 here, which leaves a key that needs no turn as it is.
        let turn = UInt32((position & 3) &* 8)
        return word &>> turn | word &<< (32 &- turn)
    }
}

extension [UInt8] {
    /// Appends a payload as it was before it was masked, or as it is where it was not; its first byte stands at `position`
    /// in its frame's.
    @inline(__always)
    package mutating func append(
        unmasking payload: Span<UInt8>, with key: WebSocketMaskKey?, position: Int = 0
    ) {
        if let key {
            key.append(masking: payload, position: position, to: &self)
        } else {
            append(copying: payload, payload.indices)
        }
    }
}
