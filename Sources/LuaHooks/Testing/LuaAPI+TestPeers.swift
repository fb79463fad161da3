internal import ProxyCore

/// The peers of a test's proxy: clients, backends and what these receive.
extension LuaAPI {
    static let testClientFunctions: [LuaFunction] = [
        LuaFunction(
            "send", .method(.testClient), "request?: TestMessage|string",
            "Sends a request, or the bytes of a string as they are."
        ) { call throws(LuaError) in
            let client = try call.testClient()
            if call.stack.kind(2) == .string {
                client.send(try call.bytes(2, "send"))
            } else {
                client.send(try call.testRequest(2, "send"))
            }
            return .none
        },
        LuaFunction(
            "request", .method(.testClient), "request?: TestMessage", returns: "FetchedResponse",
            "`send`, and the response; an error when none comes."
        ) { call throws(LuaError) in
            let client = try call.testClient()
            client.send(try call.testRequest(2, "request"))
            return try call.pushResponse(of: client)
        },
        LuaFunction(
            "response", .method(.testClient), "", returns: "FetchedResponse?",
            "The next response, or nil while there is none that is whole."
        ) { call throws(LuaError) in
            let client = try call.testClient()
            let response = try attempt { () throws(TestFault) in try client.takeResponse() }
            guard let response else { return call.push(nil) }
            call.interpreter.push(response, on: call.stack)
            return .one
        },
        LuaFunction("closed", .getter(.testClient), "", returns: "boolean", "The proxy has closed.") {
            call throws(LuaError) in
            call.push(try call.testClient().isClosed)
        },
        LuaFunction("close", .method(.testClient), "", "Closes the connection.") { call throws(LuaError) in
            try call.testClient().close()
            return .none
        },
        LuaFunction(
            "vanish", .method(.testClient), "", "Breaks the connection off, as a client does that is gone."
        ) { call throws(LuaError) in
            try call.testClient().reset()
            return .none
        },
    ]

    static let testBackendFunctions: [LuaFunction] = [
        LuaFunction(
            "expect_request", .method(.testBackend), "", returns: "TestRequest",
            "Takes the request that has waited longest; an error when there is none."
        ) { call throws(LuaError) in
            guard let request = try call.testBackend().takeRequest() else {
                throw LuaError("expect_request: no request has come")
            }
            return try call.push(.request(request))
        },
        LuaFunction(
            "expect_none", .method(.testBackend), "", "An error when a request waits that was not taken."
        ) { call throws(LuaError) in
            guard let request = try call.testBackend().takeRequest() else { return .none }
            let shown = call.shown(request.method + [UInt8(ascii: " ")] + request.target)
            throw LuaError("expect_none: found \(shown), expected no request")
        },
        LuaFunction(
            "connections", .getter(.testBackend), "", returns: "integer",
            "How many connections there have been."
        ) { call throws(LuaError) in
            call.push(try call.testBackend().connections)
        },
        LuaFunction("refuse", .method(.testBackend), "", "Refuses connections from now on.") {
            call throws(LuaError) in
            try call.testBackend().refuse()
            return .none
        },
        LuaFunction(
            "stay_silent", .method(.testBackend), "",
            "Leaves connections from now on without an answer, as a host that is gone."
        ) { call throws(LuaError) in
            try call.testBackend().staySilent()
            return .none
        },
    ]

    static let testRequestFunctions: [LuaFunction] = [
        LuaFunction("method", .getter(.testRequest), "", returns: "string", "Its method.") {
            call throws(LuaError) in
            call.push(try call.testReceived().method)
        },
        LuaFunction(
            "uri", .getter(.testRequest), "", returns: "string", "Path and query, as they were sent."
        ) { call throws(LuaError) in
            call.push(try call.testReceived().target)
        },
        LuaFunction("path", .getter(.testRequest), "", returns: "string", "The path, without the query.") {
            call throws(LuaError) in
            call.push(Array(try call.testReceived().target.prefix { $0 != UInt8(ascii: "?") }))
        },
        LuaFunction(
            "query", .getter(.testRequest), "", returns: "string?", "What follows the question mark, if any."
        ) { call throws(LuaError) in
            let target = try call.testReceived().target
            guard let mark = target.firstIndex(of: UInt8(ascii: "?")) else { return call.push(nil) }
            return call.push(Array(target[(mark + 1)...]))
        },
        LuaFunction(
            "headers", .getter(.testRequest), "", returns: "Headers",
            "Its headers: a copy, to be used as `flow.req.headers` is."
        ) { call throws(LuaError) in
            call.interpreter.push(headers: try call.testReceived().fields, on: call.stack)
            return .one
        },
        LuaFunction("body", .getter(.testRequest), "", returns: "string", "The whole body.") {
            call throws(LuaError) in
            call.push(try call.testReceived().body)
        },
        LuaFunction(
            "respond", .method(.testRequest), "response?: TestMessage",
            "Answers it; 200 unless `status` is given."
        ) { call throws(LuaError) in
            let request = try call.testReceived()
            let response = call.isGiven(2) ? try call.testResponse(2, "respond") : TestMessage()
            try attempt { () throws(TestFault) in try request.respond(response) }
            return .none
        },
        LuaFunction(
            "accept_websocket", .method(.testRequest),
            "options?: { protocol?: string, headers?: Headers|table<string, string|string[]> }",
            returns: "TestWebSocket", "Answers a WebSocket handshake with a 101."
        ) { call throws(LuaError) in
            let request = try call.testReceived()
            var subprotocol: [UInt8]?
            var fields: [FetchHeader] = []
            if call.isGiven(2) {
                try call.table(2, "accept_websocket")
                try call.checkOptions(2, "accept_websocket", ["protocol", "headers"])
                if let index = call.option("protocol", of: 2) {
                    subprotocol = try call.bytes(index, "protocol")
                }
                if let index = call.option("headers", of: 2) {
                    fields = try call.headerList(index, "accept_websocket")
                }
            }
            let made = try attempt { () throws(TestFault) in
                try request.acceptWebSocket(subprotocol: subprotocol, fields: fields)
            }
            return try call.push(.webSocket(made))
        },
        LuaFunction(
            "vanish", .method(.testRequest), "", "Breaks the connection off, as a backend does that dies."
        ) { call throws(LuaError) in
            try call.testReceived().reset()
            return .none
        },
    ]

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
        LuaFunction("send", .method(.testWebSocket), "text: string", "Sends a text message.") {
            call throws(LuaError) in
            let webSocket = try call.testWebSocket()
            let text = try call.bytes(2, "send")
            try attempt { () throws(TestFault) in try webSocket.send(text, isText: true) }
            return .none
        },
        LuaFunction("send_binary", .method(.testWebSocket), "data: string", "Sends a binary message.") {
            call throws(LuaError) in
            let webSocket = try call.testWebSocket()
            let data = try call.bytes(2, "send_binary")
            try attempt { () throws(TestFault) in try webSocket.send(data, isText: false) }
            return .none
        },
        LuaFunction(
            "receive", .method(.testWebSocket), "",
            returns: "string?, \"text\"|\"binary\"|\"close\"|\"end\"|nil",
            """
            Takes the next message and says its type; nil while none has come. Once the other side has closed, it is \
            the reason and `close`; where it went away without, an empty string and `end`.
            """
        ) { call throws(LuaError) in
            guard let event = try call.testWebSocket().takeEvent() else { return call.push(nil) }
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
            let found = webSocket.takeEvent()
            guard found == expected else {
                throw LuaError("expected \(expected.shown), found \(found?.shown ?? "nothing")")
            }
            return .none
        },
        LuaFunction(
            "expect_none", .method(.testWebSocket), "", "Nothing has come that was not received."
        ) { call throws(LuaError) in
            guard let found = try call.testWebSocket().takeEvent() else { return .none }
            throw LuaError("expected nothing, found \(found.shown)")
        },
        LuaFunction(
            "expect_close", .method(.testWebSocket), "code?: integer, reason?: string",
            "The next thing to come is a close frame, with this code and reason where they are given."
        ) { call throws(LuaError) in
            let webSocket = try call.testWebSocket()
            let code = try call.optionalInteger(2, "expect_close")
            let reason = try call.optionalBytes(3, "expect_close")
            let found = webSocket.takeEvent()
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
