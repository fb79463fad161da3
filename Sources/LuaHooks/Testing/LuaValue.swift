internal import Wire

/// A value of a script as it was when it was looked at.
enum LuaValue {
    case `nil`
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case string([UInt8])
    /// Its position among the tables of the `LuaSnapshot`.
    case table(Int)
    /// A function or an object: its kind.
    case other(String, identity: UInt)

    /// Bytes of a text that are shown, and about as many of a table.
    static let maxShown = 512

    /// As Lua's `==`: a table is like no other.
    func equals(_ other: LuaValue) -> Bool {
        switch (self, other) {
        case (.nil, .nil): true
        case (.boolean(let a), .boolean(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.integer(let a), .number(let b)), (.number(let b), .integer(let a)):
            Int64(exactly: b) == a
        case (.string(let a), .string(let b)): a == b
        case (.table(let a), .table(let b)): a == b
        case (.other(let a, let one), .other(let b, let another)): one == another && a == b
        default: false
        }
    }

    /// How a script writes the way to the part with this key, where that can be done by a name.
    var fieldName: String? {
        guard case .string(let name) = self, Self.isName(name) else { return nil }
        return String(decoding: name, as: UTF8.self)
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
    /// As a script would write it, cut where it is long. What is in a table the `LuaSnapshot` knows.
    var description: String {
        switch self {
        case .nil: return "nil"
        case .boolean(let value): return value ? "true" : "false"
        case .integer(let value): return String(value)
        case .number(let value): return String(value)
        case .string(let bytes): return Self.quoted(bytes)
        case .other(let kind, _): return kind
        case .table: return "a table"
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
