internal import Config
internal import ProxyCore
internal import Wire

extension LuaAPI {
    static let requestFunctions: [LuaFunction] = [
        LuaFunction(
            "headers", .part(of: .request, .requestHeaders), type: "Headers",
            "The request's headers; what is set in `request` and `upgrade` hooks goes upstream, but for those that "
                + "`proxy_set_header` sets, which by default are Host and Connection: `proxy_set_header Host "
                + "$http_host` sends the Host of a script."),
        LuaFunction(
            "args", .part(of: .request, .arguments), type: "Arguments",
            "The arguments of the query; what is set in `request` and `upgrade` hooks goes upstream."),
        LuaFunction(
            "cookies", .part(of: .request, .cookies), type: "Cookies", "The request's cookies."),

        LuaFunction("method", .getter(.request), "", returns: "string", "The method.") {
            call throws(LuaError) in
            call.push(try call.exchange(.request).method)
        },
        LuaFunction(
            "method", .setter(.request), "value: string",
            "In `request` hooks: another method goes upstream. `CONNECT` and `TRACE` cannot."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .request)
            try call.expect(flow, in: [.request], "flow.req.method")
            let method = try call.bytes(3, "flow.req.method")
            guard method.count <= 64, isToken(method.span, 0..<method.count),
                method != Text.connect, method != Text.trace
            else {
                throw LuaError("flow.req.method: expected a method, and neither CONNECT nor TRACE")
            }
            try call.exchange(of: flow).method = method
            return .none
        },

        LuaFunction(
            "uri", .getter(.request), "", returns: "string", "Path and query as the client sent them."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.request)
            call.stack.push(exchange.request.bytes, exchange.requestURI)
            return .one
        },
        LuaFunction(
            "path", .getter(.request), "", returns: "string",
            "The path, normalised and decoded, without the query."
        ) { call throws(LuaError) in
            call.push(try call.exchange(.request).uri)
        },
        LuaFunction(
            "path", .setter(.request), "value: string",
            "In `request` and `upgrade` hooks: another path, decoded, goes upstream. The location "
                + "stays, and so does the query."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .request)
            try call.expect(flow, in: [.request, .upgrade], "flow.req.path")
            let path = try call.bytes(3, "flow.req.path")
            try call.checkLength(path.count, "flow.req.path")
            guard path.first == UInt8(ascii: "/"), !path.contains(0) else {
                throw LuaError("flow.req.path: expected a path that begins with \"/\" and has no NUL")
            }
            let exchange = try call.exchange(of: flow)
            exchange.uri = path
            exchange.uriChanged = true
            // As after `rewrite … break`: no prefix of the location's is left for `proxy_pass` to replace.
            exchange.locationMatchesURI = false
            return .none
        },
        LuaFunction(
            "query", .getter(.request), "", returns: "string",
            "The query as it is escaped; empty without one."
        ) { call throws(LuaError) in
            call.push(try call.exchange(.request).arguments)
        },
        LuaFunction("version", .getter(.request), "", returns: "string", "`1.1`, `1.0` or `2`.") {
            call throws(LuaError) in
            switch try call.exchange(.request).request.version {
            case .v2: call.stack.push("2" as StaticString)
            case .v1_1: call.stack.push("1.1" as StaticString)
            case .v1_0: call.stack.push("1.0" as StaticString)
            case .v0_9: call.stack.push("0.9" as StaticString)
            }
            return .one
        },

        LuaFunction(
            "body", .method(.request), "", returns: "string", waits: true,
            "Waits for the whole body, of up to `client_max_body_size`. In `request` and `upgrade` "
                + "hooks; later, for a body that was read then."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .request)
            if let body = flow.replacementBody ?? flow.body { return call.push(body) }
            try call.expect(
                flow, in: [.request, .upgrade], "flow.req:body, for a body that was not read before,")
            guard try call.exchange(of: flow).request.framing.hasBody else { return call.push([]) }
            return try call.interpreter.readBody(flow, call)
        },
        LuaFunction(
            "set_body", .method(.request), "body: string",
            "In `request` and `upgrade` hooks: another body goes upstream, its length with it."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .request)
            try call.expect(flow, in: [.request, .upgrade], "flow.req:set_body")
            flow.replacementBody = try call.bytes(2, "set_body")
            return .none
        },

        LuaFunction(
            "[name]", .anyGetter(.cookies), "name: string", returns: "string?",
            "The value of the first cookie of this name, as it was sent; nil without one. Case counts."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.cookies)
            let name = try call.span(2, "cookies")
            let bytes = exchange.request.bytes
            for field in exchange.request.fields where field.id == .cookie {
                guard let value = CookiePairs.value(of: name, in: bytes.span, field.value) else { continue }
                call.stack.push(bytes, value)
                return .one
            }
            call.stack.pushNil()
            return .one
        },
    ]

    private enum Text {
        static let connect = Array("CONNECT".utf8)
        static let trace = Array("TRACE".utf8)
    }
}

/// The `name=value` pairs of a `Cookie` (RFC 6265 §4.2.1).
enum CookiePairs {
    /// Where the value of the first cookie called `name` stands.
    static func value(of name: Span<UInt8>, in bytes: Span<UInt8>, _ text: Range<Int>) -> Range<Int>? {
        var start = text.lowerBound
        while start < text.upperBound {
            var end = start
            while end < text.upperBound, bytes[end] != UInt8(ascii: ";") { end += 1 }
            while start < end, bytes[start] == UInt8(ascii: " ") { start += 1 }
            if end - start > name.count, bytes[start + name.count] == UInt8(ascii: "="),
                bytes.isEqual(start..<(start + name.count), to: name)
            {
                var last = end
                while last > start + name.count + 1, bytes[last - 1] == UInt8(ascii: " ") { last -= 1 }
                return (start + name.count + 1)..<last
            }
            start = end + 1
        }
        return nil
    }
}

extension Interpreter {
    /// Has the driver read the body, and the call wait until it is there.
    func readBody(_ flow: ScriptFlow, _ call: borrowing LuaCall) throws(LuaError) -> LuaResult {
        try mayWait(call, for: "flow.req:body")
        guard let owner = flow.owner else { throw LuaError("flow.req:body: nobody is there to read it") }
        if flow.bodyWaiters.isEmpty {
            guard owner.readBody() else {
                throw LuaError(
                    "flow.req:body: part of the body was sent on before, and more than client_body_buffer_size is not kept"
                )
            }
            // It was there already.
            if let body = flow.body { return call.push(body) }
        }
        flow.bodyWaiters.append(try wait(call, for: "flow.req:body"))
        return .waits
    }
}
