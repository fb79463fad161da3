import Glibc
import Testing

@testable import EventLoop

extension FakeClock {
    /// A loop on the kernel's sockets, whose time is this clock's.
    func makeLoop(scratchSize: Int = 64 * 1024) throws -> EventLoop {
        try EventLoop(scratchSize: scratchSize, clock: self)
    }
}

extension EventLoop {
    /// Turns until `condition` holds. The suites' time limits end what never comes to hold.
    func run(until condition: () -> Bool) {
        while !condition() { turn(wait: true) }
    }

    /// Handles what is there by now: more turns than anything in these tests needs one after another.
    func settle() {
        for _ in 0..<8 { turn(wait: false) }
    }
}

/// Two connected sockets, not blocking.
func socketPair() throws -> (Int32, Int32) {
    var pair: (Int32, Int32) = (-1, -1)
    let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    // The tuple holds the two numbers that the call writes.
    let result = unsafe withUnsafeMutablePointer(to: &pair) { pointer in
        unsafe pointer.withMemoryRebound(to: Int32.self, capacity: 2) {
            unsafe socketpair(AF_UNIX, type, 0, $0)
        }
    }
    try #require(result == 0)
    return pair
}

func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) -> Int {
    unsafe write(descriptor, bytes, bytes.count)
}

/// What can be read now, `nil` at the end of the stream.
func readAvailable(_ descriptor: Int32, limit: Int = 1 << 20) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: limit)
    let count = unsafe read(descriptor, &buffer, limit)
    if count == 0 { return nil }
    return Array(buffer.prefix(max(0, count)))
}

extension EventLoop {
    /// A copy of what the last read left.
    func copyReceived(_ count: Int) -> [UInt8] {
        var copy: [UInt8] = []
        withReceived(count) { bytes in for index in bytes.indices { copy.append(bytes[index]) } }
        return copy
    }
}

/// A stream that notes what happens to it.
final class RecordingStream: StreamChannel {
    enum Event: Equatable {
        case readable, becameWritable, drained, deadline
        case writeFailed(Int32)
    }

    var events: [Event] = []
    var received: [UInt8] = []
    var results: [StreamChannel.ReadResult] = []
    /// Reads this many times at each call; 0 leaves everything where it is.
    var readsPerCall = Int.max
    var readLimit = Int.max
    var onReadable: () -> Void = {}

    func count(_ event: Event) -> Int { events.count { $0 == event } }

    override func readable() {
        events.append(.readable)
        onReadable()
        readOn()
    }

    func readOn() {
        var left = readsPerCall
        while isOpen, mayRead, left > 0 {
            left -= 1
            let result = read(limit: readLimit)
            results.append(result)
            guard case .bytes(let count) = result else { return }
            received += loop.copyReceived(count)
        }
    }

    override func becameWritable() { events.append(.becameWritable) }
    override func drained() { events.append(.drained) }
    override func deadlinePassed() { events.append(.deadline) }
    override func writeFailed(_ error: Int32) { events.append(.writeFailed(error)) }
}
