internal import ProxyCore

/// What the functions of tests read and push.
extension LuaCall {
    func tests() throws(LuaError) -> TestScript {
        guard let tests = interpreter.tests else { throw LuaError("this can be used in tests only") }
        return tests
    }

    /// While a test runs.
    func tests(_ name: StaticString) throws(LuaError) -> TestScript {
        let tests = try tests()
        try tests.checkRunning(name)
        return tests
    }

    // MARK: Objects

    func testObject(_ type: LuaType, _ name: StaticString) throws(LuaError) -> TestScript.Object {
        guard let handle = stack.object(1, type) else { throw wrongObject(1, type.indefinite) }
        guard let object = try tests()[handle] else {
            throw LuaError("the \(type.name) cannot be used any more: its test is over")
        }
        return object
    }

    func testProxy() throws(LuaError) -> any TestProxy {
        guard case .proxy(let proxy) = try testObject(.testProxy, "proxy") else { throw Self.confused }
        return proxy
    }

    func testClient() throws(LuaError) -> any TestClient {
        guard case .client(let client) = try testObject(.testClient, "client") else { throw Self.confused }
        return client
    }

    func testBackend() throws(LuaError) -> any TestBackend {
        guard case .backend(let backend) = try testObject(.testBackend, "backend") else {
            throw Self.confused
        }
        return backend
    }

    func testServer() throws(LuaError) -> any TestServer {
        guard case .server(let server) = try testObject(.testServer, "server") else { throw Self.confused }
        return server
    }

    /// A backend or a server.
    func testHost(_ type: LuaType) throws(LuaError) -> any TestHost {
        switch try testObject(type, "host") {
        case .backend(let backend): return backend
        case .server(let server): return server
        default: throw Self.confused
        }
    }

    func testSocket() throws(LuaError) -> any TestSocket {
        guard case .socket(let socket) = try testObject(.testSocket, "connection") else {
            throw Self.confused
        }
        return socket
    }

    func testReceived() throws(LuaError) -> any TestRequest {
        guard case .request(let request) = try testObject(.testRequest, "request") else {
            throw Self.confused
        }
        return request
    }

    func testWebSocket() throws(LuaError) -> any TestWebSocket {
        guard case .webSocket(let webSocket) = try testObject(.testWebSocket, "websocket") else {
            throw Self.confused
        }
        return webSocket
    }

    private static var confused: LuaError { LuaError("the object is of another kind") }

    func push(_ object: TestScript.Object) throws(LuaError) -> LuaResult {
        stack.push(object.type, try tests().add(object))
        return .one
    }

    func push(lines: [String]) -> LuaResult {
        stack.push(list: lines) { stack.push($0) }
        return .one
    }

    func pushResponse(of client: any TestClient) throws(LuaError) -> LuaResult {
        let response = try attempt { () throws(TestFault) in try client.takeResponse() }
        guard let response else {
            throw LuaError(
                client.isClosed
                    ? "no response: the proxy closed the connection"
                    : "no response yet: it waits for a backend that the test answers for, or for time to pass; "
                        + "see send")
        }
        interpreter.push(response, on: stack)
        return .one
    }

    // MARK: Tables

    func testSetup() throws(LuaError) -> TestSetup {
        try checkOptions(
            1, "proxy", ["plugin", "args", "location", "server", "http", "config", "file", "on_fetch"])
        var setup = TestSetup()
        if let index = option("plugin", of: 1) { setup.plugin = try text(index, "plugin") }
        if let index = option("location", of: 1) { setup.location = try text(index, "location") }
        if let index = option("server", of: 1) { setup.server = try text(index, "server") }
        if let index = option("http", of: 1) { setup.http = try text(index, "http") }
        if let index = option("config", of: 1) { setup.config = try text(index, "config") }
        if let index = option("file", of: 1) { setup.file = try text(index, "file") }
        if let index = option("args", of: 1) {
            try table(index, "args")
            guard setup.plugin != nil else { throw LuaError("proxy: args are a plugin's, and there is none") }
            setup.arguments = try testArguments(index)
        }
        let parts = [setup.plugin, setup.config, setup.file].filter { $0 != nil }.count
        guard parts <= 1 else { throw LuaError("proxy: expected one of plugin, config and file") }
        let isWhole = setup.config != nil || setup.file != nil
        guard !isWhole || setup.location.isEmpty && setup.server.isEmpty && setup.http.isEmpty else {
            throw LuaError("proxy: location, server and http have no place beside config and file")
        }
        return setup
    }

    private func testArguments(_ table: Int) throws(LuaError) -> [TestSetup.Argument] {
        var arguments: [TestSetup.Argument] = []
        stack.pushNil()
        while stack.next(inTable: table) {
            guard stack.kind(-2) == .string, let name = stack.text(-2) else {
                throw LuaError("args: found a \(stack.typeName(-2)) as a name, expected a string")
            }
            switch stack.kind(-1) {
            case .string, .number: arguments.append(.init(name: name, value: stack.text(-1) ?? ""))
            case .boolean: arguments.append(.init(name: name, value: stack.boolean(-1) ? "true" : "false"))
            default: throw LuaError("args: found a \(stack.typeName(-1)) as \(name), expected a string")
            }
            stack.pop()
        }
        return arguments.sorted { $0.name < $1.name }
    }

    private static let requestOptions = ["method", "path", "headers", "body"]
    static let connectionOptions = ["address", "listener", "tls"]

    /// A request on a connection that there is.
    func testRequest(_ index: Int, _ name: StaticString) throws(LuaError) -> TestMessage {
        guard isGiven(index) else { return TestMessage() }
        try table(index, name)
        try checkOptions(index, name, Self.requestOptions)
        return try requestFields(index, name)
    }

    /// A request, and the connection that is made for it.
    func testOpening(
        _ index: Int, _ name: StaticString
    ) throws(LuaError) -> (TestMessage, TestConnection) {
        guard isGiven(index) else { return (TestMessage(), TestConnection()) }
        try table(index, name)
        try checkOptions(index, name, Self.requestOptions + Self.connectionOptions)
        return (try requestFields(index, name), try testConnection(index))
    }

    func testConnection(_ index: Int) throws(LuaError) -> TestConnection {
        var connection = TestConnection()
        if let place = option("address", of: index) { connection.address = try text(place, "address") }
        if let place = option("listener", of: index) { connection.listener = try text(place, "listener") }
        if let place = option("tls", of: index) { connection.tls = try testTLS(place) }
        return connection
    }

    private func testTLS(_ index: Int) throws(LuaError) -> TestTLS {
        try table(index, "tls")
        try checkOptions(index, "tls", ["verified"] + TestTLS.facts.map { $0.name.description })
        var tls = TestTLS()
        for (name, fact) in TestTLS.facts {
            guard let place = option(name, of: index) else { continue }
            tls.facts[fact] = try bytes(place, name)
            // Facts of a certificate are of one that is good, unless it is said otherwise.
            if fact.isOfCertificate { tls.isVerified = true }
        }
        if let place = option("verified", of: index) { tls.isVerified = try flag(place, "verified") }
        return tls
    }

    private func requestFields(_ index: Int, _ name: StaticString) throws(LuaError) -> TestMessage {
        var request = TestMessage()
        if let place = option("method", of: index) { request.method = try bytes(place, "method") }
        if let place = option("path", of: index) { request.target = try bytes(place, "path") }
        if let place = option("headers", of: index) { request.fields = try headerList(place, name) }
        try readBody(of: &request, index)
        return request
    }

    func testResponse(_ index: Int, _ name: StaticString) throws(LuaError) -> TestMessage {
        try table(index, name)
        try checkOptions(index, name, ["status", "headers", "body"])
        var response = TestMessage()
        if let place = option("status", of: index) {
            response.status = try integer(place, "status")
            guard 100...999 ~= response.status else {
                throw LuaError("\(name): status: found \(response.status), expected 100 to 999")
            }
        }
        if let place = option("headers", of: index) { response.fields = try headerList(place, name) }
        try readBody(of: &response, index)
        return response
    }

    /// A string, or a list of the pieces in which the body is sent.
    private func readBody(of message: inout TestMessage, _ index: Int) throws(LuaError) {
        guard let place = option("body", of: index) else { return }
        if stack.kind(place) == .table {
            message.pieces = try list(place, "body", atMost: 100_000, "a string or a list of strings")
                .filter { !$0.isEmpty }
        } else {
            message.body = try bytes(place, "body")
        }
    }

    /// What a function for `on_fetch` returned.
    func testFetchAnswer(
        _ index: Int, to request: FetchRequest, _ bench: any TestBench
    ) throws(LuaError) -> TestFetchAnswer {
        guard isGiven(index) else {
            guard isGiven(index + 1) else { return nil }
            return .failure(.invalidRequest(try text(index + 1, "on_fetch")))
        }
        let response = try testResponse(index, "on_fetch")
        do throws(TestFault) {
            return try bench.fetched(response, by: request)
        } catch {
            throw LuaError("on_fetch: \(error.message)")
        }
    }

    /// A handshake, and the connection that is made for it.
    func testHandshake() throws(LuaError) -> (TestHandshake, TestConnection) {
        var handshake = TestHandshake()
        guard isGiven(2) else { return (handshake, TestConnection()) }
        try table(2, "websocket")
        try checkOptions(
            2, "websocket", ["path", "headers", "protocols", "deflate"] + Self.connectionOptions)
        if let index = option("path", of: 2) { handshake.target = try bytes(index, "path") }
        if let index = option("headers", of: 2) { handshake.fields = try headerList(index, "websocket") }
        if let index = option("protocols", of: 2) {
            handshake.protocols = try list(
                index, "protocols", atMost: 100, "a protocol's name or a list of them")
        }
        if let index = option("deflate", of: 2) { handshake.offersDeflate = try flag(index, "deflate") }
        return (handshake, try testConnection(2))
    }
}

extension TestTLS {
    /// What a test can say of a handshake, as a script or the configuration is to see it.
    static let facts: [(name: StaticString, fact: ClientTLSFact)] = [
        ("version", .version), ("cipher", .cipher), ("server_name", .serverName),
        ("client_subject", .subject), ("client_issuer", .issuer), ("client_serial", .serial),
        ("client_fingerprint", .fingerprint), ("client_certificate", .certificate),
    ]
}

extension ClientTLSFact {
    fileprivate var isOfCertificate: Bool {
        switch self {
        case .subject, .issuer, .serial, .fingerprint, .certificate: true
        default: false
        }
    }
}

extension TestScript.Object {
    fileprivate var type: LuaType {
        switch self {
        case .proxy: .testProxy
        case .client: .testClient
        case .backend: .testBackend
        case .server: .testServer
        case .request: .testRequest
        case .webSocket: .testWebSocket
        case .socket: .testSocket
        case .expectation: .expectation
        }
    }
}

extension TestScript {
    /// Pushes what a script has asked `sy.fetch` for.
    func push(_ request: FetchRequest, on stack: LuaStack) {
        stack.pushTable(fields: 4)
        stack.push(request.url)
        stack.setField("url", of: -2)
        stack.push(request.method)
        stack.setField("method", of: -2)
        interpreter.push(headers: request.headers, on: stack)
        stack.setField("headers", of: -2)
        guard let body = request.body else { return }
        stack.push(body)
        stack.setField("body", of: -2)
    }
}
