import Config
import ProxyCore

@testable import LuaHooks

extension FlowCases {
    static let answers: [FlowCase] = [
        FlowCase(
            "return flow:respond{ status = 403, headers = { ['X-B'] = { 'y', 'x' }, ['X-A'] = 1 }, "
                + "body = 'no' }",
            ["answer 403 [X-A: 1] [X-B: y] [X-B: x] no"]),
        FlowCase(in: .upgrade, "flow:respond{}", request: handshake, ["answer 200"]),
        FlowCase(
            in: .response, "flow:respond{ status = 502 } flow:respond{ status = 503 }",
            before: [.respond(head: ok)], ["answer 503"]),
        FlowCase("flow:respond()", ["failed", "error: respond: found nothing, expected a table"]),
        FlowCase("flow:respond(403)", ["failed", "error: respond: found number, expected a table"]),
        FlowCase(
            "flow:respond{ stauts = 403 }",
            ["failed", "error: respond: found field \"stauts\", expected status, headers, body"]),
        FlowCase(
            "flow:respond{ 403 }",
            ["failed", "error: respond: found a number as a field, expected status, headers, body"]),
        FlowCase(
            "flow:respond{ status = 99 }",
            ["failed", "error: respond: found status 99, expected 200 to 599"]),
        FlowCase(
            "flow:respond{ status = 'x' }",
            ["failed", "error: respond: found string as status, expected an integer"]),
        FlowCase(
            "flow:respond{ status = 204, body = 'x' }",
            ["failed", "error: respond: a response of status 204 has no body"]),
        FlowCase(
            "flow:respond{ body = {} }",
            ["failed", "error: respond: found table as body, expected a string"]),
        FlowCase(
            "flow:respond{ headers = 'x' }",
            ["failed", "error: respond: found string as headers, expected a table"]),
        FlowCase(
            "flow:respond{ headers = { 'x' } }",
            ["failed", "error: respond: found a number as a header's name, expected a string"]),
        FlowCase(
            "flow:respond{ headers = { ['X Y'] = 'x' } }",
            ["failed", "error: respond: found \"X Y\" as a header's name, expected a token"]),
        FlowCase(
            "flow:respond{ headers = { X = 'x\\r\\nSet-Cookie: a=1' } }",
            ["failed", "error: respond: header \"X\": its value has a control character"]),
        FlowCase(
            "flow:respond{ headers = { ['Content-Length'] = 3 } }",
            ["failed", "error: respond: header \"Content-Length\" is the proxy's own to compute"]),
        FlowCase(
            "flow:respond{ headers = { X = true } }",
            ["failed", "error: respond: found boolean, expected a string or a list as a header's value"]),
        FlowCase(
            "flow:respond{ headers = { X = { {} } } }",
            ["failed", "error: respond: found table in the list, expected strings"]),
        FlowCase(
            "flow:respond{ headers = { X = ('x'):rep(70000) } }",
            ["failed", "error: respond: found headers of more than 65536 bytes"]),
        FlowCase(
            in: .log, "flow:respond{}",
            ["error: flow:respond can be used in request, upgrade and response hooks, not in a log hook"]),
        // An answer of a hook that fails is none.
        FlowCase("flow:respond{ status = 200 } error('late')", ["failed", "error: late"]),

        FlowCase(
            "return flow:redirect('https://other.test/')", ["answer 302 [Location: https://other.test/]"]),
        FlowCase("return flow:redirect('/x', 308)", ["answer 308 [Location: /x]"]),
        FlowCase(
            "flow:redirect('/x', 200)",
            ["failed", "error: redirect: found status 200, expected 301, 302, 303, 307 or 308"]),
        FlowCase(
            "flow:redirect('/a\\r\\nb')",
            ["failed", "error: redirect: expected a URI without spaces and control characters"]),
        FlowCase("flow:redirect()", ["failed", "error: redirect: found nothing, expected a string"]),
        FlowCase(
            "flow:redirect('/x', 'y')", ["failed", "error: redirect: found string, expected an integer"]),
        FlowCase(
            in: .log, "flow:redirect('/x')",
            ["error: flow:redirect can be used in request, upgrade and response hooks, not in a log hook"]),

        FlowCase("return flow:internal_redirect('/other?a=1')", ["goes to /other?a=1"]),
        FlowCase("return flow:internal_redirect('@other')", configuration: servers, ["goes to @other"]),
        FlowCase(
            "flow:internal_redirect('@none')", configuration: servers,
            ["failed", "error: internal_redirect: there is no location \"@none\""]),
        FlowCase(
            "flow:internal_redirect('http://x')",
            ["failed", "error: internal_redirect: found \"http://x\", expected a path or \"@name\""]),
        FlowCase(
            "flow:internal_redirect('/a\\nb')",
            ["failed", "error: internal_redirect: found a control character"]),
        FlowCase(
            "flow:internal_redirect('/a/../../b')",
            [
                "failed",
                "error: internal_redirect: \"/a/../../b\" has a malformed escape, or leads too far up",
            ]),
        FlowCase(
            "flow:internal_redirect({})",
            ["failed", "error: internal_redirect: found table, expected a string"]),
        FlowCase(
            in: .response, "flow:internal_redirect('/x')",
            [
                "failed",
                "error: flow:internal_redirect can be used in request and upgrade hooks, not in a "
                    + "response hook",
            ]),

        FlowCase("flow:route('two')", configuration: servers, ["route: two"]),
        FlowCase(
            "flow:route{ 'http://127.0.0.1:81', 'one', 'http://[::1]:9' }", configuration: servers,
            ["route: http://127.0.0.1:81, one, http://[::1]:9"]),
        FlowCase(
            "flow:route('none')", configuration: servers,
            ["failed", "error: route: there is no upstream \"none\""]),
        FlowCase(
            "flow:route('http://a/path')",
            ["failed", "error: route: found a path in \"http://a/path\", expected http://host:port"]),
        FlowCase(
            "flow:route('ftp://a')",
            ["failed", "error: route: invalid URL prefix in \"ftp://a\", expected http:// or https://"]),
        FlowCase(
            "flow:route('http://a:99999')",
            ["failed", "error: route: invalid port in upstream \"http://a:99999\""]),
        FlowCase(
            "flow:route('http://' .. ('a'):rep(2000))",
            [
                "failed",
                "error: route: the URL \"http://" + String(repeating: "a", count: 121) + "…\" is too long",
            ]),
        FlowCase("flow:route{}", ["failed", "error: route: found an empty list"]),
        FlowCase("flow:route{ {} }", ["failed", "error: route: found table in the list, expected strings"]),
        FlowCase(
            "local t = {} for i = 1, 17 do t[i] = 'http://a' end flow:route(t)",
            ["failed", "error: route: found 17 elements, expected at most 16"]),
        FlowCase(
            "flow:route(true)",
            ["failed", "error: route: found boolean, expected an upstream's name, a URL or a list of them"]),
        FlowCase(
            in: .response, "flow:route('one')", configuration: servers,
            ["failed", "error: flow:route can be used in request and upgrade hooks, not in a response hook"]),

        FlowCase(in: .open, "return flow:close(4001, 'bye')", request: handshake, ["close 4001 bye"]),
        FlowCase(in: .drain, "return flow:close()", request: handshake, ["close 1000 "]),
        FlowCase(
            in: .open, "flow:close(1005)",
            [
                "failed",
                "error: close: found code 1005, expected 1000 to 1014 without 1004, 1005, 1006 and "
                    + "1010, or 3000 to 4999",
            ]),
        FlowCase(
            in: .open, "flow:close(1010)",
            [
                "failed",
                "error: close: found code 1010, expected 1000 to 1014 without 1004, 1005, 1006 and "
                    + "1010, or 3000 to 4999",
            ]),
        FlowCase(
            in: .open, "flow:close(1000, ('x'):rep(124))",
            ["failed", "error: close: expected a reason in UTF-8 of at most 123 bytes"]),
        FlowCase(
            in: .open, "flow:close(1000, '\\xff')",
            ["failed", "error: close: expected a reason in UTF-8 of at most 123 bytes"]),
        FlowCase(
            in: .open, "flow:close('x')", ["failed", "error: close: found string, expected an integer"]),
        FlowCase(
            in: .open, "flow:close(1000, {})", ["failed", "error: close: found table, expected a string"]),
        FlowCase(
            "flow:close()",
            [
                "failed",
                "error: flow:close can be used in open, message, frame and drain hooks, not in a request hook",
            ]),
    ]

    static let timers: [FlowCase] = [
        FlowCase(
            "flow:after(1.5, function(f) print('ran', f == flow) end)",
            then: [.advance(milliseconds: 1499), .advance(milliseconds: 1), .advance(milliseconds: 9000)],
            ["ran\ttrue"]),
        FlowCase(
            "flow:after(1, function(f) sy.sleep(1) f:close(1001, 'slow') end)",
            then: [.advance(milliseconds: 1000), .advance(milliseconds: 1000)], ["closed 1001 slow"]),
        FlowCase(
            "flow:after(1, function(f) f.req.headers.X = 'y' end)", then: [.advance(milliseconds: 1000)],
            ["error: flow.req.headers can be used in request and upgrade hooks, not in a timer's function"]),
        FlowCase("flow:after(1, print)", then: [.end, .advance(milliseconds: 2000)], []),
        FlowCase(
            in: .log, "flow:after(0, print)",
            [
                "error: flow:after cannot be used in a log hook: the exchange is over, and its timers with it; "
                    + "use sy.spawn with sy.sleep"
            ]),
        FlowCase(
            in: .log, "flow:every(1, print)",
            [
                "error: flow:every cannot be used in a log hook: the exchange is over, and its timers with it; "
                    + "use sy.spawn with sy.sleep"
            ]),
        FlowCase(
            in: .log, "sy.spawn(function() sy.sleep(1) print('went on') end)",
            then: [.end, .advance(milliseconds: 2000)], ["went on"]),
        FlowCase(
            "flow:after(-1, print)",
            ["failed", "error: after: found -1.0, expected 0 to 315360000 seconds"]),
        FlowCase(
            "flow:after(0/0, print)",
            ["failed", "error: after: found -nan, expected 0 to 315360000 seconds"]),
        FlowCase("flow:after('soon', print)", ["failed", "error: after: found string, expected a number"]),
        FlowCase("flow:after(1, 'print')", ["failed", "error: after: found string, expected a function"]),
        FlowCase(
            "for i = 1, 1001 do flow:after(1, print) end",
            ["failed", "error: after: the exchange has 1000 timers already", "timers: 1000"]),
        FlowCase("for i = 1, 3000 do flow:after(1, print):cancel() end", []),
        FlowCase(
            "local n = 0 flow:every(1, function() n = n + 1 print(n) end)",
            then: [.advance(milliseconds: 1000), .advance(milliseconds: 999), .advance(milliseconds: 1)],
            ["1", "2", "timers: 1"]),
        FlowCase(
            "flow:every(0, print)",
            ["failed", "error: every: found 0, expected at least 0.001 seconds"]),
        FlowCase(
            "flow:every(1e-9, print)",
            ["failed", "error: every: found 1e-09, expected at least 0.001 seconds"]),
        FlowCase("flow:every(1)", ["failed", "error: every: found nothing, expected a function"]),
        FlowCase(
            "local t t = flow:every(1, function() print('once', t:cancel(), t:cancel()) end)",
            then: [.advance(milliseconds: 1000), .advance(milliseconds: 2000)], ["once\ttrue\tfalse"]),
        FlowCase(
            "local timer = flow:after(1, print) print(timer:cancel(), timer:cancel())",
            then: [.advance(milliseconds: 2000)], ["true\tfalse"]),
        FlowCase(
            "flow.after(1, print)", ["failed", "error: found number, expected flow: call it with a colon"]),
        FlowCase(
            "local timer = flow:after(1, print) timer.cancel(flow)",
            ["failed", "error: cancel: found flow, expected a timer: call it with a colon", "timers: 1"]),
        FlowCase(
            "flow:deadline(1704067202, 1008, 'too old')",
            then: [.advance(milliseconds: 1999), .advance(milliseconds: 1), .advance(milliseconds: 9000)],
            ["closed 1008 too old"]),
        FlowCase("flow:deadline(1)", then: [.advance(milliseconds: 0)], ["closed 1000 "]),
        FlowCase("flow:deadline(1704067202):cancel()", then: [.advance(milliseconds: 9000)], []),
        FlowCase("flow:deadline(1704067202)", then: [.end, .advance(milliseconds: 9000)], []),
        FlowCase(
            "flow:deadline(1/0)",
            ["failed", "error: deadline: found inf, expected seconds since 1970"]),
        FlowCase("flow:deadline({})", ["failed", "error: deadline: found table, expected a number"]),
        FlowCase(
            "flow:deadline(1704067202, 1)",
            [
                "failed",
                "error: deadline: found code 1, expected 1000 to 1014 without 1004, 1005, 1006 and "
                    + "1010, or 3000 to 4999",
            ]),
    ]
}
