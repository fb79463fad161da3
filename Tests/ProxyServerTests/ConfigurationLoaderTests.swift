import Config
import EventLoop
import Glibc
import ProxyCore
import Synchronization
import Testing

@testable import ProxyServer

@Suite("Loading configurations")
struct ConfigurationLoaderTests {
    private let noNames: ConfigurationLoader.Resolve = { _, _ throws(NameResolver.Failure) in
        throw NameResolver.Failure.notFound
    }

    private func source(_ http: String, main: String = "error_log stderr;") -> ConfigurationSource {
        ConfigurationSource(
            .text("\(main) events {} http { access_log off; \(http) }", name: "test.conf"), prefix: "/tmp")
    }

    private func failure(_ loader: ConfigurationLoader, _ source: ConfigurationSource) -> [String] {
        do throws(LoadFailure) {
            _ = try loader.load(source)
            return []
        } catch {
            return error.diagnostics.map(\.description)
        }
    }

    @Test("what is wrong is told with its place")
    func diagnostics() {
        let told = failure(ConfigurationLoader(resolve: noNames), source("server { lisen 80; }"))
        #expect(told.count == 1)
        #expect(told.first?.hasPrefix("test.conf:1:") == true)
        #expect(told.first?.contains("lisen") == true)
    }

    @Test("a file that is missing is told by its path under the prefix")
    func missingFile() {
        let missing = ConfigurationSource(.file("nowhere/no.conf"), prefix: "/tmp")
        #expect(missing.name == "/tmp/nowhere/no.conf")
        let told = failure(ConfigurationLoader(resolve: noNames), missing)
        #expect(told.count == 1 && told[0].contains("/tmp/nowhere/no.conf"))
    }

    @Test("every upstream name that does not resolve is told, once")
    func unresolved() {
        let text = """
            upstream u { server one.test:81; server one.test:81; server two.test; }
            upstream backend { server 127.0.0.1:1; }
            server { listen 127.0.0.1:8000; location / { proxy_pass http://u; }
                     location /b { proxy_pass http://backnd; } location /c { proxy_pass http://else.test; } }
            """
        #expect(
            failure(ConfigurationLoader(resolve: noNames), source(text)) == [
                "test.conf:1:72: host not found in upstream \"one.test:81\"",
                "test.conf:1:112: host not found in upstream \"two.test:80\"",
                "test.conf:4:35: host not found in upstream \"backnd:80\", did you mean the upstream \"backend\"?",
                "test.conf:4:77: host not found in upstream \"else.test:80\"",
            ])
    }

    @Test("names get all of their addresses, numeric hosts and UNIX sockets their one, without a resolver")
    func resolved() throws {
        let loader = ConfigurationLoader { name, port throws(NameResolver.Failure) in
            guard name == "two.test" else { throw .notFound }
            return [.ipv4(0x0A00_0001, port: port), .ipv6([UInt8](repeating: 1, count: 16), port: port)]
        }
        let text = """
            upstream u { server two.test:81; server 127.0.0.1:82; server [::1]:83; server unix:/a/b; }
            server { listen 127.0.0.1:8000; location / { proxy_pass http://u; } }
            """
        let loaded = try loader.load(source(text))
        let texts = loaded.addresses.map { $0.map { $0.map { String(decoding: $0.text, as: UTF8.self) } } }
        #expect(
            texts == [
                [
                    ["10.0.0.1:81", "[101:101:101:101:101:101:101:101]:81"], ["127.0.0.1:82"], ["[::1]:83"],
                    ["unix:/a/b"],
                ]
            ])
    }

    @Test("log files that cannot be opened are told; those of locations and conditions included")
    func logs() {
        let text = """
            server {
                listen 127.0.0.1:8000;
                location / { access_log /nowhere/a.log; if ($args) { access_log /nowhere/b.log; return 200; } }
                location /c { error_log /nowhere/c.log; }
            }
            """
        let told = failure(ConfigurationLoader(resolve: noNames), source(text))
        #expect(
            told
                == ["a", "b", "c"].map {
                    "open() \"/nowhere/\($0).log\" failed (2: No such file or directory)"
                })
    }

    @Test("errors go to standard error when the default error log cannot be opened")
    func defaultErrorLog() {
        var told: [String] = []
        // Nobody asked for the default file, so that it has no directory is not worth a word.
        let destination = ConfigurationLoader.usableErrorLog(nil, prefix: "/nowhere") { told.append($0) }
        #expect(destination == .standardError)
        #expect(told.isEmpty)
        #expect(
            ConfigurationLoader.usableErrorLog("/nowhere/e.log", prefix: "/") { told.append($0) }
                == .standardError)
        #expect(
            told == [
                "could not open error log file: open() \"/nowhere/e.log\" failed "
                    + "(2: No such file or directory)"
            ])
        #expect(
            ConfigurationLoader.usableErrorLog("stderr", prefix: "/nowhere") { told.append($0) }
                == .standardError)
        #expect(told.count == 1)
    }

    @Test("the generation's file tests look at the disk")
    func fileTests() throws {
        let loaded = try ConfigurationLoader(resolve: noNames).load(
            source("server { listen 127.0.0.1:8000; }"))
        let environment = loaded.generation(number: 1, registry: ProcessRegistry()).runtime.environment
        #expect(environment.pid == getpid())
        #expect(environment.fileTest(.isDirectory, Array("/tmp".utf8)))
        #expect(!environment.fileTest(.isFile, Array("/tmp".utf8)))
        #expect(environment.fileTest(.isExecutable, Array("/bin/sh".utf8)))
        // As in nginx.
        #expect(environment.fileTest(.isExecutable, Array("/tmp".utf8)))
        #expect(!environment.fileTest(.isExecutable, Array("/etc/passwd".utf8)))
        #expect(!environment.fileTest(.exists, Array("/nowhere".utf8)))
    }

    @Test("each worker has objects of its own, of what was read when the configuration was loaded")
    func copies() throws {
        let body = Mutex("before")
        var machine = ConfigurationLoader.Machine.this
        machine.files.read = { path in
            path == "/tmp/server.conf"
                ? .success(Array("location / { return 200 \(body.withLock { $0 }); }".utf8))
                : ConfigurationFiles.disk.read(path)
        }
        machine.files.glob = { .success([$0]) }
        let loader = ConfigurationLoader(machine: machine, resolve: noNames)
        let loaded = try loader.load(
            source(
                """
                lua_shared_dict names 64k;
                upstream u { server 127.0.0.1:1; server [::1]:2; server unix:/a/b; }
                server {
                    listen 127.0.0.1:8000; include server.conf; location /u { proxy_pass http://u; }
                }
                """))
        let first = loaded.generation(number: 3, registry: ProcessRegistry())
        body.withLock { $0 = "after" }

        let generations = loaded.copies(of: first, count: 3)
        #expect(generations.count == 3)
        #expect(generations[0] === first)
        for (index, generation) in generations.enumerated() {
            #expect(generation.number == 3)
            #expect(generation.tls === first.tls)
            #expect(generation.registry === first.registry)
            #expect(generation.dictionaries["names"] === first.dictionaries["names"])
            #expect(generation.addresses == first.addresses)
            #expect(generation.runtime.environment.pid == getpid())
            let location = try Self.location(of: generation)
            guard case .return(.text(_, let text))? = location.rewrites.first else {
                Issue.record("no text in copy \(index)")
                continue
            }
            #expect(text.constant == Array("before".utf8))
            for other in generations[..<index] {
                #expect(generation !== other)
                #expect(generation.runtime !== other.runtime)
                #expect(generation.configuration !== other.configuration)
                #expect(try location !== Self.location(of: other))
                #expect(try location.settings !== Self.location(of: other).settings)
                for (one, another) in zip(generation.addresses.joined(), other.addresses.joined()) {
                    #expect(unsafe Self.place(of: one[0].text) != Self.place(of: another[0].text))
                }
            }
        }
    }

    private static func location(of generation: Generation) throws -> Location {
        let server = try #require(generation.configuration.servers.first)
        return try #require(server.locations.prefixes.last)
    }

    private static func place(of bytes: [UInt8]) -> UnsafeRawPointer? {
        // Compared only.
        unsafe bytes.withUnsafeBytes { $0.baseAddress }
    }

    @Test("a pid file is read back, and anything else in it is refused")
    func pidFile() throws {
        let path = "/tmp/switchyard-pid-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let file = PidFile(path: path)
        let absent = SystemError("open", on: path, code: ENOENT)
        #expect(throws: PidFile.ReadFailure.unreadable(absent)) { try file.read() }
        #expect("\(absent)" == "open() \"\(path)\" failed (2: No such file or directory)")
        try file.write()
        #expect(try file.read() == getpid())
        try LogFile(path: path).write(Array("x".utf8))
        try file.remove()
        try LogFile(path: path).write(Array("-5\n".utf8))
        #expect(throws: PidFile.ReadFailure.invalid("-5")) { try file.read() }
        try file.remove()
        #expect(throws: SystemError.self) { try file.remove() }
    }
}
