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

    @Test(
        "TLS and WebSocket are spoken where the scheme says so",
        arguments: [
            ("https://127.0.0.1:3000/base", "https://127.0.0.1:3000/base/"), ("WSS://a", "https://a"),
            ("ws://a:1", "http://a:1"), ("a:1", "http://a:1"),
        ])
    func schemes(_ given: String, _ target: String) throws {
        let quick = try QuickConfiguration(listen: "8080", target: given)
        #expect(quick.target == target)
        #expect(quick.text.contains("proxy_ssl_server_name on;") == target.hasPrefix("https"))
    }

    @Test(
        "what is asked for is looked for below a path of the target",
        arguments: [
            ("http://a/app", "http://a/app/"), ("a:1/app", "http://a:1/app/"),
            ("http://a/app/", "http://a/app/"),
            ("http://a", "http://a"), ("http://a/", "http://a/"),
            ("http://unix:/run/a.sock", "http://unix:/run/a.sock"),
            ("http://unix:/run/a.sock:/app", "http://unix:/run/a.sock:/app/"),
        ])
    func paths(_ given: String, _ target: String) throws {
        #expect(try QuickConfiguration(listen: "8080", target: given).target == target)
    }

    @Test(
        "what is wrong is told with the option that says it",
        arguments: [
            ("abc", "http://127.0.0.1", "--listen: found \"abc\", expected an address, a port,"),
            ("127.0.0.1:0", "http://127.0.0.1", "--listen: found \"127.0.0.1:0\", expected a port from 1 to"),
            ("8080", "http://127.0.0.1:x", "--to: invalid port in upstream"),
            ("8080", "https://no.such.host.invalid", "--to: host not found in upstream"),
        ])
    func faults(_ listen: String, _ target: String, _ message: String) throws {
        let quick = try QuickConfiguration(listen: listen, target: target)
        do throws(LoadFailure) {
            _ = try ConfigurationLoader().load(quick.source)
            Issue.record("it loads")
        } catch {
            #expect(error.diagnostics.map { $0.description.hasPrefix(message) } == [true])
        }
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
            ("8080", "http://a;return 200"), ("8080", "http://$host"), ("8080", "ftp://a"),
        ])
    func refused(_ listen: String, _ target: String) {
        #expect(throws: QuickConfiguration.Invalid.self) {
            try QuickConfiguration(listen: listen, target: target)
        }
    }
}
