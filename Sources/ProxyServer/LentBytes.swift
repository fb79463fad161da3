internal import Wire

/// Bytes of another's, lent for the length of a call: for what would need them as an argument through many calls, and
/// hardly ever looks at them.
@safe
struct LentBytes {
    private var bytes = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    var isEmpty: Bool { unsafe bytes.isEmpty }

    /// Lends `bytes`, which stay where they are until `takeBack`.
    mutating func lend(_ bytes: UnsafeRawBufferPointer) { unsafe self.bytes = bytes }

    mutating func takeBack() { unsafe bytes = UnsafeRawBufferPointer(start: nil, count: 0) }

    /// What is wrong with a body that goes on with them.
    func violation(of decoder: BodyDecoder) -> BodyViolation? {
        // Holds because: they have not been taken back.
        unsafe decoder.violation(ahead: Span(_unsafeBytes: bytes))
    }
}
