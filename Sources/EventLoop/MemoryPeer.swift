internal import Bytes

/// The far end of a connection on a memory network, in the hands of a test: a client of the loop, or a server that
/// it connected to.
package final class MemoryPeer {
    private let network: MemoryNetwork
    private let stream: MemoryStream

    /// With `false`, what comes is left in the connection's buffer, which fills, until `receive` takes it.
    package var isReading = true {
        didSet { setCapacity() }
    }

    init(_ network: MemoryNetwork, _ stream: MemoryStream) {
        self.network = network
        self.stream = stream
        setCapacity()
    }

    package var local: SocketAddress { stream.local }
    package var remote: SocketAddress { stream.remote }

    private func setCapacity() {
        stream.capacity = isReading ? .max : network.bufferSize
        network.roomCame(for: stream.other)
    }

    /// Calls `body` from the loop's turns when something came: bytes, the end, or a reset.
    package func onActivity(_ body: @escaping (MemoryPeer) -> Void) {
        // The network holds the stream and not this object, which is why `body` keeps it.
        stream.activity = { body(self) }
        network.changed(stream)
    }

    /// Ends what `onActivity` began.
    package func ignoreActivity() { stream.activity = nil }

    // MARK: Receiving

    /// Takes what has come since the last call.
    package func receive() -> [UInt8] {
        var bytes: [UInt8] = []
        while stream.read(limit: .max, take: { bytes.append($0) }) > 0 {}
        network.roomCame(for: stream.other)
        return bytes
    }

    /// The other end has ended its sending side, and everything before that was received.
    package var sawEnd: Bool { stream.receivedEnd && stream.unread == 0 }
    /// The other end broke the connection off.
    package var wasReset: Bool { stream.isBroken }
    /// The other end is closed, or has ended both ways.
    package var isOver: Bool {
        stream.isBroken || (stream.receivedEnd && (stream.sentEnd || stream.other == nil))
    }

    // MARK: Sending

    /// Sends `bytes`, of which any number is on its way at once; nothing where the connection is over.
    package func send(_ bytes: [UInt8]) {
        guard !stream.sentEnd, !stream.isBroken else { return }
        guard let other = stream.other else {
            stream.breakOff(0)
            return
        }
        _ = other.append(bytes.span, limit: bytes.count)
        network.changed(other)
    }

    package func send(_ text: String) { send(Array(text.utf8)) }

    /// Bytes on their way that the other end has not read.
    package var unread: Int { stream.other?.unread ?? 0 }

    /// Ends the sending side; receiving goes on.
    package func end() { network.end(stream) }

    /// Closes the connection: with bytes that were not received it is a reset, as of any socket.
    package func close() {
        network.close(stream)
        stream.activity = nil
    }

    /// Breaks the connection off.
    package func reset() {
        network.reset(stream)
        stream.activity = nil
    }
}

/// Where a loop on a memory network connects to, in the hands of a test.
package final class MemoryBackend {
    package enum Answer: Sendable {
        case accepts
        case refuses
        /// Connections are neither made nor refused: a host that is gone, or a firewall.
        case staysSilent
    }

    /// What new connections meet.
    package var answer = Answer.accepts
    /// Has a connection instead of `accept`, from inside the call that makes it.
    package var onConnect: ((MemoryPeer) -> Void)?
    /// Connections that were made, in all.
    package private(set) var connections = 0
    private var waiting: [MemoryPeer] = []

    init() {}

    /// The connection that has waited longest, if any.
    package func accept() -> MemoryPeer? { waiting.isEmpty ? nil : waiting.removeFirst() }

    func arrived(_ peer: MemoryPeer) {
        connections += 1
        if let onConnect { onConnect(peer) } else { waiting.append(peer) }
    }
}
