import EventLoop
import Glibc
import ProxyCore
import Testing

@testable import ProxyServer

@Suite("The network in scripts", .timeLimit(.minutes(1)))
struct ScriptNetworkTests {
    /// What a proxy answers whose request hook is `lua`; `connections` are those that are left open then.
    private func answer(
        _ lua: (_ port: UInt16) -> String, backend: @escaping (ScriptedConnection, String) -> Void
    ) throws -> (response: FetchResponse, connections: Int) {
        // The backend is on the proxy's own loop, so its port has to be known before there is one.
        let port = try freePort()
        let fixture = try NetworkFixture(
            "server { listen 127.0.0.1:1; location / { request_by_lua_block { \(lua(port)) } } }")
        let server = try fixture.serve(port: port, backend)
        fixture.worker.begin()
        let listener = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        let proxy = try #require(Sockets.localAddress(listener)).port
        try fixture.worker.adopt(
            fixture.generation.generation,
            listeners: [
                AssignedListener(
                    key: "test", descriptor: listener, isOwn: true, targets: ListenerTargets(own: 0))
            ])
        var request = FetchRequest("http://127.0.0.1:\(proxy)/")
        request.keepalive = false
        let response = try fixture.fetch(request).get()
        let connections = server.openConnections
        fixture.worker.end()
        return (response, connections)
    }

    private func freePort() throws -> UInt16 {
        let probe = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        defer { close(probe) }
        return try #require(Sockets.localAddress(probe)).port
    }

    @Test("a hook fetches, and goes on with the response")
    func fetch() throws {
        let (response, connections) = try answer {
            """
            local res = sy.fetch{url = "http://127.0.0.1:\($0)/x"}
            local again = sy.fetch{url = "http://127.0.0.1:\($0)/y"}
            local none, err = sy.fetch{url = "https://127.0.0.1:1/"}
            return flow:respond{status = res.status, body = res.body .. again.body .. res.headers["x-a"] .. err}
            """
        } backend: { connection, _ in
            connection.send(Array("HTTP/1.1 418 Tea\r\nX-A: b\r\nContent-Length: 3\r\n\r\npot".utf8))
        }
        #expect(response.status == 418)
        #expect(
            String(decoding: response.body, as: UTF8.self)
                == "potpotbconnect() failed (111: Connection refused)")
        #expect(connections == 1)
    }

    @Test("a hook speaks over a connection of its own, which ends with the exchange")
    func sockets() throws {
        let (response, _) = try answer {
            """
            local sock = sy.tcp.connect("127.0.0.1", \($0))
            local sent = sock:send("one\\r\\n\\r\\n")
            local line, rest = sock:receive(), sock:receive(3)
            local all = sock:receive("*a")
            local none, err = sock:receive()
            return flow:respond{status = 200, body = table.concat({sent, line, rest, all, err}, "|")}
            """
        } backend: { connection, _ in
            connection.send(Array("a line\r\nabcdef".utf8))
            connection.shutdownWhenSent()
        }
        #expect(String(decoding: response.body, as: UTF8.self) == "7|a line|abc|def|closed")
    }

    @Test("a hook is told why there is no connection")
    func refused() throws {
        let (response, _) = try answer { _ in
            """
            local none, err = sy.tcp.connect("unix:/nowhere/at/all")
            return flow:respond{status = 200, body = err}
            """
        } backend: { _, _ in
        }
        #expect(
            String(decoding: response.body, as: UTF8.self)
                == "connect() failed (2: No such file or directory)")
    }
}
