/// Goes over the properties of a record one by one: to write them down, or to set them to what was written.
///
/// So whatever is packed is listed in one place, and comes back in the order in which it went.
package protocol Packing {
    mutating func pack(_ number: inout Int64)
    mutating func pack(_ bytes: inout [UInt8])
    /// All 64 bits, in 8 bytes.
    mutating func pack(word: inout UInt64)
}

extension Packing {
    package mutating func pack<Number: FixedWidthInteger>(_ number: inout Number) {
        var wide = Int64(truncatingIfNeeded: number)
        pack(&wide)
        number = Number(truncatingIfNeeded: wide)
    }

    package mutating func pack(_ flag: inout Bool) {
        var number: Int64 = flag ? 1 : 0
        pack(&number)
        flag = number != 0
    }

    package mutating func pack(_ range: inout Range<Int>) {
        var (start, count) = (range.lowerBound, range.count)
        pack(&start)
        pack(&count)
        range = start..<start &+ max(count, 0)
    }

    /// `fallback` stands for a value that is not among the type's.
    package mutating func pack<Value: RawRepresentable>(_ value: inout Value, else fallback: Value)
    where Value.RawValue == UInt8 {
        var raw = value.rawValue
        pack(&raw)
        value = Value(rawValue: raw) ?? fallback
    }

    package mutating func pack<Element>(
        _ list: inout [Element], new: @autoclosure () -> Element, each: (inout Self, inout Element) -> Void
    ) {
        var count = list.count
        pack(&count)
        while list.count < count { list.append(new()) }
        for index in list.indices { each(&self, &list[index]) }
    }

    package mutating func pack<Value>(
        _ value: inout Value?, new: @autoclosure () -> Value, each: (inout Self, inout Value) -> Void
    ) {
        var isThere = value != nil
        pack(&isThere)
        guard isThere else { return }
        var some = value ?? new()
        each(&self, &some)
        value = some
    }
}

/// Writes numbers in as few bytes as they need, and texts with their lengths before them.
package struct PackWriter: Packing {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// Begins anew, and keeps the storage.
    package mutating func removeAll() { bytes.clear() }

    package mutating func pack(_ number: inout Int64) { append(number) }

    package mutating func pack(_ text: inout [UInt8]) { append(text[...]) }

    package mutating func pack(word: inout UInt64) {
        for shift in stride(from: 0, to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: word &>> UInt64(shift)))
        }
    }

    package mutating func append(_ number: Int64) {
        // The sign goes to the lowest bit, so that -1 is short as well.
        var rest = UInt64(bitPattern: number << 1) ^ UInt64(bitPattern: number >> 63)
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    package mutating func append(_ text: ArraySlice<UInt8>) {
        append(Int64(text.count))
        bytes.append(contentsOf: text)
    }
}

/// Reads what a `PackWriter` wrote. Properties are as new before.
package struct PackReader: Packing {
    private let bytes: [UInt8]
    private var position = 0

    package init(bytes: [UInt8]) { self.bytes = bytes }

    package var isAtEnd: Bool { position >= bytes.count }

    package mutating func pack(_ number: inout Int64) { number = self.number() }

    package mutating func pack(_ text: inout [UInt8]) {
        let range = self.text()
        // An empty one keeps the storage that it has.
        if !range.isEmpty { text.append(copying: bytes.span, range) }
    }

    package mutating func pack(word: inout UInt64) {
        word = 0
        for shift in stride(from: 0, to: 64, by: 8) where position < bytes.count {
            word |= UInt64(bytes[position]) &<< UInt64(shift)
            position += 1
        }
    }

    package mutating func number() -> Int64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < bytes.count, shift < 64 {
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { break }
            shift += 7
        }
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    /// Where the next text stands.
    package mutating func text() -> Range<Int> {
        let count = min(max(Int(number()), 0), bytes.count - position)
        defer { position += count }
        return position..<position + count
    }
}
