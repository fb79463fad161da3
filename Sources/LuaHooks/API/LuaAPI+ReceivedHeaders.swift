internal import ProxyCore
internal import Wire

/// Headers of a message that a script holds whole, of a fetch or in a test: a table of names and values by turns, as
/// they came, with a metatable by which it is used as `flow.res.headers` is.
extension LuaAPI {
    static let receivedHeaderFunctions: [LuaFunction] = [
        LuaFunction("received.get", .hidden, "", "Reads a header, or a method: headers, name.") {
            call throws(LuaError) in
            guard call.stack.kind(2) == .string else { return .none }
            let name = try call.span(2, "name")
            if let method = receivedHeaderMethod(name) {
                call.stack.push(closure: method, binding: 0)
                return .one
            }
            for position in 0..<call.receivedHeaderCount where call.isReceivedHeader(position, named: name) {
                call.stack.pushElement(2 * position + 2, of: 1)
                return .one
            }
            return .none
        },
        LuaFunction("received.set", .hidden, "", "Sets a header, or removes it: headers, name, value.") {
            call throws(LuaError) in
            try call.checkReceivedHeader(isRemoval: !call.isGiven(3))
            call.setReceivedHeader()
            return .none
        },
        LuaFunction("received.add", .hidden, "", "Puts a header behind the others: headers, name, value.") {
            call throws(LuaError) in
            try call.table(1, "add")
            try call.checkReceivedHeader(isRemoval: false)
            call.placeReceivedHeader(call.receivedHeaderCount)
            return .none
        },
        LuaFunction("received.all", .hidden, "", "Lists the values of a header: headers, name.") {
            call throws(LuaError) in
            try call.table(1, "all")
            let name = try call.span(2, "name")
            call.stack.top = 2
            call.stack.pushTable()
            for position in 0..<call.receivedHeaderCount where call.isReceivedHeader(position, named: name) {
                call.stack.pushElement(2 * position + 2, of: 1)
                call.stack.setElement(call.stack.length(ofTable: 3) + 1, of: 3)
            }
            return .one
        },
        LuaFunction("received.each", .hidden, "", "Makes an iterator over headers: headers.") {
            call throws(LuaError) in
            try call.table(1, "each")
            let count = call.receivedHeaderCount
            call.beginPairs(count)
            for position in 0..<count {
                call.stack.pushElement(2 * position + 1, of: 1)
                call.stack.pushElement(2 * position + 2, of: 1)
                call.addPair(position)
            }
            return call.endPairs()
        },
    ]

    /// Methods are found before headers, as those of `flow.req.headers` are.
    private static func receivedHeaderMethod(_ name: Span<UInt8>) -> Int? {
        if isText(name, "all") { return allHeaders }
        if isText(name, "each") { return eachHeader }
        if isText(name, "add") { return addHeader }
        return nil
    }

    private static func isText(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in bytes.indices where unsafe bytes[index] != text.utf8Start[index] { return false }
        return true
    }

    fileprivate static let getHeader = number(of: "received.get") { _ in true }
    fileprivate static let setHeader = number(of: "received.set") { _ in true }
    fileprivate static let addHeader = number(of: "received.add") { _ in true }
    fileprivate static let allHeaders = number(of: "received.all") { _ in true }
    fileprivate static let eachHeader = number(of: "received.each") { _ in true }
}

extension LuaCall {
    /// How many fields the headers that are argument 1 have.
    fileprivate var receivedHeaderCount: Int { stack.length(ofTable: 1) / 2 }

    /// Whether the field at this place of the headers that are argument 1 has the name.
    fileprivate func isReceivedHeader(_ position: Int, named name: Span<UInt8>) -> Bool {
        stack.pushElement(2 * position + 1, of: 1)
        defer { stack.pop() }
        guard let found = stack.span(-1) else { return false }
        return ASCII.equalIgnoringCase(found, name)
    }

    /// Sees to it that argument 2 can be a header's name, and argument 3 its value.
    fileprivate func checkReceivedHeader(isRemoval: Bool) throws(LuaError) {
        guard stack.kind(2) == .string else { throw mismatch(2, "headers", "a header's name") }
        let name = try span(2, "headers")
        guard FieldSyntax.isName(name) else { throw HeaderSide.error(.invalidName, name) }
        guard !isRemoval else { return }
        guard let value = stack.span(3) else { throw mismatch(3, "headers", "a string, a number or nil") }
        guard FieldSyntax.isValue(value) else { throw HeaderSide.error(.invalidValue, name) }
    }

    /// Writes the arguments 2 and 3 as the field at a place.
    fileprivate func placeReceivedHeader(_ position: Int) {
        for argument in 2...3 {
            stack.pushCopy(argument)
            stack.setElement(2 * position + argument - 1, of: 1)
        }
    }

    /// Makes argument 3 the only value of the header that argument 2 names, where the first one was or behind the others;
    /// nil for none.
    fileprivate func setReceivedHeader() {
        guard let name = stack.bytes(2) else { return }
        let count = receivedHeaderCount
        var kept = 0
        var isPlaced = !isGiven(3)
        for position in 0..<count {
            if !isReceivedHeader(position, named: name.span) {
                for half in 1...2 {
                    stack.pushElement(2 * position + half, of: 1)
                    stack.setElement(2 * kept + half, of: 1)
                }
                kept += 1
            } else if !isPlaced {
                placeReceivedHeader(kept)
                isPlaced = true
                kept += 1
            }
        }
        if !isPlaced { placeReceivedHeader(kept) }
        for place in stride(from: 2 * count, to: 2 * kept, by: -1) {
            stack.pushNil()
            stack.setElement(place, of: 1)
        }
    }
}

extension Interpreter {
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
        if let known = receivedHeaders { return stack.push(known) }
        stack.pushTable(fields: 4)
        let functions: KeyValuePairs<StaticString, Int> = [
            "__index": LuaAPI.getHeader, "__newindex": LuaAPI.setHeader, "__pairs": LuaAPI.eachHeader,
        ]
        for (name, function) in functions {
            stack.push(closure: function, binding: 0)
            stack.setField(name, of: -2)
        }
        stack.push(false)
        stack.setField("__metatable", of: -2)
        stack.pushCopy(-1)
        receivedHeaders = stack.keep()
    }
}
