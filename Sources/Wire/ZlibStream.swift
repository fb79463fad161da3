internal import CZlib

/// What zlib is asked to do.
enum ZlibKind: Equatable {
    case inflate(windowBits: Int)
    case deflate(windowBits: Int, level: Int, memoryLevel: Int)
}

/// How a run ended.
enum ZlibOutcome {
    /// All of the input is taken, and all that can be written is written.
    case done
    /// The last block has ended (RFC 1951 §3.2.3, BFINAL); there may be input behind it.
    case ended
    /// The output's limit is reached, and there is more.
    case full
    case corrupt
}

/// A stream of zlib's in raw format (RFC 1951), the only place where memory is handed to zlib.
///
/// Inflating takes 7 KB, and 2^windowBits more from the first byte on that it gave out. Deflating takes 6 KB,
/// 2^(windowBits + 2), and 2^(memoryLevel + 9), all of it from the start.
// Owned by one worker at a time: not `Sendable`.
@safe
final class ZlibStream {
    /// RFC 1951 §3.2.4: the empty block that a flush ends with, behind its first bits.
    static let flushEnd: InlineArray<4, UInt8> = [0, 0, 0xff, 0xff]

    let kind: ZlibKind
    // Holds because: allocated in `init`, freed in `deinit`, and never handed out. It stays where it is, as zlib's
    // state points back to it.
    private let stream: UnsafeMutablePointer<z_stream>
    // The same; what `allocate` and `free` below count with.
    private let count: UnsafeMutablePointer<Int>

    /// Bytes that zlib holds for the stream.
    var memory: Int { unsafe count.pointee }

    init(_ kind: ZlibKind) {
        self.kind = kind
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        unsafe count = .allocate(capacity: 1)
        unsafe count.initialize(to: 0)
        unsafe stream.pointee.opaque = UnsafeMutableRawPointer(count)
        unsafe stream.pointee.zalloc = Self.allocate
        unsafe stream.pointee.zfree = Self.free
        let size = unsafe Int32(MemoryLayout<z_stream>.size)
        let result =
            switch kind {
            case .inflate(let windowBits):
                unsafe inflateInit2_(stream, -Int32(windowBits), ZLIB_VERSION, size)
            case .deflate(let windowBits, let level, let memoryLevel):
                unsafe deflateInit2_(
                    stream, Int32(level), Z_DEFLATED, -Int32(windowBits), Int32(memoryLevel),
                    Z_DEFAULT_STRATEGY, ZLIB_VERSION, size)
            }
        // Ranges are the callers' to keep, and memory that there is none of ends the process, as with any array.
        precondition(result == Z_OK, "zlib refuses a stream")
    }

    deinit {
        switch kind {
        case .inflate: _ = unsafe inflateEnd(stream)
        case .deflate: _ = unsafe deflateEnd(stream)
        }
        unsafe stream.deallocate()
        unsafe count.deallocate()
    }

    /// The size stands before the block, which is aligned as `malloc` would have it.
    private static let header = 16

    private static let allocate: alloc_func = { count, items, size in
        // zlib's own sizes, all of them below a megabyte.
        let bytes = Int(items) * Int(size)
        let block = UnsafeMutableRawPointer.allocate(byteCount: header + bytes, alignment: header)
        unsafe block.storeBytes(of: bytes, as: Int.self)
        unsafe count?.assumingMemoryBound(to: Int.self).pointee += bytes
        return unsafe block + header
    }

    private static let free: free_func = { count, address in
        guard let address = unsafe address else { return }
        let block = unsafe address - header
        unsafe count?.assumingMemoryBound(to: Int.self).pointee -= block.load(as: Int.self)
        unsafe block.deallocate()
    }

    /// Forgets all of the data so far; keeps the memory.
    func reset() {
        switch kind {
        case .inflate: _ = unsafe inflateReset(stream)
        case .deflate: _ = unsafe deflateReset(stream)
        }
    }

    /// What the data may refer to as if it stood before them; of both ends the same, as far as the window reaches. To be
    /// set before any data.
    func setDictionary(_ text: Span<UInt8>) {
        let result = unsafe text.withUnsafeBufferPointer { text in
            // Copied by zlib; valid for the call.
            switch kind {
            case .inflate: unsafe inflateSetDictionary(stream, text.baseAddress, UInt32(text.count))
            case .deflate: unsafe deflateSetDictionary(stream, text.baseAddress, UInt32(text.count))
            }
        }
        precondition(result == Z_OK, "zlib refuses a dictionary")
    }

    /// Inflates `input` from `position` on, and moves `position` behind what was taken. Appends `limit` bytes to
    /// `output` at most. With `stopsAtBlocks` it is `done` at the end of each block too, so that `isAtBlock` can be
    /// asked.
    func inflate(
        _ input: Span<UInt8>, from position: inout Int, to output: inout [UInt8], limit: Int,
        stopsAtBlocks: Bool = false
    ) -> ZlibOutcome {
        let flush = stopsAtBlocks ? Z_BLOCK : Z_SYNC_FLUSH
        var left = max(limit, 0)
        var room = min(max((input.count &- position) &* 4, 256), Self.maxRoom)
        while true {
            let offered = min(input.count &- position, Self.maxInput)
            let part = input.extracting(position..<(position &+ offered))
            let wanted = min(left, room)
            let (result, taken, written) =
                wanted > 0 ? run(part, flush, to: &output, room: wanted) : probe(part, flush)
            position &+= taken
            if wanted == 0, written > 0 { return .full }
            left &-= written
            switch result {
            case Z_STREAM_END: return .ended
            case Z_OK:
                if stopsAtBlocks, isAtBlock { return .done }
                // Room that is left over says that nothing waits.
                if written < max(wanted, 1), position == input.count { return .done }
            // Nothing to take and nothing to write.
            case Z_BUF_ERROR: return .done
            default: return .corrupt
            }
            room = min(room &* 2, Self.maxRoom)
        }
    }

    /// Whether inflating stands between two blocks, with all bits of the input's last byte used.
    var isAtBlock: Bool {
        let state = unsafe stream.pointee.data_type
        return state & 128 != 0 && state & 63 == 0
    }

    /// Deflates all of `input`; with `flushes`, up to the end of a byte, the last four being 00 00 ff ff.
    func deflate(_ input: Span<UInt8>, flushes: Bool, to output: inout [UInt8]) {
        var position = 0
        var room = min(input.count &+ input.count >> 3 &+ 64, Self.maxRoom)
        while true {
            let offered = min(input.count &- position, Self.maxInput)
            let part = input.extracting(position..<(position &+ offered))
            let isLast = position &+ offered == input.count
            let flush = flushes && isLast ? Z_SYNC_FLUSH : Z_NO_FLUSH
            let (_, taken, written) = run(part, flush, to: &output, room: room)
            position &+= taken
            if written < room, position == input.count { return }
            room = Self.maxRoom
        }
    }

    /// Bytes that the output grows by at a time, at most.
    private static let maxRoom = 32768
    /// zlib counts in 32 bits.
    private static let maxInput = 1 << 30

    private typealias StepResult = (result: Int32, taken: Int, written: Int)

    private func run(
        _ input: Span<UInt8>, _ flush: Int32, to output: inout [UInt8], room: Int
    ) -> StepResult {
        var outcome: StepResult = (Z_OK, 0, 0)
        output.append(addingCapacity: room) { span in
            unsafe span.withUnsafeMutableBufferPointer { buffer, initialized in
                // As many bytes as zlib says it wrote are initialised.
                let end = initialized + room
                let place = unsafe UnsafeMutableBufferPointer(rebasing: buffer[initialized..<end])
                outcome = unsafe step(input, flush, into: place)
                initialized += outcome.written
            }
        }
        return outcome
    }

    /// A step that writes into a byte apart: whether it does is all there is to learn.
    private func probe(_ input: Span<UInt8>, _ flush: Int32) -> StepResult {
        var byte: UInt8 = 0
        return unsafe withUnsafeMutablePointer(to: &byte) {
            unsafe step(input, flush, into: UnsafeMutableBufferPointer(start: $0, count: 1))
        }
    }

    private func step(
        _ input: Span<UInt8>, _ flush: Int32, into output: UnsafeMutableBufferPointer<UInt8>
    ) -> StepResult {
        unsafe input.withUnsafeBufferPointer { bytes in
            // Both are valid for the call, and taken from zlib behind it. It does not write to its input, and an
            // empty one may be at no address.
            unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: bytes.baseAddress)
            unsafe stream.pointee.avail_in = UInt32(bytes.count)
            unsafe stream.pointee.next_out = output.baseAddress
            unsafe stream.pointee.avail_out = UInt32(output.count)
            let result =
                switch kind {
                case .inflate: unsafe CZlib.inflate(stream, flush)
                case .deflate: unsafe CZlib.deflate(stream, flush)
                }
            let taken = unsafe bytes.count &- Int(stream.pointee.avail_in)
            let written = unsafe output.count &- Int(stream.pointee.avail_out)
            unsafe stream.pointee.next_in = nil
            unsafe stream.pointee.next_out = nil
            return (result, taken, written)
        }
    }
}
