internal import ProxyCore
internal import Wire

/// Ends of WebSockets in tests: what is the same for a client's and a backend's.
extension LuaAPI {
    static let testWebSocketFunctions: [LuaFunction] = [
        LuaFunction(
            "response", .getter(.testWebSocket), "", returns: "FetchedResponse?",
            "What a client's handshake was answered with, a 101 or a refusal; nil while it is not."
        ) { call throws(LuaError) in
            guard let response = try call.testWebSocket().response else { return call.push(nil) }
            call.interpreter.push(response, on: call.stack)
            return .one
        },
        LuaFunction(
            "open", .getter(.testWebSocket), "", returns: "boolean",
            "The handshake is over, and neither side has closed."
        ) { call throws(LuaError) in
            call.push(try call.testWebSocket().isOpen)
        },
        LuaFunction(
            "extensions", .getter(.testWebSocket), "", returns: "string?",
            """
            `Sec-WebSocket-Extensions` of the 101 as this end has it; nil where it has none. Where that is permessage-deflate, \
            messages are compressed when they are sent, and inflated when they are received.
            """
        ) { call throws(LuaError) in
            call.push(try call.testWebSocket().extensions)
        },
        LuaFunction(
            "answers_pings", .getter(.testWebSocket), "", returns: "boolean",
            "Pings are answered as they come; true at first."
        ) { call throws(LuaError) in
            call.push(try call.testWebSocket().answersPings)
        },
        LuaFunction(
            "answers_pings", .setter(.testWebSocket), "value: boolean",
            "With false, those that come from now on are answered by the test, if at all."
        ) { call throws(LuaError) in
            let webSocket = try call.testWebSocket()
            webSocket.answersPings = try call.flag(3, "answers_pings")
            return .none
        },
        LuaFunction(
            "send", .method(.testWebSocket), "text: string|string[]",
            "Sends a text message: a list is one message in so many frames."
        ) { call throws(LuaError) in
            try call.sendMessage("send", isText: true)
        },
        LuaFunction(
            "send_binary", .method(.testWebSocket), "data: string|string[]", "As `send`, a binary message."
        ) { call throws(LuaError) in
            try call.sendMessage("send_binary", isText: false)
        },
        LuaFunction(
            "receive", .method(.testWebSocket), "",
            returns: "string?, \"text\"|\"binary\"|\"close\"|\"end\"|nil",
            """
            Takes the next message and says its type; nil while none has come. Once the other side has closed, it is \
            the reason and `close`; where it went away without, an empty string and `end`.
            """
        ) { call throws(LuaError) in
            guard let event = try call.takeEvent(of: call.testWebSocket()) else { return call.push(nil) }
            switch event {
            case .message(let data, let isText):
                call.stack.push(data)
                call.stack.push(isText ? "text" as StaticString : "binary")
            case .close(_, let reason):
                call.stack.push(reason)
                call.stack.push("close" as StaticString)
            case .ended:
                call.stack.push("" as StaticString)
                call.stack.push("end" as StaticString)
            }
            return .two
        },
        LuaFunction(
            "expect", .method(.testWebSocket), "data: string, type?: \"text\"|\"binary\"",
            "The next message is this one, a text unless said otherwise."
        ) { call throws(LuaError) in
            let webSocket = try call.testWebSocket()
            let data = try call.bytes(2, "expect")
            let kind = call.isGiven(3) ? try call.text(3, "expect") : "text"
            guard kind == "text" || kind == "binary" else {
                throw LuaError("expect: found \"\(kind)\", expected \"text\" or \"binary\"")
            }
            let expected = TestWebSocketEvent.message(data, isText: kind == "text")
            let found = try call.takeEvent(of: webSocket)
            guard found == expected else {
                throw LuaError("expected \(expected.shown), found \(found?.shown ?? "nothing")")
            }
            return .none
        },
        LuaFunction(
            "expect_none", .method(.testWebSocket), "", "Nothing has come that was not received."
        ) { call throws(LuaError) in
            guard let found = try call.takeEvent(of: call.testWebSocket()) else { return .none }
            throw LuaError("expected nothing, found \(found.shown)")
        },
        LuaFunction(
            "expect_close", .method(.testWebSocket), "code?: integer, reason?: string",
            "The next thing to come is a close frame, with this code and reason where they are given."
        ) { call throws(LuaError) in
            let webSocket = try call.testWebSocket()
            let code = try call.optionalInteger(2, "expect_close")
            let reason = try call.optionalBytes(3, "expect_close")
            let found = try call.takeEvent(of: webSocket)
            if case .close(let foundCode, let foundReason)? = found, code == nil || code == Int(foundCode),
                reason == nil || reason == foundReason
            {
                return .none
            }
            var expected = "a close frame"
            if let code { expected += " with code \(code)" }
            if let reason { expected += " and reason \(LuaValue.string(reason))" }
            throw LuaError("expected \(expected), found \(found?.shown ?? "nothing")")
        },
        LuaFunction(
            "close", .method(.testWebSocket), "code?: integer, reason?: string",
            "Sends a close frame, with code 1000 unless another is given."
        ) { call throws(LuaError) in
            let webSocket = try call.testWebSocket()
            let code = try call.optionalInteger(2, "close") ?? 1000
            guard let short = UInt16(exactly: code) else { throw LuaError("close: found code \(code)") }
            let reason = try call.optionalBytes(3, "close") ?? []
            try attempt { () throws(TestFault) in try webSocket.close(code: short, reason: reason) }
            return .none
        },
        LuaFunction(
            "vanish", .method(.testWebSocket), "", "Breaks the connection off, as a peer does that is gone."
        ) { call throws(LuaError) in
            try call.testWebSocket().reset()
            return .none
        },
    ]

    /// Single frames, and what is sent by them.
    static let testFrameFunctions: [LuaFunction] = [
        LuaFunction(
            "send_frame", .method(.testWebSocket), "frame: TestFrame",
            "Sends a single frame as it is, whether it may stand there or not: a text, empty and final unless said otherwise."
        ) { call throws(LuaError) in
            let webSocket = try call.testWebSocket()
            let given = try call.framePattern("send_frame")
            let frame = TestFrame(given.type ?? .text, given.data ?? [], isFinal: given.isFinal ?? true)
            try attempt { () throws(TestFault) in try webSocket.send(frame) }
            return .none
        },
        LuaFunction(
            "receive_frame", .method(.testWebSocket), "", returns: "TestFrame?",
            """
            Takes the frame that came first of those that were not taken; nil while there is none. Messages take their \
            frames, and leave pings and pongs.
            """
        ) { call throws(LuaError) in
            guard let frame = try call.takeFrame() else { return call.push(nil) }
            call.stack.pushTable(fields: 3)
            call.stack.push(frame.opcode.scriptName)
            call.stack.setField("type", of: -2)
            call.stack.push(frame.payload)
            call.stack.setField("data", of: -2)
            call.stack.push(frame.isFinal)
            call.stack.setField("fin", of: -2)
            return .one
        },
        LuaFunction(
            "expect_frame", .method(.testWebSocket), "frame: TestFrame",
            "The frame that `receive_frame` would take has these fields, of which any may be left out."
        ) { call throws(LuaError) in
            let expected = try call.framePattern("expect_frame")
            let found = try call.takeFrame()
            if let found, expected.fits(found) { return .none }
            throw LuaError(
                "expected \(expected.shown), found \(found.map { FramePattern($0).shown } ?? "nothing")")
        },
        LuaFunction("ping", .method(.testWebSocket), "data?: string", "Sends a ping.") {
            call throws(LuaError) in
            try call.sendFrame(.ping, "ping")
        },
        LuaFunction("pong", .method(.testWebSocket), "data?: string", "Sends a pong.") {
            call throws(LuaError) in
            try call.sendFrame(.pong, "pong")
        },
        LuaFunction(
            "expect_ping", .method(.testWebSocket), "data?: string", returns: "string",
            """
            Takes the ping that came first of those that were not taken, be it answered or not, and returns what is in it; \
            an error where there is none, or other data in it.
            """
        ) { call throws(LuaError) in
            try call.expectFrame(.ping, "expect_ping")
        },
        LuaFunction(
            "expect_pong", .method(.testWebSocket), "data?: string", returns: "string",
            "The same of a pong."
        ) { call throws(LuaError) in
            try call.expectFrame(.pong, "expect_pong")
        },
    ]
}

/// What is said of a frame by its fields, named as in `frame` hooks.
private struct FramePattern {
    var type: WebSocketOpcode?
    var data: [UInt8]?
    var isFinal: Bool?

    init() {}

    init(_ frame: TestFrame) {
        type = frame.opcode
        data = frame.payload
        isFinal = frame.isFinal
    }

    func fits(_ frame: TestFrame) -> Bool {
        (type ?? frame.opcode) == frame.opcode && (data ?? frame.payload) == frame.payload
            && (isFinal ?? frame.isFinal) == frame.isFinal
    }

    /// As a script writes it.
    var shown: String {
        var fields: [String] = []
        if let type { fields.append("type = \"\(type.scriptName)\"") }
        if let data { fields.append("data = \(LuaValue.string(data))") }
        if let isFinal { fields.append("fin = \(isFinal)") }
        return "a frame { \(fields.joined(separator: ", ")) }"
    }
}

extension LuaCall {
    fileprivate func sendMessage(_ name: StaticString, isText: Bool) throws(LuaError) -> LuaResult {
        let webSocket = try testWebSocket()
        let fragments = try list(2, name, atMost: 100_000, "a string or a list of strings")
        guard !fragments.isEmpty else { throw LuaError("\(name): found an empty list") }
        try attempt { () throws(TestFault) in try webSocket.send(fragments, isText: isText) }
        return .none
    }

    fileprivate func takeEvent(of webSocket: any TestWebSocket) throws(LuaError) -> TestWebSocketEvent? {
        try attempt { () throws(TestFault) in try webSocket.takeEvent() }
    }

    fileprivate func takeFrame(_ opcode: WebSocketOpcode? = nil) throws(LuaError) -> TestFrame? {
        let webSocket = try testWebSocket()
        return try attempt { () throws(TestFault) in try webSocket.takeFrame(opcode) }
    }

    fileprivate func sendFrame(_ opcode: WebSocketOpcode, _ name: StaticString) throws(LuaError) -> LuaResult
    {
        let webSocket = try testWebSocket()
        let frame = TestFrame(opcode, try optionalBytes(2, name) ?? [], isFinal: true)
        try attempt { () throws(TestFault) in try webSocket.send(frame) }
        return .none
    }

    fileprivate func expectFrame(
        _ opcode: WebSocketOpcode, _ name: StaticString
    ) throws(LuaError) -> LuaResult {
        let expected = try optionalBytes(2, name)
        let found = try takeFrame(opcode)
        if let found, expected == nil || expected == found.payload { return push(found.payload) }
        func shown(_ data: [UInt8]) -> String { "a \(opcode.scriptName) with \(LuaValue.string(data))" }
        throw LuaError(
            "expected \(expected.map(shown) ?? "a \(opcode.scriptName)"), "
                + "found \(found.map { shown($0.payload) } ?? "none")")
    }

    fileprivate func framePattern(_ name: StaticString) throws(LuaError) -> FramePattern {
        try table(2, name)
        try checkOptions(2, name, ["type", "data", "fin"])
        var pattern = FramePattern()
        if let index = option("type", of: 2) {
            let given = try text(index, "type")
            let known = WebSocketOpcode.allCases
            pattern.type = known.first { $0.scriptName == given }
            guard pattern.type != nil else {
                let names = known.map(\.scriptName).joined(separator: ", ")
                throw LuaError("\(name): type: found \"\(given)\", expected one of \(names)")
            }
        }
        if let index = option("data", of: 2) { pattern.data = try bytes(index, "data") }
        if let index = option("fin", of: 2) { pattern.isFinal = try flag(index, "fin") }
        return pattern
    }
}

extension TestWebSocketEvent {
    fileprivate var shown: String {
        switch self {
        case .message(let data, let isText): "\(isText ? "text" : "binary") \(LuaValue.string(data))"
        case .close(let code, let reason):
            "a close frame with code \(code) and reason \(LuaValue.string(reason))"
        case .ended: "the end of the connection"
        }
    }
}
