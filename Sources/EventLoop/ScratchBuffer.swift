internal import Glibc

/// Memory that is read into and looked at through spans only.
@safe
final class ScratchBuffer {
    let size: Int
    // Allocated for the life of this object, whose methods check bounds; nobody else has the pointer.
    private let memory: UnsafeMutableRawBufferPointer

    init(size: Int) {
        self.size = size
        unsafe memory = .allocate(byteCount: size, alignment: 64)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { unsafe memory.deallocate() }

    /// As `recv(2)`, which costs less than `read(2)` on a socket: -1 and `errno` on failure.
    func fill(from descriptor: Int32, limit: Int, flags: Int32 = 0) -> Int {
        unsafe recv(descriptor, memory.baseAddress, min(limit, size), flags)
    }

    func fill(from transport: StreamTransport, limit: Int) -> Int {
        // As long as this object, which lives through the call; a transport reads through no channel of its own loop.
        var buffer = unsafe MutableSpan<UInt8>(
            _unsafeStart: memory.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self),
            count: min(limit, size))
        return transport.read(into: &buffer)
    }

    func fill(from bytes: Span<UInt8>) {
        precondition(bytes.count <= size)
        // Both are as long as the count says, and `bytes` is valid for the call.
        unsafe bytes.withUnsafeBytes { unsafe memory.copyMemory(from: $0) }
    }

    /// Unsafe, since the span does not keep this object alive: `EventLoop.lend` ties it to the loop that does.
    @unsafe @_lifetime(immortal)
    func bytes(_ count: Int) -> Span<UInt8> {
        precondition(count <= size)
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: memory[..<count])
        let span = unsafe Span<UInt8>(_unsafeBytes: bytes)
        return unsafe _overrideLifetime(span, borrowing: ())
    }
}
