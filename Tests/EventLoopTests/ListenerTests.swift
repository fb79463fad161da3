import Glibc
import Testing

@testable import EventLoop

@Suite("Listener", .timeLimit(.minutes(1)))
struct ListenerTests {
    final class Listener: ListenerChannel {
        var peers: [SocketAddress] = []

        override func accepted(_ descriptor: Int32, from peer: SocketAddress) {
            peers.append(peer)
            _ = Glibc.close(descriptor)
        }
    }

    let loop: EventLoop
    let listener: Listener
    let address: SocketAddress

    init() throws {
        loop = try EventLoop(scratchSize: 4096)
        let descriptor = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: .init())
        address = try #require(Sockets.localAddress(descriptor))
        listener = Listener(loop: loop, descriptor: descriptor)
        try listener.startListening()
    }

    /// Connections that have been made as far as the kernel is concerned.
    func connect(_ count: Int) throws -> [Int32] {
        try (0..<count).map { _ in
            let descriptor = try Sockets.connect(to: address)
            var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            // One entry is passed, and counted.
            try #require(unsafe poll(&entry, 1, 10_000) == 1)
            return descriptor
        }
    }

    @Test("all that connect are accepted, one a turn, with their addresses")
    func accepting() throws {
        let clients = try connect(3)
        loop.turn(wait: true)
        #expect(listener.peers.count == 1)
        loop.run { listener.peers.count == 3 }
        #expect(Set(listener.peers) == Set(clients.compactMap { Sockets.localAddress($0) }))
        clients.forEach { close($0) }
        listener.close()
    }

    @Test("a paused listener leaves connections in the backlog until it resumes")
    func pausing() throws {
        listener.pause()
        listener.pause()
        let clients = try connect(2)
        loop.settle()
        #expect(listener.peers.isEmpty)
        listener.resume()
        listener.resume()
        loop.run { listener.peers.count == 2 }
        clients.forEach { close($0) }
        listener.close()
    }

    @Test("a listener paused by its owner does not resume at an earlier rest's end")
    func pausingWhileResting() throws {
        listener.pause()
        // As when the process is out of descriptors.
        listener.setDeadline(loop.now)
        listener.pause()
        let clients = try connect(1)
        loop.settle()
        #expect(listener.peers.isEmpty)
        clients.forEach { close($0) }
        listener.close()
    }

    @Test("what is waiting can be accepted before the listener closes")
    func acceptAll() throws {
        let clients = try connect(3)
        listener.acceptAll()
        #expect(listener.peers.count == 3)
        clients.forEach { close($0) }
        listener.close()
    }

    @Test("several loops may watch one socket: each connection is accepted once")
    func shared() throws {
        let otherLoop = try EventLoop(scratchSize: 4096)
        let other = Listener(loop: otherLoop, descriptor: dup(listener.descriptor))
        try other.startListening()
        let clients = try connect(4)
        while listener.peers.count + other.peers.count < 4 {
            loop.turn(wait: false)
            otherLoop.turn(wait: false)
        }
        loop.settle()
        otherLoop.settle()
        #expect(listener.peers.count + other.peers.count == 4)
        clients.forEach { close($0) }
        listener.close()
        other.close()
    }

    @Test("a UNIX socket's file that nothing listens on is replaced, one in use is not")
    func unixSocket() throws {
        let path = "/tmp/switchyard-listener-\(getpid())-\(address.port)"
        defer { _ = unsafe unlink(path) }
        let first = try Sockets.listen(on: .unix(path: path), options: .init())
        #expect(throws: SystemError("bind", code: EADDRINUSE)) {
            try Sockets.listen(on: .unix(path: path), options: .init())
        }
        close(first)
        let second = try Sockets.listen(on: .unix(path: path), options: .init())
        let client = try Sockets.connect(to: .unix(path: path))
        guard case .connection(let accepted, let peer) = Sockets.accept(second) else {
            Issue.record("nothing was accepted")
            return
        }
        #expect(peer == .unix(path: ""))
        for descriptor in [accepted, client, second] { close(descriptor) }
    }

    @Test("a UNIX socket's path that is too long is an error of the call that it was for")
    func longPath() {
        let path = "/tmp/" + String(repeating: "a", count: 200)
        #expect(throws: SystemError("bind", code: ENAMETOOLONG)) {
            try Sockets.listen(on: .unix(path: path), options: .init())
        }
        #expect(throws: SystemError("connect", code: ENAMETOOLONG)) {
            try Sockets.connect(to: .unix(path: path))
        }
    }
}

@Suite("Socket address")
struct SocketAddressTests {
    @Test(
        "numeric text becomes an address and text again",
        arguments: [
            ("127.0.0.1", "127.0.0.1:80"), ("255.254.253.252", "255.254.253.252:80"), ("::1", "[::1]:80"),
            ("2001:db8:0:0:0:0:0:1", "[2001:db8::1]:80"),
        ])
    func text(host: String, description: String) throws {
        let address = try #require(SocketAddress(numericHost: host, port: 80))
        #expect(address.description == description)
        #expect(address.port == 80)
    }

    @Test(
        "what is not numeric is no address",
        arguments: ["", "localhost", "1.2.3", "1.2.3.256", "[::1]", "::g"])
    func notNumeric(host: String) {
        #expect(SocketAddress(numericHost: host, port: 80) == nil)
    }

    @Test("an address has its bytes in network order")
    func binary() {
        #expect(SocketAddress(numericHost: "1.2.3.4", port: 0)?.binary == [1, 2, 3, 4])
        #expect(SocketAddress(numericHost: "::2", port: 0)?.binary == Array(repeating: 0, count: 15) + [2])
        #expect(SocketAddress.unix(path: "/a").binary == [])
    }
}
