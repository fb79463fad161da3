/// What heads are packed as: their bytes, and where the parts stand in them. Edits are in both, so they need no more.
extension RequestHead {
    package mutating func pack(_ pack: inout some Packing) {
        pack.pack(&bytes)
        pack.pack(fields: &fields)
        pack.pack(fields: &struckFields)
        pack.pack(&method)
        pack.pack(&target)
        targetParts.pack(&pack)
        pack.pack(&version, else: .v1_1)
        framing.pack(&pack)
        pack.pack(&wantsKeepAlive)
        pack.pack(&expectsContinue)
        pack.pack(&hostIndex)
        pack.pack(&upgradeIndex)
        pack.pack(&connectionIndex)
        pack.pack(&connectionHasUpgrade)
        pack.pack(&editsStart)
    }
}

extension ResponseHead {
    package mutating func pack(_ pack: inout some Packing) {
        pack.pack(&bytes)
        pack.pack(fields: &fields)
        pack.pack(&status)
        pack.pack(&reason)
        pack.pack(&version, else: .v1_1)
        framing.pack(&pack)
        pack.pack(&wantsKeepAlive)
        pack.pack(&upgradeIndex)
        pack.pack(&connectionIndex)
        pack.pack(&connectionHasUpgrade)
        pack.pack(&hasAccelFields)
        pack.pack(&editsStart)
    }
}

extension TrailerSection {
    package mutating func pack(_ pack: inout some Packing) {
        pack.pack(&bytes)
        pack.pack(fields: &fields)
    }
}

extension PermessageDeflate.Parameters {
    package mutating func pack(_ pack: inout some Packing) {
        pack.pack(&serverNoContextTakeover)
        pack.pack(&clientNoContextTakeover)
        pack.pack(&serverMaxWindowBits)
        pack.pack(&clientMaxWindowBits)
    }
}

extension RequestTarget {
    fileprivate mutating func pack(_ pack: inout some Packing) {
        pack.pack(&form, else: .origin)
        pack.pack(&authority)
        pack.pack(&path)
        pack.pack(&query, new: .empty) { $0.pack(&$1) }
    }
}

extension BodyFraming {
    fileprivate mutating func pack(_ pack: inout some Packing) {
        var kind: UInt8 = 0
        var length: Int64 = 0
        switch self {
        case .none: break
        case .length(let count): (kind, length) = (1, count)
        case .chunked: kind = 2
        case .untilClose: kind = 3
        }
        pack.pack(&kind)
        pack.pack(&length)
        switch kind {
        case 1: self = .length(length)
        case 2: self = .chunked
        case 3: self = .untilClose
        default: self = .none
        }
    }
}

extension Packing {
    /// Lines mostly follow each other, so their distances are small where their places are not.
    fileprivate mutating func pack(fields: inout [FieldLine]) {
        var end: UInt32 = 0
        let blank = FieldLine(nameStart: 0, nameLength: 0, id: .other, valueStart: 0, valueLength: 0)
        pack(&fields, new: blank) { pack, field in field.pack(&pack, after: &end) }
    }
}

extension FieldLine {
    /// `end` is where the value before ended.
    fileprivate mutating func pack(_ pack: inout some Packing, after end: inout UInt32) {
        var gap = Int32(truncatingIfNeeded: nameStart &- end)
        pack.pack(&gap)
        nameStart = end &+ UInt32(truncatingIfNeeded: gap)
        pack.pack(&nameLength)
        let nameEnd = nameStart &+ UInt32(nameLength)
        var space = Int32(truncatingIfNeeded: valueStart &- nameEnd)
        pack.pack(&space)
        valueStart = nameEnd &+ UInt32(truncatingIfNeeded: space)
        pack.pack(&valueLength)
        end = valueStart &+ valueLength
        pack.pack(&id, else: .other)
        pack.pack(&nameKind, else: .odd)
        var flags: UInt8 = (isTidy ? 1 : 0) | (isEdited ? 2 : 0)
        pack.pack(&flags)
        isTidy = flags & 1 != 0
        isEdited = flags & 2 != 0
    }
}
