extension MutableSpan<UInt8> {
    /// Copies all of `bytes` to `position` on, where there must be room for them.
    @inline(__always)
    package mutating func store(_ bytes: Span<UInt8>, at position: Int) {
        precondition(position >= 0 && bytes.count <= count &- position)
        // Holds because: the line above, and both are valid for the call.
        unsafe withUnsafeMutableBytes { target in
            unsafe bytes.withUnsafeBytes { source in
                unsafe UnsafeMutableRawBufferPointer(rebasing: target[position...]).copyMemory(from: source)
            }
        }
    }
}
