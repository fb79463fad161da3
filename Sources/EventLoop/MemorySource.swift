internal import Bytes
internal import Glibc

/// Something of a memory network that may become ready.
class MemorySource {
    /// What a loop asked to be told.
    struct Watch {
        var key: UInt64
        var interest: UInt32
        var isLevelTriggered: Bool
    }

    var watch: Watch?
    /// For ends that a test holds: called from the loop's turn when something happened.
    var activity: (() -> Void)?
    /// Stands in the network's queue.
    var isQueued = false

    /// What is true now, in EPOLL's bits.
    var readiness: UInt32 { 0 }
}

/// Connections that wait to be accepted.
final class MemoryBacklog: MemorySource {
    let address: SocketAddress
    var waiting: [MemoryStream] = []

    init(address: SocketAddress) { self.address = address }

    override var readiness: UInt32 { waiting.isEmpty ? 0 : EventLoop.input }

    func takeFirst() -> MemoryStream? { waiting.isEmpty ? nil : waiting.removeFirst() }
}

/// One end of a connection, with the bytes that have come for it.
///
/// The two ends refer to each other until one of them closes.
final class MemoryStream: MemorySource {
    enum WriteResult {
        case taken(Int)
        /// The other end is closed: that many bytes go nowhere.
        case lost(Int)
        /// An `errno` value.
        case failed(Int32)
    }

    let local: SocketAddress
    let remote: SocketAddress
    /// How many bytes wait here before the other end has to.
    var capacity: Int
    /// `nil` while connecting, and once the other end is closed.
    var other: MemoryStream?
    var isConnecting = false
    var sentEnd = false
    var receivedEnd = false
    /// Over in both directions; what has come can still be read.
    private(set) var isBroken = false
    var resetsOnClose = false
    /// A write came back short since there was last room.
    var wantsRoom = false
    /// An `errno` value, to be told once.
    private var error: Int32 = 0
    private var inbox: [UInt8] = []
    private var inboxStart = 0

    init(local: SocketAddress, remote: SocketAddress, capacity: Int) {
        self.local = local
        self.remote = remote
        self.capacity = capacity
    }

    var unread: Int { inbox.count - inboxStart }

    /// As Linux has it for TCP: writable when about half of the buffer is free.
    var hasRoom: Bool {
        guard let other else { return true }
        return other.room >= max(1, other.capacity - other.capacity / 2)
    }

    private var room: Int { max(0, capacity - unread) }

    override var readiness: UInt32 {
        guard !isConnecting else { return 0 }
        var mask: UInt32 = 0
        if unread > 0 { mask |= EventLoop.input }
        if receivedEnd || isBroken { mask |= EventLoop.input | EventLoop.peerClosed }
        if sentEnd || isBroken || hasRoom { mask |= EventLoop.output }
        if isBroken || (sentEnd && receivedEnd) { mask |= EventLoop.hangup }
        if error != 0 { mask |= EventLoop.failure }
        return mask
    }

    func takeError() -> Int32 {
        defer { error = 0 }
        return error
    }

    /// With the error that is heard of it, 0 for none.
    func breakOff(_ error: Int32) {
        guard !isBroken else { return }
        isBroken = true
        self.error = error
    }

    /// Hands over at most `limit` bytes; 0 at the end, -1 where there is nothing yet or an error to be told.
    func read(limit: Int, take: (Span<UInt8>) -> Void) -> Int {
        let count = min(limit, unread)
        if count > 0 {
            // A copy of the reference: a span of the property itself would outlive its access.
            let bytes = inbox
            take(bytes.span.extracting(inboxStart..<inboxStart + count))
            inboxStart += count
            if unread == 0 {
                inbox.removeAll(keepingCapacity: inbox.capacity <= 64 * 1024)
                inboxStart = 0
            }
            return count
        }
        if error != 0 { return -1 }
        return receivedEnd || isBroken ? 0 : -1
    }

    func write(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) -> WriteResult {
        guard !isConnecting else { return .failed(EAGAIN) }
        if error != 0 { return .failed(takeError()) }
        guard !sentEnd, !isBroken else { return .failed(EPIPE) }
        let total = first.count + second.count + third.count
        guard let other else { return .lost(total) }
        let taken = min(total, other.room)
        if taken < total { wantsRoom = true }
        guard taken > 0 || total == 0 else { return .failed(EAGAIN) }
        var left = taken
        for piece in 0..<3 where left > 0 {
            left -= other.append(piece == 0 ? first : piece == 1 ? second : third, limit: left)
        }
        return .taken(taken)
    }

    /// Returns how many bytes of `piece` have come.
    func append(_ piece: Span<UInt8>, limit: Int) -> Int {
        let count = min(limit, piece.count)
        inbox.append(piece.extracting(first: count))
        return count
    }
}
