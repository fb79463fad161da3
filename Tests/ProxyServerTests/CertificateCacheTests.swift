import Config
import Foundation
import Synchronization
import TLS
import Testing

@testable import ProxyServer

@Suite("certificates that are kept")
struct CertificateCacheTests {
    /// Files that count how often each is read.
    private final class Files: Sendable {
        private struct State {
            var text: [UInt8]
            var stamps: [String: Int64] = [:]
            var reads: [String: Int] = [:]
        }
        private let state: Mutex<State>

        init() { state = Mutex(State(text: Self.text)) }

        /// A certificate and its key.
        static let text: [UInt8] = {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "5", "-subj", "/CN=kept.example", "-keyout", "/dev/stdout",
            ]
            let output = Pipe()
            process.standardOutput = output
            process.standardError = FileHandle.nullDevice
            do {
                try process.run()
            } catch {
                fatalError("no certificate could be made: \(error)")
            }
            return Array(output.fileHandleForReading.readDataToEndOfFile())
        }()

        var table: TLSFiles {
            TLSFiles(
                ConfigurationFiles(
                    read: { path in
                        self.state.withLock { state in
                            state.reads[path, default: 0] += 1
                            guard !path.hasPrefix("/no") else { return .failure(FileFailure(reason: "none")) }
                            return .success(state.text)
                        }
                    }, glob: { _ in .success([]) },
                    stamp: { path in
                        FileStamp(
                            device: 1, inode: 1,
                            seconds: self.state.withLock { $0.stamps[path, default: 0] }, nanoseconds: 0)
                    }))
        }

        func change(_ path: String) { state.withLock { $0.stamps[path, default: 0] += 1 } }
        func reads(_ path: String) -> Int { state.withLock { $0.reads[path, default: 0] } }
        var allReads: Int { state.withLock { $0.reads.values.reduce(0, +) } }
    }

    private static let place = SourcePosition(file: "", line: 0, column: 0)

    private func source(_ path: String) -> TLSSource {
        TLSSource(.file(path), directive: "ssl_certificate", position: Self.place)
    }

    private func cache(_ files: Files, max: Int = 100, inactive: Int = 10_000, valid: Int = 60_000)
        -> CertificateCache
    {
        CertificateCache(
            CertificateCaching(
                maxElements: max, inactive: inactive, valid: valid, declaredAt: Self.place),
            files: files.table)
    }

    private func load(_ name: String, _ cache: CertificateCache, now: Int64 = 0) throws {
        _ = try cache.identity(source("/\(name).crt"), source("/\(name).key"), passwords: [], now: now)
    }

    @Test("a file is read once, and again when it has changed and its time is over")
    func changes() throws {
        let files = Files()
        let cache = cache(files, valid: 1000)
        for now: Int64 in [0, 10, 1000] { try load("a", cache, now: now) }
        #expect(files.reads("/a.crt") == 1 && files.reads("/a.key") == 1)
        files.change("/a.crt")
        try load("a", cache, now: 1000)
        #expect(files.reads("/a.crt") == 1)
        try load("a", cache, now: 1001)
        #expect(files.reads("/a.crt") == 2 && files.reads("/a.key") == 1)
        // It was looked at just now, so it is not again.
        files.change("/a.key")
        try load("a", cache, now: 2001)
        #expect(files.reads("/a.key") == 1)
        try load("a", cache, now: 2002)
        #expect(files.reads("/a.key") == 2 && files.reads("/a.crt") == 2)
    }

    @Test("beyond the most, the least recently used leave")
    func most() throws {
        let files = Files()
        let cache = cache(files, max: 4)
        try load("a", cache, now: 0)
        try load("b", cache, now: 1)
        try load("a", cache, now: 2)
        #expect(cache.count == 4 && files.allReads == 4)
        try load("c", cache, now: 3)
        #expect(cache.count == 4)
        try load("a", cache, now: 4)
        #expect(files.reads("/a.crt") == 1 && files.reads("/a.key") == 1)
        try load("b", cache, now: 5)
        #expect(files.reads("/b.crt") == 2 && files.reads("/b.key") == 2)
        #expect(cache.count == 4)
    }

    @Test("what nobody asked for leaves, when others come")
    func inactive() throws {
        let files = Files()
        let cache = cache(files, inactive: 1000)
        try load("a", cache, now: 0)
        try load("b", cache, now: 900)
        try load("b", cache, now: 1000)
        #expect(cache.count == 4)
        try load("b", cache, now: 1001)
        #expect(cache.count == 2)
        try load("a", cache, now: 1002)
        #expect(files.reads("/a.crt") == 2 && files.reads("/b.crt") == 1)
        // What is asked for after all is still there.
        try load("b", cache, now: 9000)
        #expect(files.reads("/b.crt") == 1)
    }

    @Test("data is kept by what it is, and passwords tell keys apart")
    func names() throws {
        let files = Files()
        let cache = cache(files, valid: 0)
        let data = TLSSource(.data(Files.text), directive: "ssl_certificate", position: Self.place)
        _ = try cache.identity(data, data, passwords: [], now: 0)
        _ = try cache.identity(data, data, passwords: [], now: 5)
        #expect(cache.count == 2 && files.allReads == 0)
        _ = try cache.identity(data, data, passwords: [[1]], now: 5)
        #expect(cache.count == 3)
    }

    @Test("a failure is not kept")
    func failures() throws {
        let files = Files()
        let cache = cache(files)
        for _ in 0..<2 { #expect(throws: ConfigDiagnostic.self) { try load("none", cache) } }
        #expect(files.reads("/none.crt") == 2 && cache.count == 0)
    }
}
