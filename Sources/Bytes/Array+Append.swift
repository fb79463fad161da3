extension [UInt8] {
    /// Appends all of `bytes` in one copy.
    ///
    /// For what is appended again and again: `append(contentsOf:)` of an array counts a reference to it, and a safe
    /// loop over a span looks at each byte. A target of its own, so that those without unsafe code can have it.
    @inline(__always)
    package mutating func append(_ bytes: Span<UInt8>) {
        append(addingCapacity: bytes.count) { span in
            // Holds because: the room asked for is there behind `used`, and both are valid for the call.
            unsafe span.withUnsafeMutableBufferPointer { room, used in
                unsafe bytes.withUnsafeBytes { source in
                    let rest = unsafe UnsafeMutableRawBufferPointer(room)[used...]
                    unsafe UnsafeMutableRawBufferPointer(rebasing: rest).copyMemory(from: source)
                    used &+= source.count
                }
            }
        }
    }
}
