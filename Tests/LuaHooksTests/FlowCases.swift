import Config
import ProxyCore

@testable import LuaHooks

/// What every function and field of `flow` does, as scripts see it.
enum FlowCases {
    static let all: [FlowCase] =
        identity + variables + request + arguments + bodies + headers + response + legs + answers + timers
        + offers + messages + frames + tunnels

    static let post = "POST /form HTTP/1.1\nHost: example.test\nContent-Length: 4\n\n"
    static let handshake = """
        GET /chat HTTP/1.1
        Host: example.test
        Upgrade: websocket
        Connection: Upgrade
        Origin: https://example.test
        Sec-WebSocket-Version: 13
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
        Sec-WebSocket-Protocol: chat, superchat
        Sec-WebSocket-Protocol: mqtt
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other


        """
    static let ok = "HTTP/1.1 200 OK\nContent-Length: 5\nSet-Cookie: a=1\nSet-Cookie: b=2\nX-Old: yes\n\n"
    static let switched = """
        HTTP/1.1 101 Switching Protocols
        Upgrade: websocket
        Connection: Upgrade
        Sec-WebSocket-Protocol: chat


        """
    static let servers = """
        events {}
        http {
            upstream one { server 127.0.0.1:9001; }
            upstream two { server 127.0.0.1:9002; }
            server {
                listen 127.0.0.1:8080;
                location / { set $mine 1; proxy_pass http://one; }
                location = /exact { proxy_pass http://one; }
                location ~ \\.php$ { proxy_pass http://one; }
                location @other { proxy_pass http://two; }
            }
        }
        """

    static let identity: [FlowCase] = [
        FlowCase("print(flow.id)", ["00000000000000010000000000000002"]),
        FlowCase("print(flow.location, flow.started)", ["/\t1704067200.0"]),
        FlowCase("flow.started = 1", ["failed", "error: the field \"started\" cannot be set"]),
        // Parts of a flow are values within pointers: equal to each other, and told from the pointers of others.
        FlowCase(
            """
            local head = flow.req.headers
            print(head == flow.req.headers, head == flow.res.headers, ({[head] = 1})[flow.req.headers], type(head))
            print((tostring(head):gsub('0x%x+', 'ADDRESS')), getmetatable(head), pcall(string.rep, head, 2))
            print(pcall(function() flow.req.nothing = 1 end))
            print(pcall(pairs, flow.var))
            """,
            [
                "true\tfalse\t1\tuserdata",
                "flow.req.headers: ADDRESS\tfalse\tfalse\tbad argument #1 to 'string.rep' (string expected, got userdata)",
                "false\tcase.lua:4: the field \"nothing\" cannot be set",
                "false\tbad argument #1 to 'for iterator' (table expected, got flow.var)",
            ]),
        FlowCase(
            """
            local null = sy.json.null
            print(tostring(null):match('^userdata: ') ~= nil, pcall(function() return null.x end))
            print(pcall(function() null.x = 1 end))
            print(pcall(pairs, null))
            """,
            [
                "true\tfalse\tcase.lua:2: attempt to index a userdata value",
                "false\tcase.lua:3: attempt to index a userdata value",
                "false\tbad argument #1 to 'for iterator' (table expected, got userdata)",
            ]),
        FlowCase(
            "print(flow.location)", request: "GET /exact HTTP/1.1\nHost: a\n\n", configuration: servers,
            ["= /exact"]),
        FlowCase(
            "print(flow.location)", request: "GET /a.php HTTP/1.1\nHost: a\n\n", configuration: servers,
            ["~ \\.php$"]),
        FlowCase(
            hooks: [
                (.request, "flow.ctx.seen = 'here'"), (.log, "print('other', flow.ctx.seen)"),
                (.request, "print(flow.ctx.seen) flow.ctx.seen = 1 print(flow.ctx.seen)"),
            ],
            steps: [.run(.request), .run(.log)], ["nil", "1", "other\tnil"]),
        FlowCase(
            "flow:tag('room-1') flow:tag('room-1') flow:tag('room-2')", ["tags: room-1, room-2"]),
        FlowCase(
            "print(#flow.tags) flow:tag('b') flow:tag('a') print(table.concat(flow.tags, ' '), flow.is_remote)",
            ["0", "b a\tfalse", "tags: b, a"]),
        FlowCase("flow:tag('')", ["failed", "error: tag: found 0 bytes, expected 1 to 255"]),
        FlowCase(
            "for i = 1, 65 do flow:tag('t' .. i) end print('no')",
            ["failed", "error: tag: the exchange has 64 tags already"]
                + ["tags: " + (1...64).map { "t\($0)" }.joined(separator: ", ")]),
    ]

    static let variables: [FlowCase] = [
        FlowCase(
            "print(flow.var.request_method, flow.var['uri'], flow.var.nothing_at_all == nil)",
            ["failed", "error: flow.var: there is no variable $nothing_at_all"]),
        FlowCase("print(flow.var.request_method, flow.var['URI'], flow.var.arg_x)", ["GET\t/a/b\t1"]),
        FlowCase("print(flow.var.http_x_missing)", ["nil"]),
        FlowCase("print(flow.var.mine) flow.var.mine = 'two' print(flow.var.mine)", ["1", "two"]),
        FlowCase("flow.var.mine = 3 flow.var['mine'] = 12.5 print(flow.var.mine)", ["12.5"]),
        FlowCase(
            "flow.var.uri = '/x'",
            ["failed", "error: flow.var: $uri cannot be set: only what `set` assigns can, and $args"]),
        FlowCase(
            "flow.var.mine = {}", ["failed", "error: flow.var: found table, expected a string or a number"]),
        FlowCase("flow.var.args = 'z=9' print(flow.req.query, flow.var.arg_z)", ["z=9\t9"]),
        FlowCase(
            in: .log, "flow.var.args = 'z=9'",
            ["error: flow.var.args can be used in request and upgrade hooks, not in a log hook"]),
        // Values that are replaced do not pile up.
        FlowCase(
            "for i = 1, 30 do flow.var.mine = ('x'):rep(60000) .. i end print(#flow.var.mine)", ["60002"]),
        FlowCase(
            "flow.var.mine = ('x'):rep(100000)",
            ["failed", "error: flow.var: found 100000 bytes, expected at most 65536"]),
    ]

    static let request: [FlowCase] = [
        FlowCase(
            "print(flow.req.method, flow.req.uri, flow.req.path, flow.req.query, flow.req.version)",
            request: "PUT /a/../%62?q=%20 HTTP/1.0\nHost: a\n\n", ["PUT\t/a/../%62?q=%20\t/b\tq=%20\t1.0"]),
        FlowCase(
            "print(flow.req.query == '', flow.req.version)",
            request: "GET / HTTP/1.1\nHost: a\n\n", ["true\t1.1"]),
        FlowCase(
            "flow.req.method = 'PATCH' print(flow.req.method, flow.var.request_method)", ["PATCH\tPATCH"]),
        FlowCase(
            "flow.req.method = 'CONNECT'",
            ["failed", "error: flow.req.method: expected a method, and neither CONNECT nor TRACE"]),
        FlowCase(
            "flow.req.method = 'GET / HTTP/1.1'",
            ["failed", "error: flow.req.method: expected a method, and neither CONNECT nor TRACE"]),
        FlowCase(
            "flow.req.method = ''",
            ["failed", "error: flow.req.method: expected a method, and neither CONNECT nor TRACE"]),
        FlowCase(
            "flow.req.method = {}",
            ["failed", "error: flow.req.method: found table, expected a string"]),
        FlowCase(
            in: .response, "flow.req.method = 'PUT'",
            ["failed", "error: flow.req.method can be used in request hooks, not in a response hook"]),
        FlowCase(
            "flow.req.path = '/new path' print(flow.req.path, flow.var.uri, flow.req.uri, flow.req.query)",
            ["/new path\t/new path\t/a/b?x=1&y=2\tx=1&y=2"]),
        FlowCase(
            "flow.req.path = 'relative'",
            ["failed", "error: flow.req.path: expected a path that begins with \"/\" and has no NUL"]),
        FlowCase(
            "flow.req.path = '/a\\0b'",
            ["failed", "error: flow.req.path: expected a path that begins with \"/\" and has no NUL"]),
        FlowCase(
            "flow.req.path = '/' .. ('x'):rep(70000)",
            ["failed", "error: flow.req.path: found 70001 bytes, expected at most 65536"]),
        FlowCase(
            in: .log, "flow.req.path = '/x'",
            ["error: flow.req.path can be used in request and upgrade hooks, not in a log hook"]),
        FlowCase("flow.req.uri = '/x'", ["failed", "error: the field \"uri\" cannot be set"]),
        FlowCase(
            "print(flow.req.cookies.a, flow.req.cookies['B'], flow.req.cookies.c, flow.req.cookies.d)",
            request: "GET / HTTP/1.1\nHost: a\nCookie: x=0; a=1;B=two words ; a=9\nCookie: c=\"q\"\n\n",
            ["1\ttwo words\t\"q\"\tnil"]),
        FlowCase("flow.req.cookies.a = '1'", ["failed", "error: the field \"a\" cannot be set"]),
        FlowCase("print(flow.req == flow.req, flow.req.headers == flow.req.headers)", ["true\ttrue"]),
    ]

    static let arguments: [FlowCase] = [
        FlowCase("print(flow.req.args.x, flow.req.args['y'], flow.req.args.z)", ["1\t2\tnil"]),
        FlowCase(
            "print(flow.req.args['a b'], flow.req.args.c, flow.req.args.d, flow.req.args.e)",
            request: "GET /?a%20b=%31%2b1+1&c&d=&&e=%zz%4 HTTP/1.1\nHost: a\n\n", ["1+1 1\t\t\t%zz%4"]),
        FlowCase(
            "flow.req.args['x'] = 'a b&' flow.req.args.n = 7 print(flow.req.query, flow.var.arg_x)",
            ["x=a%20b%26&y=2&n=7\ta%20b%26"]),
        FlowCase(
            "flow.req.args['x'] = nil print(flow.req.query) flow.req.args.y = nil "
                + "print(flow.req.query == '')",
            ["y=2", "true"]),
        FlowCase(
            "flow.req.args['a'] = 'once' print(flow.req.query)",
            request: "GET /?a=1&b=2&%61=3 HTTP/1.1\nHost: a\n\n", ["a=once&b=2"]),
        FlowCase(
            "flow.req.args.x = {}",
            ["failed", "error: flow.req.args: found table, expected a string, a number or nil"]),
        FlowCase(
            "flow.req.args['x'] = ('x'):rep(70000)",
            ["failed", "error: flow.req.args: found 70000 bytes, expected at most 65536"]),
        FlowCase(
            in: .log, "flow.req.args['x'] = 1",
            ["error: flow.req.args can be used in request and upgrade hooks, not in a log hook"]),
        FlowCase(
            "print(table.concat(flow.req.args:all('a'), '|'), #flow.req.args:all('b'))",
            request: "GET /?a=1&A=2&a=%33 HTTP/1.1\nHost: a\n\n", ["1|3\t0"]),
        FlowCase(
            "for n, v in flow.req.args:each() do flow.req.args[n] = nil print(n, v) end "
                + "print(flow.req.query == '')",
            ["x\t1", "y\t2", "true"]),
        FlowCase(
            "for n, v in pairs(flow.req.args) do print(n, v) end",
            request: "GET /?a+b=%20&c HTTP/1.1\nHost: a\n\n", ["a b\t ", "c\t"]),
        FlowCase(
            "flow.req.args = { b = { 'x', 2 }, a = 'ä', c = true, d = false } print(flow.req.query, "
                + "flow.req.args.a)",
            ["a=%C3%A4&b=x&b=2&c\tä"]),
        FlowCase("flow.req.args = 'p=%31' print(flow.req.query, flow.req.args.p)", ["p=%31\t1"]),
        FlowCase(
            "flow.req.args = 'a b'",
            [
                "failed",
                "error: flow.req.args: found a space, a control character or \"#\" that is not escaped",
            ]),
        FlowCase(
            "flow.req.args = true",
            ["failed", "error: flow.req.args: found boolean, expected a string or a table"]),
        FlowCase(
            "flow.req.args = { 'x' }",
            ["failed", "error: flow.req.args: found a number as a name, expected a string"]),
        FlowCase(
            "flow.req.args = { a = print }",
            [
                "failed",
                "error: flow.req.args: found function as \"a\", expected a string, a number, a "
                    + "boolean or a list of them",
            ]),
        FlowCase(
            "flow.req.args = { a = { {} } }",
            [
                "failed",
                "error: flow.req.args: found table as \"a\", expected a string, a number, a boolean "
                    + "or a list of them",
            ]),
        FlowCase(
            in: .log, "flow.req.args = 'a'",
            ["error: flow.req.args can be used in request and upgrade hooks, not in a log hook"]),
    ]

    static let bodies: [FlowCase] = [
        FlowCase(
            "print(flow.req:body()) print(flow.req:body())", request: post, then: [.body("a=1")],
            ["waiting", "a=1", "a=1", "body was asked for: 1"]),
        FlowCase("print(flow.req:body() == '')", ["true"]),
        FlowCase(
            hooks: [(.request, "flow.req:body()"), (.log, "print(flow.req:body())")], request: post,
            steps: [.run(.request), .body("late"), .run(.log)], ["waiting", "late", "body was asked for: 1"]),
        FlowCase(
            in: .log, "print(flow.req:body())", request: post,
            [
                "error: flow.req:body, for a body that was not read before, can be used in request "
                    + "and upgrade hooks, not in a log hook"
            ]),
        FlowCase("flow.req:set_body('new') print(flow.req:body())", request: post, ["new", "body: new"]),
        FlowCase("flow.req:set_body({})", ["failed", "error: set_body: found table, expected a string"]),
        FlowCase(
            in: .response, "flow.req:set_body('x')",
            [
                "failed",
                "error: flow.req:set_body can be used in request and upgrade hooks, not in a response hook",
            ]),
    ]
}
