extension [UInt8] {
    /// Appends all of `bytes` in one copy.
    ///
    /// For what is appended again and again: `append(contentsOf:)` of an array counts a reference to it, and a safe
    /// loop over a span looks at each byte. A target of its own, so that those without unsafe code can have it.
    @inline(__always)
    package mutating func append(_ bytes: Span<UInt8>) {
        // The span is valid for the call, in which it is copied.
        unsafe bytes.withUnsafeBytes { unsafe append(contentsOf: $0) }
    }
}
