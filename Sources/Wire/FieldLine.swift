/// What a field's name is made of; the further down, the stranger.
package enum FieldNameKind: UInt8, Sendable {
    /// Letters, digits and hyphens.
    case plain
    /// Underscores too, which `underscores_in_headers` allows.
    case underscored
    /// Characters, too, for which `ignore_invalid_headers` drops a field, though RFC 9110 §5.6.2 allows them.
    case odd

    /// Spelt out, so that the comparison is made where it stands rather than through the protocol.
    @inline(__always)
    package func isWithin(_ strangest: FieldNameKind) -> Bool { rawValue <= strangest.rawValue }
}

/// Where one header field stands in its head's bytes. Made by the head parsers, one for each line, and by edits.
package struct FieldLine: Sendable {
    package var nameStart: UInt32
    package var nameLength: UInt16
    package var id: FieldID
    package var valueStart: UInt32
    /// Without the white space around it.
    package var valueLength: UInt32
    package var nameKind: FieldNameKind
    /// The line is `name: value` with one space, nothing behind the value, and CR LF: it can be sent on as it is.
    package var isTidy: Bool
    /// A script wrote the line; it was not received.
    package var isEdited: Bool

    package init(
        nameStart: UInt32, nameLength: UInt16, id: FieldID, valueStart: UInt32, valueLength: UInt32,
        nameKind: FieldNameKind = .plain, isTidy: Bool = false, isEdited: Bool = false
    ) {
        self.nameStart = nameStart
        self.nameLength = nameLength
        self.id = id
        self.valueStart = valueStart
        self.valueLength = valueLength
        self.nameKind = nameKind
        self.isTidy = isTidy
        self.isEdited = isEdited
    }

    /// Where the name stands in the head's bytes.
    @inline(__always)
    package var name: Range<Int> { Int(nameStart)..<(Int(nameStart) &+ Int(nameLength)) }
    /// Where the value stands in the head's bytes.
    @inline(__always)
    package var value: Range<Int> { Int(valueStart)..<(Int(valueStart) &+ Int(valueLength)) }
    /// Both, and what is between them.
    package var line: Range<Int> { Int(nameStart)..<max(name.upperBound, value.upperBound) }
}
