import Config
import EventLoop
import ProxyCore
import Testing

@testable import ProxyServer

@Suite("The quick mode's configuration")
struct QuickConfigurationTests {
    @Test(
        "compiles, listens where it is told, and proxies to one server",
        arguments: [
            ("8080", "http://127.0.0.1:3000", "0.0.0.0:8080"),
            (":8080", "127.0.0.1:3000/base/", "0.0.0.0:8080"),
            ("127.0.0.1:9000", "HTTP://[::1]:3000", "127.0.0.1:9000"),
            ("[::1]:9000", "http://127.0.0.1", "[::1]:9000"),
        ])
    func compiles(_ listen: String, _ target: String, _ address: String) throws {
        let quick = try QuickConfiguration(listen: listen, target: target)
        let loaded = try ConfigurationLoader().load(quick.source)
        #expect(loaded.diagnostics.isEmpty)
        #expect(loaded.configuration.listeners.map(\.address.description) == [address])
        #expect(loaded.addresses.map { $0.map(\.count) } == [[1]])
        #expect(loaded.configuration.maps.map(\.name) == ["connection_upgrade"])
        #expect(!loaded.configuration.process.daemon)
    }

    @Test("modules are looked for beside the scripts and where the system has them")
    func modules() throws {
        let quick = try QuickConfiguration(
            listen: "8080", target: "127.0.0.1:3000", scripts: ["/some/a.lua", "/other/b.lua", "/some/c.lua"])
        #expect(quick.source.prefix == "/")
        let path =
            "/some/?.lua;/other/?.lua;/usr/local/share/lua/5.4/?.lua;/usr/local/share/lua/5.4/?/init.lua;"
            + "/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua"
        #expect(quick.text.contains("    lua_package_path \"\(path)\";\n"))
    }

    @Test(
        "words that would change the configuration are refused",
        arguments: [
            ("8080; }", "http://a"), ("", "http://a"), ("80 80", "http://a"), ("8080", ""),
            ("8080", "http://a;return 200"), ("8080", "http://$host"), ("8080", "https://a"),
            ("8080", "ftp://a"),
        ])
    func refused(_ listen: String, _ target: String) {
        #expect(throws: QuickConfiguration.Invalid.self) {
            try QuickConfiguration(listen: listen, target: target)
        }
    }
}
