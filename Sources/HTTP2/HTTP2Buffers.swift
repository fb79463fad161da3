internal import Wire

/// Storage that the streams of all sessions of a thread use one after the other, so that in a steady state nothing is
/// allocated for a stream's bytes. An idle session holds none of it.
package final class HTTP2Buffers {
    /// Together with `maxCapacity`, what may lie here unused: 2 MB.
    private static let maxSpare = 64
    /// In bytes, of one that is kept.
    private static let maxCapacity = 32 * 1024

    private static let maxLines = 256

    private var bytes: [[UInt8]] = []
    private var lines: [[FieldLine]] = []
    private var blocks: [HTTP2FieldBlock] = []

    package init() {}

    /// An empty buffer.
    func takeBytes() -> [UInt8] { bytes.popLast() ?? [] }

    /// Leaves an empty array in the place of `buffer`.
    func takeBack(_ buffer: inout [UInt8]) {
        var given: [UInt8] = []
        swap(&given, &buffer)
        guard given.capacity > 0, given.capacity <= Self.maxCapacity, bytes.count < Self.maxSpare else {
            return
        }
        given.removeAll(keepingCapacity: true)
        bytes.append(given)
    }

    /// An empty list of lines.
    func takeLines() -> [FieldLine] { lines.popLast() ?? [] }

    /// Leaves an empty list in the place of `list`.
    func takeBack(_ list: inout [FieldLine]) {
        var given: [FieldLine] = []
        swap(&given, &list)
        guard given.capacity > 0, given.capacity <= Self.maxLines, lines.count < Self.maxSpare else { return }
        given.removeAll(keepingCapacity: true)
        lines.append(given)
    }

    /// An empty block.
    func takeBlock() -> HTTP2FieldBlock { blocks.popLast() ?? HTTP2FieldBlock() }

    /// Leaves an empty block in the place of `block`.
    func takeBack(_ block: inout HTTP2FieldBlock) {
        var given = HTTP2FieldBlock()
        swap(&given, &block)
        guard given.capacity <= Self.maxCapacity, blocks.count < Self.maxSpare else { return }
        given.removeAll()
        blocks.append(given)
    }
}
