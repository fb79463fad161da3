internal import Wire

/// Storage that the streams of all sessions of a thread use one after the other, so that in a steady state nothing is
/// allocated for a stream's bytes. An idle session holds none of it.
package final class HTTP2Buffers {
    /// Of all that lies here unused, in bytes.
    private static let maxHeld = 2 << 20
    /// Of one that is kept, in bytes.
    private static let maxCapacity = 32 * 1024

    private var held = 0
    private var bytes: [[UInt8]] = []
    private var lines: [[FieldLine]] = []
    private var blocks: [HTTP2FieldBlock] = []

    package init() {}

    /// Whether there is room for something of `size` bytes; 0 is not worth keeping.
    private func takes(_ size: Int) -> Bool {
        size > 0 && size <= Self.maxCapacity && held &+ size <= Self.maxHeld
    }

    /// An empty buffer.
    func takeBytes() -> [UInt8] { take(&bytes) }

    /// Leaves an empty array in the place of `buffer`.
    func takeBack(_ buffer: inout [UInt8]) { takeBack(&buffer, to: &bytes) }

    /// An empty list of lines.
    func takeLines() -> [FieldLine] { take(&lines) }

    /// Leaves an empty list in the place of `list`.
    func takeBack(_ list: inout [FieldLine]) { takeBack(&list, to: &lines) }

    @inline(__always)
    private func take<Element>(_ shelf: inout [[Element]]) -> [Element] {
        guard let array = shelf.popLast() else { return [] }
        held &-= array.capacity &* MemoryLayout<Element>.stride
        return array
    }

    @inline(__always)
    private func takeBack<Element>(_ array: inout [Element], to shelf: inout [[Element]]) {
        var given: [Element] = []
        swap(&given, &array)
        given.removeAll(keepingCapacity: true)
        let size = given.capacity &* MemoryLayout<Element>.stride
        guard takes(size) else { return }
        held &+= size
        shelf.append(given)
    }

    /// An empty block.
    func takeBlock() -> HTTP2FieldBlock {
        guard let block = blocks.popLast() else { return HTTP2FieldBlock() }
        held &-= block.capacity
        return block
    }

    /// Leaves an empty block in the place of `block`.
    func takeBack(_ block: inout HTTP2FieldBlock) {
        var given = HTTP2FieldBlock()
        swap(&given, &block)
        given.removeAll()
        guard takes(given.capacity) else { return }
        held &+= given.capacity
        blocks.append(given)
    }
}
