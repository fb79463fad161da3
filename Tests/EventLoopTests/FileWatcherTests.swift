import Foundation
import Testing

@testable import EventLoop

@Suite("The watch over files", .timeLimit(.minutes(1)))
struct FileWatcherTests {
    @Test("files that are written, moved into place or removed are told of by name")
    func changes() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "watch-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let loop = try EventLoop()
        final class Seen { var names: [String] = [] }
        let seen = Seen()
        let watcher = try FileWatcher(loop: loop, directories: [directory.path]) { seen.names.append($0) }
        defer { watcher.close() }

        let file = directory.appending(path: "one.lua")
        try Data("1".utf8).write(to: file)
        loop.run(until: { seen.names.contains("one.lua") })
        seen.names = []
        try FileManager.default.removeItem(at: file)
        loop.run(until: { seen.names.contains("one.lua") })
        seen.names = []
        // More than fits into one look at it.
        for number in 0..<500 { try Data().write(to: directory.appending(path: "\(number).lua")) }
        loop.run(until: { seen.names.contains("499.lua") })
        #expect((0..<500).allSatisfy { seen.names.contains("\($0).lua") })
    }

    @Test("a directory that is not there is an error that names it")
    func missing() throws {
        let loop = try EventLoop()
        do {
            _ = try FileWatcher(loop: loop, directories: ["/nowhere/at/all"]) { _ in }
            Issue.record("it was watched")
        } catch {
            #expect(error.description.contains("/nowhere/at/all"))
        }
    }
}
