import Glibc
import Testing

@testable import EventLoop

@Suite("A loop on a network in memory")
struct MemoryNetworkTests {
    let network: MemoryNetwork
    let loop: EventLoop
    let clock = FakeClock()
    private let address = SocketAddress.ipv4(0x0A00_0001, port: 80)

    init() {
        network = MemoryNetwork(bufferSize: 100)
        loop = EventLoop(network: network, clock: clock, scratchSize: 64)
    }

    /// A stream of the loop that has connected to a backend, and the backend's end.
    private func connected() throws -> (RecordingStream, MemoryPeer) {
        let backend = network.backend(at: address)
        let stream = RecordingStream(loop: loop, descriptor: try loop.connect(to: address))
        try stream.register()
        loop.runUntilIdle()
        stream.events = []
        return (stream, try #require(backend.accept()))
    }

    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0) } }

    @Test("what comes is reported once, and again only when more comes")
    func edges() throws {
        let (stream, peer) = try connected()
        stream.readsPerCall = 0
        peer.send("ab")
        loop.runUntilIdle()
        loop.runUntilIdle()
        #expect(stream.count(.readable) == 1)
        peer.send("c")
        loop.runUntilIdle()
        #expect(stream.count(.readable) == 2)
        stream.readsPerCall = .max
        stream.readOn()
        #expect(stream.received == Array("abc".utf8))
    }

    @Test("what a full connection does not take follows when half of it is free")
    func backpressure() throws {
        let (stream, peer) = try connected()
        peer.isReading = false
        stream.send(bytes(130))
        #expect(stream.unsentBytes == 30)
        #expect(!stream.mayWrite)
        loop.runUntilIdle()
        #expect(stream.unsentBytes == 30)
        #expect(peer.receive() == Array(bytes(130).prefix(100)))
        loop.runUntilIdle()
        #expect(stream.count(.drained) == 1)
        #expect(peer.receive() == Array(bytes(130).suffix(30)))
        // A peer that reads by itself is never full.
        peer.isReading = true
        stream.send(bytes(1000))
        #expect(stream.isDrained)
    }

    @Test("three pieces go out as one, cut where the connection is full")
    func gather() throws {
        let (stream, peer) = try connected()
        peer.isReading = false
        let (one, two, three) = (bytes(40), bytes(50), bytes(60))
        stream.send(one.span, then: two.span, then: three.span)
        #expect(peer.receive() == one + two + bytes(10))
        loop.runUntilIdle()
        #expect(peer.receive() == Array(three.suffix(50)))
    }

    @Test("either side ends its sending alone; both ended is a hangup")
    func halfClose() throws {
        let (stream, peer) = try connected()
        stream.shutdownWhenSent()
        #expect(peer.sawEnd)
        peer.send("late")
        loop.runUntilIdle()
        #expect(stream.received == Array("late".utf8))
        peer.end()
        loop.runUntilIdle()
        #expect(stream.results.last == .end)
        #expect(stream.sawFailure)
        #expect(peer.isOver)
    }

    @Test("an end that comes with the last bytes is read in the same turn")
    func endBehindBytes() throws {
        let (stream, peer) = try connected()
        peer.send("last")
        peer.close()
        loop.runUntilIdle()
        #expect(stream.results == [.bytes(4), .end])
        #expect(stream.sawHangup && !stream.sawFailure)
    }

    @Test("writing to whoever has closed is answered with a reset")
    func writeAfterClose() throws {
        let (stream, peer) = try connected()
        peer.close()
        loop.runUntilIdle()
        stream.send(bytes(3))
        #expect(stream.writeError == 0)
        loop.runUntilIdle()
        #expect(stream.sawFailure)
        stream.send(bytes(3))
        #expect(stream.writeError == EPIPE)
    }

    @Test("closing with bytes unread resets, as does a close that was told to")
    func resets() throws {
        let (stream, peer) = try connected()
        peer.isReading = false
        stream.send(bytes(3))
        peer.close()
        loop.runUntilIdle()
        #expect(stream.results == [.failed(ECONNRESET)])
        let (second, secondPeer) = try connected()
        second.resetOnClose()
        second.close()
        #expect(secondPeer.wasReset)
        let (third, thirdPeer) = try connected()
        third.close()
        #expect(!thirdPeer.wasReset && thirdPeer.sawEnd)
    }

    @Test("bytes that came before a reset are read before it is heard of")
    func bytesBeforeReset() throws {
        let (stream, peer) = try connected()
        peer.send("tail")
        peer.reset()
        loop.runUntilIdle()
        #expect(stream.received == Array("tail".utf8))
        #expect(stream.results.last == .failed(ECONNRESET))
    }

    @Test("a refusal is heard of afterwards; a silent host says nothing at all")
    func refusals() throws {
        let refused = RecordingStream(loop: loop, descriptor: try loop.connect(to: address))
        try refused.register()
        loop.runUntilIdle()
        #expect(refused.events.first == .becameWritable)
        #expect(refused.results == [.failed(ECONNREFUSED)])
        let backend = network.backend(at: nil)
        backend.answer = .staysSilent
        let silent = RecordingStream(loop: loop, descriptor: try loop.connect(to: address))
        try silent.register()
        silent.setDeadline(loop.now + 10)
        loop.runUntilIdle()
        #expect(silent.events.isEmpty)
        loop.advance(by: 10)
        #expect(silent.events == [.deadline])
        silent.close()
        refused.close()
        #expect(network.openDescriptors == 0)
        let others = MemoryNetwork()
        let loop = EventLoop(network: others, clock: FakeClock())
        #expect(throws: SystemError("connect", code: ENOENT)) {
            try loop.connect(to: .unix(path: "/nobody"))
        }
    }

    @Test("the outcome of an attempt is an errno value, told once")
    func pendingError() throws {
        let stream = RecordingStream(loop: loop, descriptor: try loop.connect(to: address))
        #expect(stream.pendingError == ECONNREFUSED)
        #expect(stream.pendingError == 0)
        let (made, _) = try connected()
        #expect(made.pendingError == 0)
    }

    @Test("an exact address comes before the backend that takes all others")
    func backends() throws {
        let exact = network.backend(at: address)
        let others = network.backend(at: nil)
        _ = try loop.connect(to: address)
        _ = try loop.connect(to: address.with(port: 81))
        #expect(exact.connections == 1 && others.connections == 1)
        #expect(try #require(others.accept()).local == address.with(port: 81))
        #expect(others.accept() == nil)
    }

    @Test("clients wait in a listener's backlog in their order, and see it close")
    func listener() throws {
        final class Listener: ListenerChannel {
            var accepted: [(Int32, SocketAddress)] = []
            override func accepted(_ descriptor: Int32, from peer: SocketAddress) {
                accepted.append((descriptor, peer))
            }
        }
        let listener = Listener(loop: loop, descriptor: try network.listen(on: .ipv4(0, port: 80)))
        try listener.startListening()
        #expect(throws: SystemError("bind", code: EADDRINUSE)) { try network.listen(on: .ipv4(0, port: 80)) }
        let clients = try (1...3).map { try network.connect(to: address, from: .ipv4(UInt32($0), port: 9)) }
        loop.runUntilIdle()
        #expect(listener.accepted.map(\.1) == (1...3).map { .ipv4($0, port: 9) })
        // Accepted on the wildcard, a connection has the address that its client asked for.
        let stream = RecordingStream(loop: loop, descriptor: try #require(listener.accepted.first?.0))
        #expect(stream.localAddress == address)
        #expect(clients[0].remote == address)
        listener.pause()
        let waiting = try network.connect(to: address)
        loop.runUntilIdle()
        #expect(listener.accepted.count == 3)
        listener.resume()
        loop.runUntilIdle()
        #expect(listener.accepted.count == 4)
        #expect(listener.accepted.last?.1 == waiting.local)
        listener.pause()
        let tooLate = try network.connect(to: address)
        listener.close()
        #expect(tooLate.wasReset)
        #expect(throws: SystemError("connect", code: ECONNREFUSED)) { try network.connect(to: address) }
    }

    @Test("what is due on the way of time comes in order, each at its own time")
    func deadlines() throws {
        final class Timer: Channel {
            var told: (String) -> Void = { _ in }
            var name = ""
            override func deadlinePassed() { told(name) }
        }
        let start = loop.now
        var told: [String] = []
        func timer(_ name: String, after milliseconds: Int64) -> Timer {
            let timer = Timer(timerOn: loop)
            timer.name = name
            timer.told = { [unowned timer] name in
                told.append("\(name) \(timer.loop.now - start)")
                if name == "again", told.count < 5 { timer.setDeadline(timer.loop.now + 15) }
            }
            timer.setDeadline(start + milliseconds)
            return timer
        }
        let timers = [
            timer("later", after: 40), timer("again", after: 15), timer("not", after: 61),
        ]
        let unix = loop.unixNow
        loop.advance(by: 60)
        #expect(told == ["again 15", "again 30", "later 40", "again 45", "again 60"])
        #expect(loop.now == start + 60)
        #expect(loop.unixNow == unix + 60)
        for timer in timers { timer.close() }
        loop.advance(by: 60)
        #expect(told.count == 5)
    }

    @Test("work that was posted runs, and work without end is noticed")
    func posted() {
        let poster = loop.poster
        final class Count: @unchecked Sendable { var value = 0 }
        // Confined to this thread, as the loop is.
        let count = Count()
        poster.post { count.value += 1 }
        #expect(loop.runUntilIdle())
        #expect(count.value == 1)
        @Sendable func again() {
            count.value += 1
            poster.post { again() }
        }
        again()
        #expect(!loop.runUntilIdle(turns: 10))
        #expect(count.value == 12)
    }

    @Test("more that is ready than one turn takes is left for the next")
    func manyReady() throws {
        let backend = network.backend(at: nil)
        let streams = try (0..<1_200).map { _ in
            let stream = RecordingStream(loop: loop, descriptor: try loop.connect(to: address))
            try stream.register()
            return stream
        }
        loop.turn(wait: false)
        #expect(streams.count { $0.count(.becameWritable) == 1 } == 512)
        loop.runUntilIdle()
        #expect(streams.allSatisfy { $0.count(.becameWritable) == 1 })
        while let peer = backend.accept() { peer.send("x") }
        loop.runUntilIdle()
        #expect(streams.allSatisfy { $0.received == [0x78] })
        for stream in streams { stream.close() }
        #expect(network.openDescriptors == 0)
    }

    @Test("names mean what the network says, in either case, of the families that are wanted")
    func names() throws {
        let six = SocketAddress.ipv6([UInt8](repeating: 1, count: 16), port: 0)
        network.names["a.test"] = [address.with(port: 0), six]
        var options = NameResolver.Options()
        var answers: [Result<[SocketAddress], NameResolver.Failure>] = []
        let both = try NameResolver(loop: loop, options: options)
        both.resolve("A.test", port: 80) { answers.append($0) }
        both.resolve("b.test", port: 80) { answers.append($0) }
        both.resolve("10.0.0.1", port: 80) { answers.append($0) }
        options.ipv4 = false
        try NameResolver(loop: loop, options: options).resolve("a.test", port: 81) { answers.append($0) }
        #expect(
            answers == [
                .success([address, six.with(port: 80)]), .failure(.notFound), .success([address]),
                .success([six.with(port: 81)]),
            ])
        both.close()
        both.resolve("a.test", port: 80) { answers.append($0) }
        #expect(answers.last == .failure(.closed))
    }

    @Test("its descriptors mean nothing to the kernel")
    func descriptors() throws {
        let (stream, _) = try connected()
        #expect(fcntl(stream.descriptor, F_GETFD) == -1)
        #expect(errno == EBADF)
    }
}
