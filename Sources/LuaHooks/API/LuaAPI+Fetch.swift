internal import Config
internal import ProxyCore
internal import Wire

/// `sy.fetch`: requests that scripts make.
extension LuaAPI {
    static let fetchFunctions: [LuaFunction] = [
        LuaFunction(
            "fetch", .module("sy"),
            """
            request: { url: string, method?: string, headers?: Headers|table<string, string|string[]>, \
            body?: string, timeout?: number, max_size?: integer, verify?: boolean }
            """,
            returns: "FetchedResponse?, string?", waits: true,
            """
            Makes a request over HTTP/1.1: `res.status`, `res.reason`, `res.headers`, `res.body`; nil and the reason \
            when there is no response. GET unless `method` says otherwise, at most `timeout` seconds in all (10), and \
            at most `max_size` bytes of body (1 MiB). An upstream's name may stand for the host: where a peer is not \
            connected to within `proxy_connect_timeout`, TLS included, the next one is asked. Other names are \
            looked up by `resolver`, or as the system does without one. Over \
            `https` the server's certificate is checked, against `proxy_ssl_trusted_certificate` or else the system's \
            authorities, unless `verify` is false. Those \
            directives are the location's; in `certificate` hooks the server's, in `init` hooks those of `http`, and \
            what was spawned has those of where it was. That `timeout` passes is not held against the peer of an \
            upstream, unless it has taken longer than `proxy_connect_timeout` to connect to. \
            The response's headers are read and changed as `flow.res.headers` is, and can be passed on, as can those: \
            `flow:respond{ headers = res.headers }`, where those are left out that belong to the one message alone, such \
            as `Content-Length`, `Host`, `Connection` and what that names.
            """
        ) { call throws(LuaError) in
            try call.table(1, "fetch")
            let request = try call.fetchRequest()
            let interpreter = call.interpreter
            let waiter = try interpreter.wait(call, for: "fetch")
            let operation = interpreter.host.fetch(request, under: interpreter.networkSettings) {
                [weak interpreter] result in
                switch result {
                case .success(let response):
                    interpreter?.resume(waiter) { stack in
                        interpreter?.push(response, on: stack)
                        return 1
                    }
                case .failure(let failure): interpreter?.resume(waiter, failed: failure.message)
                }
            }
            interpreter.setOperation(operation, of: waiter)
            return .waits
        }
    ]
}

extension LuaCall {
    /// Sees to it that a table of options has no others than these.
    func checkOptions(_ index: Int, _ function: StaticString, _ names: [String]) throws(LuaError) {
        stack.pushNil()
        while stack.next(inTable: index) {
            stack.pop()
            let isKnown = stack.kind(-1) == .string && names.contains(stack.text(-1) ?? "")
            if isKnown { continue }
            let found = stack.kind(-1) == .string ? "\"\(stack.text(-1) ?? "")\"" : "a \(stack.typeName(-1))"
            throw LuaError("\(function): found \(found), expected \(names.joined(separator: ", "))")
        }
    }

    /// Pushes a field of a table, of that which is argument 1 unless another is given, and gives its place where it has a
    /// value.
    func option(_ name: StaticString, of table: Int = 1) -> Int? {
        stack.pushField(name, of: table) == .nil ? nil : stack.top
    }

    fileprivate func fetchRequest() throws(LuaError) -> FetchRequest {
        try checkOptions(1, "fetch", ["url", "method", "headers", "body", "timeout", "max_size", "verify"])
        stack.pushField("url", of: 1)
        var request = FetchRequest(url: try bytes(stack.top, "url"))
        if let index = option("method") { request.method = try bytes(index, "method") }
        if let index = option("headers") { request.headers = try headerList(index, "fetch") }
        if let index = option("body") { request.body = try bytes(index, "body") }
        if let index = option("timeout") { request.timeoutMilliseconds = try timeout(index) ?? 1 }
        // A body beyond the interpreter's memory could not be handed over.
        let most = interpreter.set.settings.memoryLimit
        request.maxBodyBytes = min(request.maxBodyBytes, most)
        if let index = option("max_size") {
            let size = try integer(index, "max_size")
            guard 0...most ~= size else {
                throw LuaError("max_size: found \(size), expected 0 to \(most) bytes")
            }
            request.maxBodyBytes = size
        }
        if let index = option("verify") { request.verifiesCertificate = try flag(index, "verify") }
        return request
    }
}

extension Interpreter {
    /// Pushes what a fetch came to.
    func push(_ response: FetchResponse, on stack: LuaStack) {
        stack.pushTable(fields: 4)
        stack.push(response.status)
        stack.setField("status", of: -2)
        stack.push(response.reason)
        stack.setField("reason", of: -2)
        stack.push(response.body)
        stack.setField("body", of: -2)
        push(headers: response.headers, on: stack)
        stack.setField("headers", of: -2)
    }
}
