internal import Config
internal import ProxyCore
internal import Wire

extension LuaAPI {
    static let argumentFunctions: [LuaFunction] = [
        LuaFunction(
            "[name]", .anyGetter(.arguments), "name: string", returns: "string?",
            "The first value of the argument, decoded: empty for one without `=`, nil where there is none."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.arguments)
            let name = try call.span(2, "args")
            let query = exchange.arguments
            var position = 0
            while let pair = QueryArguments.next(query.span, &position) {
                guard QueryArguments.isDecoded(query.span, pair.name, name) else { continue }
                QueryArguments.push(query.span, pair.value, on: call.stack)
                return .one
            }
            call.stack.pushNil()
            return .one
        },
        LuaFunction(
            "[name]", .anySetter(.arguments), "name: string, value?: string|number",
            "Makes this the argument's only value, escaping it; nil takes the argument out."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .arguments)
            try call.expect(flow, in: [.request, .upgrade], "flow.req.args")
            let exchange = try call.exchange(of: flow)
            let name = try call.span(2, "args")
            let arguments: [UInt8]
            if call.isGiven(3) {
                guard let value = call.stack.span(3) else {
                    throw call.mismatch(3, "flow.req.args", "a string, a number or nil")
                }
                try call.checkLength(value.count, "flow.req.args")
                arguments = QueryArguments.replacing(name, in: exchange.arguments, with: value)
            } else {
                arguments = QueryArguments.replacing(name, in: exchange.arguments, with: nil)
            }
            try call.setArguments(arguments, of: exchange)
            return .none
        },
        LuaFunction(
            "all", .method(.arguments), "name: string", returns: "string[]",
            "Every value of the argument, decoded, in order."
        ) { call throws(LuaError) in
            let exchange = try call.exchange(.arguments)
            let name = try call.span(2, "all")
            call.stack.pushTable()
            var count = 0
            let query = exchange.arguments
            var position = 0
            while let pair = QueryArguments.next(query.span, &position) {
                guard QueryArguments.isDecoded(query.span, pair.name, name) else { continue }
                count += 1
                QueryArguments.push(query.span, pair.value, on: call.stack)
                call.stack.setElement(count, of: -2)
            }
            return .one
        },
        LuaFunction(
            "each", .method(.arguments), "", returns: "fun(): string, string",
            "Goes through names and values, decoded, as they were when it began; so does `pairs`."
        ) { call throws(LuaError) in
            try pushArguments(call)
        },
        LuaFunction(
            "__pairs", .metamethod(.arguments), "", returns: "fun(): string, string", "As `each`."
        ) { call throws(LuaError) in
            try pushArguments(call)
        },
        LuaFunction(
            "args", .setter(.request), "value: string|table<string, string|number|boolean|string[]>",
            "Replaces the query: by a text that is escaped already, or by names with values, in the "
                + "order of the names."
        ) { call throws(LuaError) in
            let flow = try call.flow(1, .request)
            try call.expect(flow, in: [.request, .upgrade], "flow.req.args")
            let exchange = try call.exchange(of: flow)
            try call.setArguments(try call.query(3), of: exchange)
            return .none
        },
    ]

    private static func pushArguments(_ call: borrowing LuaCall) throws(LuaError) -> LuaResult {
        let exchange = try call.exchange(.arguments)
        call.beginPairs(0)
        var count = 0
        let query = exchange.arguments
        var position = 0
        while let pair = QueryArguments.next(query.span, &position) {
            QueryArguments.push(query.span, pair.name, on: call.stack)
            QueryArguments.push(query.span, pair.value, on: call.stack)
            call.addPair(count)
            count += 1
        }
        return call.endPairs()
    }
}

extension LuaCall {
    /// Bytes of a request target's part, that a script may write.
    static let maximumTargetLength = 64 * 1024

    func checkLength(_ length: Int, _ name: StaticString) throws(LuaError) {
        guard length <= Self.maximumTargetLength else {
            throw LuaError("\(name): found \(length) bytes, expected at most \(Self.maximumTargetLength)")
        }
    }

    func setArguments(_ arguments: [UInt8], of exchange: Exchange) throws(LuaError) {
        try checkLength(arguments.count, "flow.req.args")
        exchange.setArguments(arguments)
    }

    /// A query that is given as text, or as a table of names and values.
    func query(_ index: Int) throws(LuaError) -> [UInt8] {
        switch stack.kind(index) {
        case .string, .number:
            let text = try bytes(index, "flow.req.args")
            guard !text.contains(where: { $0 <= 32 || $0 == 127 || $0 == UInt8(ascii: "#") }) else {
                throw LuaError(
                    "flow.req.args: found a space, a control character or \"#\" that is not escaped")
            }
            return text
        case .table: return try query(ofTable: index)
        default: throw mismatch(index, "flow.req.args", "a string or a table")
        }
    }

    /// Tables have no order of their own, so names are put in theirs: the same table always makes the same
    /// query.
    private func query(ofTable index: Int) throws(LuaError) -> [UInt8] {
        var names: [[UInt8]] = []
        stack.pushNil()
        while stack.next(inTable: index) {
            stack.pop()
            guard stack.kind(-1) == .string, let name = stack.bytes(-1) else {
                throw LuaError("flow.req.args: found a \(stack.typeName(-1)) as a name, expected a string")
            }
            names.append(name)
        }
        names.sort { $0.lexicographicallyPrecedes($1) }
        var query: [UInt8] = []
        for name in names {
            stack.pushField(name, of: index)
            try appendValues(of: name, to: &query)
            stack.pop()
            try checkLength(query.count, "flow.req.args")
        }
        return query
    }

    /// Appends the pairs that the topmost value stands for.
    private func appendValues(of name: [UInt8], to query: inout [UInt8]) throws(LuaError) {
        switch stack.kind(-1) {
        case .boolean where stack.boolean(-1): QueryArguments.appendPair(name.span, nil, to: &query)
        case .boolean: break
        case .table:
            for position in 1...max(stack.length(ofTable: -1), 1) {
                let kind = stack.pushElement(position, of: -1)
                defer { stack.pop() }
                if kind == .nil { break }
                try appendValue(of: name, to: &query)
            }
        default: try appendValue(of: name, to: &query)
        }
    }

    private func appendValue(of name: [UInt8], to query: inout [UInt8]) throws(LuaError) {
        guard let value = stack.span(-1) else {
            let shown = String(decoding: name.prefix(64), as: UTF8.self)
            throw LuaError(
                "flow.req.args: found \(stack.typeName(-1)) as \"\(shown)\", "
                    + "expected a string, a number, a boolean or a list of them"
            )
        }
        try checkLength(value.count + query.count, "flow.req.args")
        QueryArguments.appendPair(name.span, value, to: &query)
    }
}
