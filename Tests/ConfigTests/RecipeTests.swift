import Config
import Testing

/// Names that stand for the table of variables, which is above this module.
let testVariables: Set<String> = [
    "args", "binary_remote_addr", "body_bytes_sent", "bytes_sent", "connection", "host", "hostname",
    "is_args",
    "msec", "proxy_add_x_forwarded_for", "proxy_host", "proxy_port", "query_string", "remote_addr",
    "remote_port",
    "remote_user", "request", "request_filename", "request_id", "request_method", "request_time",
    "request_uri",
    "scheme", "server_addr", "server_name", "server_port", "server_protocol", "status", "time_iso8601",
    "time_local", "upstream_addr", "upstream_response_time", "upstream_status", "uri",
]

@Suite struct RecipeTests {
    @Test("the map recipe compiles to a server that proxies with the mapped header")
    func mapRecipe() throws {
        let (configuration, diagnostics) = Configuration.parse(
            """
            http {
                map $http_upgrade $connection_upgrade {
                    default upgrade;
                    ''      close;
                }
                upstream websocket { server 127.0.0.1:8010; keepalive 16; }
                server {
                    listen 8020;
                    location / {
                        proxy_pass http://websocket;
                        proxy_http_version 1.1;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection $connection_upgrade;
                        proxy_set_header Host $host;
                    }
                }
            }
            """, builtinVariables: testVariables)
        #expect(diagnostics.map(\.description) == [])
        let compiled = try #require(configuration)
        let listener = try #require(compiled.listeners.first)
        #expect(listener.address == .ipv4(host: "0.0.0.0", port: 8020))
        let location = try #require(listener.defaultServer.locations.prefixes.first)
        #expect(location.settings.values.proxyHTTPVersion == .v1_1)
        let headers = location.settings.values.proxySetHeaders
        #expect(
            headers.map { String(decoding: $0.name, as: UTF8.self) } == ["Upgrade", "Connection", "Host"])
        guard case .variable(let id) = headers[1].value.parts.first else {
            Issue.record("Connection is not a variable")
            return
        }
        #expect(compiled.variables[id.index].source == .map(0))
        #expect(compiled.maps[0].entries.exact == [[]: Template(literal: Array("close".utf8))])
        #expect(compiled.maps[0].defaultValue == Template(literal: Array("upgrade".utf8)))
        guard case .proxy(let pass) = location.handler, case .upstream(let group) = pass.target else {
            Issue.record("the location does not proxy")
            return
        }
        #expect(compiled.upstreams[group].keepalive == 16)
        #expect(compiled.upstreams[group].servers.map(\.endpoint) == [.host("127.0.0.1", port: 8010)])
        #expect(pass.uri == nil)
        #expect(String(decoding: pass.host, as: UTF8.self) == "websocket")
    }
}
