import Glibc
import Testing

@testable import EventLoop

@Suite("Stream channel", .timeLimit(.minutes(1)))
struct StreamChannelTests {
    let loop: EventLoop
    let stream: RecordingStream
    let peer: Int32

    init() throws {
        loop = try EventLoop(scratchSize: 4096)
        let pair = try socketPair()
        stream = RecordingStream(loop: loop, descriptor: pair.0)
        peer = pair.1
        try stream.register()
        loop.settle()
        stream.events = []
    }

    /// More than a socket's buffers take, with no two neighbouring stretches alike.
    static func largeBytes(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 ^ $0 >> 8 ^ $0 >> 16) }
    }

    /// Everything that the stream sends until `count` bytes have come, or the end.
    func receiveAtPeer(_ count: Int) -> [UInt8] {
        var received: [UInt8] = []
        while received.count < count {
            guard let bytes = readAvailable(peer) else { break }
            received += bytes
            if bytes.isEmpty { loop.turn(wait: true) }
        }
        return received
    }

    @Test("bytes that are left where they are cause no second call, but are not forgotten")
    func edge() {
        stream.readsPerCall = 0
        #expect(writeAll(peer, [1, 2, 3]) == 3)
        loop.settle()
        #expect(stream.events == [.readable])
        #expect(stream.mayRead)
        stream.readsPerCall = .max
        stream.scheduleRead()
        stream.scheduleRead()
        loop.settle()
        #expect(stream.events == [.readable, .readable])
        #expect(stream.received == [1, 2, 3])
        #expect(!stream.mayRead)
    }

    @Test("bytes that arrive after the source was emptied cause a call again")
    func nextEdge() {
        #expect(writeAll(peer, [1]) == 1)
        loop.settle()
        #expect(writeAll(peer, [2]) == 1)
        loop.settle()
        #expect(stream.events == [.readable, .readable])
        #expect(stream.received == [1, 2])
    }

    @Test("a read that came back full is followed by another, one that came back short is not")
    func shortReads() {
        stream.readLimit = 4
        #expect(writeAll(peer, Array(0..<10)) == 10)
        loop.settle()
        #expect(stream.results == [.bytes(4), .bytes(4), .bytes(2)])
        stream.results = []
        #expect(writeAll(peer, Array(0..<4)) == 4)
        loop.settle()
        #expect(stream.results == [.bytes(4), .wouldBlock])
    }

    @Test("one read takes no more than the loop's scratch buffer holds")
    func scratchSize() {
        let bytes = Self.largeBytes(10_000)
        #expect(writeAll(peer, bytes) == bytes.count)
        loop.settle()
        #expect(stream.results == [.bytes(4096), .bytes(4096), .bytes(1808)])
        #expect(stream.received == bytes)
    }

    @Test("who reads while bytes are looked at, from whatever stream, gets bytes of its own")
    func lending() throws {
        let pairs = try (0..<3).map { _ in try socketPair() }
        let streams = pairs.map { RecordingStream(loop: loop, descriptor: $0.0) }
        for (index, stream) in streams.enumerated() {
            try stream.register()
            stream.readsPerCall = 0
            #expect(writeAll(pairs[index].1, [UInt8](repeating: UInt8(index), count: 4096)) == 4096)
        }
        loop.settle()
        var seen: [[UInt8]] = []
        func look(at index: Int) {
            guard streams.indices.contains(index), case .bytes(let count) = streams[index].read() else {
                return
            }
            loop.withReceived(count) { bytes in
                look(at: index + 1)
                var copy: [UInt8] = []
                for index in bytes.indices { copy.append(bytes[index]) }
                seen.append(copy)
            }
        }
        look(at: 0)
        #expect(seen == [2, 1, 0].map { [UInt8](repeating: $0, count: 4096) })
    }

    @Test("the bytes before an end are read before the end is")
    func end() {
        #expect(writeAll(peer, [7, 8]) == 2)
        close(peer)
        loop.settle()
        #expect(stream.results == [.bytes(2), .end])
        #expect(stream.sawHangup)
        stream.close()
    }

    @Test("a source that is scheduled again lets another have its turn first")
    func fairness() throws {
        let pair = try socketPair()
        let other = RecordingStream(loop: loop, descriptor: pair.0)
        var order: [String] = []
        stream.readsPerCall = 1
        stream.readLimit = 2
        stream.onReadable = { [unowned stream] in
            order.append("first")
            stream.scheduleRead()
        }
        other.onReadable = { order.append("second") }
        try other.register()
        loop.settle()
        #expect(writeAll(peer, [1, 2, 3, 4, 5, 6]) == 6)
        #expect(writeAll(pair.1, [1]) == 1)
        loop.turn(wait: true)
        // The scheduled read ran after both channels had been served.
        #expect(order == ["first", "second", "first"])
        loop.settle()
        #expect(stream.received == [1, 2, 3, 4, 5, 6])
        stream.onReadable = {}
        other.close()
    }

    @Test("what the kernel does not take is kept, follows in order, and then leaves no buffer")
    func backpressure() {
        let bytes = Self.largeBytes(3_000_000)
        stream.send(bytes)
        #expect(stream.unsentBytes > 0)
        #expect(!stream.isDrained)
        #expect(!stream.mayWrite)
        let unsent = stream.unsentBytes
        stream.send([1, 2, 3])
        #expect(stream.unsentBytes == unsent + 3)
        #expect(receiveAtPeer(bytes.count + 3) == bytes + [1, 2, 3])
        loop.settle()
        #expect(stream.count(.drained) == 1)
        #expect(stream.isDrained)
        #expect(stream.unsentBytes == 0)
    }

    @Test("pieces arrive whole and in order wherever the kernel stops", arguments: [(1, 2), (2, 1), (1, 1)])
    func pieces(first: Int, second: Int) {
        let size = 400_000
        let bytes = Self.largeBytes(size * 4)
        let cuts = [first * size, (first + second) * size]
        stream.send(
            bytes.span.extracting(0..<cuts[0]), then: bytes.span.extracting(cuts[0]..<cuts[1]),
            then: bytes.span.extracting(cuts[1]...))
        #expect(stream.unsentBytes > 0)
        #expect(receiveAtPeer(bytes.count) == bytes)
    }

    @Test("small pieces go out at once, empty ones not at all")
    func smallPieces() {
        let bytes: [UInt8] = [1, 2, 3]
        stream.send(bytes.span.extracting(0..<1), then: Span(), then: bytes.span.extracting(1...))
        #expect(stream.isDrained)
        #expect(readAvailable(peer) == bytes)
        stream.send(Span())
        #expect(readAvailable(peer) == [])
        #expect(stream.events.isEmpty)
    }

    @Test("a half-close is seen at once when nothing is unsent, and the other direction stays open")
    func halfClose() {
        stream.shutdownWhenSent()
        #expect(readAvailable(peer) == nil)
        #expect(writeAll(peer, [5]) == 1)
        loop.settle()
        #expect(stream.received == [5])
    }

    @Test("a half-close waits for what is unsent")
    func halfCloseAfterUnsent() {
        let bytes = Self.largeBytes(2_000_000)
        stream.send(bytes)
        stream.shutdownWhenSent()
        #expect(stream.unsentBytes > 0)
        #expect(receiveAtPeer(.max) == bytes)
        #expect(stream.isDrained)
    }

    @Test("a failed write is told once; what is sent after it is dropped")
    func failedWrite() {
        close(peer)
        stream.send([1])
        stream.send([2])
        #expect(stream.events == [.writeFailed(EPIPE)])
        #expect(stream.writeError == EPIPE)
        #expect(stream.isDrained)
        loop.settle()
        #expect(stream.count(.writeFailed(EPIPE)) == 1)
        stream.close()
    }

    @Test("a write that fails while bytes are unsent drops them, but for how many they were")
    func failedWriteOfUnsent() {
        stream.send(Self.largeBytes(2_000_000))
        let unsent = stream.unsentBytes
        #expect(unsent > 0)
        close(peer)
        loop.settle()
        #expect(stream.count(.writeFailed(EPIPE)) == 1)
        #expect(stream.isDrained && stream.unsentBytes == unsent)
        #expect(stream.count(.drained) == 0)
    }

    @Test("a detached descriptor stays open and causes no more calls")
    func detach() {
        let descriptor = stream.detach()
        #expect(!stream.isOpen)
        #expect(writeAll(peer, [1]) == 1)
        loop.settle()
        #expect(stream.events.isEmpty)
        #expect(readAvailable(descriptor) == [1])
        close(descriptor)
    }

    @Test("a closed stream takes no more bytes, and closing it again does nothing")
    func closed() {
        stream.close()
        stream.close()
        stream.send([1])
        stream.shutdownWhenSent()
        stream.scheduleRead()
        loop.settle()
        #expect(stream.events.isEmpty)
        #expect(readAvailable(peer) == nil)
    }

    @Test("a connection that is refused becomes writable with the error waiting")
    func refusedConnection() throws {
        let listener = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: .init())
        let address = try #require(Sockets.localAddress(listener))
        close(listener)
        let connecting = RecordingStream(loop: loop, descriptor: try Sockets.connect(to: address))
        connecting.readsPerCall = 0
        try connecting.register()
        loop.run { connecting.events.contains(.becameWritable) }
        #expect(Sockets.pendingError(connecting.descriptor) == ECONNREFUSED)
        loop.settle()
        #expect(connecting.count(.becameWritable) == 1)
        connecting.close()
    }

    @Test("bytes sent before a connection is made follow when it is")
    func sendWhileConnecting() throws {
        let listener = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: .init())
        let address = try #require(Sockets.localAddress(listener))
        let connecting = RecordingStream(loop: loop, descriptor: try Sockets.connect(to: address))
        try connecting.register()
        connecting.send([1, 2, 3])
        #expect(connecting.unsentBytes == 3)
        loop.run { connecting.isDrained }
        #expect(connecting.events == [.becameWritable, .drained])
        guard case .connection(let accepted, let from) = Sockets.accept(listener) else {
            Issue.record("nothing was accepted")
            return
        }
        #expect(from == Sockets.localAddress(connecting.descriptor))
        #expect(readAvailable(accepted) == [1, 2, 3])
        connecting.close()
        close(accepted)
        close(listener)
    }
}
