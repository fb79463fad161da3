extension OutputSpan<UInt8> {
    /// Appends all of `bytes`, for which there must be room.
    ///
    /// So that what is made of several pieces takes one look at the room there is, and not one for each.
    @inlinable @inline(__always) @_lifetime(self: copy self)
    package mutating func append(_ bytes: Span<UInt8>) {
        precondition(bytes.count <= freeCapacity)
        // Holds because: the line above; the memory behind `used` is this span's own, and both are valid for the call.
        unsafe withUnsafeMutableBufferPointer { room, used in
            unsafe bytes.withUnsafeBytes { source in
                let rest = unsafe UnsafeMutableRawBufferPointer(room)[used...]
                unsafe UnsafeMutableRawBufferPointer(rebasing: rest).copyMemory(from: source)
                used &+= source.count
            }
        }
    }

    /// Appends `bytes` with capital letters made small; there must be room for them.
    @inlinable @inline(__always) @_lifetime(self: copy self)
    package mutating func append(lowercasing bytes: Span<UInt8>) {
        precondition(bytes.count <= freeCapacity)
        // Holds because: the line above, and each position is below `count`.
        unsafe withUnsafeMutableBufferPointer { room, used in
            unsafe bytes.withUnsafeBytes { source in
                let target = UnsafeMutableRawBufferPointer(room)
                let start = used
                var index = 0
                while index &+ 8 <= source.count {
                    let word = unsafe source.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    unsafe target.storeBytes(
                        of: lowercasedASCII(word), toByteOffset: start &+ index, as: UInt64.self)
                    index &+= 8
                }
                while index < source.count {
                    let byte = unsafe source[index]
                    unsafe target[start &+ index] = byte &- 0x41 < 26 ? byte | 0x20 : byte
                    index &+= 1
                }
                used = start &+ source.count
            }
        }
    }
}

/// Each byte of A...Z made small, all others left as they are.
@inlinable @inline(__always)
package func lowercasedASCII(_ word: UInt64) -> UInt64 {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let low7 = word & (ones &* 0x7f)
    let aboveZ = low7 &+ (ones &* (0x7f - 0x5a))
    let fromA = low7 &+ (ones &* (0x80 - 0x41))
    let capitals = ~word & (fromA ^ aboveZ) & (ones &* 0x80)
    return word | capitals &>> 2
}

extension [UInt8] {
    /// Appends a field line as of HTTP/1.1, with its end.
    @inlinable @inline(__always)
    package mutating func appendFieldLine(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        append(addingCapacity: name.count &+ value.count &+ 4) { line in
            line.append(name)
            line.append(UInt8(ascii: ":"))
            line.append(UInt8(ascii: " "))
            line.append(value)
            line.append(0x0d)
            line.append(0x0a)
        }
    }
}
