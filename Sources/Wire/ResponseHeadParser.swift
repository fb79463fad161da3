/// Reads a response head out of a growing input, strictly by RFC 9112; the counterpart of
/// `RequestHeadParser`.
package struct ResponseHeadParser: Sendable {
    private enum Stage { case version, status, reason, fields }

    private var stage = Stage.version
    private var cursor = 0
    private var partStart = 0
    private var fields = FieldSectionScanner()
    private var framing = FramingFields()

    package init() {}

    /// Where the line stands in the `input` that a head is refused for, or what there is of it, if it is that of a field.
    package func fault(_ violation: ResponseViolation, in input: Span<UInt8>) -> Range<Int> {
        guard stage == .fields else { return .empty }
        switch violation {
        case .invalidFieldName, .invalidFieldValue, .spaceBeforeColon, .obsoleteFolding, .bareCarriageReturn:
            return fields.faultyLine(in: input, isWhole: false)
        case .invalidContentLength, .conflictingContentLength:
            return fields.faultyLine(in: input, isWhole: true)
        default: return .empty
        }
    }

    package mutating func reset() { self = ResponseHeadParser() }

    /// Parses as far as `input` goes, which is the head from its first byte. `head` is whole on `.complete`
    /// and only then; hand in the same one until then.
    ///
    /// With `isHead` the request was a HEAD, so no body follows whatever the fields say. `maxHead` bounds the
    /// bytes up to and with the empty line.
    package mutating func parse(
        _ input: RawSpan, isHead: Bool, maxHead: Int, into head: inout ResponseHead
    ) -> HeadProgress<ResponseViolation> {
        let octets = input.octets
        // Positions are kept in 32 bits.
        let maxHead = min(maxHead, Int(Int32.max))
        let end = min(octets.count, maxHead)
        if stage != .fields {
            if stage == .version, cursor == 0 { head.removeAll() }
            if let violation = parseStatusLine(octets, to: end, into: &head) { return .invalid(violation) }
            guard stage == .fields else {
                return octets.count < maxHead ? .incomplete : .invalid(.headTooLarge)
            }
        }
        let rules = FieldRules(maxLine: .max, allowsBareLineFeed: true)
        while true {
            switch fields.next(octets, to: end, base: 0, rules: rules) {
            case .incomplete:
                return octets.count < maxHead ? .incomplete : .invalid(.headTooLarge)
            case .field(let field):
                switch field.id {
                case .upgrade:
                    if head.upgradeIndex < 0 { head.upgradeIndex = head.fields.count }
                case .contentLength, .transferEncoding, .connection:
                    if field.id == .connection, head.connectionIndex < 0 {
                        head.connectionIndex = head.fields.count
                    }
                    if let violation = framing.note(field, octets, base: 0) {
                        return .invalid(ResponseViolation(violation))
                    }
                case .xAccel: head.hasAccelFields = true
                default: break
                }
                head.fields.append(field)
            case .end:
                if let violation = framing.violation(version: head.version) {
                    return .invalid(ResponseViolation(violation))
                }
                finish(&head, isHead: isHead)
                head.bytes.append(copying: octets, 0..<fields.cursor)
                return .complete(length: fields.cursor)
            case .invalid(let violation):
                return .invalid(ResponseViolation(violation))
            }
        }
    }

    // MARK: Status line

    private mutating func parseStatusLine(
        _ input: Span<UInt8>, to end: Int, into head: inout ResponseHead
    ) -> ResponseViolation? {
        if cursor == 0, end > 8, input.word(at: 0) == Self.http1_1, input[8] == .space {
            // How nearly every response begins.
            head.version = .v1_1
            cursor = 9
            partStart = 9
            stage = .status
        }
        while cursor < end {
            let byte = input[cursor]
            let index = cursor &- partStart
            switch stage {
            case .version:
                // `HTTP/1.` DIGIT SP
                switch index {
                case 0..<5: guard byte == Self.version[index] else { return .invalidStatusLine }
                case 5, 6: guard byte == Self.version[index] else { return .unsupportedVersion }
                case 7:
                    guard byte.isDigit else { return .invalidStatusLine }
                    head.version = byte == UInt8(ascii: "0") ? .v1_0 : .v1_1
                default:
                    guard byte == .space else { return .invalidStatusLine }
                    partStart = cursor &+ 1
                    stage = .status
                }
                cursor &+= 1
            case .status:
                if index < 3 {
                    guard byte.isDigit else { return .invalidStatus }
                    head.status = head.status &* 10 &+ Int(byte &- 0x30)
                    cursor &+= 1
                } else {
                    guard head.status >= 100 else { return .invalidStatus }
                    // The reason may be missing, and its space with it, as servers do it.
                    guard byte == .space || byte == .carriageReturn || byte == .lineFeed else {
                        return .invalidStatus
                    }
                    if byte == .space { cursor &+= 1 }
                    partStart = cursor
                    stage = .reason
                }
            case .reason:
                cursor = input.firstControl(from: cursor, to: end, below: 0x20)
                guard cursor < end else { return nil }
                let reasonEnd = cursor
                switch input[cursor] {
                case .tab:
                    cursor &+= 1
                    continue
                case .lineFeed:
                    cursor &+= 1
                case .carriageReturn:
                    guard cursor &+ 1 < end else { return nil }
                    guard input[cursor &+ 1] == .lineFeed else { return .bareCarriageReturn }
                    cursor &+= 2
                default:
                    return .invalidStatusLine
                }
                head.reason = partStart..<reasonEnd
                fields = FieldSectionScanner(at: cursor)
                stage = .fields
                return nil
            case .fields:
                return nil
            }
        }
        return nil
    }

    /// `HTTP/1.1`, its first byte lowest.
    private static let http1_1: UInt64 = 0x312e_312f_5054_5448
    private static let version: InlineArray<7, UInt8> = [0x48, 0x54, 0x54, 0x50, 0x2f, 0x31, 0x2e]

    /// RFC 9112 §6.3
    private func finish(_ head: inout ResponseHead, isHead: Bool) {
        let announcesBody = framing.transferCoding == .chunked || framing.contentLength > 0
        head.wantsKeepAlive = framing.keepsAlive(version: head.version)
        head.connectionHasUpgrade = framing.hasUpgrade
        if head.status < 200 || head.status == 204 {
            // RFC 9110 §8.6, RFC 9112 §6.1: such a response must announce no body.
            head.framing = .none
            if announcesBody { head.wantsKeepAlive = false }
        } else if isHead || head.status == 304 {
            head.framing = .none
        } else if framing.transferCoding == .chunked {
            head.framing = .chunked
        } else if framing.contentLength >= 0 {
            head.framing = .length(framing.contentLength)
        } else {
            head.framing = .untilClose
            head.wantsKeepAlive = false
        }
    }
}

extension ResponseViolation {
    fileprivate init(_ violation: FieldViolation) {
        self =
            switch violation {
            case .bareCarriageReturn, .bareLineFeed: .bareCarriageReturn
            case .invalidName: .invalidFieldName
            case .invalidValue: .invalidFieldValue
            case .spaceBeforeColon: .spaceBeforeColon
            case .obsoleteFolding: .obsoleteFolding
            case .lineTooLong: .headTooLarge
            }
    }

    fileprivate init(_ violation: FramingFields.Violation) {
        self =
            switch violation {
            case .invalidContentLength: .invalidContentLength
            case .conflictingContentLength: .conflictingContentLength
            case .invalidTransferEncoding, .unknownTransferCoding: .invalidTransferEncoding
            case .contentLengthWithTransferEncoding: .contentLengthWithTransferEncoding
            case .transferEncodingInHTTP1_0: .transferEncodingInHTTP1_0
            }
    }
}
