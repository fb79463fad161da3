/// Streams of zlib's that are lent for a message at a time, to be used again by the next connection.
///
/// One for each worker. Without context takeover (RFC 7692 §7.1.1) a connection has nothing to remember between
/// messages, so that it holds a stream only while one is under way.
package final class DeflatePool {
    /// Those at rest, the one that came back last behind. There are a few kinds, as there are a few policies.
    private var idle: [(kind: ZlibKind, streams: [ZlibStream])] = []
    /// How many of each kind are kept.
    private let capacity: Int

    package init(capacity: Int = 16) { self.capacity = max(capacity, 0) }

    /// The number of streams at rest.
    package var idleCount: Int { idle.reduce(0) { $0 + $1.streams.count } }

    /// Lets go of every stream at rest.
    package func removeAll() { idle.removeAll() }

    func lend(_ kind: ZlibKind) -> ZlibStream {
        for index in idle.indices where idle[index].kind == kind {
            if let stream = idle[index].streams.popLast() { return stream }
        }
        return ZlibStream(kind)
    }

    func takeBack(_ stream: ZlibStream) {
        guard capacity > 0 else { return }
        stream.reset()
        for index in idle.indices where idle[index].kind == stream.kind {
            if idle[index].streams.count < capacity { idle[index].streams.append(stream) }
            return
        }
        idle.append((stream.kind, [stream]))
    }
}
