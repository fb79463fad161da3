/// Values of a script, and the tables in them, as they were when they were looked at: for comparing, and for showing.
///
/// A table is there once, however often it is met, so that one within itself comes to an end.
struct LuaSnapshot {
    struct Entry {
        var key: LuaValue
        var value: LuaValue
    }

    private(set) var values: [LuaValue] = []
    /// Their entries in order.
    private(set) var tables: [[Entry]] = []
    private var positions: [UInt: Int] = [:]

    /// How deep tables within tables are shown.
    private static let maxDepth = 32

    /// Looks at the values at these places of the stack, which count from its bottom.
    init(_ stack: LuaStack, _ places: [Int]) {
        guard stack.reserve(6) else { return }
        // The tables that were found, in their order.
        stack.pushTable()
        let found = stack.top
        for place in places { values.append(value(stack, place, found)) }
        var next = 0
        while next < tables.count {
            stack.pushElement(next + 1, of: found)
            let table = stack.top
            var entries: [Entry] = []
            stack.pushNil()
            while stack.next(inTable: table) {
                let key = value(stack, -2, found)
                entries.append(Entry(key: key, value: value(stack, -1, found)))
                stack.pop()
            }
            stack.pop()
            tables[next] = entries
            next += 1
        }
        stack.pop()
        for table in tables.indices {
            tables[table] = tables[table].sorted { precedes($0.key, $1.key) }
        }
    }

    private mutating func value(_ stack: LuaStack, _ index: Int, _ found: Int) -> LuaValue {
        switch stack.kind(index) {
        case .none, .nil: return .nil
        case .boolean: return .boolean(stack.boolean(index))
        case .number:
            if stack.isInteger(index), let integer = stack.integer(index) { return .integer(integer) }
            return .number(stack.number(index) ?? 0)
        case .string: return .string(stack.bytes(index) ?? [])
        case .table:
            let identity = stack.identity(index)
            if let known = positions[identity] { return .table(known) }
            let position = tables.count
            positions[identity] = position
            tables.append([])
            stack.pushCopy(index)
            stack.setElement(position + 1, of: found)
            return .table(position)
        case .function, .object, .other:
            return .other(stack.typeName(index), identity: stack.identity(index))
        }
    }

    /// Numbers in order, then strings in order, then the rest by what it looks like.
    private func precedes(_ one: LuaValue, _ other: LuaValue) -> Bool {
        switch (one, other) {
        case (.integer(let a), .integer(let b)): a < b
        case (.integer, _): true
        case (_, .integer): false
        case (.string(let a), .string(let b)): a.lexicographicallyPrecedes(b)
        case (.string, _): true
        case (_, .string): false
        default: shown(one) < shown(other)
        }
    }

    /// What the table has at the key; `isSame` tells its keys from one another that are neither integers nor strings.
    func value(_ key: LuaValue, of table: Int, isSame: (LuaValue, LuaValue) -> Bool) -> LuaValue {
        let entries = tables[table]
        switch key {
        case .integer, .string:
            var (low, high) = (0, entries.count)
            while low < high {
                let middle = (low + high) / 2
                if precedes(entries[middle].key, key) { low = middle + 1 } else { high = middle }
            }
            return low < entries.count && entries[low].key.equals(key) ? entries[low].value : .nil
        default: return entries.first { isSame($0.key, key) }?.value ?? .nil
        }
    }

    // MARK: Showing

    /// As a script would write it, cut where it is long and where a table is within itself.
    func shown(_ value: LuaValue) -> String {
        var text = ""
        var around: [Int] = []
        show(value, within: &around, in: &text)
        return text
    }

    /// How a script writes the way to the part with this key.
    func step(_ key: LuaValue) -> String { key.fieldName.map { "." + $0 } ?? "[\(shown(key))]" }

    private func show(_ value: LuaValue, within around: inout [Int], in text: inout String) {
        guard case .table(let table) = value else {
            text += value.description
            return
        }
        let entries = tables[table]
        if entries.isEmpty {
            text += "{}"
            return
        }
        guard text.utf8.count < LuaValue.maxShown, around.count < Self.maxDepth, !around.contains(table)
        else {
            text += "{ … }"
            return
        }
        around.append(table)
        text += "{ "
        for (position, entry) in entries.enumerated() {
            if position > 0 { text += ", " }
            guard text.utf8.count < LuaValue.maxShown else {
                text += "…"
                break
            }
            if let name = entry.key.fieldName {
                text += name + " = "
            } else if !entry.key.equals(.integer(Int64(position + 1))) {
                text += "["
                show(entry.key, within: &around, in: &text)
                text += "] = "
            }
            show(entry.value, within: &around, in: &text)
        }
        text += " }"
        around.removeLast()
    }
}
