/// What the heads of requests and responses have in common: lines of fields that can be looked up by name, without
/// case, and in order.
package protocol MessageHead {
    var bytes: [UInt8] { get set }
    /// The lines in their order. The places of those that were edited lie behind the received head in `bytes`.
    var fields: [FieldLine] { get set }
    /// Where edited lines begin in `bytes`; -1 while there are none.
    var editsStart: Int { get set }
    /// Fields that `set`, `add` and `remove` refuse to touch.
    static var computedFields: FieldIDSet { get }

    /// Why the field `id` cannot get `value` here, though its syntax is right. `isAnother` is set where the value
    /// comes beside those that the field has.
    func violation(of id: FieldID, _ value: Span<UInt8>, isAnother: Bool) -> HeadEditError?
    /// Takes note of a received line that is about to be replaced or removed.
    mutating func willStrike(_ field: FieldLine)
    /// Brings what is derived from `fields` up to date.
    mutating func fieldsChanged()
}

extension MessageHead {
    /// The position in `fields` of the first field called `name` from `start` on, so that all of them are found by
    /// going on behind each. Names stranger than `strangest` are passed over.
    package func index(of name: Span<UInt8>, from start: Int = 0, within strangest: FieldNameKind = .odd)
        -> Int?
    {
        index(of: name, FieldID(name, 0..<name.count), from: start, within: strangest)
    }

    /// Where the value of the first field called `name` stands in `bytes`.
    package func value(of name: Span<UInt8>, within strangest: FieldNameKind = .odd) -> Range<Int>? {
        index(of: name, within: strangest).map { fields[$0].value }
    }

    /// The field at `position` in `fields`, or `nil` behind the last: fields may go away while somebody counts.
    package func field(at position: Int) -> FieldLine? {
        position >= 0 && position < fields.count ? fields[position] : nil
    }

    @inline(__always)
    func index(of name: Span<UInt8>, _ id: FieldID, from start: Int, within strangest: FieldNameKind = .odd)
        -> Int?
    {
        FieldLookup.index(of: name, id, in: fields, bytes, from: start, within: strangest)
    }
}

/// The look-up of a field by its name, of the parts of a head: whoever has the head in a class would copy all of it
/// to ask it.
package enum FieldLookup {
    /// As `MessageHead.index(of:from:within:)`.
    package static func index(
        of name: Span<UInt8>, in fields: [FieldLine], _ bytes: [UInt8], from start: Int,
        within strangest: FieldNameKind
    ) -> Int? {
        index(of: name, FieldID(name, 0..<name.count), in: fields, bytes, from: start, within: strangest)
    }

    @inline(__always)
    static func index(
        of name: Span<UInt8>, _ id: FieldID, in fields: [FieldLine], _ bytes: [UInt8], from start: Int,
        within strangest: FieldNameKind
    ) -> Int? {
        var position = start
        if id != .other, id != .xAccel {
            // Names that have an id are plain, all of them.
            while position < fields.count {
                if fields[position].id == id { return position }
                position &+= 1
            }
            return nil
        }
        while position < fields.count {
            let field = fields[position]
            if Int(field.nameLength) == name.count, field.nameKind.isWithin(strangest),
                ASCII.equalIgnoringCase(bytes.span.extracting(field.name), name)
            {
                return position
            }
            position &+= 1
        }
        return nil
    }
}
