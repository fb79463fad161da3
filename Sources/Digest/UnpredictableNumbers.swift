private import COpenSSL

/// Numbers that nobody can foresee, whatever others they have seen (RFC 6455 §5.3, §10.3). Fetched from OpenSSL many at a time.
package struct UnpredictableNumbers: RandomNumberGenerator {
    private var fetched: [UInt64] = []
    /// Where they come from instead, in tests.
    private var sequence: RepeatableNumbers?
    private static let fetchedAtOnce = 512

    /// - Parameter seed: in tests, has the numbers be the same each time.
    package init(seed: UInt64? = nil) { sequence = seed.map { RepeatableNumbers(seed: $0) } }

    package mutating func next() -> UInt64 {
        if let number = fetched.popLast() { return number }
        if let number = sequence?.next() { return number }
        fetch()
        return fetched.removeLast()
    }

    private mutating func fetch() {
        let size = Self.fetchedAtOnce * MemoryLayout<UInt64>.size
        unsafe fetched = Array(unsafeUninitializedCapacity: Self.fetchedAtOnce) { numbers, count in
            // It fails where the system has no chance to give, and then the system's own generator says so by ending the process.
            if unsafe RAND_bytes(UnsafeMutableRawBufferPointer(numbers).baseAddress, Int32(size)) == 1 {
                count = Self.fetchedAtOnce
            }
        }
        if fetched.isEmpty {
            var system = SystemRandomNumberGenerator()
            fetched = (0..<Self.fetchedAtOnce).map { _ in system.next() }
        }
    }
}

/// Numbers that look like chance and are the same each time: xorshift128+.
package struct RepeatableNumbers: RandomNumberGenerator {
    private var state: (UInt64, UInt64)

    package init(seed: UInt64) { state = (seed | 1, ~seed) }

    package mutating func next() -> UInt64 {
        var first = state.0
        let second = state.1
        state.0 = second
        first ^= first << 23
        state.1 = first ^ second ^ (first >> 18) ^ (second >> 5)
        return state.1 &+ second
    }
}

extension RandomNumberGenerator {
    package mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            var number = next()
            for _ in 0..<min(8, count - bytes.count) {
                bytes.append(UInt8(truncatingIfNeeded: number))
                number >>= 8
            }
        }
        return bytes
    }
}
