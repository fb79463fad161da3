internal import Wire

/// A set of field names, made once, that is asked about every field of a head.
struct FieldNameSet: Sendable {
    private var ids: FieldIDSet = []
    /// Names without an id of their own, lower case.
    private var others: [[UInt8]] = []
    /// Bit n: `others` holds one of length n (63: of that or more).
    private var lengths: UInt64 = 0

    /// - Parameter names: lower case.
    init(_ names: some Sequence<[UInt8]>) {
        for name in names { insert(name) }
    }

    private mutating func insert(_ name: [UInt8]) {
        switch FieldID(name.span, 0..<name.count) {
        case .other, .xAccel:
            guard !others.contains(name) else { return }
            others.append(name)
            lengths |= 1 << UInt64(min(name.count, 63))
        case let id: ids.insert(id)
        }
    }

    /// Whether the set holds the name of a field in a head of these bytes.
    @inline(__always)
    func contains(_ field: FieldLine, of bytes: [UInt8]) -> Bool {
        if field.id != .other, field.id != .xAccel { return ids.contains(field.id) }
        guard lengths &>> UInt64(min(field.nameLength, 63)) & 1 == 1 else { return false }
        return holds(bytes, field.name)
    }

    /// Whether the set holds the name that `id`, not `.other` or `.xAccel`, stands for.
    @inline(__always)
    func contains(_ id: FieldID) -> Bool { ids.contains(id) }

    private func holds(_ bytes: [UInt8], _ name: Range<Int>) -> Bool {
        for other in others where ByteText.equal(bytes, name, lowercase: other) { return true }
        return false
    }
}
