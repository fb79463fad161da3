extension [UInt8] {
    /// Appends all of `bytes` in one copy.
    package mutating func append(_ bytes: Span<UInt8>) {
        // The span is valid for the call, in which it is copied.
        unsafe bytes.withUnsafeBytes { unsafe append(contentsOf: $0) }
    }
}
