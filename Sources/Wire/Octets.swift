internal import Bytes

/// Access to the bytes of a span without an unsafe expression, shared by every parser here.
extension RawSpan {
    /// The same memory as bytes that can be indexed.
    package var octets: Span<UInt8> {
        @inline(__always) @_lifetime(copy self) get { Span(_bytes: self) }
    }
}

extension [UInt8] {
    /// The array's bytes as the parsers take them.
    package var rawSpan: RawSpan {
        @inline(__always) @_lifetime(borrow self) get { RawSpan(_elements: span) }
    }
}

extension Span<UInt8> {
    /// The same memory as the parsers take it.
    package var raw: RawSpan {
        @inline(__always) @_lifetime(copy self) get { RawSpan(_elements: self) }
    }

    /// Whether the bytes of `range` are those of `other`.
    package func isEqual(_ range: Range<Int>, to other: Span<UInt8>) -> Bool {
        guard range.count == other.count else { return false }
        for index in other.indices where self[range.lowerBound &+ index] != other[index] { return false }
        return true
    }

    /// Eight bytes from `position` on, the first one lowest. The compiler makes a single load of it.
    ///
    /// Beside `loadWord` of `Bytes`, which is a call from this target: reading heads with that takes a request 1 % more
    /// instructions.
    @inline(__always)
    func word(at position: Int) -> UInt64 {
        let bytes = extracting(position..<(position &+ 8))
        // True by the line above; said again, it spares the check of each index below.
        precondition(bytes.count == 8)
        let low =
            UInt64(bytes[0]) | UInt64(bytes[1]) << 8 | UInt64(bytes[2]) << 16 | UInt64(bytes[3]) << 24
        let high =
            UInt64(bytes[4]) | UInt64(bytes[5]) << 8 | UInt64(bytes[6]) << 16 | UInt64(bytes[7]) << 24
        return low | high << 32
    }

    /// Up to eight bytes from `position` on, as in `word(at:)`, with zeros after `length` of them.
    @inline(__always)
    func word(at position: Int, length: Int) -> UInt64 {
        if length >= 8 { return word(at: position) }
        if length <= 0 { return 0 }
        if position &+ 8 <= count { return word(at: position) & ((1 &<< UInt64(length &* 8)) &- 1) }
        var word: UInt64 = 0
        for index in 0..<length { word |= UInt64(self[position &+ index]) &<< UInt64(index &* 8) }
        return word
    }

    /// The first byte in `start..<end` that is below `floor` (1...128) or DEL, or `end`.
    @inline(__always)
    func firstControl(from start: Int, to end: Int, below floor: UInt8) -> Int {
        var position = start
        let floors = UInt64(floor) &* 0x0101_0101_0101_0101
        while position &+ 8 <= end {
            let marks = controls(at: position, floors)
            if marks != 0 { return position &+ marks.trailingZeroBitCount &>> 3 }
            position &+= 8
        }
        while position < end, self[position] >= floor, self[position] != 0x7f { position &+= 1 }
        return position
    }

    /// Bit 7 of each byte, of the eight from `position` on, that is DEL or below its byte of `floors`. A borrow can
    /// raise a false alarm only above a true one, so the lowest mark is exact.
    @inline(__always)
    private func controls(at position: Int, _ floors: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let word = word(at: position)
        let deletes = word ^ (ones &* 0x7f)
        return ((word &- floors) & ~word | (deletes &- ones) & ~deletes) & (ones &* 0x80)
    }

    /// Whether there are at least eight bytes, and none of them is below 0x20 or DEL.
    @inline(__always)
    var hasNoControls: Bool {
        guard count >= 8 else { return false }
        let floors: UInt64 = 0x2020_2020_2020_2020
        // The last eight first: the others are looked at in steps of eight, which end among them.
        var marks = controls(at: count &- 8, floors)
        var position = 0
        while position &+ 8 < count {
            marks |= controls(at: position, floors)
            position &+= 8
        }
        return marks == 0
    }

    /// The first byte in `start..<end` that is no letter, digit or hyphen, or `end`: `ByteSet.plainName`, eight
    /// bytes at a time.
    @inline(__always)
    func firstOutsidePlainName(from start: Int, to end: Int) -> Int {
        var position = start
        let ones: UInt64 = 0x0101_0101_0101_0101
        while position &+ 8 <= end {
            let word = word(at: position)
            // Each sum stays within its byte, and has bit 7 set from one character of a range on, or behind it.
            let low7 = word & (ones &* 0x7f)
            let folded = low7 | (ones &* 0x20)
            let letters = (folded &+ ones &* (0x80 - 0x61)) ^ (folded &+ ones &* (0x7f - 0x7a))
            let digits = (low7 &+ ones &* (0x80 - 0x30)) ^ (low7 &+ ones &* (0x7f - 0x39))
            let hyphens = ~((low7 ^ ones &* 0x2d) &+ ones &* 0x7f)
            let others = ~((letters | digits | hyphens) & ~word) & (ones &* 0x80)
            if others != 0 { return position &+ others.trailingZeroBitCount &>> 3 }
            position &+= 8
        }
        while position < end, ByteSet.plainName.contains(self[position]) { position &+= 1 }
        return position
    }

    /// Which of the eight bytes from `position` on are outside `ByteSet.smallName`: bit 7 of each.
    @inline(__always)
    func bytesOutsideSmallName(at position: Int) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let word = word(at: position)
        // As in `firstOutsidePlainName`, but for capital letters.
        let low7 = word & (ones &* 0x7f)
        let letters = (low7 &+ ones &* (0x80 - 0x61)) ^ (low7 &+ ones &* (0x7f - 0x7a))
        let digits = (low7 &+ ones &* (0x80 - 0x30)) ^ (low7 &+ ones &* (0x7f - 0x39))
        let hyphens = ~((low7 ^ ones &* 0x2d) &+ ones &* 0x7f)
        return ~((letters | digits | hyphens) & ~word) & (ones &* 0x80)
    }

    /// The first position of `byte` in `range`, or the end of `range`.
    @inline(__always)
    func first(_ byte: UInt8, in range: Range<Int>) -> Int {
        var position = range.lowerBound
        while position < range.upperBound, self[position] != byte { position &+= 1 }
        return position
    }

    /// `range` without spaces and tabs at either end (OWS of RFC 9110 §5.6.3).
    @inline(__always)
    func trimmed(_ range: Range<Int>) -> Range<Int> {
        var start = range.lowerBound
        var end = range.upperBound
        while start < end, self[start].isBlank { start &+= 1 }
        while start < end, self[end &- 1].isBlank { end &-= 1 }
        return start..<end
    }
}

extension [UInt8] {
    /// Empties the array and keeps its storage; one that is empty costs no call.
    @inline(__always)
    package mutating func clear() {
        if !isEmpty { removeAll(keepingCapacity: true) }
    }

    /// Appends the bytes of `range` in `source`.
    @inline(__always)
    package mutating func append(copying source: Span<UInt8>, _ range: Range<Int>) {
        append(source.extracting(range))
    }

    /// Appends all of `source`, which unlike `append(contentsOf:)` counts no reference to it.
    @inline(__always)
    package mutating func append(copying source: [UInt8]) { append(source.span) }

    /// Appends the bytes of `source`.
    @inline(__always)
    package mutating func append(copying source: RawSpan) {
        append(copying: source.octets, 0..<source.byteCount)
    }
}

extension UInt8 {
    // Not for other targets, into which they are not inlined: each use would be a call.
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0a
    static let carriageReturn: UInt8 = 0x0d
    static let space: UInt8 = 0x20

    /// A space or a tab (OWS of RFC 9110 §5.6.3).
    @inline(__always) var isBlank: Bool { self == .space || self == .tab }
    @inline(__always) var isDigit: Bool { self &- 0x30 < 10 }
}
