internal import Config
internal import LuaHooks
internal import ProxyServer

/// Runs files of tests, and says how they came out.
package struct ScriptTestRun {
    package struct Totals: Equatable, Sendable {
        package var passed = 0
        package var failed = 0
        /// Files that could not be read or loaded.
        package var unusable = 0
        /// Files without a test.
        package var empty = 0
        /// Tests that the filter left out.
        package var skipped = 0
    }

    /// Only tests in whose file's name and own name, `file: name`, this is found.
    package var filter: String?
    /// Milliseconds on the CPU that a test may take.
    package var timeout = TestScript.timeout
    /// Takes a line of the report.
    private let write: (String) -> Void
    package private(set) var totals = Totals()

    package init(filter: String? = nil, write: @escaping (String) -> Void) {
        self.filter = filter
        self.write = write
    }

    /// Runs the tests of a file.
    package mutating func run(file: String) {
        let text: [UInt8]
        switch ConfigurationFiles.disk.read(FilePath.absolute(file)) {
        case .success(let bytes): text = bytes
        case .failure(let failure):
            totals.unusable += 1
            return write("\(file): cannot be read: \(failure.reason)")
        }
        run(text, name: file, directory: Paths.directory(of: FilePath.absolute(file)))
    }

    /// Runs the tests of a text. Relative paths in it are under `directory`.
    package mutating func run(_ text: [UInt8], name: String, directory: String) {
        let write = write
        let bench = ScriptBench(directory: directory) { write("    " + $0) }
        write(name)
        let status = Interpreter.watchThread()
        if status != 0 { write("    tests cannot be bounded in time: error \(status)") }
        let script: TestScript
        do throws(TestFault) {
            script = try TestScript(
                text, name: name, directory: directory, timeout: timeout, bench: bench)
        } catch {
            totals.unusable += 1
            return write(Self.indented(error.message, by: 4))
        }
        if script.names.isEmpty {
            totals.empty += 1
            return write("    there is no test in this file")
        }
        for (index, test) in script.names.enumerated() {
            if let filter, !"\(name): \(test)".contains(filter) {
                totals.skipped += 1
                continue
            }
            bench.begin()
            report(test, script.run(index))
        }
    }

    private mutating func report(_ test: String, _ outcome: TestScript.Outcome) {
        guard let failure = outcome.failure else {
            totals.passed += 1
            return write("  ok      \(test)")
        }
        totals.failed += 1
        write("  FAILED  \(test)")
        write(Self.indented(failure, by: 10))
        guard !outcome.log.isEmpty else { return }
        write("          error log:")
        for line in outcome.log { write(Self.indented(line, by: 12)) }
    }

    /// `3 passed, 1 failed`.
    package var summary: String {
        var parts = ["\(totals.passed) passed", "\(totals.failed) failed"]
        if totals.skipped > 0 { parts.append("\(totals.skipped) left out") }
        if totals.unusable > 0 {
            parts.append("\(totals.unusable) \(totals.unusable == 1 ? "file" : "files") could not be used")
        }
        if totals.empty > 0 {
            parts.append("\(totals.empty) \(totals.empty == 1 ? "file" : "files") without a test")
        }
        if let filter, ranNothing { parts.append("the filter \"\(filter)\" fits no test") }
        return parts.joined(separator: ", ")
    }

    private var ranNothing: Bool { totals.passed + totals.failed == 0 }

    /// 0 when all passed; 1 when a test failed, a file has none, or the filter left none; 2 when a file could not be used.
    package var exitCode: Int32 {
        if totals.unusable > 0 { return 2 }
        return totals.failed > 0 || totals.empty > 0 || ranNothing ? 1 : 0
    }

    private static func indented(_ text: String, by count: Int) -> String {
        let margin = String(repeating: " ", count: count)
        return text.replacing("\t", with: "  ").split(separator: "\n", omittingEmptySubsequences: false)
            .map { margin + $0 }.joined(separator: "\n")
    }
}
