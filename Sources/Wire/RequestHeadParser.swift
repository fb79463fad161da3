/// Reads a request head out of a growing input, strictly by RFC 9112.
///
/// The input is always the head from its first byte. The parser remembers how far it came, so that a head
/// delivered a byte at a time costs no more than one delivered whole, and comes to the same verdict.
///
/// Stricter than nginx 1.22, which takes HTTP/0.9, more than one space in the request line, controls in field
/// values, and lines without a colon; as strict as nginx on methods, which are capital letters, `-` and `_`.
package struct RequestHeadParser: Sendable {
    /// Bounds in bytes; a line's end does not count.
    package struct Limits: Sendable {
        package var maxRequestLine = 8192
        package var maxFieldLine = 8192
        /// Everything up to and with the empty line, and any empty lines before the head.
        package var maxHead = 4 * 8192
        package var maxFields = 1000
        /// Others may be meant for what follows once the client has named the host: `parse` then stops to ask for them.
        package var dependOnHost = false

        package init() {}
    }

    private enum Stage { case emptyLines, method, target, version, fields }

    private var stage = Stage.emptyLines
    /// The next byte to look at, until the fields begin.
    private var cursor = 0
    /// Where the head starts, behind empty lines.
    private var start = 0
    private var partStart = 0
    private var fields = FieldSectionScanner()
    private var framing = FramingFields()
    private var hasExpectation = false

    package init() {}

    /// The request line was read, so that a head that is refused now holds it, and what fields came before the fault.
    package var hasRequestLine: Bool { stage == .fields }

    /// Among the fields are some whose names may be such that `ignore_invalid_headers` drops them.
    package var sawStrangeNames: Bool { fields.sawStrangeNames }

    /// A head that is refused has come to its end, and lacks something, or has what does not go together.
    package private(set) var sawEnd = false

    /// What is to come of the head has limits by the name of the host, which `host(of:)` has: `parse` stopped for these before
    /// the end of its input, and goes on when it gets the same again.
    package private(set) var asksForLimits = false

    /// Where the name of the host stands in the input, as soon as it is known: that of an absolute target comes before the
    /// field.
    package func host(of head: borrowing RequestHead) -> Range<Int>? {
        guard stage == .fields else { return nil }
        if !head.targetParts.authority.isEmpty { return head.targetParts.authority.shifted(by: start) }
        return head.hostIndex < 0 ? nil : head.fields[head.hostIndex].value.shifted(by: start)
    }

    /// Where what a head is refused for stands in its `input`, or what there is of it: a line among the fields; of an unknown
    /// coding, where its name does.
    package func fault(_ violation: RequestViolation, in input: Span<UInt8>, _ head: RequestHead) -> Range<
        Int
    > {
        guard hasRequestLine else { return .empty }
        switch violation {
        case .unknownTransferCoding:
            let index = head.firstIndex(of: .transferEncoding)
            return index.map { head.fields[$0].value.shifted(by: start) } ?? .empty
        case .invalidFieldName, .invalidFieldValue, .spaceBeforeColon, .obsoleteFolding, .bareCarriageReturn,
            .fieldLineTooLong:
            return fields.faultyLine(in: input, isWhole: false)
        default: return sawEnd ? .empty : fields.faultyLine(in: input, isWhole: true)
        }
    }

    package mutating func reset() { self = RequestHeadParser() }

    /// Parses as far as `input` goes. On `.complete` and only then, `head` holds the whole request, its
    /// `bytes` being a copy of the head's part of `input`; until then it holds the parser's work, so hand in
    /// the same one. After `.complete` and `.invalid`, `reset` comes before the next head.
    package mutating func parse(
        _ input: RawSpan, limits: Limits, into head: inout RequestHead
    ) -> HeadProgress<RequestViolation> {
        let octets = input.octets
        asksForLimits = false
        // Positions are kept in 32 bits.
        let maxHead = min(limits.maxHead, Int(Int32.max))
        let end = min(octets.count, maxHead)
        if stage != .fields {
            if stage == .emptyLines, cursor == 0 { head.removeAll() }
            if let violation = parseRequestLine(octets, to: end, limits: limits, into: &head) {
                return .invalid(violation)
            }
            if stage == .fields {
                if limits.dependOnHost, !head.targetParts.authority.isEmpty {
                    asksForLimits = true
                    return .incomplete
                }
            } else {
                guard octets.count >= maxHead else { return .incomplete }
                return .invalid(stage == .emptyLines ? .headTooLarge : .requestLineTooLong)
            }
        }
        let rules = FieldRules(maxLine: limits.maxFieldLine, allowsBareLineFeed: true)
        while true {
            switch fields.next(octets, to: end, base: start, rules: rules) {
            case .incomplete:
                return octets.count < maxHead ? .incomplete : .invalid(.headTooLarge)
            case .field(let field):
                guard head.fields.count < limits.maxFields else { return .invalid(.headTooLarge) }
                if let violation = add(field, octets, into: &head) { return .invalid(violation) }
                if limits.dependOnHost, field.id == .host, head.targetParts.authority.isEmpty {
                    asksForLimits = true
                    return .incomplete
                }
            case .end:
                if let violation = finish(&head) {
                    sawEnd = true
                    return .invalid(violation)
                }
                head.bytes.append(copying: octets, start..<fields.cursor)
                return .complete(length: fields.cursor)
            case .invalid(let violation):
                return .invalid(RequestViolation(violation))
            }
        }
    }

    /// Takes a head whose lines are known already, as `parse` would take its bytes, but without looking for the lines.
    ///
    /// - Parameters:
    ///   - bytes: the whole head; others on return, if it was taken.
    ///   - lines: where the fields stand in it, from the end of the request line to the empty line, one behind the
    ///     other: names of letters, digits and hyphens, and values that are not empty and without controls.
    ///   - limits: as in `parse`.
    ///   - head: gets it.
    /// - Returns: false when there is anything about it that `parse` has to look at; this is then as new.
    package mutating func take(
        _ bytes: inout [UInt8], lines: Span<FieldLine>, limits: Limits, into head: inout RequestHead
    ) -> Bool {
        guard bytes.count <= min(limits.maxHead, Int(Int32.max)), lines.count <= limits.maxFields else {
            return false
        }
        head.removeAll()
        let isTaken = note(bytes, lines, limits, into: &head)
        if isTaken { swap(&head.bytes, &bytes) } else { reset() }
        return isTaken
    }

    private mutating func note(
        _ bytes: [UInt8], _ lines: Span<FieldLine>, _ limits: Limits, into head: inout RequestHead
    ) -> Bool {
        let octets = bytes.span
        guard parseRequestLine(octets, to: octets.count, limits: limits, into: &head) == nil,
            stage == .fields, start == 0
        else { return false }
        var end = cursor
        for index in 0..<lines.count {
            let line = lines[index]
            guard Int(line.nameStart) == end, line.value.upperBound &- end <= limits.maxFieldLine,
                add(line, octets, into: &head) == nil
            else { return false }
            end = line.value.upperBound &+ 2
        }
        return end &+ 2 == octets.count && finish(&head) == nil
    }

    // MARK: Request line

    private mutating func parseRequestLine(
        _ input: Span<UInt8>, to end: Int, limits: Limits, into head: inout RequestHead
    ) -> RequestViolation? {
        while cursor < end {
            switch stage {
            case .emptyLines:
                // RFC 9112 §2.2: empty lines before a request line are ignored.
                let byte = input[cursor]
                if byte == .lineFeed {
                    cursor &+= 1
                } else if byte == .carriageReturn {
                    guard cursor &+ 1 < end else { return nil }
                    guard input[cursor &+ 1] == .lineFeed else { return .bareCarriageReturn }
                    cursor &+= 2
                } else {
                    start = cursor
                    stage = .method
                }
            case .method:
                while cursor < end, ByteSet.method.contains(input[cursor]) { cursor &+= 1 }
                guard cursor < end else { break }
                if isOverlong(limits) { return .requestLineTooLong }
                let byte = input[cursor]
                guard byte == .space, cursor > start else {
                    return byte == .carriageReturn || byte == .lineFeed ? .invalidRequestLine : .invalidMethod
                }
                head.method = 0..<(cursor &- start)
                begin(.target)
            case .target:
                cursor = input.firstControl(from: cursor, to: end, below: 0x21)
                guard cursor < end else { break }
                if isOverlong(limits) { return .requestLineTooLong }
                let byte = input[cursor]
                guard byte == .space, cursor > partStart else {
                    let isLineEnd = byte == .carriageReturn || byte == .lineFeed || byte == .space
                    return isLineEnd ? .invalidRequestLine : .invalidTarget
                }
                head.target = (partStart &- start)..<(cursor &- start)
                begin(.version)
            case .version:
                switch parseVersion(input, to: end, limits: limits, into: &head) {
                case .incomplete: return isOverlong(limits) ? .requestLineTooLong : nil
                case .invalid(let violation): return violation
                case .complete: return finishRequestLine(input, into: &head)
                }
            case .fields:
                return nil
            }
        }
        return stage != .emptyLines && isOverlong(limits) ? .requestLineTooLong : nil
    }

    private mutating func begin(_ next: Stage) {
        cursor &+= 1
        partStart = cursor
        stage = next
    }

    private func isOverlong(_ limits: Limits) -> Bool { cursor &- start > limits.maxRequestLine }

    /// Steps over `HTTP/1.x` and the end of the line; `complete` then, its length having no meaning.
    private mutating func parseVersion(
        _ input: Span<UInt8>, to end: Int, limits: Limits, into head: inout RequestHead
    ) -> HeadProgress<RequestViolation> {
        if cursor == partStart, cursor &+ 10 <= end, input.word(at: cursor) == Self.http1_1,
            input[cursor &+ 8] == .carriageReturn, input[cursor &+ 9] == .lineFeed,
            cursor &+ 8 &- start <= limits.maxRequestLine
        {
            // The rest of nearly every request line.
            head.version = .v1_1
            cursor &+= 10
            return .complete(length: cursor)
        }
        while cursor < end {
            if isOverlong(limits) { return .invalid(.requestLineTooLong) }
            let byte = input[cursor]
            switch cursor &- partStart {
            case let index where index < 5:
                guard byte == Self.versionPrefix[index] else {
                    // A space or a line end here means another number of parts.
                    let isLineShape = byte == .space || byte == .carriageReturn || byte == .lineFeed
                    return .invalid(isLineShape ? .invalidRequestLine : .invalidVersion)
                }
            case 5:
                guard byte.isDigit, byte != UInt8(ascii: "0") else { return .invalid(.invalidVersion) }
                isOtherMajor = byte != UInt8(ascii: "1")
            case 6:
                guard byte == UInt8(ascii: ".") else {
                    return .invalid(isOtherMajor ? .unsupportedVersion : .invalidVersion)
                }
            case 7:
                guard byte.isDigit else { return .invalid(.invalidVersion) }
                if isOtherMajor { return .invalid(.unsupportedVersion) }
                head.version = byte == UInt8(ascii: "0") ? .v1_0 : .v1_1
            default:
                if byte == .carriageReturn {
                    guard cursor &+ 1 < end else { return .incomplete }
                    guard input[cursor &+ 1] == .lineFeed else { return .invalid(.bareCarriageReturn) }
                    cursor &+= 2
                } else if byte == .lineFeed {
                    cursor &+= 1
                } else {
                    return .invalid(byte == .space ? .invalidRequestLine : .invalidVersion)
                }
                return .complete(length: cursor)
            }
            cursor &+= 1
        }
        return .incomplete
    }

    private var isOtherMajor = false
    /// `HTTP/1.1`, its first byte lowest.
    private static let http1_1: UInt64 = 0x312e_312f_5054_5448
    private static let versionPrefix: InlineArray<5, UInt8> = [0x48, 0x54, 0x54, 0x50, 0x2f]

    private mutating func finishRequestLine(
        _ input: Span<UInt8>, into head: inout RequestHead
    ) -> RequestViolation? {
        let target = head.target.shifted(by: start)
        guard var parts = RequestTarget(input, target, method: head.method.shifted(by: start)) else {
            return .invalidTarget
        }
        parts.shift(by: -start)
        head.targetParts = parts
        fields = FieldSectionScanner(at: cursor)
        stage = .fields
        return nil
    }

    // MARK: Fields

    /// A field that a head is refused for is among its fields, too, unless there is another of its name: logs may show its
    /// value.
    @inline(__always)
    private mutating func add(
        _ field: FieldLine, _ input: Span<UInt8>, into head: inout RequestHead
    ) -> RequestViolation? {
        let index = head.fields.count
        head.fields.append(field)
        switch field.id {
        case .host:
            guard head.hostIndex < 0 else {
                head.fields.removeLast()
                return .repeatedHost
            }
            guard Authority.isValid(input, field.value.shifted(by: start)) else { return .invalidHost }
            head.hostIndex = index
        case .upgrade:
            if head.upgradeIndex < 0 { head.upgradeIndex = index }
        case .authorization, .ifModifiedSince, .ifUnmodifiedSince, .ifMatch, .ifNoneMatch, .ifRange:
            return violation(ofRepeated: field.id, at: index, in: &head)
        case .expect:
            if let violation = violation(ofRepeated: .expect, at: index, in: &head) { return violation }
            if Names.continue100.matches(input, field.value.shifted(by: start)) { hasExpectation = true }
        case .contentLength, .transferEncoding, .connection:
            if field.id == .connection, head.connectionIndex < 0 { head.connectionIndex = index }
            guard let violation = framing.note(field, input, base: start) else { return nil }
            if head.firstIndex(of: field.id) != index { head.fields.removeLast() }
            return RequestViolation(violation)
        default:
            break
        }
        return nil
    }

    /// As nginx, takes no second one of fields that have one value: whoever looks at the request next may look at the other.
    private func violation(
        ofRepeated id: FieldID, at index: Int, in head: inout RequestHead
    ) -> RequestViolation? {
        guard head.firstIndex(of: id) != index else { return nil }
        head.fields.removeLast()
        return .repeatedField
    }

    private func finish(_ head: inout RequestHead) -> RequestViolation? {
        // RFC 9112 §3.2
        if head.hostIndex < 0, head.version >= .v1_1 { return .missingHost }
        if let violation = framing.violation(version: head.version) { return RequestViolation(violation) }
        if framing.transferCoding == .chunked {
            head.framing = .chunked
        } else if framing.contentLength >= 0 {
            head.framing = .length(framing.contentLength)
        }
        head.wantsKeepAlive = framing.keepsAlive(version: head.version)
        head.connectionHasUpgrade = framing.hasUpgrade
        head.expectsContinue = hasExpectation && head.version >= .v1_1 && head.framing.hasBody
        return nil
    }
}

extension RequestViolation {
    fileprivate init(_ violation: FieldViolation) {
        self =
            switch violation {
            case .bareCarriageReturn, .bareLineFeed: .bareCarriageReturn
            case .invalidName: .invalidFieldName
            case .invalidValue: .invalidFieldValue
            case .spaceBeforeColon: .spaceBeforeColon
            case .obsoleteFolding: .obsoleteFolding
            case .lineTooLong: .fieldLineTooLong
            }
    }

    fileprivate init(_ violation: FramingFields.Violation) {
        self =
            switch violation {
            case .invalidContentLength: .invalidContentLength
            case .conflictingContentLength: .conflictingContentLength
            case .invalidTransferEncoding: .invalidTransferEncoding
            case .unknownTransferCoding: .unknownTransferCoding
            case .contentLengthWithTransferEncoding: .contentLengthWithTransferEncoding
            case .transferEncodingInHTTP1_0: .transferEncodingInHTTP1_0
            }
    }
}
