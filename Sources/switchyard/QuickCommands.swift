internal import ArgumentParser
internal import Config
internal import DemoBackend
internal import ProxyCore
internal import ProxyServer

struct ProxyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy",
        abstract: "Proxies everything to one server, WebSocket included, without a configuration file.")

    @Option(help: ArgumentHelp("Where to listen.", valueName: "[address:]port"))
    var listen: String

    @Option(
        help: ArgumentHelp("The server to proxy to; a path goes before that of requests.", valueName: "URL"))
    var to: String

    @Option(help: ArgumentHelp("A plugin that everything goes through; may be repeated.", valueName: "file"))
    var script: [String] = []

    @Flag(help: "Load the scripts again when they are saved; open tunnels stay.")
    var watch = false

    @Flag(help: "Print the configuration that this stands for, and do not run it.")
    var printConfig = false

    private var scripts: [String] { script.map { FilePath.absolute($0) } }

    private func quickConfiguration() throws(QuickConfiguration.Invalid) -> QuickConfiguration {
        try QuickConfiguration(listen: listen, target: to, scripts: scripts)
    }

    func validate() throws {
        if watch, script.isEmpty {
            throw ValidationError("--watch: found no script to watch, expected --script")
        }
        do throws(QuickConfiguration.Invalid) {
            _ = try quickConfiguration()
        } catch {
            throw ValidationError(error.description)
        }
    }

    func run() throws {
        let quick = try quickConfiguration()
        if printConfig { return StandardOutput.write(Array(quick.text.utf8)) }
        var options = Server.Options(quick)
        if watch { options.watchedFiles = scripts }
        try RunOptions.serve(options) { server in
            for address in server.listening {
                StandardOutput.line(
                    "\(Product.name): listening on \(address.name), proxying to \(quick.target)")
            }
        }
    }
}

struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Runs a small backend and a proxy in front of it, with pages and WebSockets to try.")

    @Option(help: ArgumentHelp("Where the proxy listens.", valueName: "[address:]port"))
    var listen = "8080"

    private func quickConfiguration(
        backendPort: UInt16
    ) throws(QuickConfiguration.Invalid) -> QuickConfiguration {
        try QuickConfiguration(listen: listen, target: "http://127.0.0.1:\(backendPort)")
    }

    func validate() throws {
        do throws(QuickConfiguration.Invalid) {
            _ = try quickConfiguration(backendPort: 1)
        } catch {
            throw ValidationError(error.description)
        }
    }

    func run() throws {
        let backend: DemoBackendThread
        do {
            backend = try DemoBackendThread(host: "127.0.0.1", port: 0)
        } catch {
            Console().write(.emerg, "\(error)")
            throw ExitCode(1)
        }
        var quick = try quickConfiguration(backendPort: backend.port)
        quick.serverText = Self.hooks
        defer { backend.stop() }
        try RunOptions.serve(Server.Options(quick)) { server in
            // Started here, since from now on signals are the server's.
            backend.start()
            guard let address = server.listening.first else { return }
            StandardOutput.line("backend on 127.0.0.1:\(backend.port), proxy on \(address.name)")
            Self.printThingsToTry(address)
        }
    }

    /// Hooks in Lua to look at: one answers by itself, one adds to every response.
    private static let hooks = """
                # A request hook that answers: nothing goes upstream.
                location = /lua {
                    request_by_lua_block {
                        local name = flow.req.args.name or flow.client.address
                        return flow:respond{ body = "hello " .. name .. ", from a hook in Lua\\n" }
                    }
                }

                # A response hook, for all that comes from the backend.
                response_by_lua_block {
                    flow.res.headers["X-Request-Id"] = flow.id
                }

        """

    private static func printThingsToTry(_ address: (name: String, port: UInt16)) {
        let host: String
        if address.name.hasPrefix("unix:") {
            host = "localhost"
            let path = address.name.dropFirst("unix:".count)
            StandardOutput.line("try, such as by curl --unix-socket \(path):")
        } else {
            // What listens everywhere is on the loopback address, too.
            let hosts = ["0.0.0.0", "[::]", "127.0.0.1"]
            let isLocal = hosts.contains { address.name == "\($0):\(address.port)" }
            host = isLocal ? "localhost:\(address.port)" : address.name
            StandardOutput.line("open http://\(host)/ in a browser, or try:")
        }
        let things = DemoServer.thingsToTry
        var lines = things.map { thing in
            let scheme = thing.summary.hasPrefix("WebSocket") ? "ws" : "http"
            return (url: "\(scheme)://\(host)\(thing.target)", summary: thing.summary)
        }
        lines.append((url: "http://\(host)/lua?name=you", summary: "a page made by a hook in Lua"))
        let width = lines.reduce(0) { max($0, $1.url.count) }
        for line in lines {
            let gap = String(repeating: " ", count: width - line.url.count + 2)
            StandardOutput.line("  \(line.url)\(gap)\(line.summary)")
        }
    }
}

struct EchoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo",
        abstract: "Runs the demo's backend alone, to put a proxy in front of.")

    @Option(help: ArgumentHelp("Where to listen.", valueName: "[address:]port"))
    var listen: String

    func validate() throws { _ = try Self.parse(listen) }

    func run() throws {
        let (host, port) = try Self.parse(listen)
        do {
            try DemoBackendThread.runUntilSignalled(host: host, port: port) { address in
                StandardOutput.line("\(Product.name): echo backend listening on \(address)")
            }
        } catch {
            Console().write(.emerg, "\(error)")
            throw ExitCode(1)
        }
    }

    /// A bare port is on the loopback address: this is a tool for one machine.
    private static func parse(_ text: String) throws -> (host: String, port: UInt16) {
        let colon = text.lastIndex(of: ":")
        let port = UInt16(colon.map { text[text.index(after: $0)...] } ?? text[...])
        var host = colon.map { text[..<$0] } ?? "127.0.0.1"
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        if host.isEmpty || host == "localhost" { host = "127.0.0.1" }
        guard let port, DemoBackendThread.isAddress(String(host)) else {
            throw ValidationError(
                "--listen: found \"\(text)\", expected a port, or a numeric address and a port")
        }
        return (String(host), port)
    }
}

extension Server.Options {
    fileprivate init(_ quick: QuickConfiguration) {
        self.init(source: quick.source)
        isQuick = true
    }
}
