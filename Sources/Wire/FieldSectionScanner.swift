/// What field lines are held to, in one kind of section.
struct FieldRules: Sendable {
    /// Bytes of one line, its end not counted.
    var maxLine: Int
    /// RFC 9112 §2.2 lets a recipient take a lone LF as the end of a line. Trailers get no such leave,
    /// because they belong to chunk framing, where two readers must never differ about an end.
    var allowsBareLineFeed: Bool
}

enum FieldViolation {
    case bareCarriageReturn, bareLineFeed, invalidName, invalidValue, spaceBeforeColon, obsoleteFolding
    case lineTooLong
}

/// Reads the field lines of a head or a trailer section up to and with its empty line.
///
/// Each call goes on where the last one stopped: no byte is looked at twice but a CR that still waits for its
/// LF. A line is judged at the same points however the input was cut, so the verdict never depends on the
/// cuts.
struct FieldSectionScanner: Sendable {
    enum Event {
        case incomplete
        case field(FieldLine)
        /// The section is whole; `cursor` stands behind its empty line.
        case end
        case invalid(FieldViolation)
    }

    private enum Stage { case lineStart, name, blank, value }

    /// The next byte to look at.
    private(set) var cursor = 0
    private var stage = Stage.lineStart
    private var lineStart = 0
    private var nameEnd = 0
    private var valueStart = 0
    private var nameKind = FieldNameKind.plain
    /// There was a name that is not plain.
    private(set) var sawStrangeNames = false

    init(at position: Int = 0) { cursor = position }

    /// After a violation, where it was found: at a byte of a line, or in a whole line before.
    ///
    /// - Returns: the line, up to and with the byte.
    func faultyLine(in input: Span<UInt8>, isWhole: Bool) -> Range<Int> {
        var end = min(cursor, input.count)
        if isWhole {
            while end > 0, input[end &- 1] == .lineFeed || input[end &- 1] == .carriageReturn { end &-= 1 }
        }
        var start = end
        while start > 0, input[start &- 1] != .lineFeed { start &-= 1 }
        return start..<(isWhole ? end : min(end &+ 1, input.count))
    }

    /// The next event in `input` up to `end`; the fields' positions count from `base`.
    @inline(__always)
    mutating func next(_ input: Span<UInt8>, to end: Int, base: Int, rules: FieldRules) -> Event {
        while cursor < end {
            switch stage {
            case .lineStart:
                if let field = wholeLine(input, to: end, base: base, rules: rules) { return .field(field) }
                lineStart = cursor
                let byte = input[cursor]
                if ByteSet.plainName.contains(byte) {
                    nameKind = .plain
                    stage = .name
                } else if byte == .carriageReturn || byte == .lineFeed {
                    switch stepOverLineEnd(input, to: end, rules: rules) {
                    case .waiting: return .incomplete
                    case .passed: return .end
                    case .invalid(let violation): return .invalid(violation)
                    }
                } else if byte.isBlank {
                    return .invalid(.obsoleteFolding)
                } else {
                    nameKind = .plain
                    stage = .name
                }
            case .name:
                if let violation = scanName(input, to: end, rules: rules) { return .invalid(violation) }
            case .blank:
                while cursor < end, input[cursor].isBlank { cursor &+= 1 }
                if cursor < end {
                    valueStart = cursor
                    stage = .value
                }
            case .value:
                let start = cursor
                cursor = input.firstControl(from: start, to: end, below: 0x20)
                guard cursor < end else { break }
                if cursor &- lineStart > rules.maxLine { return .invalid(.lineTooLong) }
                let byte = input[cursor]
                if byte == .tab {
                    cursor &+= 1
                    continue
                }
                guard byte == .carriageReturn || byte == .lineFeed else { return .invalid(.invalidValue) }
                let valueEnd = cursor
                switch stepOverLineEnd(input, to: end, rules: rules) {
                case .waiting: return .incomplete
                case .passed: return .field(line(input, valueEnd: valueEnd, base: base))
                case .invalid(let violation): return .invalid(violation)
                }
            }
        }
        let isOverlong = stage != .lineStart && cursor &- lineStart > rules.maxLine
        return isOverlong ? .invalid(.lineTooLong) : .incomplete
    }

    /// Takes a line in one go when all of it is there and nothing in it is out of the ordinary, as it is with
    /// nearly every line; otherwise leaves everything to the stages.
    @inline(__always)
    private mutating func wholeLine(
        _ input: Span<UInt8>, to end: Int, base: Int, rules: FieldRules
    ) -> FieldLine? {
        guard let line = FieldLine(wholeLine: input, at: cursor, to: end, base: base, maxLine: rules.maxLine)
        else { return nil }
        cursor = line.value.upperBound &+ base &+ 2
        return line
    }

    /// Goes on in a name; leaves the stage as it is when the input ends in it.
    @inline(__always)
    private mutating func scanName(_ input: Span<UInt8>, to end: Int, rules: FieldRules) -> FieldViolation? {
        while cursor < end {
            let byte = input[cursor]
            if ByteSet.plainName.contains(byte) {
                cursor &+= 1
                continue
            }
            if cursor &- lineStart > rules.maxLine { return .lineTooLong }
            if byte == UInt8(ascii: ":") {
                guard cursor > lineStart else { return .invalidName }
                // A name's length is kept in 16 bits.
                guard cursor &- lineStart <= Int(UInt16.max) else { return .lineTooLong }
                nameEnd = cursor
                cursor &+= 1
                stage = .blank
                return nil
            }
            guard ByteSet.token.contains(byte) else {
                return byte.isBlank ? .spaceBeforeColon : .invalidName
            }
            sawStrangeNames = true
            if byte != UInt8(ascii: "_") {
                nameKind = .odd
            } else if nameKind == .plain {
                nameKind = .underscored
            }
            cursor &+= 1
        }
        return nil
    }

    private enum LineEnd {
        /// A CR stands last in the input: its LF is still to come.
        case waiting
        case passed
        case invalid(FieldViolation)
    }

    @inline(__always)
    private mutating func stepOverLineEnd(_ input: Span<UInt8>, to end: Int, rules: FieldRules) -> LineEnd {
        if input[cursor] == .lineFeed {
            guard rules.allowsBareLineFeed else { return .invalid(.bareLineFeed) }
            cursor &+= 1
        } else {
            guard cursor &+ 1 < end else { return .waiting }
            guard input[cursor &+ 1] == .lineFeed else { return .invalid(.bareCarriageReturn) }
            cursor &+= 2
        }
        stage = .lineStart
        return .passed
    }

    private func line(_ input: Span<UInt8>, valueEnd: Int, base: Int) -> FieldLine {
        var end = max(valueStart, valueEnd)
        while end > valueStart, input[end &- 1].isBlank { end &-= 1 }
        return FieldLine(
            nameStart: UInt32(truncatingIfNeeded: lineStart &- base),
            nameLength: UInt16(truncatingIfNeeded: nameEnd &- lineStart),
            id: nameKind != .odd ? FieldID(input, lineStart..<nameEnd) : .other,
            valueStart: UInt32(truncatingIfNeeded: valueStart &- base),
            valueLength: UInt32(truncatingIfNeeded: end &- valueStart),
            nameKind: nameKind)
    }
}

extension FieldLine {
    /// The line that begins at `start`, if it ends with CR LF before `end` and nothing in it is out of the ordinary.
    ///
    /// - Parameters:
    ///   - input: what the line is part of.
    ///   - start: of the line.
    ///   - end: of what has come of the input; at most `Int32.max`.
    ///   - base: where positions count from.
    ///   - maxLine: bytes of the line at most, without its end.
    @inline(__always)
    package init?(wholeLine input: Span<UInt8>, at start: Int, to end: Int, base: Int, maxLine: Int) {
        let nameEnd = input.firstOutsidePlainName(from: start, to: end)
        let valueStart = nameEnd &+ 2
        guard valueStart < end, nameEnd > start, nameEnd &- start <= Int(UInt16.max),
            input[nameEnd] == UInt8(ascii: ":"), input[nameEnd &+ 1] == .space, !input[valueStart].isBlank
        else { return nil }
        let valueEnd = input.firstControl(from: valueStart, to: end, below: 0x20)
        guard valueEnd &+ 1 < end, input[valueEnd] == .carriageReturn, input[valueEnd &+ 1] == .lineFeed,
            !input[valueEnd &- 1].isBlank, valueEnd &- start <= maxLine
        else { return nil }
        self.init(
            nameStart: UInt32(truncatingIfNeeded: start &- base),
            nameLength: UInt16(truncatingIfNeeded: nameEnd &- start), id: FieldID(input, start..<nameEnd),
            valueStart: UInt32(truncatingIfNeeded: valueStart &- base),
            valueLength: UInt32(truncatingIfNeeded: valueEnd &- valueStart), isTidy: true)
    }
}
