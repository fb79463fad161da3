internal import ProxyCore
internal import Wire

extension LuaAPI {
    static let headerFunctions: [LuaFunction] =
        headerRows(.request) + headerRows(.response) + [
            LuaFunction("next_pair", .hidden, "", "Steps through the pairs that `pushPairs` gathered.") {
                call throws(LuaError) in
                try call.pushNextPair()
            }
        ]

    /// The methods' names are taken: a header of such a name is read with `all`.
    private static func headerRows(_ side: HeaderSide) -> [LuaFunction] {
        [
            LuaFunction(
                "[name]", .anyGetter(side.type), "name: string", returns: "string?",
                "The first value of the header, whatever the case of its name; nil without one."
            ) { call throws(LuaError) in
                let exchange = try call.exchange(side.type)
                if let index = side.index(of: try call.span(2, "headers"), from: 0, in: exchange) {
                    side.pushValue(of: index, exchange, on: call.stack)
                } else {
                    call.stack.pushNil()
                }
                return .one
            },
            LuaFunction(
                "[name]", .anySetter(side.type), "name: string, value?: string|number",
                "Makes this the header's only value; nil removes the header."
            ) { call throws(LuaError) in
                let flow = try call.flow(1, side.type)
                try call.expect(flow, in: side.stages, side.name)
                let exchange = try call.exchange(of: flow)
                let name = try call.span(2, "headers")
                if call.isGiven(3) {
                    guard let value = call.stack.span(3) else {
                        throw call.mismatch(3, side.name, "a string, a number or nil")
                    }
                    try side.write(.set, name, value, of: exchange)
                } else {
                    try side.remove(name, of: exchange)
                }
                return .none
            },
            LuaFunction(
                "add", .method(side.type), "name: string, value: string|number",
                "Puts another header behind the others."
            ) { call throws(LuaError) in
                let flow = try call.flow(1, side.type)
                try call.expect(flow, in: side.stages, side.name)
                try side.write(
                    .add, try call.span(2, "add"), try call.span(3, "add"), of: try call.exchange(of: flow))
                return .none
            },
            LuaFunction(
                "all", .method(side.type), "name: string", returns: "string[]",
                "Every value of the header, in order; an empty table without one."
            ) { call throws(LuaError) in
                let exchange = try call.exchange(side.type)
                let name = try call.span(2, "all")
                call.stack.pushTable()
                var count = 0
                var start = 0
                while let index = side.index(of: name, from: start, in: exchange) {
                    count += 1
                    side.pushValue(of: index, exchange, on: call.stack)
                    call.stack.setElement(count, of: -2)
                    start = index + 1
                }
                return .one
            },
            LuaFunction(
                "each", .method(side.type), "", returns: "fun(): string, string",
                "Goes through names and values in their order, as they were when it began; so does `pairs`."
            ) { call throws(LuaError) in
                try pushHeaders(of: side, call)
            },
            LuaFunction(
                "__pairs", .metamethod(side.type), "", returns: "fun(): string, string", "As `each`."
            ) { call throws(LuaError) in
                try pushHeaders(of: side, call)
            },
        ]
    }

    private static func pushHeaders(
        of side: HeaderSide, _ call: borrowing LuaCall
    ) throws(LuaError) -> LuaResult {
        let exchange = try call.exchange(side.type)
        let fields = side.fields(of: exchange)
        call.beginPairs(fields.count)
        var count = 0
        for index in fields.indices where side.shows(fields[index], of: exchange) {
            side.pushName(of: fields[index], exchange, on: call.stack)
            side.pushValue(of: index, exchange, on: call.stack)
            call.addPair(count)
            count += 1
        }
        return call.endPairs()
    }
}

/// Iterators over pairs of names and values. They go through a copy made at the beginning, so that a loop
/// may change what it goes through.
extension LuaCall {
    private static let nextPair = LuaAPI.number(of: "next_pair") { place in
        if case .hidden = place { true } else { false }
    }

    /// Pushes the table of pairs. Its first element is the position of the next one.
    func beginPairs(_ count: Int) {
        stack.pushTable(array: 2 * count + 1)
        stack.push(2)
        stack.setElement(1, of: -2)
    }

    /// Takes a name and a value as the pair behind `count` others.
    func addPair(_ count: Int) {
        stack.setElement(2 * count + 3, of: -3)
        stack.setElement(2 * count + 2, of: -2)
    }

    func endPairs() -> LuaResult {
        stack.push(closure: Self.nextPair, binding: 1)
        return .one
    }

    func pushNextPair() throws(LuaError) -> LuaResult {
        try table(1, "next")
        stack.pushElement(1, of: 1)
        guard let position = stack.integer(-1), position >= 2, position < Int64(Int32.max) else {
            throw LuaError("this iterator is broken")
        }
        guard stack.pushElement(Int(position), of: 1) != .nil else { return .one }
        stack.pushElement(Int(position) + 1, of: 1)
        stack.push(position + 2)
        stack.setElement(1, of: 1)
        return .two
    }
}
