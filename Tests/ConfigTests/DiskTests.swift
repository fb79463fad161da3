import Config
import Foundation
import Testing

@Suite struct DiskTests {
    private let environment = CompilationEnvironment.ofThisMachine(
        prefix: "/p", builtinVariables: testVariables)

    @Test("files are read from the disk, globs sorted, paths taken from the first file's directory")
    func readsFiles() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(
            at: directory.appendingPathComponent("sites"), withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let texts = [
            "main.conf": "events {} http { include sites/*; }\n", "sites/b": "server { listen 2; }\n",
            "sites/a": "server { listen 1; frob; }\n",
        ]
        for (name, text) in texts {
            try Data(text.utf8).write(to: directory.appendingPathComponent(name))
        }
        let result = ConfigurationCompiler.compile(
            rootPath: directory.path + "/main.conf", globalText: "daemon maybe;",
            environment: environment)
        #expect(
            result.diagnostics.map(\.description) == [
                "command line:1:8: \"daemon\": found \"maybe\", expected \"on\" or \"off\"",
                "\(directory.path)/sites/a:1:20: \"frob\": unknown directive",
            ])
        #expect(
            result.sources.map(\.path)
                == ["main.conf", "sites/a", "sites/b"].map { "\(directory.path)/\($0)" })
        let expected = result.sources.map { source in
            "# configuration file \(source.path):\n\(String(decoding: source.bytes, as: UTF8.self))\n"
        }
        #expect(String(decoding: result.dump, as: UTF8.self) == expected.joined())
        #expect(result.dump.starts(with: "# configuration file ".utf8))
    }

    @Test("the machine's resolver knows the loopback's name, and no name that cannot be one")
    func resolvesNames() {
        let environment = CompilationEnvironment.ofThisMachine(prefix: "", builtinVariables: [])
        let addresses = environment.addressesOfHost("localhost")
        #expect(addresses.contains("127.0.0.1") || addresses.contains("::1"))
        #expect(environment.addressesOfHost("name.invalid") == [])
        #expect(!environment.hostname.isEmpty)
    }

    @Test("a missing file, and one that is a directory, are named with the system's reason")
    func reportsMissingFiles() {
        let missing = ConfigurationCompiler.compile(
            rootPath: "/nowhere/x.conf", environment: environment)
        #expect(
            missing.diagnostics.map(\.description)
                == ["cannot read \"/nowhere/x.conf\": No such file or directory"])
        #expect(missing.configuration == nil)
        let directory = ConfigurationCompiler.compile(
            rootPath: "/tmp", environment: environment)
        #expect(directory.diagnostics.map(\.description) == ["cannot read \"/tmp\": Is a directory"])
    }
}
