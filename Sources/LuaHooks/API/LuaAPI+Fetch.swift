internal import Config
internal import ProxyCore
internal import Wire

/// `sy.fetch`: requests that scripts make.
extension LuaAPI {
    static let fetchFunctions: [LuaFunction] = [
        LuaFunction(
            "fetch", .module("sy"),
            """
            request: { url: string, method?: string, headers?: table<string, string|string[]>, body?: string, \
            timeout?: number, max_size?: integer, verify?: boolean }
            """,
            returns: "FetchedResponse?, string?", waits: true,
            """
            Makes a request over HTTP/1.1: `res.status`, `res.reason`, `res.headers`, `res.body`; nil and the reason \
            when there is no response. GET unless `method` says otherwise, at most `timeout` seconds in all (10), and \
            at most `max_size` bytes of body (1 MiB). An upstream's name may stand for the host; others are \
            looked up by `resolver`, or as the system does without one. Over \
            `https` the server's certificate is checked, against `proxy_ssl_trusted_certificate` or else the system's \
            authorities, unless `verify` is false. Those \
            directives are the location's; in `certificate` hooks the server's, in `init` hooks those of `http`, and \
            what was spawned has those of where it was. That `timeout` passes is not held against the peer of an \
            upstream, unless it has taken longer than `proxy_connect_timeout` to connect to. Headers are read \
            without regard to case: `h["Name"]` is the first value, `h:all(name)` a list, `h:each()` and `pairs(h)` \
            go through all of them in order.
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
        },
        LuaFunction("fetched.headers", .hidden, "", "Reads a header, or a method: headers, name.") {
            call throws(LuaError) in
            guard call.stack.kind(2) == .string else { return .none }
            let name = try call.span(2, "name")
            if let method = LuaAPI.headerMethod(name) {
                call.stack.push(closure: method, binding: 0)
                return .one
            }
            for position in 0..<call.stack.length(ofTable: 1) / 2 where call.isHeader(position, named: name) {
                call.stack.pushElement(2 * position + 2, of: 1)
                return .one
            }
            return .none
        },
        LuaFunction("fetched.all", .hidden, "", "Lists the values of a header: headers, name.") {
            call throws(LuaError) in
            try call.table(1, "all")
            let name = try call.span(2, "name")
            call.stack.top = 2
            call.stack.pushTable()
            for position in 0..<call.stack.length(ofTable: 1) / 2 where call.isHeader(position, named: name) {
                call.stack.pushElement(2 * position + 2, of: 1)
                call.stack.setElement(call.stack.length(ofTable: 3) + 1, of: 3)
            }
            return .one
        },
        LuaFunction("fetched.each", .hidden, "", "Makes an iterator over headers: headers.") {
            call throws(LuaError) in
            try call.table(1, "each")
            call.stack.top = 1
            call.stack.pushTable(array: 1)
            call.stack.push(closure: nextHeader, binding: 2)
            return .one
        },
        LuaFunction("fetched.next", .hidden, "", "Goes to the next header: headers, state.") {
            call throws(LuaError) in
            let stack = call.stack
            stack.top = 2
            stack.pushElement(1, of: 2)
            let position = Int(stack.integer(3) ?? 0)
            stack.push(position + 1)
            stack.setElement(1, of: 2)
            stack.pushElement(2 * position + 1, of: 1)
            stack.pushElement(2 * position + 2, of: 1)
            return .two
        },
    ]

    /// Methods are found before headers, as those of `flow.req.headers` are.
    private static func headerMethod(_ name: Span<UInt8>) -> Int? {
        if isText(name, "all") { return allHeaders }
        if isText(name, "each") { return eachHeader }
        return nil
    }

    private static func isText(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in bytes.indices where unsafe bytes[index] != text.utf8Start[index] { return false }
        return true
    }

    fileprivate static let readHeader = number(of: "fetched.headers") { _ in true }
    fileprivate static let allHeaders = number(of: "fetched.all") { _ in true }
    fileprivate static let eachHeader = number(of: "fetched.each") { _ in true }
    fileprivate static let nextHeader = number(of: "fetched.next") { _ in true }
}

extension LuaCall {
    /// Whether the field at this place of the headers that are argument 1 has the name.
    fileprivate func isHeader(_ position: Int, named name: Span<UInt8>) -> Bool {
        stack.pushElement(2 * position + 1, of: 1)
        defer { stack.pop() }
        guard let found = stack.span(-1) else { return false }
        return ASCII.equalIgnoringCase(found, name)
    }

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

    /// Pushes the field of the table that is argument 1, and gives its place where it has a value.
    func option(_ name: StaticString) -> Int? {
        if stack.pushField(name, of: 1) == .nil { return nil }
        return stack.top
    }

    fileprivate func fetchRequest() throws(LuaError) -> FetchRequest {
        try checkOptions(1, "fetch", ["url", "method", "headers", "body", "timeout", "max_size", "verify"])
        stack.pushField("url", of: 1)
        var request = FetchRequest(url: try bytes(stack.top, "url"))
        if let index = option("method") { request.method = try bytes(index, "method") }
        if let index = option("headers") {
            try table(index, "headers")
            request.headers = try fetchHeaders(index)
        }
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
        if let index = option("verify") {
            guard stack.kind(index) == .boolean else {
                throw LuaError("verify: found \(stack.typeName(index)), expected a boolean")
            }
            request.verifiesCertificate = stack.boolean(index)
        }
        return request
    }

    func fetchHeaders(_ table: Int) throws(LuaError) -> [FetchHeader] {
        var headers: [FetchHeader] = []
        stack.pushNil()
        while stack.next(inTable: table) {
            guard stack.kind(-2) == .string, let name = stack.bytes(-2) else {
                throw LuaError("headers: found a \(stack.typeName(-2)) as a name, expected a string")
            }
            switch stack.kind(-1) {
            case .string, .number: headers.append(FetchHeader(name, stack.bytes(-1) ?? []))
            case .table:
                for position in 0..<stack.length(ofTable: -1) {
                    stack.pushElement(position + 1, of: -1)
                    headers.append(FetchHeader(name, try bytes(stack.top, "a header's value")))
                    stack.pop()
                }
            default: throw mismatch(stack.top, "a header's value", "a string or a list of strings")
            }
            stack.pop()
        }
        // Lua's order is no order: the same request is to look the same each time.
        return headers.enumerated().sorted { a, b in
            a.element.name == b.element.name
                ? a.offset < b.offset : a.element.name.lexicographicallyPrecedes(b.element.name)
        }.map(\.element)
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

    /// Names and values by turns, as they came; the metatable reads them by name.
    func push(headers: [FetchHeader], on stack: LuaStack) {
        stack.pushTable(array: 2 * headers.count)
        for (index, header) in headers.enumerated() {
            stack.push(header.name)
            stack.setElement(2 * index + 1, of: -2)
            stack.push(header.value)
            stack.setElement(2 * index + 2, of: -2)
        }
        pushHeadersMetatable(on: stack)
        stack.setMetatable(of: -2)
    }

    private func pushHeadersMetatable(on stack: LuaStack) {
        if let known = fetchedHeaders { return stack.push(known) }
        stack.pushTable(fields: 3)
        stack.push(closure: LuaAPI.readHeader, binding: 0)
        stack.setField("__index", of: -2)
        stack.push(closure: LuaAPI.eachHeader, binding: 0)
        stack.setField("__pairs", of: -2)
        stack.push(false)
        stack.setField("__metatable", of: -2)
        stack.pushCopy(-1)
        fetchedHeaders = stack.keep()
    }
}
