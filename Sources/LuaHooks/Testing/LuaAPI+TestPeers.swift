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

    static let testBackendFunctions: [LuaFunction] =
        [
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
        ] + hostFunctions(.testBackend)

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
            "options?: { protocol?: string, headers?: Headers|table<string, string|string[]>, deflate?: boolean }",
            returns: "TestWebSocket",
            "Answers a WebSocket handshake with a 101; with `deflate`, it accepts permessage-deflate as it is offered."
        ) { call throws(LuaError) in
            let request = try call.testReceived()
            var subprotocol: [UInt8]?
            var fields: [FetchHeader] = []
            var acceptsDeflate = false
            if call.isGiven(2) {
                try call.table(2, "accept_websocket")
                try call.checkOptions(2, "accept_websocket", ["protocol", "headers", "deflate"])
                if let index = call.option("protocol", of: 2) {
                    subprotocol = try call.bytes(index, "protocol")
                }
                if let index = call.option("headers", of: 2) {
                    fields = try call.headerList(index, "accept_websocket")
                }
                if let index = call.option("deflate", of: 2) {
                    acceptsDeflate = try call.flag(index, "deflate")
                }
            }
            let made = try attempt { () throws(TestFault) in
                try request.acceptWebSocket(
                    subprotocol: subprotocol, fields: fields, deflate: acceptsDeflate)
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
}
