package import Wire

/// What planes of a worker share.
package final class WebSocketCommons {
    package let items = WebSocketItemPool()
    package let deflatePool = DeflatePool()
    private var buffers: [[UInt8]] = []
    /// Unpredictable numbers (RFC 6455 §5.3, §10.3).
    package let random: () -> UInt32
    /// Bytes of output that are gathered for one call; pieces above it go out where they lie.
    static let directSize = 16 * 1024
    /// Bytes of a buffer that is kept for the next message.
    private static let keptRoom = 1 << 20

    package init(random: @escaping () -> UInt32) { self.random = random }

    func takeBuffer() -> [UInt8] { buffers.popLast() ?? [] }

    /// Takes the buffer's room, and leaves it none: a reference besides ours would have the room made anew.
    func giveBack(_ buffer: inout [UInt8]) {
        guard buffer.capacity > 0, buffer.capacity <= Self.keptRoom, buffers.count < 8 else { return }
        buffer.clear()
        var taken: [UInt8] = []
        swap(&taken, &buffer)
        buffers.append(taken)
    }

    /// Lets go of the room that is kept for messages to come.
    package func letGoOfRoom() {
        buffers = []
        items.letGoOfRoom()
        deflatePool.removeAll()
    }
}
