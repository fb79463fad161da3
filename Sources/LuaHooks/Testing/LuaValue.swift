internal import Wire

/// A value of a script as it was when it was looked at: for comparing, and for showing.
indirect enum LuaValue {
    case `nil`
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case string([UInt8])
    /// The entries are in order.
    case table([Entry], identity: UInt)
    /// A function, an object, or what is nested too deeply: its kind.
    case other(String, identity: UInt)

    struct Entry {
        var key: LuaValue
        var value: LuaValue
    }

    private static let maxDepth = 32
    private static let maxShown = 512

    init(_ stack: LuaStack, _ index: Int, depth: Int = 0) {
        switch stack.kind(index) {
        case .none, .nil: self = .nil
        case .boolean: self = .boolean(stack.boolean(index))
        case .number:
            if stack.isInteger(index), let integer = stack.integer(index) {
                self = .integer(integer)
            } else {
                self = .number(stack.number(index) ?? 0)
            }
        case .string: self = .string(stack.bytes(index) ?? [])
        case .table where depth < Self.maxDepth && stack.reserve(4):
            let table = index < 0 ? stack.top + index + 1 : index
            var entries: [Entry] = []
            stack.pushNil()
            while stack.next(inTable: table) {
                entries.append(
                    Entry(
                        key: LuaValue(stack, -2, depth: depth + 1),
                        value: LuaValue(stack, -1, depth: depth + 1)))
                stack.pop()
            }
            self = .table(entries.sorted { $0.key.precedes($1.key) }, identity: stack.identity(index))
        case .table: self = .other("a deeply nested table", identity: stack.identity(index))
        case .function, .object, .other:
            self = .other(stack.typeName(index), identity: stack.identity(index))
        }
    }

    /// As Lua's `==` for what has no parts, and part by part for tables that are not the same one.
    func equals(_ other: LuaValue) -> Bool {
        switch (self, other) {
        case (.nil, .nil): true
        case (.boolean(let a), .boolean(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.integer(let a), .number(let b)), (.number(let b), .integer(let a)):
            Int64(exactly: b) == a
        case (.string(let a), .string(let b)): a == b
        case (.table, .table): differences(to: other, at: "").isEmpty
        case (.other(let a, let one), .other(let b, let another)): one == another && a == b
        default: false
        }
    }

    /// Numbers in order, then strings in order, then the rest by what it looks like.
    private func precedes(_ other: LuaValue) -> Bool {
        switch (self, other) {
        case (.integer(let a), .integer(let b)): a < b
        case (.integer, _): true
        case (_, .integer): false
        case (.string(let a), .string(let b)): a.lexicographicallyPrecedes(b)
        case (.string, _): true
        case (_, .string): false
        default: description < other.description
        }
    }

    private subscript(key: LuaValue) -> LuaValue {
        guard case .table(let entries, _) = self else { return .nil }
        switch key {
        case .integer, .string:
            var (low, high) = (0, entries.count)
            while low < high {
                let middle = (low + high) / 2
                if entries[middle].key.precedes(key) { low = middle + 1 } else { high = middle }
            }
            return low < entries.count && entries[low].key.equals(key) ? entries[low].value : .nil
        default: return entries.first { $0.key.equals(key) }?.value ?? .nil
        }
    }

    // MARK: Differences

    /// A line for each part in which `found`, a table as this is, is not as expected.
    func differences(to found: LuaValue, at path: String) -> [String] {
        guard case .table(let expected, let one) = self, case .table(let actual, let another) = found else {
            return equals(found) ? [] : ["\(path): expected \(self), found \(found)"]
        }
        var lines: [String] = []
        if one == another { return lines }
        for entry in expected {
            lines += entry.value.differences(to: found[entry.key], at: path + entry.key.step)
        }
        for entry in actual {
            if case .nil = self[entry.key] {
                lines.append("\(path)\(entry.key.step): expected nil, found \(entry.value)")
            }
        }
        return lines
    }

    /// How a script writes the way to the part with this key.
    private var step: String {
        if case .string(let name) = self, Self.isName(name) {
            return "." + String(decoding: name, as: UTF8.self)
        }
        return "[\(self)]"
    }

    private static func isName(_ text: [UInt8]) -> Bool {
        guard let first = text.first, !(0x30...0x39).contains(first) else { return false }
        return text.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: true
            default: false
            }
        }
    }
}

extension LuaValue: CustomStringConvertible {
    /// As a script would write it, cut where it is long.
    var description: String {
        switch self {
        case .nil: return "nil"
        case .boolean(let value): return value ? "true" : "false"
        case .integer(let value): return String(value)
        case .number(let value): return String(value)
        case .string(let bytes): return Self.quoted(bytes)
        case .other(let kind, _): return kind
        case .table(let entries, _):
            if entries.isEmpty { return "{}" }
            var parts: [String] = []
            var length = 0
            for (position, entry) in entries.enumerated() {
                guard length < Self.maxShown else {
                    parts.append("…")
                    break
                }
                let isNext: Bool = if case .integer(Int64(position + 1)) = entry.key { true } else { false }
                let step = entry.key.step
                let name = step.hasPrefix(".") ? String(step.dropFirst()) : step
                parts.append(isNext ? "\(entry.value)" : "\(name) = \(entry.value)")
                length += parts[parts.count - 1].utf8.count
            }
            return "{ " + parts.joined(separator: ", ") + " }"
        }
    }

    private static func quoted(_ bytes: [UInt8]) -> String {
        let isText = UTF8Validator.accepts(bytes.span)
        var text: [UInt8] = [UInt8(ascii: "\"")]
        for byte in bytes.prefix(maxShown) {
            switch byte {
            case UInt8(ascii: "\""): text += "\\\"".utf8
            case UInt8(ascii: "\\"): text += "\\\\".utf8
            case 10: text += "\\n".utf8
            case 13: text += "\\r".utf8
            case 9: text += "\\t".utf8
            case 0..<32, 127: text += escape(byte)
            case 128...: text += isText ? [byte] : escape(byte)
            default: text.append(byte)
            }
        }
        let end = bytes.count > maxShown ? "…\" (\(bytes.count) bytes)" : "\""
        return String(decoding: text, as: UTF8.self) + end
    }

    private static func escape(_ byte: UInt8) -> [UInt8] {
        let digits = String(byte, radix: 16)
        return Array(("\\x" + (digits.utf8.count == 1 ? "0" : "") + digits).utf8)
    }
}
