import Config
import Foundation
import Testing

/// A case of a `.conf-test` file: a configuration and what comes of it.
///
///     ===== [location] what it shows
///     proxy_read_timeout 5x;
///     @@ other.conf
///     text of a file that may be included
///     ----------
///     messages, or the parts of the configuration that differ from an empty one
///
/// The word in brackets names the block that the text stands in; without it, it is the whole file.
struct Fixture: CustomTestStringConvertible, Sendable {
    let file: String
    let title: String
    let level: String
    let inputs: [String: String]
    let expected: String

    var testDescription: String { "\(file): \(title)" }

    static var directory: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")
    }

    static let all: [Fixture] = {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
        return names.filter { $0.hasSuffix(".conf-test") }.sorted().flatMap { name -> [Fixture] in
            let text = try? String(contentsOf: directory.appendingPathComponent(name), encoding: .utf8)
            return parse(text ?? "", file: name)
        }
    }()

    static func parse(_ text: String, file: String) -> [Fixture] {
        var cases: [Fixture] = []
        var heading: String?
        var lines: [String] = []
        func finish() {
            guard let title = heading else { return }
            cases.append(Fixture(heading: title, lines: lines, file: file))
        }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line.hasPrefix("===== ") {
                finish()
                heading = String(line.dropFirst(6))
                lines = []
            } else {
                lines.append(line)
            }
        }
        finish()
        return cases
    }

    private init(heading: String, lines: [String], file: String) {
        self.file = file
        if heading.hasPrefix("["), let close = heading.firstIndex(of: "]") {
            level = String(heading[heading.index(after: heading.startIndex)..<close])
            title = String(heading[heading.index(close, offsetBy: 2)...])
        } else {
            level = ""
            title = heading
        }
        let parts = lines.split(separator: "----------", maxSplits: 1, omittingEmptySubsequences: false)
        var inputs: [String: [String]] = ["test.conf": []]
        var name = "test.conf"
        for line in parts[0] {
            if line.hasPrefix("@@ ") {
                name = String(line.dropFirst(3))
                inputs[name] = []
            } else {
                inputs[name, default: []].append(line)
            }
        }
        self.inputs = inputs.mapValues { $0.joined(separator: "\n") }
        let rest = parts.count > 1 ? parts[1].joined(separator: "\n") : ""
        expected = rest.trimmingCharacters(in: .newlines)
    }

    private static let wrappers = [
        "": "include test.conf;",
        "events": "events { include test.conf; }",
        "http": "http { include test.conf; }",
        "server": "http { server { include test.conf; } }",
        "location": "http { server { location / { include test.conf; } } }",
        "upstream": "http { upstream u { include test.conf; } }",
    ]

    /// Compiles it, by way of `record` if there is one.
    func compile(_ record: CompilationRecord? = nil) throws -> ConfigurationCompiler.Result {
        let wrapper = try #require(Fixture.wrappers[level], "no such level")
        let environment = environment
        return ConfigurationCompiler.compile(
            text: wrapper, name: "root", environment: record?.environment(environment) ?? environment,
            files: record?.files(files) ?? files)
    }

    private var files: ConfigurationFiles {
        let files = inputs
        return ConfigurationFiles(
            read: { path in
                files[path].map { .success(Array($0.utf8)) }
                    ?? .failure(FileFailure(reason: "No such file or directory"))
            },
            glob: { pattern in
                // Holds because: both texts are passed ended by NUL, alive during the call.
                .success(files.keys.filter { unsafe fnmatch(pattern, $0, FNM_PATHNAME) == 0 }.sorted())
            })
    }

    private var environment: CompilationEnvironment {
        var environment = CompilationEnvironment(
            prefix: "", builtinVariables: testVariables, hostname: Array("box.example".utf8))
        environment.hasUser = { $0 != "nobody-here" }
        environment.hasGroup = { $0 != "nobody-here" }
        environment.scripts = .readingNotes
        return environment
    }

    /// The messages when there are any, then what differs from an empty configuration.
    func outcome() throws -> String {
        let result = try compile()
        var lines = result.diagnostics.map(\.description)
        if let configuration = result.configuration {
            lines += try ConfigurationPrinter(configuration).lines(level: level)
        }
        return lines.isEmpty ? "as an empty configuration" : lines.joined(separator: "\n")
    }
}

@Suite struct FixtureTests {
    @Test("a configuration yields what its fixture says", arguments: Fixture.all)
    func yieldsWhatTheFixtureSays(_ fixture: Fixture) throws {
        let outcome = try fixture.outcome()
        #expect(outcome == fixture.expected)
    }

    @Test("the fixtures are found, and none is without a result")
    func fixturesAreFound() {
        #expect(Fixture.all.count >= 120)
        #expect(Fixture.all.filter { $0.expected.isEmpty }.map(\.testDescription) == [])
    }

    /// Writes what the compiler yields into the fixtures: `RECORD_FIXTURES=1`. Read the difference.
    @Test(
        "fixtures are recorded on request",
        .enabled(if: ProcessInfo.processInfo.environment["RECORD_FIXTURES"] != nil))
    func record() throws {
        for (file, cases) in Dictionary(grouping: Fixture.all, by: \.file) {
            let text = try cases.map { fixture in
                let heading = fixture.level.isEmpty ? fixture.title : "[\(fixture.level)] \(fixture.title)"
                let others = fixture.inputs.keys.filter { $0 != "test.conf" }.sorted()
                let included = others.map { "@@ \($0)\n\(fixture.inputs[$0] ?? "")\n" }.joined()
                let outcome = try fixture.outcome()
                return
                    "===== \(heading)\n\(fixture.inputs["test.conf"] ?? "")\n\(included)----------\n\(outcome)\n"
            }
            let path = Fixture.directory.appendingPathComponent(file)
            try text.joined(separator: "\n").write(to: path, atomically: true, encoding: .utf8)
        }
    }
}
