import Config
import EventLoop
import Glibc
import ProxyCore
import Testing

@testable import ProxyServer

@Suite("Listening sockets")
struct ListenerSetTests {
    private func configuration(_ listens: String...) throws -> Configuration {
        let servers = listens.map { "server { listen \($0); }" }.joined(separator: "\n")
        let (configuration, diagnostics) = Configuration.parse(
            "events {} http { access_log off; \(servers) }",
            builtinVariables: VariableTable.names)
        return try #require(configuration, "\(diagnostics)")
    }

    private func temporaryPath() -> String {
        "/tmp/switchyard-listen-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
    }

    private func exists(_ path: String) -> Bool { FilePath.exists(path) }

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
        let both = try set.prepare(configuration("unix:\(kept)", "unix:\(gone)"), workerCount: 1)
        set.commit(both)
        set.settle(on: both)
        #expect(exists(kept) && exists(gone))
        let one = try set.prepare(configuration("unix:\(kept)"), workerCount: 1)
        set.commit(one)
        // Workers are on their way from one to the other.
        #expect(exists(kept) && exists(gone))
        set.settle(on: one)
        #expect(exists(kept))
        #expect(!exists(gone))
        set.closeAll()
        #expect(!exists(kept))
    }

    @Test("sockets of a configuration that is overtaken before it runs go, those of the one that runs stay")
    func overtaken() throws {
        let (running, overtaken, next) = (temporaryPath(), temporaryPath(), temporaryPath())
        let set = ListenerSet()
        defer { set.closeAll() }
        for path in [running, overtaken, next] {
            let prepared = try set.prepare(configuration("unix:\(path)"), workerCount: 1)
            set.commit(prepared)
            if path == running { set.settle(on: prepared) }
        }
        #expect(exists(running) && !exists(overtaken) && exists(next))
        // Back to what runs: there is nothing to bind.
        let back = try set.prepare(configuration("unix:\(running)"), workerCount: 1, attempts: 1)
        set.commit(back)
        #expect(exists(running) && !exists(next))
        set.settle(on: back)
        #expect(exists(running))
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
        #expect(!exists(opened))
        #expect(exists(kept))
        #expect(set.localAddresses == [.unix(path: kept)])
    }

    @Test(
        "with reuseport each worker has a socket of its own, and one that goes leaves its socket to another")
    func reusePort() throws {
        let set = ListenerSet()
        defer { set.closeAll() }
        let probe = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        let port = try #require(Sockets.localAddress(probe)).port
        close(probe)
        let listens = try configuration("127.0.0.1:\(port) reuseport")
        let first = try set.prepare(listens, workerCount: 2)
        set.commit(first)
        var sockets: [AssignedListener] = []
        for worker in 0..<2 { sockets += try set.assignments(first, worker: worker) }
        #expect(sockets.count == 2 && sockets.allSatisfy(\.isOwn))
        var numbers: Set<ino_t> = []
        for socket in sockets {
            var status = stat()
            // `status` outlives the call.
            #expect(unsafe fstat(socket.descriptor ?? -1, &status) == 0)
            numbers.insert(status.st_ino)
        }
        #expect(numbers.count == 2)
        for case let descriptor? in sockets.map(\.descriptor) { close(descriptor) }
        let fewer = try set.prepare(listens, workerCount: 1)
        set.commit(fewer)
        let left = try set.assignments(fewer, worker: 0)
        #expect(left.map { $0.descriptor == nil } == [true, false])
        #expect(Set(left.map(\.key)) == Set(sockets.map(\.key)))
        for case let descriptor? in left.map(\.descriptor) { close(descriptor) }
        let more = try set.prepare(listens, workerCount: 2)
        set.commit(more)
        #expect(try set.assignments(more, worker: 0).map(\.descriptor) == [nil])
        let taken = try set.assignments(more, worker: 1)
        #expect(taken.map(\.key) == sockets.dropFirst().map(\.key))
        for case let descriptor? in taken.map(\.descriptor) { close(descriptor) }
    }

    @Test("a socket that was shared goes on when its listener gets reuseport, and when it loses it")
    func reusePortChanges() throws {
        let set = ListenerSet()
        defer { set.closeAll() }
        let probe = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        let port = try #require(Sockets.localAddress(probe)).port
        close(probe)
        for (listen, own) in [("", [false, false]), (" reuseport", [true, true]), ("", [true, true])] {
            let prepared = try set.prepare(
                configuration("127.0.0.1:\(port)\(listen)"), workerCount: 2, attempts: 1)
            set.commit(prepared)
            let assigned = try set.assignments(prepared, worker: 0) + set.assignments(prepared, worker: 1)
            #expect(assigned.map(\.isOwn) == own)
            for case let descriptor? in assigned.map(\.descriptor) { close(descriptor) }
        }
    }
}
