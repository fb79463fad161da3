internal import Config

/// The configuration that the command line's quick mode stands for: one server that proxies everything.
package struct QuickConfiguration: Sendable {
    package struct Invalid: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// As `listen` takes it.
    package let listen: String
    /// As `proxy_pass` takes it.
    package let target: String

    /// Absolute paths of plugins.
    package let scripts: [String]
    /// Directives of the server besides, each line indented as it stands there.
    package var serverText = ""

    /// - Parameters:
    ///   - listen: `[ADDR:]PORT`, or `unix:/path`.
    ///   - target: `http://host[:port][/path]`, or without the scheme; `https:`, `ws:` and `wss:` as well. The path goes
    ///     before that of requests.
    ///   - scripts: paths of plugins that all requests go through, in this order.
    /// - Throws: what cannot stand in a configuration, or asks for another scheme.
    package init(listen: String, target: String, scripts: [String] = []) throws(Invalid) {
        self.scripts = scripts
        guard Self.isWord(listen) else {
            throw Invalid(
                description:
                    "--listen: found \"\(listen)\", expected a port, an address and a port, or \"unix:path\"")
        }
        // "8080" and "[::1]:8080" are what `listen` takes already; ":8080" is what many other tools take.
        self.listen = listen.hasPrefix(":") ? String(listen.dropFirst()) : listen
        let end = target.firstRange(of: "://")
        let scheme = end.map { target[..<$0.lowerBound].lowercased() } ?? "http"
        guard Self.isWord(target), !target.contains("?"), let spoken = Self.schemes[scheme] else {
            throw Invalid(
                description:
                    "--to: found \"\(target)\", expected a URL with http:, https:, ws: or wss:, or host:port")
        }
        self.target =
            "\(spoken)://" + Self.endedPath(String(end.map { target[$0.upperBound...] } ?? target[...]))
    }

    /// `host/app` as `host/app/`: what is below `/` is to be below the path, while `proxy_pass` puts the rest of a
    /// request's URI directly behind it.
    private static func endedPath(_ rest: String) -> String {
        // The path of a UNIX socket is no path of requests, which a colon separates from it.
        let isSocket = rest.lowercased().hasPrefix("unix:")
        let authority = isSocket ? rest.dropFirst("unix:".count) : rest[...]
        let hasPath = authority.contains(isSocket ? ":" : "/")
        return hasPath && !rest.hasSuffix("/") ? rest + "/" : rest
    }

    /// What `proxy_pass` calls them.
    private static let schemes = ["http": "http", "ws": "http", "https": "https", "wss": "https"]

    /// Whether `text` can stand in a configuration without quotes, meaning itself.
    private static func isWord(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"{};\"'\\$#".utf8.contains($0) }
    }

    /// In quotes, whatever it holds.
    private static func quoted(_ path: String) -> String {
        "\"" + path.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    /// The prefix is a directory that not everybody can put a module into.
    package var source: ConfigurationSource {
        let text = text
        var source = ConfigurationSource(.text(text, name: "command line"), prefix: "/")
        let options = ["listen": "--listen", "proxy_pass": "--to", "plugin": "--script"]
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            guard let word = line.split(separator: " ").first, let option = options[String(word)]
            else {
                continue
            }
            source.options[index + 1] = option
        }
        return source
    }

    package var text: String {
        // Each finds the modules beside it, and those of the system. There is no `;;`, which would have them looked for under the
        // prefix, too.
        var directories: [String] = []
        for script in scripts {
            let directory = Paths.directory(of: script)
            if !directories.contains(directory) { directories.append(directory) }
        }
        let templates = directories.map { $0 + "/?.lua" } + LuaSettings.systemTemplates
        let path = templates.joined(separator: ";")
        let modules = scripts.isEmpty ? "" : "    lua_package_path \(Self.quoted(path));\n"
        // Servers of many names need to be told which one is meant.
        let serverName = target.hasPrefix("https:") ? "            proxy_ssl_server_name on;\n" : ""
        let plugins = scripts.map { "        plugin \(Self.quoted($0));\n" }.joined()
        return """
            daemon off;
            pid /tmp/switchyard-quick.pid;
            worker_processes auto;
            error_log stderr notice;

            events {
                worker_connections 16384;
            }

            http {
                access_log /dev/stdout;
            \(modules)
                # Requests that ask for an upgrade, such as WebSocket handshakes, are passed on as such.
                map $http_upgrade $connection_upgrade {
                    default upgrade;
                    '' close;
                }

                server {
                    listen \(listen);
            \(plugins)\(serverText)
                    location / {
                        proxy_pass \(target);
            \(serverName)            proxy_http_version 1.1;
                        proxy_set_header Host $http_host;
                        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                        proxy_set_header X-Forwarded-Proto $scheme;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection $connection_upgrade;
                        proxy_read_timeout 1h;
                    }
                }
            }

            """
    }
}
