/// Why a field cannot be written. The head is then as it was.
package enum HeadEditError: Error, Sendable, Equatable, CaseIterable {
    /// Not a token (RFC 9110 §5.1).
    case invalidName
    /// A control character is in it (RFC 9110 §5.5).
    case invalidValue
    /// The value of `Host` names none.
    case invalidHost
    /// The proxy computes this field.
    case computed
    /// A second `Host` (RFC 9112 §3.2).
    case repeatedHost
    /// Past `HeadEditing.maxBytes` or `HeadEditing.maxFields`.
    case tooLong
}

/// Bounds of what can be written into one head.
package enum HeadEditing {
    /// Bytes of all lines that were written and are still there.
    package static let maxBytes = 256 * 1024
    /// Fields in one head, received ones included.
    package static let maxFields = 2000
}

/// Edits of a parsed head, for scripts.
///
/// A line that is written goes to the end of `bytes`, behind the received head, and its `FieldLine` to the place in
/// `fields` that it is to have. So whatever works on `fields` (builders, variables) sees the edit, received lines
/// stay where they are, and a head that is used again allocates nothing. What was received is not forgotten where it
/// counts: how the body is delimited, what the client's connection is to be after the response, whether it waits
/// for a 100, and which fields its `Connection` nominated are facts that no edit changes.
extension MessageHead {
    /// Whether any field was written or removed.
    package var isEdited: Bool { editsStart >= 0 }

    /// Makes `value` the only value of `name`. The first field of that name keeps its place, others go.
    @_specialize(where Self == RequestHead)
    @_specialize(where Self == ResponseHead)
    package mutating func set(_ name: Span<UInt8>, _ value: Span<UInt8>) throws(HeadEditError) {
        let id = try check(name, value, isAnother: false)
        guard let index = index(of: name, id, from: 0) else { return try append(name, id, value) }
        if overwrite(index, name, value) {
            if removeAll(name, id, from: index &+ 1) || Self.isDerivedFrom(id) { fieldsChanged() }
            return
        }
        let line = try write(name, id, value)
        if !fields[index].isEdited { willStrike(fields[index]) }
        fields[index] = line
        if removeAll(name, id, from: index &+ 1) || Self.isDerivedFrom(id) { fieldsChanged() }
    }

    /// Puts another field behind the others.
    @_specialize(where Self == RequestHead)
    @_specialize(where Self == ResponseHead)
    package mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) throws(HeadEditError) {
        try append(name, try check(name, value, isAnother: true), value)
    }

    /// Removes every field called `name`.
    ///
    /// - Returns: whether there was one.
    @_specialize(where Self == RequestHead)
    @_specialize(where Self == ResponseHead)
    @discardableResult
    package mutating func remove(_ name: Span<UInt8>) throws(HeadEditError) -> Bool {
        guard FieldSyntax.isName(name) else { throw .invalidName }
        let id = FieldID(name, 0..<name.count)
        guard !Self.computedFields.contains(id) else { throw .computed }
        beginEdits()
        guard removeAll(name, id, from: 0) else { return false }
        fieldsChanged()
        return true
    }

    // MARK: Parts

    /// The id of a name that may be written with this value.
    private func check(
        _ name: Span<UInt8>, _ value: Span<UInt8>, isAnother: Bool
    ) throws(HeadEditError) -> FieldID {
        guard FieldSyntax.isName(name) else { throw .invalidName }
        guard FieldSyntax.isValue(value) else { throw .invalidValue }
        let id = FieldID(name, 0..<name.count)
        guard !Self.computedFields.contains(id) else { throw .computed }
        if let violation = violation(of: id, value, isAnother: isAnother) { throw violation }
        return id
    }

    private static func isDerivedFrom(_ id: FieldID) -> Bool {
        id == .host || id == .upgrade || id == .connection
    }

    private mutating func beginEdits() {
        if editsStart < 0 { editsStart = bytes.count }
    }

    private mutating func append(
        _ name: Span<UInt8>, _ id: FieldID, _ value: Span<UInt8>
    ) throws(HeadEditError) {
        guard fields.count < HeadEditing.maxFields else { throw .tooLong }
        fields.append(try write(name, id, value))
        if Self.isDerivedFrom(id) { fieldsChanged() }
    }

    /// Removes the fields called `name` from `start` on; false when there are none.
    private mutating func removeAll(_ name: Span<UInt8>, _ id: FieldID, from start: Int) -> Bool {
        guard let first = index(of: name, id, from: start) else { return false }
        // What stays closes up behind the first that goes.
        var end = first
        var next = first
        while next < fields.count {
            let goes = index(of: name, id, from: next) ?? fields.count
            while next < goes {
                fields[end] = fields[next]
                end &+= 1
                next &+= 1
            }
            if next < fields.count {
                if !fields[next].isEdited { willStrike(fields[next]) }
                next &+= 1
            }
        }
        fields.removeLast(fields.count &- end)
        return true
    }

    /// Writes over the line at `index` where that was edited before and has the room, so that a script that sets
    /// the same field over and over does not make the head grow.
    private mutating func overwrite(_ index: Int, _ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
        let old = fields[index]
        guard old.isEdited, Int(old.nameLength) == name.count, value.count <= Int(old.valueLength) else {
            return false
        }
        for offset in 0..<name.count { bytes[Int(old.nameStart) &+ offset] = name[offset] }
        let start = Int(old.valueStart)
        for offset in 0..<value.count { bytes[start &+ offset] = value[offset] }
        bytes[start &+ value.count] = .carriageReturn
        bytes[start &+ value.count &+ 1] = .lineFeed
        fields[index].valueLength = UInt32(truncatingIfNeeded: value.count)
        return true
    }

    /// Writes a line behind everything else.
    private mutating func write(
        _ name: Span<UInt8>, _ id: FieldID, _ value: Span<UInt8>
    ) throws(HeadEditError) -> FieldLine {
        guard name.count <= Int(UInt16.max), value.count <= HeadEditing.maxBytes else { throw .tooLong }
        let isFirst = editsStart < 0
        let editsStart = isFirst ? bytes.count : self.editsStart
        let length = name.count &+ value.count &+ 4
        if bytes.count &- editsStart &+ length > HeadEditing.maxBytes {
            if !isFirst { closeGaps() }
            guard bytes.count &- editsStart &+ length <= HeadEditing.maxBytes else { throw .tooLong }
        }
        guard let start = UInt32(exactly: bytes.count), UInt32.max - start >= UInt32(HeadEditing.maxBytes)
        else { throw .tooLong }
        beginEdits()
        bytes.append(copying: name, 0..<name.count)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(.space)
        bytes.append(copying: value, 0..<value.count)
        bytes.append(.carriageReturn)
        bytes.append(.lineFeed)
        // What a script writes is not dropped for its name.
        return FieldLine(
            nameStart: start, nameLength: UInt16(truncatingIfNeeded: name.count), id: id,
            valueStart: start &+ UInt32(truncatingIfNeeded: name.count &+ 2),
            valueLength: UInt32(truncatingIfNeeded: value.count), isTidy: true, isEdited: true)
    }

    /// Drops the lines that were written and replaced since.
    private mutating func closeGaps() {
        var kept: [UInt8] = []
        for index in fields.indices where fields[index].isEdited {
            let field = fields[index]
            let start = UInt32(truncatingIfNeeded: editsStart &+ kept.count)
            kept.append(contentsOf: bytes[Int(field.nameStart)..<(field.value.upperBound &+ 2)])
            fields[index].nameStart = start
            fields[index].valueStart = start &+ (field.valueStart &- field.nameStart)
        }
        bytes.removeLast(bytes.count &- editsStart)
        bytes.append(contentsOf: kept)
    }
}

extension RequestHead: MessageHead {
    package static var computedFields: FieldIDSet { ComputedFields.ofRequests }

    package func violation(of id: FieldID, _ value: Span<UInt8>, isAnother: Bool) -> HeadEditError? {
        guard id == .host else { return nil }
        if isAnother, hostIndex >= 0 { return .repeatedHost }
        return Authority.isValid(value, 0..<value.count) ? nil : .invalidHost
    }

    package mutating func willStrike(_ field: FieldLine) {
        switch field.id {
        case .connection, .upgrade, .secWebSocketKey, .secWebSocketProtocol, .secWebSocketExtensions:
            struckFields.append(field)
        default: break
        }
    }

    package mutating func fieldsChanged() {
        hostIndex = -1
        upgradeIndex = -1
        connectionIndex = -1
        var upgrade = Wish()
        var option = Wish()
        for index in fields.indices {
            let field = fields[index]
            switch field.id {
            case .host: if hostIndex < 0 { hostIndex = index }
            case .upgrade:
                if upgradeIndex < 0 { upgradeIndex = index }
                upgrade.note(isReceived: !field.isEdited, isCurrent: true)
            case .connection:
                if connectionIndex < 0 { connectionIndex = index }
                guard hasUpgradeOption(field) else { break }
                option.note(isReceived: !field.isEdited, isCurrent: true)
            default: break
            }
        }
        for field in struckFields {
            switch field.id {
            case .upgrade: upgrade.note(isReceived: true, isCurrent: false)
            case .connection:
                if hasUpgradeOption(field) { option.note(isReceived: true, isCurrent: false) }
            default: break
            }
        }
        // A client that asked for nothing must not be led into a protocol that it does not expect.
        if !upgrade.isBoth { upgradeIndex = -1 }
        connectionHasUpgrade = option.isBoth
    }

    private func hasUpgradeOption(_ field: FieldLine) -> Bool {
        var options = ListElements(field)
        while let option = options.next(bytes.span) {
            if Names.upgrade.matches(bytes.span, option) { return true }
        }
        return false
    }
}

/// What the client has asked for, and whether that still stands.
private struct Wish {
    private var isReceived = false
    private var isCurrent = false

    var isBoth: Bool { isReceived && isCurrent }

    mutating func note(isReceived: Bool, isCurrent: Bool) {
        if isReceived { self.isReceived = true }
        if isCurrent { self.isCurrent = true }
    }
}

extension ResponseHead: MessageHead {
    package static var computedFields: FieldIDSet { ComputedFields.ofResponses }

    package func violation(of id: FieldID, _ value: Span<UInt8>, isAnother: Bool) -> HeadEditError? { nil }

    package mutating func willStrike(_ field: FieldLine) {}

    package mutating func fieldsChanged() {
        upgradeIndex = firstIndex(of: .upgrade) ?? -1
        connectionIndex = firstIndex(of: .connection) ?? -1
    }
}
