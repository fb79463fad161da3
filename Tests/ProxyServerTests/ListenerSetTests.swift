import Config
import EventLoop
import Glibc
import Testing

@testable import ProxyServer

@Suite("Listening sockets")
struct ListenerSetTests {
    private func configuration(_ listens: String...) throws -> Configuration {
        let servers = listens.map { "server { listen \($0); }" }.joined(separator: "\n")
        let (configuration, diagnostics) = Configuration.parse(
            "events {} http { access_log off; \(servers) }",
            builtinVariables: ["http_referer", "http_user_agent"])
        return try #require(configuration, "\(diagnostics)")
    }

    private func temporaryPath() -> String {
        "/tmp/switchyard-listen-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
    }

    private func isOpen(_ descriptor: Int32) -> Bool { fcntl(descriptor, F_GETFD) >= 0 }

    @Test("a wildcard listener takes in single addresses of its port")
    func wildcard() throws {
        let plan = ListenPlan(try configuration("127.0.0.1:8000", "8000", "127.0.0.1:8001").listeners)
        #expect(plan.sockets.map(\.name) == ["0.0.0.0:8000", "127.0.0.1:8001"])
        let own = try #require(plan.sockets.first?.targets.own)
        #expect(plan.sockets[0].targets.byAddress.keys.map { $0 } == [[127, 0, 0, 1]])
        #expect(plan.sockets[0].targets.byAddress[[127, 0, 0, 1]] != own)
        #expect(plan.sockets[1].targets.byAddress.isEmpty)
    }

    @Test("an address with options of its own keeps a socket of its own")
    func ownOptions() throws {
        let plan = ListenPlan(try configuration("8000", "127.0.0.1:8000 backlog=7").listeners)
        #expect(plan.sockets.map(\.name) == ["0.0.0.0:8000", "127.0.0.1:8000"])
    }

    @Test("the wildcard of one family does not stand for the other")
    func families() throws {
        let plan = ListenPlan(try configuration("[::]:8000", "127.0.0.1:8000", "[::1]:8000").listeners)
        #expect(plan.sockets.map(\.name) == ["[::]:8000", "127.0.0.1:8000"])
        #expect(plan.sockets[0].targets.byAddress.count == 1)
    }

    @Test("workers share a socket by duplicates, and get none anew for what they have")
    func sharing() throws {
        let path = temporaryPath()
        let set = ListenerSet()
        defer { set.closeAll() }
        let first = try set.prepare(configuration("unix:\(path)"), workerCount: 2)
        set.commit(first)
        let one = try #require(try set.assignments(first, worker: 0).first?.descriptor)
        let two = try #require(try set.assignments(first, worker: 1).first?.descriptor)
        defer {
            close(one)
            close(two)
        }
        #expect(one != two)
        #expect(
            Sockets.localAddress(one) == .unix(path: path) && Sockets.localAddress(two) == .unix(path: path))

        let second = try set.prepare(configuration("unix:\(path)"), workerCount: 3)
        set.commit(second)
        #expect(try set.assignments(second, worker: 0).map(\.descriptor) == [nil])
        let third = try #require(try set.assignments(second, worker: 2).first?.descriptor)
        close(third)
    }

    @Test("a UNIX socket's file stays while the socket does, and goes with it")
    func unixFile() throws {
        let (kept, gone) = (temporaryPath(), temporaryPath())
        let set = ListenerSet()
        set.commit(try set.prepare(configuration("unix:\(kept)", "unix:\(gone)"), workerCount: 1))
        #expect(access(kept, F_OK) == 0 && access(gone, F_OK) == 0)
        set.commit(try set.prepare(configuration("unix:\(kept)"), workerCount: 1))
        #expect(access(kept, F_OK) == 0)
        #expect(access(gone, F_OK) != 0)
        set.closeAll()
        #expect(access(kept, F_OK) != 0)
    }

    @Test("a failure leaves the old sockets alone and closes what was opened for the new configuration")
    func failure() throws {
        let set = ListenerSet()
        defer { set.closeAll() }
        let (kept, opened) = (temporaryPath(), temporaryPath())
        set.commit(try set.prepare(configuration("unix:\(kept)"), workerCount: 1))
        let blocker = try Sockets.listen(
            on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        defer { close(blocker) }
        let port = try #require(Sockets.localAddress(blocker)).port
        let listens = try configuration("unix:\(kept)", "unix:\(opened)", "127.0.0.1:\(port)")
        var told: [String] = []
        #expect(throws: ListenerSet.Failure.self) {
            _ = try set.prepare(listens, workerCount: 1, attempts: 1) { told.append($0.description) }
        }
        #expect(told == ["bind() to 127.0.0.1:\(port) failed (98: Address already in use)"])
        #expect(access(opened, F_OK) != 0)
        #expect(access(kept, F_OK) == 0)
        #expect(set.localAddresses == [.unix(path: kept)])
    }

    @Test("with reuseport each worker has a socket of its own, and one that goes takes its socket along")
    func reusePort() throws {
        let set = ListenerSet()
        defer { set.closeAll() }
        let probe = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        let port = try #require(Sockets.localAddress(probe)).port
        close(probe)
        let listens = try configuration("127.0.0.1:\(port) reuseport")
        let first = try set.prepare(listens, workerCount: 2)
        set.commit(first)
        let sockets = try (0..<2).map { try #require(try set.assignments(first, worker: $0).first) }
        #expect(sockets.allSatisfy(\.isOwn))
        let numbers = try sockets.map { socket in
            var status = stat()
            #expect(fstat(try #require(socket.descriptor), &status) == 0)
            return status.st_ino
        }
        #expect(Set(numbers).count == 2)
        for case let descriptor? in sockets.map(\.descriptor) { close(descriptor) }
        set.commit(try set.prepare(listens, workerCount: 1))
        #expect(
            try set.assignments(set.prepare(listens, workerCount: 1), worker: 0).map(\.descriptor) == [nil])
    }
}
