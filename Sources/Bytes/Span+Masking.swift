extension [UInt8] {
    /// Appends all of `bytes`, each combined with the byte of `pattern` whose turn it is, the lowest first, in one
    /// pass over them: what a client's payload is masked by (RFC 6455 §5.3).
    package mutating func append(_ bytes: Span<UInt8>, xor pattern: UInt32) {
        append(addingCapacity: bytes.count) { span in
            // Holds because: the room asked for is there behind `used`, both are valid for the call, and each position
            // is below `count`.
            unsafe span.withUnsafeMutableBufferPointer { room, used in
                unsafe bytes.withUnsafeBytes { source in
                    let target = UnsafeMutableRawBufferPointer(room)
                    let words = SIMD16<UInt32>(repeating: pattern.littleEndian)
                    let start = used
                    var index = 0
                    while index &+ 64 <= source.count {
                        let block = unsafe source.loadUnaligned(
                            fromByteOffset: index, as: SIMD16<UInt32>.self)
                        unsafe target.storeBytes(
                            of: block ^ words, toByteOffset: start &+ index, as: SIMD16<UInt32>.self)
                        index &+= 64
                    }
                    while index &+ 4 <= source.count {
                        let word = unsafe source.loadUnaligned(fromByteOffset: index, as: UInt32.self)
                        unsafe target.storeBytes(
                            of: word ^ pattern.littleEndian, toByteOffset: start &+ index, as: UInt32.self)
                        index &+= 4
                    }
                    while index < source.count {
                        let byte = UInt8(truncatingIfNeeded: pattern &>> UInt32((index & 3) &* 8))
                        unsafe target[start &+ index] = source[index] ^ byte
                        index &+= 1
                    }
                    used = start &+ source.count
                }
            }
        }
    }
}

extension MutableSpan<UInt8> {
    /// Combines each byte with the one of `pattern` whose turn it is, the lowest first, where it stands.
    package mutating func combine(xor pattern: UInt32) {
        // Holds because: each position is below `count`.
        unsafe withUnsafeMutableBytes { bytes in
            let words = SIMD16<UInt32>(repeating: pattern.littleEndian)
            var index = 0
            while index &+ 64 <= bytes.count {
                let block = unsafe bytes.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt32>.self)
                unsafe bytes.storeBytes(of: block ^ words, toByteOffset: index, as: SIMD16<UInt32>.self)
                index &+= 64
            }
            while index &+ 4 <= bytes.count {
                let word = unsafe bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self)
                unsafe bytes.storeBytes(of: word ^ pattern.littleEndian, toByteOffset: index, as: UInt32.self)
                index &+= 4
            }
            while index < bytes.count {
                unsafe bytes[index] ^= UInt8(truncatingIfNeeded: pattern &>> UInt32((index & 3) &* 8))
                index &+= 1
            }
        }
    }
}
