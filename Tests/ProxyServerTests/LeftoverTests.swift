import Config
import EventLoop
import ProxyCore
import Synchronization
import Testing

@testable import ProxyServer

@Suite struct LeftoverTests {
    private final class Shelf: Sendable {
        let leftovers = Mutex<[Leftover]>([])
    }

    private static func loaded() throws -> LoadedConfiguration {
        try ConfigurationLoader().load(
            ConfigurationSource(
                .text("error_log stderr; events {} http { access_log off; }", name: "test.conf"),
                prefix: "/tmp"))
    }

    @Test("a generation that nothing runs under is taken apart by whoever was handed it, and not before")
    func takenApartElsewhere() throws {
        let registry = ProcessRegistry()
        let shelf = Shelf()
        registry.dismantle { leftover in shelf.leftovers.withLock { $0.append(leftover) } }
        let loaded = try Self.loaded()
        var first: Generation? = loaded.generation(number: 1, registry: registry)
        weak let runtime = first?.runtime
        let worker = try Worker(generation: try #require(first), statistics: WorkerStatistics())
        first = nil
        try worker.adopt(loaded.generation(number: 2, registry: registry), listeners: [])
        worker.loop.turn(wait: false)
        worker.loop.turn(wait: false)

        #expect(shelf.leftovers.withLock { $0.count } == 1)
        #expect(runtime != nil)
        shelf.leftovers.withLock { $0 }.first?.drop()
        #expect(runtime == nil)
        worker.end()
    }
}
