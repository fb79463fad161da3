/// Counts durations in buckets that are within 1/64 of what they stand for.
///
/// Its size does not depend on how many durations there are, and adding one costs no allocation.
struct LatencyHistogram {
    private static let precisionBits = 6
    private var buckets = [UInt64](repeating: 0, count: (64 - precisionBits + 1) << precisionBits)
    private(set) var count: UInt64 = 0

    mutating func add(nanoseconds: Int64) {
        buckets[Self.bucket(of: UInt64(max(0, nanoseconds)))] += 1
        count += 1
    }

    /// Nanoseconds that a share of the durations, 0...1, do not exceed; 0 when there are none.
    func percentile(_ share: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        let rank = max(1, UInt64((Double(count) * share).rounded(.up)))
        var seen: UInt64 = 0
        for (index, number) in buckets.enumerated() {
            seen += number
            if seen >= rank { return Self.lowest(inBucket: index) }
        }
        return 0
    }

    /// Below 2^6 each number has its bucket; above, each doubling is cut into 2^6 buckets.
    private static func bucket(of value: UInt64) -> Int {
        let exponent = max(0, 63 - value.leadingZeroBitCount - precisionBits)
        guard exponent > 0 || value >= 1 << precisionBits else { return Int(value) }
        return (exponent + 1) << precisionBits + Int(value >> UInt64(exponent)) - 1 << precisionBits
    }

    private static func lowest(inBucket index: Int) -> UInt64 {
        let exponent = index >> precisionBits - 1
        guard exponent >= 0 else { return UInt64(index) }
        let mantissa = index & (1 << precisionBits - 1) | 1 << precisionBits
        return UInt64(mantissa) << UInt64(exponent)
    }
}
