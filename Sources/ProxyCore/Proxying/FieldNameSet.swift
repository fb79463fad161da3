internal import Wire

/// A set of field names, made once, that is asked about every field of a head.
struct FieldNameSet: Sendable {
    /// Bit n: the field with the id of raw value n is in the set.
    private var ids: UInt64 = 0
    /// Names without an id of their own, lower case.
    private var others: [[UInt8]] = []
    /// Bit n: `others` holds one of length n (63: of that or more).
    private var lengths: UInt64 = 0

    /// - Parameter names: lower case.
    init(_ names: some Sequence<[UInt8]>) {
        for name in names { insert(name) }
    }

    mutating func insert(_ name: [UInt8]) {
        if let id = FieldID(lowercaseName: name) {
            ids |= 1 << UInt64(id.rawValue)
        } else if !others.contains(name) {
            others.append(name)
            lengths |= 1 << UInt64(min(name.count, 63))
        }
    }

    /// Whether the set holds the name of a field in a head of these bytes.
    @inline(__always)
    func contains(_ field: FieldLine, of bytes: [UInt8]) -> Bool {
        if field.id != .other, field.id != .xAccel { return contains(field.id) }
        guard lengths >> UInt64(min(field.nameLength, 63)) & 1 == 1 else { return false }
        return holds(bytes, field.name)
    }

    /// Whether the set holds the name that `id`, not `.other` or `.xAccel`, stands for.
    @inline(__always)
    func contains(_ id: FieldID) -> Bool { ids >> UInt64(id.rawValue) & 1 == 1 }

    private func holds(_ bytes: [UInt8], _ name: Range<Int>) -> Bool {
        for other in others where Octets.equal(bytes, name, lowercase: other) { return true }
        return false
    }
}

extension FieldID {
    /// The id of the field with this name; `nil` for names that share `other` or `xAccel`.
    init?(lowercaseName name: [UInt8]) {
        for id in Self.allCases where id.name.map({ Array($0.description.utf8) == name }) ?? false {
            self = id
            return
        }
        return nil
    }
}
