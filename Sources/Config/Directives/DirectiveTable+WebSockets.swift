extension DirectiveTable {
    static let webSockets: [Directive] = [
        .time(
            "websocket_ping_interval", \.webSocket.pingInterval, default: "0",
            "How often a WebSocket's peers are sent a ping, each leg by itself; 0 sends none."),
        Directive(
            "websocket_pong_timeout", "time", in: .levels, takes: .one, default: "10s",
            "How long the answer to a ping may take from when that leaves, where nothing else comes either; then the "
                + "other peer is told by a close frame."
        ) { scope, call throws(ConfigDiagnostic) in
            let time = try call.time(call.arguments[0])
            guard time > 0 else {
                throw call.failure(found: call.arguments[0], expected: "a time of at least 1ms")
            }
            scope.settings.webSocket.pongTimeout = time
        },
        Directive(
            "websocket_ping_to", "client | upstream | both", in: .levels, takes: .one, default: "both",
            "The legs that pings are sent on."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.webSocket.pingTo = try call.choice(
                call.arguments[0], ["client": WebSocketLegs.client, "upstream": .upstream, "both": .both])
        },
        Directive(
            "websocket_idle_timeout", "time [messages | data]", in: .levels, takes: .between(1, 2),
            default: "0",
            "Ends a WebSocket with 1001 when no message, or with data (the default) no frame, has come for "
                + "this long."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.webSocket.idleTimeout = try call.time(call.arguments[0])
            scope.settings.webSocket.idleCounts =
                call.arguments.count == 1
                ? .data
                : try call.choice(
                    call.arguments[1], ["messages": WebSocketIdleCounts.messages, "data": .data])
        },
        Directive(
            "websocket_max_message", "size", in: .levels, takes: .one, default: "0",
            "The longest message, inflated, of at most 1024g; a longer one ends the WebSocket with 1009. 0 measures only what "
                + "scripts look at or what is inflated, and allows 16m of that. A message that is held until it is "
                + "whole, or inflated, may take twice the limit and 64k on the wire, headers of its frames included. "
                + "What goes by compressed, as nothing here inflates it (websocket_deflate pass without message "
                + "hooks), has its length on the wire measured."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.webSocket.maxMessage = try messageSize(call)
        },
        Directive(
            "websocket_max_held", "size", in: .levels, takes: .one, default: "256m",
            "How much a worker may hold, in all its WebSockets, of messages that are put together, inflated or not, and of "
                + "those that hooks wait with then. A message of more than 64k that would go beyond it ends its "
                + "WebSocket with 1013. 0 is without limit."
        ) { scope, call throws(ConfigDiagnostic) in
            scope.settings.webSocket.maxHeld = try messageSize(call)
        },
        .number(
            "websocket_max_fragments", \.webSocket.maxFragments, default: "0",
            "The most frames of one message; more end the WebSocket with 1009. 0 is without limit. Where frame hooks "
                + "look at them, what counts here and for websocket_max_message is what those let through."),
        .time(
            "websocket_close_timeout", \.webSocket.closeTimeout, default: "5s",
            "How long a WebSocket's peer that has taken a close frame may take to answer it before its connection is "
                + "closed."),
        .time(
            "websocket_drain_jitter", \.webSocket.drainJitter, default: "0",
            "WebSockets that a shutdown or reload ends do so within this time, each at a moment of its own."),
        Directive(
            "websocket_deflate",
            "off | pass | on [client | upstream] [context_takeover=on | off] [window_bits=n] "
                + "[level=n] [min_size=size]",
            in: .levels, takes: .between(1, 6), default: "pass",
            "What becomes of permessage-deflate on a leg, or on both: none, the peers' own, or ours.",
            repeats: true
        ) { scope, call throws(ConfigDiagnostic) in
            let (legs, deflate) = try deflate(call)
            if call.isFirst {
                scope.settings.webSocket.clientDeflate = .pass
                scope.settings.webSocket.upstreamDeflate = .pass
            }
            if legs.contains(.client) { scope.settings.webSocket.clientDeflate = deflate }
            if legs.contains(.upstream) { scope.settings.webSocket.upstreamDeflate = deflate }
        },
    ]

    private static func deflate(
        _ call: DirectiveUse
    ) throws(ConfigDiagnostic) -> (WebSocketLegs, WebSocketDeflate) {
        var legs = WebSocketLegs.both
        var options = WebSocketDeflateOptions()
        let deflate = try call.choice(
            call.arguments[0], ["off": WebSocketDeflate.off, "pass": .pass, "on": .on(options)])
        for (index, word) in call.arguments.enumerated().dropFirst() {
            if index == 1, !word.text.contains("=") {
                legs = try call.choice(word, ["client": WebSocketLegs.client, "upstream": .upstream])
                continue
            }
            guard case .on = deflate else {
                throw call.failure(found: word, expected: "no option: they are for \"on\"")
            }
            try read(word, of: call, into: &options)
        }
        if case .on = deflate { return (legs, .on(options)) }
        return (legs, deflate)
    }

    private static func messageSize(_ call: DirectiveUse) throws(ConfigDiagnostic) -> Int {
        let size = try call.largeSize(call.arguments[0])
        guard size <= WebSocketSettings.mostMaxMessage else {
            throw call.failure(found: call.arguments[0], expected: "a size of at most 1024g")
        }
        return size
    }

    private static func read(
        _ word: Word, of call: DirectiveUse, into options: inout WebSocketDeflateOptions
    ) throws(ConfigDiagnostic) {
        let parts = word.text.split(separator: "=", maxSplits: 1).map(String.init)
        let value = word.replacing(Array((parts.count == 2 ? parts[1] : "").utf8))
        switch parts.first {
        case "context_takeover": options.contextTakeover = try call.flag(value)
        case "window_bits": options.windowBits = try call.number(value, in: 9...15)
        case "level": options.level = try call.number(value, in: 1...9)
        case "min_size": options.minimumSize = try call.size(value)
        default:
            throw call.failure(
                found: word,
                expected: "\"client\", \"upstream\", \"context_takeover=\", \"window_bits=\", \"level=\" or "
                    + "\"min_size=\"")
        }
    }
}
