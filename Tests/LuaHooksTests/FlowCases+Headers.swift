import Config
import ProxyCore

@testable import LuaHooks

extension FlowCases {
    private static let twice = "GET / HTTP/1.1\nHost: a\nX-A: 1\nAccept: b\nx-a: 2\n\n"

    static let headers: [FlowCase] = [
        FlowCase(
            "print(flow.req.headers['X-A'], flow.req.headers['x-a'], flow.req.headers.Host, "
                + "flow.req.headers['X-B'])",
            request: twice, ["1\t1\ta\tnil"]),
        FlowCase(
            "flow.req.headers['X-B'] = 'new' print(flow.req.headers['x-b'], flow.var.http_x_b)", ["new\tnew"]),
        FlowCase("flow.req.headers['X-A'] = 7 print(flow.var.http_x_a)", request: twice, ["7"]),
        FlowCase(
            "flow.req.headers['X-A'] = nil print(flow.req.headers['X-A'], flow.var.http_x_a)",
            request: twice, ["nil\tnil"]),
        FlowCase("flow.req.headers:add('X-A', '3') print(flow.var.http_x_a)", request: twice, ["1, 2, 3"]),
        FlowCase(
            "print(table.concat(flow.req.headers:all('x-A'), '|'), #flow.req.headers:all('X-B'))",
            request: twice, ["1|2\t0"]),
        FlowCase(
            "for n, v in flow.req.headers:each() do flow.req.headers[n] = 'x' print(n, v) end",
            request: twice,
            ["Host\ta", "X-A\t1", "Accept\tb", "x-a\t2"]),
        FlowCase("for n, v in pairs(flow.req.headers) do print(n, v) end", ["Host\texample.test"]),
        FlowCase(
            "flow.req.headers['Host'] = 'Other.test:81' print(flow.var.host, flow.var.http_host)",
            ["other.test\tOther.test:81"]),
        FlowCase(
            "flow.req.headers:add('Host', 'b')", ["failed", "error: header \"Host\" cannot be there twice"]),
        FlowCase(
            "flow.req.headers['Host'] = 'a b'",
            ["failed", "error: header \"Host\": its value names no host"]),
        FlowCase(
            "flow.req.headers['X-A'] = 'a\\r\\nX-B: b'",
            ["failed", "error: header \"X-A\": its value has a control character"]),
        FlowCase(
            "flow.req.headers:add('X-A', 'a\\0')",
            ["failed", "error: header \"X-A\": its value has a control character"]),
        FlowCase(
            "flow.req.headers['X A'] = 'a'",
            ["failed", "error: found \"X A\" as a header's name, expected a token"]),
        FlowCase(
            "flow.req.headers[''] = 'a'",
            ["failed", "error: found \"\" as a header's name, expected a token"]),
        FlowCase(
            "flow.req.headers['content-length'] = '0'",
            [
                "failed",
                "error: header \"content-length\" is the proxy's own to compute, from the body that there is",
            ]),
        FlowCase(
            "flow.req.headers['Transfer-Encoding'] = nil",
            ["failed", "error: header \"Transfer-Encoding\" is the proxy's own to compute"]),
        FlowCase(
            "flow.req.headers['Connection'] = 'upgrade' flow.req.headers.Upgrade = 'websocket' "
                + "print(flow.var.http_connection, flow.var.http_upgrade)", ["upgrade\twebsocket"]),
        FlowCase(
            "flow.req.headers['X-A'] = ('x'):rep(300000)",
            ["failed", "error: header \"X-A\": the head becomes too long"]),
        FlowCase(
            "for i = 1, 3000 do flow.req.headers['X-A'] = ('x'):rep(i) end print(#flow.req.headers['X-A'])",
            ["3000"]),
        FlowCase(
            "flow.req.headers['X-A'] = true",
            ["failed", "error: flow.req.headers: found boolean, expected a string, a number or nil"]),
        FlowCase(
            "flow.req.headers[true] = 'x'",
            ["failed", "error: headers: found boolean, expected a string"]),
        FlowCase(
            "print(flow.req.headers[{}])", ["failed", "error: headers: found table, expected a string"]),
        FlowCase("flow.req.headers:add('X')", ["failed", "error: add: found nothing, expected a string"]),
        FlowCase("flow.req.headers:all()", ["failed", "error: all: found nothing, expected a string"]),
        FlowCase(
            in: .response, "flow.req.headers['X-A'] = 'x'",
            [
                "failed",
                "error: flow.req.headers can be used in request and upgrade hooks, not in a response hook",
            ]),
        FlowCase(
            in: .log, "flow.req.headers:add('X-A', 'x')",
            ["error: flow.req.headers can be used in request and upgrade hooks, not in a log hook"]),
    ]

    static let response: [FlowCase] = [
        FlowCase(
            in: .response, "print(flow.res.status, flow.res.headers['x-old'], flow.res.headers['X-New'])",
            before: [.respond(head: ok)], ["200\tyes\tnil"]),
        FlowCase("print(flow.res.status)", ["nil"]),
        FlowCase(in: .log, "print(flow.res.status)", before: [.respond(head: ok), .sent(403)], ["403"]),
        FlowCase(
            in: .response, "flow.res.status = 403 print(flow.res.status)", before: [.respond(head: ok)],
            ["403"]),
        FlowCase(
            in: .response, "flow.res.status = 600", before: [.respond(head: ok)],
            ["failed", "error: flow.res.status: found 600, expected 200 to 599"]),
        FlowCase(
            in: .response, "flow.res.status = 'x'", before: [.respond(head: ok)],
            ["failed", "error: flow.res.status: found string, expected an integer"]),
        FlowCase(
            in: .response, "flow.res.status = 204", before: [.respond(head: ok)],
            ["failed", "error: flow.res.status: a response of status 204 has no body, and this one has"]),
        FlowCase(
            in: .response, "flow.res.status = 200", before: [.respond(head: switched)],
            ["failed", "error: flow.res.status: a 101 cannot be changed: answer with flow:respond instead"]),
        FlowCase(
            in: .response, "flow.res.headers['Sec-WebSocket-Accept'] = nil",
            before: [.respond(head: switched)],
            ["failed", "error: header \"Sec-WebSocket-Accept\" is the proxy's own to compute"]),
        FlowCase(
            in: .response, "flow.res.headers:add('Sec-WebSocket-Accept', 'x')",
            before: [.respond(head: switched)],
            ["failed", "error: header \"Sec-WebSocket-Accept\" is the proxy's own to compute"]),
        FlowCase(
            in: .response,
            "flow.res.headers['Sec-WebSocket-Protocol'] = 'b' "
                + "print(flow.subprotocol, flow.res.headers['Sec-WebSocket-Protocol'])",
            before: [.respond(head: switched)], ["chat\tb"]),
        FlowCase(
            "flow.res.status = 200",
            ["failed", "error: flow.res.status can be used in response hooks, not in a request hook"]),
        FlowCase(
            in: .response,
            "flow.res.headers['X-Old'] = 'no' flow.res.headers.New = 1 "
                + "print(flow.var.upstream_http_x_old, flow.res.headers.new)",
            before: [.respond(head: ok)], ["no\t1"]),
        FlowCase(
            in: .response, "flow.res.headers['Set-Cookie'] = nil print(#flow.res.headers:all('Set-Cookie'))",
            before: [.respond(head: ok)], ["0"]),
        FlowCase(
            in: .response,
            "flow.res.headers:add('Set-Cookie', 'c=3') "
                + "print(table.concat(flow.res.headers:all('set-cookie'), '|'))",
            before: [.respond(head: ok)], ["a=1|b=2|c=3"]),
        FlowCase(
            in: .response, "for n, v in flow.res.headers:each() do print(n, v) end",
            before: [.respond(head: ok)],
            ["Content-Length\t5", "Set-Cookie\ta=1", "Set-Cookie\tb=2", "X-Old\tyes"]),
        FlowCase(
            in: .response, "local n = 0 for _ in pairs(flow.res.headers) do n = n + 1 end print(n)",
            before: [.respond(head: ok)], ["4"]),
        FlowCase(
            in: .response, "flow.res.headers['Connection'] = 'close'", before: [.respond(head: ok)],
            ["failed", "error: header \"Connection\" is the proxy's own to compute"]),
        FlowCase(
            "flow.res.headers['X'] = 'y'",
            ["failed", "error: flow.res.headers can be used in response hooks, not in a request hook"]),
    ]

    private static var known: [FlowLeg: LegFacts] {
        var client = LegFacts()
        client.address = Array("198.51.100.1".utf8)
        client.port = 1234
        client.roundTrip = 1500
        client.bytesIn = 10
        client.bytesOut = 20
        client.buffered = 3
        var upstream = LegFacts()
        upstream.address = Array("unix:/run/app".utf8)
        upstream.roundTrip = 250
        upstream.bytesIn = 7
        upstream.bytesOut = 8
        upstream.buffered = 9
        return [.client: client, .upstream: upstream]
    }

    static let legs: [FlowCase] = [
        FlowCase(
            "print(flow.client.address, flow.client.port, flow.client.rtt)", facts: known,
            ["198.51.100.1\t1234\t0.0015"]),
        FlowCase(
            "print(flow.client.bytes_in, flow.client.bytes_out, flow.client.buffered)", facts: known,
            ["10\t20\t3"]),
        FlowCase(
            "print(flow.upstream.address, flow.upstream.port, flow.upstream.rtt)", facts: known,
            ["unix:/run/app\tnil\t0.00025"]),
        FlowCase(
            "print(flow.upstream.bytes_in, flow.upstream.bytes_out, flow.upstream.buffered)", facts: known,
            ["7\t8\t9"]),
        FlowCase(
            "print(flow.upstream.port)",
            facts: [
                .upstream: {
                    var facts = LegFacts()
                    facts.address = Array("192.0.2.9".utf8)
                    facts.port = 8443
                    return facts
                }()
            ], ["8443"]),
        FlowCase("print(flow.client.address, flow.client.port, flow.client.rtt)", ["192.0.2.7\t40000\tnil"]),
        FlowCase("print(flow.client.http)", ["1.1"]),
        FlowCase("print(flow.upstream.http)", ["1.0"]),
        FlowCase(
            "print(flow.var['1'], flow.var[2], flow.var['3'], pcall(function() flow.var['1'] = 'x' end))",
            configuration: "events {} http { server { listen 127.0.0.1:8080; "
                + "location ~ ^/(a)/(.) { return 200; } } }",
            ["a\tb\tnil\tfalse\tcase.lua:1: flow.var: $1 cannot be set"]),
        FlowCase(
            "print(pcall(function() return flow.var['0'] end))",
            ["false\tcase.lua:1: flow.var: there is no variable $0"]),
        FlowCase("print(flow.client.tls, flow.var.ssl_protocol, flow.var.scheme)", ["nil\tnil\thttp"]),
        FlowCase(
            """
            local tls = flow.client.tls
            print(tls.version, tls.cipher, tls.sni, tls.alpn, tls.client_subject, flow.var.scheme, flow.var.ssl_cipher)
            """, ["TLSv1.3\tTLS_X\ta.example\tnil\tCN=x\thttps\tTLS_X"]
        ).over([
            .version: "TLSv1.3", .cipher: "TLS_X", .serverName: "a.example", .applicationProtocol: "",
            .subject: "CN=x",
        ]),
        FlowCase("print(flow.client.tls.verified)", ["nil"]).over([
            .version: "TLSv1.3", .verification: "NONE",
        ]),
        FlowCase("print(flow.client.tls.verified)", ["true"]).over([
            .verification: "SUCCESS", .subject: "CN=x",
        ]),
        FlowCase("print(flow.client.tls.verified)", ["false"]).over([
            .verification: "FAILED:self-signed certificate", .subject: "CN=x",
        ]),
        FlowCase(
            "print(flow.client.tls.resumed)", ["true"]
        ).over([.version: "TLSv1.3", .cipher: "TLS_X", .sessionReused: "r"]),
        FlowCase("print(flow.upstream.tls)", ["nil"]),
        FlowCase(
            """
            local tls = flow.upstream.tls
            print(tls.version, tls.cipher, tls.sni, tls.alpn, tls.server_subject, tls.resumed)
            """, ["TLSv1.2\tTLS_Y\tb.example\tnil\tCN=b\ttrue"]
        ).withUpstream {
            $0.version = Array("TLSv1.2".utf8)
            $0.cipher = Array("TLS_Y".utf8)
            $0.serverName = Array("b.example".utf8)
            $0.subject = Array("CN=b".utf8)
            $0.isResumed = true
        },
        FlowCase("print(flow.upstream.address, flow.upstream.port, flow.upstream.bytes_in)", ["nil\tnil\t0"]),
    ]

    static let offers: [FlowCase] = [
        FlowCase(
            in: .upgrade,
            "print(flow.offer.origin, flow.offer.deflate, table.concat(flow.offer.subprotocols, '|'))",
            request: handshake, ["https://example.test\ttrue\tchat|superchat|mqtt"]),
        FlowCase("print(flow.offer.origin, flow.offer.deflate, #flow.offer.subprotocols)", ["nil\tfalse\t0"]),
        FlowCase(
            in: .upgrade, "flow.offer.origin = 'https://other.test' print(flow.req.headers.Origin)",
            request: handshake, ["https://other.test"]),
        FlowCase(
            in: .upgrade, "flow.offer.origin = nil print(flow.req.headers.Origin)", request: handshake,
            ["nil"]),
        FlowCase(
            in: .upgrade, "flow.offer.origin = 'a\\nb'", request: handshake,
            ["failed", "error: header \"Origin\": its value has a control character"]),
        FlowCase(
            in: .upgrade,
            "flow.offer.subprotocols = { 'mqtt', 'chat' } "
                + "print(flow.var.http_sec_websocket_protocol, #flow.offer.subprotocols)",
            request: handshake, ["mqtt, chat\t2"]),
        FlowCase(
            in: .upgrade, "flow.offer.subprotocols = {} print(flow.var.http_sec_websocket_protocol)",
            request: handshake, ["nil"]),
        FlowCase(
            in: .upgrade, "flow.offer.subprotocols = nil print(flow.var.http_sec_websocket_protocol)",
            request: handshake, ["nil"]),
        FlowCase(
            in: .upgrade, "flow.offer.subprotocols = { 'a b' }", request: handshake,
            ["failed", "error: flow.offer.subprotocols: found \"a b\", expected a token"]),
        FlowCase(
            in: .upgrade, "flow.offer.subprotocols = true", request: handshake,
            ["failed", "error: flow.offer.subprotocols: found boolean, expected a list of strings"]),
        FlowCase(
            in: .upgrade,
            "flow.offer.deflate = false print(flow.offer.deflate, "
                + "flow.req.headers['Sec-WebSocket-Extensions'])",
            request: handshake, ["false\tx-other"]),
        FlowCase(
            in: .upgrade,
            "flow.offer.deflate = true print(flow.offer.deflate) flow.offer.deflate = false "
                + "flow.offer.deflate = true",
            request: handshake,
            ["failed", "true", "error: flow.offer.deflate: the client does not offer permessage-deflate"]),
        FlowCase(
            in: .upgrade, "flow.offer.deflate = 1", request: handshake,
            ["failed", "error: flow.offer.deflate: found number, expected a boolean"]),
        FlowCase(
            "flow.offer.origin = 'x'", request: handshake,
            ["failed", "error: flow.offer.origin can be used in upgrade hooks, not in a request hook"]),
        FlowCase(
            "flow.offer.subprotocols = { 'x' }", request: handshake,
            ["failed", "error: flow.offer.subprotocols can be used in upgrade hooks, not in a request hook"]),
        FlowCase(
            "flow.offer.deflate = false", request: handshake,
            ["failed", "error: flow.offer.deflate can be used in upgrade hooks, not in a request hook"]),
        FlowCase(
            in: .open, "print(flow.subprotocol)", request: handshake, before: [.respond(head: switched)],
            ["chat"]
        ),
        FlowCase(in: .request, "print(flow.subprotocol)", request: handshake, ["nil"]),
    ]
}
