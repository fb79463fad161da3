import Config
import ProxyCore
import Wire

@testable import LuaHooks

/// Messages, frames, and what scripts do with an open WebSocket.
extension FlowCases {
    static let messages: [FlowCase] = [
        FlowCase(
            tunnel: [(.message, "print(msg.from, msg.type, msg.data, msg.size, msg.injected)")],
            [
                .item(.message, .text, from: .client, "hello"),
                .item(.message, .binary, from: .upstream, "", isInjected: true),
            ],
            ["pass", "client\ttext\thello\t5\tfalse", "pass", "upstream\tbinary\t\t0\ttrue"]),
        FlowCase(
            tunnel: [(.message, "msg.data = msg.data .. '!' print(msg.data, msg.size)")],
            [.item(.message, .text, from: .client, "a")], ["replace a!", "a!\t2"]),
        // By a call within the hook's.
        FlowCase(
            tunnel: [
                (.message, "sy.spawn(function() msg.data = msg.data .. '!' end) print(msg.data, msg.size)")
            ],
            [.item(.message, .text, from: .client, "a")], ["replace a!", "a!\t2"]),
        FlowCase(
            tunnel: [(.message, "if msg.data == 'a' then return false end return true")],
            [.item(.message, .text, from: .client, "a"), .item(.message, .text, from: .client, "b")],
            ["drop", "pass"]),
        // Each hook sees what the one before it made.
        FlowCase(
            tunnel: [(.message, "return msg.data .. '1'"), (.message, "return msg.data .. '2'")],
            [.item(.message, .text, from: .client, "x")], ["replace x12"]),
        FlowCase(
            tunnel: [(.message, "return { 'a', 'b' }"), (.message, "print(msg.data)")],
            [.item(.message, .text, from: .client, "x")], ["split at 1 a|b"]),
        FlowCase(tunnel: [(.message, "return {}")], [.item(.message, .text, from: .client, "x")], ["drop"]),
        FlowCase(
            tunnel: [(.message, "sy.sleep(1) return msg.data .. '!'")],
            [.item(.message, .text, from: .client, "x"), .advance(milliseconds: 1000)],
            ["waits", "then replace x!"]),
        FlowCase(
            tunnel: [(.message, "return flow:close(4001, 'bye')")],
            [.item(.message, .text, from: .client, "x")], ["close 4001 bye"]),
        FlowCase(
            tunnel: [(.message, "error('no')")], [.item(.message, .text, from: .client, "x")],
            ["close 1011 ", "error: no"]),
        FlowCase(
            tunnel: [(.message, "return '\\xff'")], [.item(.message, .text, from: .client, "x")],
            [
                "close 1011 ",
                "[error] lua: message hook of case.lua:1 failed: the text is not UTF-8, from the function at "
                    + "case.lua:1, exchange 00000000000000010000000000000002",
            ]),
        FlowCase(
            tunnel: [(.message, "return { text = msg.data }")], [.item(.message, .text, from: .client, "x")],
            [
                "close 1011 ",
                "[error] lua: message hook of case.lua:1 failed: found the field \"text\" in the table, expected a "
                    + "list of strings, from the function at case.lua:1, exchange "
                    + "00000000000000010000000000000002",
            ]),
        FlowCase(
            tunnel: [(.message, "return { msg.data, 'b', type = 'binary' }")],
            [.item(.message, .text, from: .client, "x")],
            [
                "close 1011 ",
                "[error] lua: message hook of case.lua:1 failed: found the field \"type\" in the table, expected a "
                    + "list of strings, from the function at case.lua:1, exchange "
                    + "00000000000000010000000000000002",
            ]),
        FlowCase(
            tunnel: [(.frame, "return { [0] = 'a', 'b' }")], [.item(.frame, .text, from: .client, "x")],
            [
                "close 1011 ",
                "[error] lua: frame hook of case.lua:1 failed: found the key 0 in the table, expected a list of "
                    + "strings, from the function at case.lua:1, exchange 00000000000000010000000000000002",
            ]),
        FlowCase(
            tunnel: [(.message, "return { [true] = 'a' }")], [.item(.message, .text, from: .client, "x")],
            [
                "close 1011 ",
                "[error] lua: message hook of case.lua:1 failed: found a boolean as a key in the table, expected a "
                    + "list of strings, from the function at case.lua:1, exchange "
                    + "00000000000000010000000000000002",
            ]),
        FlowCase(
            tunnel: [(.message, "return { 'a', [1.5] = 'b' }")], [.item(.message, .text, from: .client, "x")],
            [
                "close 1011 ",
                "[error] lua: message hook of case.lua:1 failed: found the key 1.5 in the table, expected a list of "
                    + "strings, from the function at case.lua:1, exchange 00000000000000010000000000000002",
            ]),
        FlowCase(
            tunnel: [(.message, "return '\\xff'")], [.item(.message, .binary, from: .client, "x")],
            ["replace \u{fffd}"]),
        FlowCase(
            tunnel: [(.message, "return { 1, {} }")], [.item(.message, .text, from: .client, "x")],
            [
                "close 1011 ",
                "[error] lua: message hook of case.lua:1 failed: found table in the list, expected strings, "
                    + "from the function at case.lua:1, exchange 00000000000000010000000000000002",
            ]),
        FlowCase(
            tunnel: [(.message, "return print")], [.item(.message, .text, from: .client, "x")],
            [
                "close 1011 ",
                "[error] lua: message hook of case.lua:1 failed: found function, expected a string, a list of "
                    + "strings, false or nothing, from the function at case.lua:1, exchange 00000000000000010000000000000002",
            ]),
        FlowCase(
            tunnel: [(.message, "KEPT = KEPT or msg print(pcall(function() return KEPT.data end))")],
            [.item(.message, .text, from: .client, "x"), .item(.message, .text, from: .client, "y")],
            [
                "pass", "true\tx", "pass",
                "false\tcase.lua:1: msg cannot be used any more: its hook has ended",
            ]),
        FlowCase(
            tunnel: [(.message, "msg.data = '\\xff'")], [.item(.message, .text, from: .client, "x")],
            ["close 1011 ", "error: data: the text is not UTF-8"]),
    ]

    static let frames: [FlowCase] = [
        // What was assigned is read back, and a frame that waited is still itself: both are asked for in another way.
        FlowCase(
            tunnel: [(.frame, "frame.data = frame.data .. '!' print(frame.data, frame.size)")],
            [.item(.frame, .text, from: .client, "a")], ["replace a!", "a!\t2"]),
        FlowCase(
            tunnel: [(.frame, "sy.sleep(1) print(frame.data, frame.size)")],
            [.item(.frame, .text, from: .client, "ab"), .advance(milliseconds: 1000)],
            ["waits", "ab\t2", "then pass"]),
        FlowCase(
            tunnel: [
                (
                    .frame,
                    "print(frame.from, frame.type, frame.data, frame.size, frame.fin, frame.injected, frame.code, frame.reason)"
                )
            ],
            [
                .item(.frame, .text, from: .client, "ab", isFinal: false),
                .item(.frame, .continuation, from: .upstream, "", isInjected: true),
                .item(.frame, .close, from: .client, "\u{3}\u{69}why"),
            ],
            [
                "pass", "client\ttext\tab\t2\tfalse\tfalse\tnil\tnil", "pass",
                "upstream\tcontinuation\t\t0\ttrue\ttrue\tnil\tnil", "pass",
                "client\tclose\t\u{3}iwhy\t5\ttrue\tfalse\t873\twhy",
            ]),
        FlowCase(
            tunnel: [(.frame, "frame.data = 'x'")], [.item(.frame, .ping, from: .client, "p")], ["replace x"]),
        FlowCase(
            tunnel: [(.frame, "return { 'a', 'b' }")], [.item(.frame, .text, from: .client, "x")],
            ["replace a|b"]),
        FlowCase(
            tunnel: [(.frame, "return ('x'):rep(126)")], [.item(.frame, .ping, from: .client, "p")],
            [
                "close 1011 ",
                "[error] lua: frame hook of case.lua:1 failed: found 126 bytes for a control frame, expected at "
                    + "most 125, from the function at case.lua:1, exchange 00000000000000010000000000000002",
            ]),
    ]

    private static var messageFacts: LegFacts {
        var facts = LegFacts()
        facts.messagesIn = 3
        facts.messagesOut = 5
        return facts
    }

    static let tunnels: [FlowCase] = (["client", "upstream"] as [String]).flatMap { leg in
        [
            FlowCase(
                tunnel: [(.message, "print(flow.\(leg).messages_in, flow.\(leg).messages_out)")],
                [.item(.message, .text, from: .client, "x")],
                facts: [leg == "client" ? .client : .upstream: messageFacts], ["pass", "3\t5"]),
            FlowCase(
                tunnel: [
                    (.frame, ""), (.message, "print(flow.\(leg):send('hi'))"), (.message, ""), (.frame, ""),
                ],
                [.item(.message, .text, from: .client, "x")],
                ["pass", "true", "text to \(leg) from 1,1: hi"]),
            FlowCase(
                tunnel: [(.message, "print(flow.\(leg):send_binary('\\0\\xff'))")],
                [.item(.message, .text, from: .client, "x")],
                ["pass", "true", "binary to \(leg) from 1,0: \0\u{fffd}"]),
            FlowCase(
                tunnel: [(.message, "flow.\(leg):send('\\xff')")],
                [.item(.message, .text, from: .client, "x")],
                ["close 1011 ", "error: send: the text is not UTF-8; send_binary sends any bytes"]),
            FlowCase(
                in: .open, "print(flow.\(leg):send('hi'))", ["nil\tthere is no open WebSocket"]),
            FlowCase(
                tunnel: [(.message, "print(flow.\(leg):ping('abc'))")],
                [.item(.message, .text, from: .client, "x"), .pong(1500)],
                ["waits", "ping to \(leg): abc", "0.0015", "then pass"]),
            FlowCase(
                tunnel: [(.message, "print(flow.\(leg):ping())")],
                [.item(.message, .text, from: .client, "x"), .pong(nil)],
                ["waits", "ping to \(leg)", "nil\ttimeout", "then pass"]),
            FlowCase(
                tunnel: [(.message, "print(flow.\(leg):ping())")],
                [.item(.message, .text, from: .client, "x"), .end],
                ["waits", "ping to \(leg)", "ping cancelled"]),
            FlowCase(
                in: .open, "print(flow.\(leg):ping())", then: [.advance(milliseconds: 1)],
                ["nil\tthere is no open WebSocket"]),
            FlowCase(
                tunnel: [(.message, "flow.\(leg):ping(('x'):rep(126))")],
                [.item(.message, .text, from: .client, "x")],
                ["close 1011 ", "error: ping: found 126 bytes, expected at most 125"]),
            FlowCase(
                tunnel: [(.message, "flow.\(leg):close(4000, 'out')")],
                [.item(.message, .text, from: .client, "x")], ["pass", "close \(leg) 4000 out"]),
            FlowCase(
                in: .open, "flow.\(leg):close()", ["failed", "error: close: there is no open WebSocket"]),
        ]
    }
}
