import Config
import EventLoop
import Glibc
import ProxyCore
import Testing

@testable import ProxyServer

@Suite("Scripts' sockets", .timeLimit(.minutes(1)))
struct ScriptSocketTests {
    private func connect(
        _ fixture: NetworkFixture, _ host: String, _ port: UInt16
    ) throws -> ScriptSocket {
        var outcome: Result<Void, SocketFailure>?
        let socket = try ScriptSocket.connect(
            to: Array(host.utf8), port: Int(port), timeoutMilliseconds: 20_000, worker: fixture.worker,
            generation: fixture.generation, settings: nil
        ) { outcome = $0 }
        fixture.run { outcome != nil }
        try #require(outcome).get()
        return socket
    }

    private func receive(
        _ fixture: NetworkFixture, _ socket: ScriptSocket, _ pattern: ReceivePattern, timeout: Int64 = 20_000
    ) -> Result<String, SocketFailure> {
        var outcome: Result<[UInt8], SocketFailure>?
        do throws(SocketFailure) {
            outcome = try socket.receive(pattern, timeoutMilliseconds: timeout) { outcome = $0 }.map {
                .success($0)
            }
        } catch {
            return .failure(error)
        }
        fixture.run { outcome != nil }
        return (outcome ?? .failure(.closed)).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test("lines, numbers of bytes, what is there and the rest come as they are asked for")
    func patterns() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve()
        let socket = try connect(fixture, "localhost", server.port)
        fixture.run { server.connections.count == 1 }
        let peer = server.connections[0]
        peer.send(Array("one\r\ntwo\n\r\n12345rest".utf8))
        #expect(receive(fixture, socket, .line) == .success("one"))
        #expect(receive(fixture, socket, .line) == .success("two"))
        #expect(receive(fixture, socket, .line) == .success(""))
        #expect(receive(fixture, socket, .exactly(5)) == .success("12345"))
        #expect(receive(fixture, socket, .exactly(0)) == .success(""))
        #expect(receive(fixture, socket, .available) == .success("rest"))
        peer.send(Array("part".utf8))
        #expect(receive(fixture, socket, .exactly(5), timeout: 30) == .failure(.timedOut))
        peer.send(Array("s and more".utf8))
        #expect(receive(fixture, socket, .exactly(5)) == .success("parts"))
        peer.shutdownWhenSent()
        #expect(receive(fixture, socket, .line) == .failure(.closed))
        #expect(receive(fixture, socket, .untilClosed) == .success(" and more"))
        #expect(receive(fixture, socket, .available) == .failure(.closed))
        socket.close()
        #expect(fixture.worker.openConnections == 0)
    }

    @Test("a line and a rest that are too long are failures")
    func bounds() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve()
        let socket = try connect(fixture, "127.0.0.1", server.port)
        fixture.run { server.connections.count == 1 }
        server.connections[0].send([UInt8](repeating: 65, count: ReceiveBuffer.maxBytes + 1))
        server.connections[0].shutdownWhenSent()
        #expect(receive(fixture, socket, .line) == .failure(.tooLarge))
        #expect(receive(fixture, socket, .untilClosed) == .failure(.tooLarge))
        #expect(receive(fixture, socket, .exactly(ReceiveBuffer.maxBytes + 1)) == .failure(.tooLarge))
        #expect(receive(fixture, socket, .exactly(-1)).isFailure)
        #expect(receive(fixture, socket, .exactly(3)) == .success("AAA"))
    }

    @Test("a peer that takes nothing holds a send up, until it reads or the time is over")
    func backpressure() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve()
        let bytes = [UInt8](repeating: 1, count: 16 << 20)
        for reads in [true, false] {
            let socket = try connect(fixture, "127.0.0.1", server.port)
            fixture.run { server.openConnections == 1 }
            let peer = try #require(server.connections.last)
            peer.readsOn = false
            #expect(try socket.send([1], timeoutMilliseconds: 20_000) { _ in })
            var outcome: Result<Void, SocketFailure>?
            #expect(try !socket.send(bytes, timeoutMilliseconds: reads ? 20_000 : 30) { outcome = $0 })
            #expect(throws: SocketFailure.busy) {
                _ = try socket.send([1], timeoutMilliseconds: 1) { _ in }
            }
            fixture.settle()
            #expect(outcome == nil || !reads)
            if reads {
                peer.discards = true
                peer.readsOn = true
                peer.mayRead = true
                peer.scheduleRead()
            }
            fixture.run { outcome != nil }
            #expect(outcome?.failure == (reads ? nil : .timedOut))
            socket.cancel()
            #expect(fixture.worker.openConnections == 0)
            peer.close()
        }
    }

    @Test("a socket that is closed lets what was sent go out, and answers nobody")
    func closing() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve()
        let socket = try connect(fixture, "127.0.0.1", server.port)
        fixture.run { server.connections.count == 1 }
        _ = try socket.send(Array("bye".utf8), timeoutMilliseconds: 1000) { _ in }
        var failure: SocketFailure?
        #expect(try socket.receive(.line, timeoutMilliseconds: 20_000) { failure = $0.failure } == nil)
        #expect(throws: SocketFailure.busy) {
            _ = try socket.receive(.line, timeoutMilliseconds: 1) { _ in }
        }
        socket.close()
        fixture.run { server.connections[0].hasEnded }
        #expect(failure == nil)
        #expect(server.connections[0].received == Array("bye".utf8))
        #expect(throws: SocketFailure.closed) { _ = try socket.send([1], timeoutMilliseconds: 1) { _ in } }
        #expect(throws: SocketFailure.closed) {
            _ = try socket.receive(.line, timeoutMilliseconds: 1) { _ in }
        }
        #expect(fixture.worker.openConnections == 0)
    }

    @Test("what cannot be connected to is told, at once or when it is known")
    func failures() throws {
        let fixture = try NetworkFixture()
        let server = try fixture.serve()
        server.end()
        #expect(
            throws: SocketFailure.system(call: "connect", code: ECONNREFUSED, reason: "Connection refused")
        ) {
            _ = try connect(fixture, "127.0.0.1", server.port)
        }
        #expect(throws: SocketFailure.invalidArgument("invalid port")) {
            _ = try connect(fixture, "127.0.0.1", 0)
        }
        #expect(throws: SocketFailure.self) { _ = try connect(fixture, "unix:/nowhere/at/all", 0) }
        #expect(throws: SocketFailure.self) { _ = try connect(fixture, "unix:", 0) }
        #expect(fixture.worker.openConnections == 0)
    }

    @Test(
        "a socket that is cancelled or let go at any stage leaves nothing behind and answers nobody",
        arguments: ["resolving", "connecting", "sending", "receiving"], [true, false])
    func cancellation(stage: String, isLetGo: Bool) throws {
        let silent = try SilentNameServer()
        defer { silent.close() }
        let fixture = try NetworkFixture()
        let server = try fixture.serve()
        var settings = Settings.Values()
        settings.resolver = Resolver(servers: ["127.0.0.1:\(silent.port)"])
        var isConnected = false
        var isAnswered = false
        var socket: ScriptSocket? = try ScriptSocket.connect(
            to: Array((stage == "resolving" ? "name.test" : "127.0.0.1").utf8), port: Int(server.port),
            timeoutMilliseconds: 20_000, worker: fixture.worker, generation: fixture.generation,
            settings: Settings(settings)
        ) { _ in isConnected = true }
        weak let watched = socket
        switch stage {
        case "resolving": #expect(fixture.lookups.count == 1)
        case "connecting": #expect(fixture.worker.openConnections == 1)
        default:
            fixture.run { isConnected && server.connections.count == 1 }
            server.connections[0].readsOn = false
            if stage == "sending" {
                let bytes = [UInt8](repeating: 1, count: 16 << 20)
                _ = try socket?.send(bytes, timeoutMilliseconds: 20_000) { _ in isAnswered = true }
            } else {
                _ = try socket?.receive(.line, timeoutMilliseconds: 20_000) { _ in isAnswered = true }
            }
            isConnected = false
            fixture.settle()
        }
        if !isLetGo { socket?.cancel() }
        socket = nil
        #expect(watched == nil)
        #expect(fixture.worker.openConnections == 0)
        #expect(fixture.lookups.count == 0)
        fixture.settle()
        #expect(!isConnected && !isAnswered)
    }

    @Test("a lookup that takes too long fails the connection")
    func resolveTimeout() throws {
        let silent = try SilentNameServer()
        defer { silent.close() }
        let fixture = try NetworkFixture()
        var settings = Settings.Values()
        settings.resolver = Resolver(servers: ["127.0.0.1:\(silent.port)"])
        var failure: SocketFailure?
        let socket = try ScriptSocket.connect(
            to: Array("name.test".utf8), port: 80, timeoutMilliseconds: 20, worker: fixture.worker,
            generation: fixture.generation, settings: Settings(settings)
        ) { failure = $0.failure }
        fixture.run { failure != nil }
        #expect(failure == .timedOut)
        withExtendedLifetime(socket) {}
    }
}

extension Result {
    var isFailure: Bool { if case .failure = self { true } else { false } }
}

extension Result where Failure == SocketFailure {
    var failure: SocketFailure? { if case .failure(let failure) = self { failure } else { nil } }
}
