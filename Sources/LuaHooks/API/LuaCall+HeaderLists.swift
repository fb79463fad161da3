internal import ProxyCore
internal import Wire

/// Headers that a script hands over: a table of its own, or those of another message.
extension LuaCall {
    /// The headers at `index`: in the order of their names where they are a table of names with a value or a list of values,
    /// or as they came where they are a message's. Of those, the fields that belong to it alone are left out.
    ///
    /// - Parameters:
    ///   - index: where they stand, from below.
    ///   - function: what takes them, for messages.
    ///   - limit: of the bytes of names and values.
    /// - Returns: names that are no tokens, and values that no header can have, among them.
    /// - Throws: what is wrong with a table.
    func headerList(
        _ index: Int, _ function: StaticString, atMost limit: Int = .max
    ) throws(LuaError) -> [FetchHeader] {
        var list = HeaderList(function: function, limit: limit)
        if let side = HeaderSide.allCases.first(where: { stack.object(index, $0.type) != nil }) {
            try add(side, index, to: &list)
            return list.fields
        }
        guard stack.kind(index) == .table else {
            throw LuaError("\(function): found \(stack.typeName(index)) as headers, expected a table")
        }
        if let received = interpreter.receivedHeaders, stack.hasMetatable(index, received) {
            try addReceived(index, to: &list)
            return list.fields
        }
        try addTable(index, to: &list)
        // A table has no order of its own. Values of one name stay in theirs: the sort is stable.
        return list.fields.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }

    private func add(_ side: HeaderSide, _ index: Int, to list: inout HeaderList) throws(LuaError) {
        let exchange = try exchange(of: try flow(index, side.type))
        let fields = side.fields(of: exchange)
        var headers: [FetchHeader] = []
        for place in fields.indices where side.shows(fields[place], of: exchange) {
            side.pushName(of: fields[place], exchange, on: stack)
            side.pushValue(of: place, exchange, on: stack)
            headers.append(FetchHeader(stack.bytes(-2) ?? [], stack.bytes(-1) ?? []))
            stack.pop(2)
        }
        try list.add(ofMessage: headers)
    }

    private func addReceived(_ index: Int, to list: inout HeaderList) throws(LuaError) {
        var headers: [FetchHeader] = []
        for position in 0..<stack.length(ofTable: index) / 2 {
            stack.pushElement(2 * position + 1, of: index)
            stack.pushElement(2 * position + 2, of: index)
            // A script may have written past the metatable.
            headers.append(FetchHeader(stack.bytes(-2) ?? [], stack.bytes(-1) ?? []))
            stack.pop(2)
        }
        try list.add(ofMessage: headers)
    }

    private func addTable(_ index: Int, to list: inout HeaderList) throws(LuaError) {
        stack.pushNil()
        while stack.next(inTable: index) {
            guard stack.kind(-2) == .string, let name = stack.bytes(-2) else {
                throw LuaError(
                    "\(list.function): found a \(stack.typeName(-2)) as a header's name, expected a string")
            }
            let values = try self.list(
                stack.top, list.function, atMost: 1000, "a string or a list as a header's value")
            for value in values { try list.add(name, value) }
            stack.pop()
        }
    }
}

private struct HeaderList {
    let function: StaticString
    let limit: Int
    private(set) var fields: [FetchHeader] = []
    private var size = 0

    init(function: StaticString, limit: Int) {
        self.function = function
        self.limit = limit
    }

    mutating func add(_ name: [UInt8], _ value: [UInt8]) throws(LuaError) {
        size += name.count + value.count
        guard size <= limit else { throw LuaError("\(function): found headers of more than \(limit) bytes") }
        fields.append(FetchHeader(name, value))
    }

    /// Those of a message, but for what delimits its body, what ends with its connection (RFC 9110 §7.6.1), whom it is for
    /// (§7.2), and what is asked before the body is sent (§10.1.1).
    mutating func add(ofMessage headers: [FetchHeader]) throws(LuaError) {
        let options = headers.filter { id(of: $0.name) == .connection }.map(\.value)
        for header in headers {
            let id = id(of: header.name)
            let isNominated =
                !HopByHopFields.protected.contains(id)
                && options.contains { Self.list($0, holds: header.name) }
            if ComputedFields.ofResponses.contains(id) || id == .host || id == .expect || isNominated {
                continue
            }
            try add(header.name, header.value)
        }
    }

    private func id(of name: [UInt8]) -> FieldID { FieldID(name.span, 0..<name.count) }

    private static func list(_ value: [UInt8], holds name: [UInt8]) -> Bool {
        var elements = ListElements(value.indices)
        while let element = elements.next(value.span) {
            if ASCII.equalIgnoringCase(value.span.extracting(element), name.span) { return true }
        }
        return false
    }
}
