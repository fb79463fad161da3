@testable import LuaHooks

/// Tunnels of other workers.
extension ModuleCases {
    private static let far = "local far = sy.flows{ tag = 'far' }[1] "
    /// It ends while the script has it.
    private static let gone = "local gone = sy.flows{ tag = 'gone' }[1] print('ends now') "

    static let remoteFlows: [ModuleCase] =
        [
            ModuleCase(
                "remote flow:id", gone + "print(gone.id)", ["ends now", "0000000000000abc000000000000000a"]),
            ModuleCase(
                "remote flow:tags",
                far + "far:tag('b') print(table.concat(far.tags, ','), #sy.flows{ tag = 'b' })",
                ["far,b\t1", "order of 07: tag b"]),
            ModuleCase("remote flow:tags", gone + "print(#gone.tags)", ["ends now", "0"]),
            ModuleCase("remote flow:is_remote", far + "print(far.is_remote)", ["true"]),
            ModuleCase(
                "remote flow:client", far + "local kept = far.client far = nil print(kept:send('a'))",
                ["true", "order of 07: text to client: a"]),
            ModuleCase(
                "remote flow:upstream", far + "print(far.upstream == far.upstream, far.upstream:send('a'))",
                ["true\ttrue", "order of 07: text to upstream: a"]),
            ModuleCase(
                "remote flow:tag",
                far + "print(far:tag('x'), far:tag('x')) print(pcall(far.tag, far, ''))"
                    + "print(pcall(far.tag, far, ('x'):rep(256)))",
                [
                    "true\ttrue", "false\ttag: found 0 bytes, expected 1 to 255",
                    "false\ttag: found 256 bytes, expected 1 to 255", "order of 07: tag x",
                    "order of 07: tag x",
                ]),
            ModuleCase(
                "remote flow:tag",
                far
                    + "for i = 2, 64 do far:tag('t' .. i) end print(pcall(far.tag, far, 'more'), far:tag('t9'))",
                ["false\ttrue"] + (2...64).map { "order of 07: tag t\($0)" } + ["order of 07: tag t9"]),
            ModuleCase(
                "remote flow:tag", gone + "print(gone:tag('x'), #sy.flows{ tag = 'x' })",
                ["ends now", "nil\t0"]),
            ModuleCase(
                "remote flow:close",
                far + "print(far:close()) print(far:close(4001, 'bye')) print(pcall(far.close, far, 1006))",
                [
                    "true", "true",
                    "false\tclose: found code 1006, expected 1000 to 1014 without 1004, 1005, 1006 and 1010, or "
                        + "3000 to 4999", "order of 07: close 1000 ", "order of 07: close 4001 bye",
                ]),
            ModuleCase(
                "remote flow:close", gone + "print(gone:close())",
                ["ends now", "nil\tthere is no open WebSocket"]),
            ModuleCase(
                "remote flow:[name]",
                far + "print(pcall(function() return far.req end)) print(pcall(far.tag, far.client, 'x'))",
                [
                    "false\tcase.lua:1: remote flow: \"req\" is of a tunnel on another worker, or one that stayed "
                        + "with an older configuration",
                    "false\tfound remote flow.client, expected remote flow: call it with a colon",
                ]),
            ModuleCase(
                "remote flow.client:address",
                far + gone
                    + "print(far.client.address, gone.client.address, sy.flows{ tag = 'six' }[1].client.address,"
                    + "sy.flows{ tag = 'local' }[1].client.address)",
                ["ends now", "192.0.2.9\tnil\t::1\tunix:"]),
            ModuleCase(
                "remote flow.client:port",
                far + gone
                    + "print(far.client.port, gone.client.port, sy.flows{ tag = 'six' }[1].client.port,"
                    + "sy.flows{ tag = 'local' }[1].client.port)",
                ["ends now", "4000\tnil\t4000\tnil"]),
        ] + (["client", "upstream"] as [String]).flatMap { legCases($0) }

    private static func legCases(_ leg: String) -> [ModuleCase] {
        [
            ModuleCase(
                "remote flow.\(leg):send",
                far + "print(far.\(leg):send('hi')) print(pcall(far.\(leg).send, far.\(leg), '\\xff'))",
                [
                    "true", "false\tsend: the text is not UTF-8; send_binary sends any bytes",
                    "order of 07: text to \(leg): hi",
                ]),
            ModuleCase(
                "remote flow.\(leg):send", gone + "print(gone.\(leg):send('hi'))",
                ["ends now", "nil\tthere is no open WebSocket"]),
            ModuleCase(
                "remote flow.\(leg):send",
                far
                    + "local text = ('x'):rep(1 << 20) print(far.\(leg):send(text)) print(far.\(leg):send('y'))",
                [
                    "true", "nil\ttoo much waits to be sent",
                    "order of 07: text to \(leg): " + String(repeating: "x", count: 1 << 20),
                ]),
            ModuleCase(
                "remote flow.\(leg):send_binary", far + "print(far.\(leg):send_binary('\\0\\xff'))",
                ["true", "order of 07: binary to \(leg): \0\u{fffd}"]),
            ModuleCase(
                "remote flow.\(leg):close",
                far + gone + "print(far.\(leg):close(4000, 'out')) print(gone.\(leg):close())",
                ["ends now", "true", "nil\tthere is no open WebSocket", "order of 07: close \(leg) 4000 out"]),
            ModuleCase(
                "remote flow.\(leg):[name]", far + "print(pcall(function() return far.\(leg).ping end))",
                [
                    "false\tcase.lua:1: remote flow.\(leg): \"ping\" is of a tunnel on another worker, or one that "
                        + "stayed with an older configuration"
                ]),
        ]
    }
}
