internal import Config
internal import ProxyCore
internal import Wire

/// What decides about an exchange: it is answered here, goes elsewhere, or ends.
extension LuaAPI {
    static let answerFunctions: [LuaFunction] = [
        LuaFunction(
            "respond", .method(.flow), "answer: Answer",
            "In `request`, `upgrade` and `response` hooks: answers the client with this once the "
                + "hook returns; no further hook of the stage runs. With the status 444 the connection is closed without "
                + "an answer, over HTTP/2 the stream reset, as by `return 444;`."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            try call.expect(flow, in: [.request, .upgrade, .response], "flow:respond")
            flow.answer = .respond(try call.scriptResponse(2))
            return .none
        },
        LuaFunction(
            "redirect", .method(.flow), "uri: string, status?: integer",
            "Answers with a redirect, 302 unless `status` is 301, 303, 307 or 308; where `respond` "
                + "can be used."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            try call.expect(flow, in: [.request, .upgrade, .response], "flow:redirect")
            let uri = try call.bytes(2, "redirect")
            try call.checkLength(uri.count, "redirect")
            guard !uri.isEmpty, !uri.contains(where: { $0 <= 32 || $0 == 127 }) else {
                throw LuaError("redirect: expected a URI without spaces and control characters")
            }
            var response = ScriptResponse()
            response.status = try call.optionalInteger(3, "redirect") ?? 302
            guard [301, 302, 303, 307, 308].contains(response.status) else {
                throw LuaError(
                    "redirect: found status \(response.status), expected 301, 302, 303, 307 or 308")
            }
            response.fields = [(name: Text.location, value: uri)]
            flow.answer = .respond(response)
            return .none
        },
        LuaFunction(
            "internal_redirect", .method(.flow), "target: string",
            "In `request` and `upgrade` hooks: the location is chosen again, for a path as a client "
                + "writes it, with or without a query, or is the one called `@name`."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            try call.expect(flow, in: [.request, .upgrade], "flow:internal_redirect")
            let exchange = try call.exchange(of: flow)
            let target = try call.bytes(2, "internal_redirect")
            try call.checkLength(target.count, "internal_redirect")
            switch target.first {
            case UInt8(ascii: "@"):
                guard exchange.server.namedLocations[target] != nil else {
                    throw LuaError("internal_redirect: there is no location \(call.shown(target))")
                }
            case UInt8(ascii: "/"):
                guard !target.contains(where: { $0 < 32 || $0 == 127 }) else {
                    throw LuaError("internal_redirect: found a control character")
                }
                guard Router.normalPath(of: target, for: exchange) != nil else {
                    throw LuaError(
                        "internal_redirect: \(call.shown(target)) has a malformed escape, or leads too far up"
                    )
                }
            default:
                throw LuaError("internal_redirect: found \(call.shown(target)), expected a path or \"@name\"")
            }
            flow.answer = .internalRedirect(target)
            return .none
        },
        LuaFunction(
            "route", .method(.flow), "target: string|string[]",
            "In `request` and `upgrade` hooks: the request goes to this upstream of the "
                + "configuration, or to this `http://host:port`, `https://host:port` or `http://unix:/path`; to the next of "
                + "a list where one fails. It is `$proxy_host` from then on, and so the `Host` that goes upstream unless "
                + "`proxy_set_header` sets another. A name that is no upstream's is looked up by `resolver`, and fails where "
                + "there is none, unlike in `sy.fetch`."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            try call.expect(flow, in: [.request, .upgrade], "flow:route")
            let exchange = try call.exchange(of: flow)
            let targets = try call.list(2, "route", atMost: 16, "an upstream's name, a URL or a list of them")
            guard !targets.isEmpty else { throw LuaError("route: found an empty list") }
            for target in targets {
                if let fault = ProxyTarget.fault(ofRoute: target, in: exchange.runtime.configuration) {
                    throw LuaError("route: \(fault)")
                }
            }
            flow.route = targets
            return .none
        },
        LuaFunction(
            "close", .method(.flow), "code?: integer, reason?: string",
            "In `open`, `message`, `frame` and `drain` hooks, in timers, and of other exchanges: ends the "
                + "tunnel, both peers being sent this close code (1000 unless given) and reason (up to 123 "
                + "bytes). Where there is no tunnel, a request without a response is answered with 503."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .flow)
            let (code, reason) = try call.closing(2, "close")
            if call.isBackground(of: flow) {
                guard let owner = flow.owner else {
                    throw LuaError("close: there is nothing to close any more")
                }
                owner.close(code: code, reason: reason)
                return .none
            }
            try call.expect(flow, in: [.open, .message, .frame, .drain], "flow:close")
            call.setClosing(code, reason, of: flow)
            return .none
        },
    ]

    private enum Text {
        static let location = Array("Location".utf8)
    }
}

extension LuaCall {
    /// The running hook ends the flow's tunnel once it has come to its end.
    fileprivate func setClosing(_ code: UInt16, _ reason: [UInt8], of flow: ScriptFlow) {
        let index = interpreter.runningIndex
        guard interpreter.calls.indices.contains(index), case .item = interpreter.calls[index].purpose else {
            return flow.answer = .close(code: code, reason: reason)
        }
        interpreter.calls[index].closing = (code, reason)
    }

    /// The call is not made by a hook or variable of the flow, which have results of their own: by a timer,
    /// by what was spawned, or on behalf of another exchange.
    func isBackground(of flow: ScriptFlow) -> Bool {
        let index = interpreter.runningIndex
        guard interpreter.calls.indices.contains(index) else { return false }
        switch interpreter.calls[index].purpose {
        case .timer, .spawned, .certificate: return true
        case .none, .load, .test, .migration: return false
        case .hook, .item, .variable: return interpreter.calls[index].flow !== flow
        }
    }

    /// A close code and a reason, from `index` on.
    func closing(_ index: Int, _ name: StaticString) throws(LuaError) -> (code: UInt16, reason: [UInt8]) {
        let code = try optionalInteger(index, name) ?? Int(WebSocketCloseCode.normal)
        // RFC 6455 §7.4.1: 1010 is the client's, that a server has not taken up an extension.
        guard let short = UInt16(exactly: code), WebSocketCloseCode.isValidOnWire(short), short != 1010 else {
            throw LuaError(
                "\(name): found code \(code), expected 1000 to 1014 without 1004, 1005, 1006 and 1010, "
                    + "or 3000 to 4999"
            )
        }
        let reason = try optionalBytes(index + 1, name) ?? []
        // RFC 6455 §5.5: 125 bytes, of which the code is two.
        guard reason.count <= 123, UTF8Validator.accepts(reason.span) else {
            throw LuaError("\(name): expected a reason in UTF-8 of at most 123 bytes")
        }
        return (short, reason)
    }

    /// A list of strings, or one.
    func list(
        _ index: Int, _ name: StaticString, atMost limit: Int, _ expected: String
    ) throws(LuaError) -> [[UInt8]] {
        if let one = stack.bytes(index) { return [one] }
        guard stack.kind(index) == .table else { throw mismatch(index, name, expected) }
        let count = stack.length(ofTable: index)
        guard count <= limit else {
            throw LuaError("\(name): found \(count) elements, expected at most \(limit)")
        }
        var list: [[UInt8]] = []
        for position in stride(from: 1, through: count, by: 1) {
            stack.pushElement(position, of: index)
            guard let element = stack.bytes(-1) else {
                throw LuaError("\(name): found \(stack.typeName(-1)) in the list, expected strings")
            }
            stack.pop()
            list.append(element)
        }
        return list
    }

    /// Text for a message.
    func shown(_ bytes: [UInt8]) -> String {
        "\"" + String(decoding: bytes.prefix(64), as: UTF8.self) + (bytes.count > 64 ? "…\"" : "\"")
    }

    // MARK: respond

    /// Bytes of all headers that an answer may have.
    private static let maximumFields = 64 * 1024

    /// What `flow:respond` is given: a table with `status`, `headers` and `body`.
    func scriptResponse(_ index: Int) throws(LuaError) -> ScriptResponse {
        try table(index, "respond")
        var response = ScriptResponse()
        stack.pushNil()
        while stack.next(inTable: index) {
            guard stack.kind(-2) == .string, let key = stack.text(-2) else {
                throw LuaError(
                    "respond: found a \(stack.typeName(-2)) as a field, expected status, headers, body")
            }
            switch key {
            case "status": response.status = try answerStatus()
            case "headers": response.fields = try answerFields()
            case "body":
                guard let body = stack.bytes(-1) else {
                    throw LuaError("respond: found \(stack.typeName(-1)) as body, expected a string")
                }
                response.body = body
            default:
                throw LuaError(
                    "respond: found field \(shown(Array(key.utf8))), expected status, headers, body")
            }
            stack.pop()
        }
        let hasNone = response.status == 204 || response.status == 304 || response.status == 444
        if hasNone, response.body?.isEmpty == false {
            throw LuaError("respond: a response of status \(response.status) has no body")
        }
        return response
    }

    private func answerStatus() throws(LuaError) -> Int {
        guard let status = stack.integer(-1) else {
            throw LuaError("respond: found \(stack.typeName(-1)) as status, expected an integer")
        }
        guard (200...599).contains(status) else {
            throw LuaError("respond: found status \(status), expected 200 to 599")
        }
        return Int(status)
    }

    /// The fields of the topmost value.
    private func answerFields() throws(LuaError) -> [(name: [UInt8], value: [UInt8])] {
        let headers = try headerList(stack.top, "respond", atMost: Self.maximumFields)
        for header in headers { try checkField(header.name, header.value) }
        return headers.map { (name: $0.name, value: $0.value) }
    }

    private func checkField(_ name: [UInt8], _ value: [UInt8]) throws(LuaError) {
        guard FieldSyntax.isName(name.span) else {
            throw LuaError("respond: found \(shown(name)) as a header's name, expected a token")
        }
        guard FieldSyntax.isValue(value.span) else {
            throw LuaError("respond: header \(shown(name)): its value has a control character")
        }
        guard !ComputedFields.ofResponses.contains(FieldID(name.span, 0..<name.count)) else {
            throw LuaError("respond: header \(shown(name)) is the proxy's own to compute")
        }
    }
}
