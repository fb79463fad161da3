/// Comparison of secrets.
package enum ConstantTime {
    /// Whether both are the same, in a time that tells nothing but their lengths.
    package static func equal(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        var difference: UInt8 = 0
        for index in 0..<a.count { difference |= a[index] ^ b[index] }
        return difference == 0
    }
}
