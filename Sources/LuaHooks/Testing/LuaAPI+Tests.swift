internal import ProxyCore
internal import Wire

/// What tests of scripts can use besides `sy`: tests, proxies, time.
extension LuaAPI {
    /// Come after `functions`, in the interpreters of tests only.
    static let testFunctions: [LuaFunction] =
        testGlobals + testProxyFunctions + testClientFunctions + testBackendFunctions + testServerFunctions
        + testRequestFunctions + testWebSocketFunctions + testFrameFunctions + testSocketFunctions
        + expectationFunctions

    private static let testGlobals: [LuaFunction] = [
        LuaFunction(
            "test", .global, "name: string, fn: fun()",
            "Defines a test. It passes when the function returns without an error."
        ) { call throws(LuaError) in
            let name = try call.text(1, "test")
            try call.function(2, "test")
            call.stack.pushCopy(2)
            try call.tests().add(name, call.stack)
            return .none
        },
        LuaFunction(
            "proxy", .global, "setup: TestSetup", returns: "TestProxy",
            """
            A whole proxy of the test's own, on a network in memory: with a plugin in its one location, which passes \
            everything to a backend, or with a configuration.
            """
        ) { call throws(LuaError) in
            let tests = try call.tests("proxy")
            try call.table(1, "proxy")
            let setup = try call.testSetup()
            var handler: TestFetchHandler?
            if let index = call.option("on_fetch", of: 1) { handler = try fetchHandler(call, index, tests) }
            return try call.push(
                .proxy(
                    try attempt { () throws(TestFault) in
                        try tests.bench.makeProxy(setup, answeringFetches: handler)
                    }))
        },
        LuaFunction(
            "advance", .global, "seconds: number",
            """
            Lets time pass for the test's proxies: what comes due happens in order, each thing at its own time. No time \
            passes otherwise.
            """
        ) { call throws(LuaError) in
            let tests = try call.tests("advance")
            let time = try call.milliseconds(1, "advance")
            try attempt { () throws(TestFault) in
                try tests.bench.advance(byMilliseconds: time) { tests.interpreter.isInterrupted }
            }
            guard !tests.interpreter.isInterrupted else {
                throw LuaError("advance: the test has used up its time on the CPU")
            }
            return .none
        },
    ]

    private static let testProxyFunctions: [LuaFunction] = [
        LuaFunction(
            "request", .method(.testProxy), "request?: TestOpening", returns: "FetchedResponse",
            """
            Makes a request on a connection of its own and returns the response. It is an error when none comes without \
            time passing, or before the test has answered at a backend: `send` is for that.
            """
        ) { call throws(LuaError) in
            let proxy = try call.testProxy()
            let (request, connection) = try call.testOpening(2, "request")
            let client = try attempt { () throws(TestFault) in try proxy.connect(connection) }
            client.send(request)
            return try call.pushResponse(of: client)
        },
        LuaFunction(
            "send", .method(.testProxy), "request?: TestOpening", returns: "TestClient",
            "Sends a request on a connection of its own: `client:response()` is the answer, once there is one."
        ) { call throws(LuaError) in
            let proxy = try call.testProxy()
            let (request, connection) = try call.testOpening(2, "send")
            let client = try attempt { () throws(TestFault) in try proxy.connect(connection) }
            client.send(request)
            return try call.push(.client(client))
        },
        LuaFunction(
            "connect", .method(.testProxy), "address?: string|TestConnection", returns: "TestClient",
            "A client's connection, on which nothing was sent yet. A string is the client's address."
        ) { call throws(LuaError) in
            let proxy = try call.testProxy()
            var connection = TestConnection()
            if call.stack.kind(2) == .string {
                connection.address = try call.text(2, "connect")
            } else if call.isGiven(2) {
                try call.table(2, "connect")
                try call.checkOptions(2, "connect", LuaCall.connectionOptions)
                connection = try call.testConnection(2)
            }
            return try call.push(
                .client(try attempt { () throws(TestFault) in try proxy.connect(connection) }))
        },
        LuaFunction(
            "websocket", .method(.testProxy), "handshake?: TestHandshake", returns: "TestWebSocket",
            "A WebSocket client that has sent its handshake. `ws.response` is the answer, once there is one."
        ) { call throws(LuaError) in
            let proxy = try call.testProxy()
            let (handshake, connection) = try call.testHandshake()
            return try call.push(
                .webSocket(
                    try attempt { () throws(TestFault) in
                        try proxy.openWebSocket(handshake, connection)
                    }))
        },
        LuaFunction(
            "backend", .method(.testProxy),
            "address?: string, answer?: fun(request: TestRequest): TestMessage?",
            overload: "answer: fun(request: TestRequest): TestMessage?", returns: "TestBackend",
            """
            A server at an address, `name:port` or `unix:/path` (port 80 unless given), or at every address that has no \
            other. With a function, it answers each request by what that returns; without, or where that returns \
            nothing, the test takes them with `expect_request`. Until a test makes one, a backend answers everywhere: \
            200 without a body, and every message of a WebSocket with itself.
            """
        ) { call throws(LuaError) in
            let tests = try call.tests("backend")
            let proxy = try call.testProxy()
            var address: String?
            var index = 2
            if call.stack.kind(2) == .string || call.stack.kind(2) == .nil {
                address = call.stack.text(2)
                index = 3
            }
            var handler: TestHandler?
            if call.isGiven(index) {
                try call.function(index, "backend")
                call.stack.pushCopy(index)
                handler = Self.handler(tests.keepFunction(call.stack), tests)
            }
            let made = try attempt { () throws(TestFault) in try proxy.addBackend(at: address, handler) }
            return try call.push(.backend(made))
        },
        LuaFunction(
            "server", .method(.testProxy), "address: string, answer?: fun(data: string): string?",
            returns: "TestServer",
            """
            A server at an address, `name:port` or `unix:/path`, that speaks what the test has it say: what `sy.tcp` and \
            `sy.redis` connect to. With a function, it answers what has come on a connection by what that returns; where \
            it returns nothing, that waits for more to come. The test takes connections with `expect_connection`.
            """
        ) { call throws(LuaError) in
            let tests = try call.tests("server")
            let proxy = try call.testProxy()
            let address = try call.text(2, "server")
            var handler: TestDataHandler?
            if call.isGiven(3) {
                try call.function(3, "server")
                call.stack.pushCopy(3)
                handler = Self.dataHandler(tests.keepFunction(call.stack), tests)
            }
            let made = try attempt { () throws(TestFault) in try proxy.addServer(at: address, handler) }
            return try call.push(.server(made))
        },
        LuaFunction(
            "on_fetch", .method(.testProxy),
            "answer: \(HookDocument.fetchHandler)",
            """
            Answers every `sy.fetch` of the proxy's scripts by what the function returns: a response, or nil and the \
            reason why there is none. The response is read as one from a server is: a HEAD, 204 and 304 have no body, and \
            a body over the fetch's `max_size` fails it; what no server can send fails the test. Where it returns \
            nothing, the request goes out to the backends. What `init` hooks fetch has been fetched by then: for that, \
            there is the field of the same name in what `proxy` is given.
            """
        ) { call throws(LuaError) in
            let tests = try call.tests("on_fetch")
            let proxy = try call.testProxy()
            proxy.answerFetches(try fetchHandler(call, 2, tests))
            return .none
        },
        LuaFunction(
            "log", .method(.testProxy), "", returns: "string[]",
            "The lines that the error log got since the last call, whichever file it is in the configuration: "
                + "`[error] message`. Each `error_log` takes part, from its level on; no file is written."
        ) { call throws(LuaError) in
            call.push(lines: try call.testProxy().takeErrors())
        },
        LuaFunction(
            "access_log", .method(.testProxy), "path?: string", returns: "string[]",
            "The lines that an access log got since the last call; `logs/access.log` unless another is named."
        ) { call throws(LuaError) in
            let proxy = try call.testProxy()
            return call.push(
                lines: proxy.takeAccessLog(call.isGiven(2) ? try call.text(2, "access_log") : nil))
        },
        LuaFunction(
            "drain", .method(.testProxy), "",
            "Asks the proxy to end as SIGQUIT does: it stops to listen, and what is under way comes to its end."
        ) { call throws(LuaError) in
            try call.testProxy().drain()
            return .none
        },
    ]

    private static func handler(_ function: LuaReference, _ tests: TestScript) -> TestHandler {
        { [unowned tests] request in
            var answer: TestMessage?
            let isDone = tests.call(function) { stack in
                stack.push(LuaType.testRequest, tests.add(.request(request)))
                return 1
            } results: { call, index throws(LuaError) in
                if index > 0, call.isGiven(index) { answer = try call.testResponse(index, "backend") }
            }
            if !isDone { request.reset() }
            return answer
        }
    }

    private static func dataHandler(_ function: LuaReference, _ tests: TestScript) -> TestDataHandler {
        { [unowned tests] data in
            var answer: [UInt8]?
            _ = tests.call(function) { stack in
                stack.push(data)
                return 1
            } results: { call, index throws(LuaError) in
                if index > 0 { answer = try call.optionalBytes(index, "server") }
            }
            return answer
        }
    }

    /// Answers by the function at `index`.
    private static func fetchHandler(
        _ call: borrowing LuaCall, _ index: Int, _ tests: TestScript
    ) throws(LuaError) -> TestFetchHandler {
        try call.function(index, "on_fetch")
        call.stack.pushCopy(index)
        let function = tests.keepFunction(call.stack)
        return { [unowned tests] request in
            var answer: TestFetchAnswer = nil
            let isDone = tests.call(function) { stack in
                tests.push(request, on: stack)
                return 1
            } results: { call, index throws(LuaError) in
                if index > 0 { answer = try call.testFetchAnswer(index, to: request, tests.bench) }
            }
            return isDone ? answer : .failure(.invalidRequest("the test's on_fetch failed"))
        }
    }
}

/// A fault of the bench as an error of the call.
func attempt<Result>(_ body: () throws(TestFault) -> Result) throws(LuaError) -> Result {
    do throws(TestFault) {
        return try body()
    } catch {
        throw LuaError(error.message)
    }
}
