/// Collects, field by field, what a head says about its body and its connection.
struct FramingFields: Sendable {
    enum Violation {
        case invalidContentLength, conflictingContentLength, invalidTransferEncoding, unknownTransferCoding
        case contentLengthWithTransferEncoding, transferEncodingInHTTP1_0
    }

    enum TransferCoding { case absent, chunked, unknown, invalid }

    private(set) var contentLength: Int64 = -1
    private(set) var transferCoding = TransferCoding.absent
    private(set) var hasClose = false
    private(set) var hasKeepAlive = false
    private(set) var hasUpgrade = false

    /// Takes in one field of the head that starts at `base` in `input`; those that concern neither body nor
    /// connection are left aside.
    @inline(__always)
    mutating func note(_ field: FieldLine, _ input: Span<UInt8>, base: Int) -> Violation? {
        switch field.id {
        case .contentLength: noteContentLength(field.value.shifted(by: base), input)
        case .transferEncoding: noteTransferEncoding(field.value.shifted(by: base), input)
        case .connection: noteConnection(field.value.shifted(by: base), input)
        default: nil
        }
    }

    /// Decides between the two ways to delimit a body; where they speak against each other, nothing is
    /// decided but the refusal (RFC 9112 §6.3, where this is the strict reading of rules 3 to 5).
    func violation(version: HTTPVersion) -> Violation? {
        guard transferCoding != .absent else { return nil }
        if version < .v1_1 { return .transferEncodingInHTTP1_0 }
        if contentLength >= 0 { return .contentLengthWithTransferEncoding }
        return switch transferCoding {
        case .absent, .chunked: nil
        case .unknown: .unknownTransferCoding
        case .invalid: .invalidTransferEncoding
        }
    }

    func keepsAlive(version: HTTPVersion) -> Bool {
        !hasClose && (version >= .v1_1 || hasKeepAlive)
    }

    private mutating func noteContentLength(_ value: Range<Int>, _ input: Span<UInt8>) -> Violation? {
        // Repetitions are refused even if they agree, as nginx refuses them: no sender needs them.
        guard contentLength < 0 else { return .conflictingContentLength }
        guard let length = ASCII.decimal(input, value) else { return .invalidContentLength }
        contentLength = length
        return nil
    }

    private mutating func noteTransferEncoding(_ value: Range<Int>, _ input: Span<UInt8>) -> Violation? {
        guard transferCoding == .absent else { return .invalidTransferEncoding }
        if Names.chunked.matches(input, value) {
            transferCoding = .chunked
            return nil
        }
        // Anything else is refused; what is left is whether a coding is unknown (501) or the list wrong
        // (400).
        transferCoding = .invalid
        var elements = ListElements(value)
        while let element = elements.next(input) {
            let name = ListElements.name(of: element, in: input)
            if !Names.chunked.matches(input, name) {
                transferCoding = isToken(input, name) ? .unknown : .invalid
                if transferCoding == .invalid { break }
            }
        }
        return nil
    }

    private mutating func noteConnection(_ value: Range<Int>, _ input: Span<UInt8>) -> Violation? {
        var options = ListElements(value)
        while let option = options.next(input) {
            switch option.count {
            case Names.close.length: hasClose = hasClose || Names.close.matches(input, option)
            case Names.upgrade.length: hasUpgrade = hasUpgrade || Names.upgrade.matches(input, option)
            case Names.keepAlive.length: hasKeepAlive = hasKeepAlive || Names.keepAlive.matches(input, option)
            default: break
            }
        }
        return nil
    }
}

/// Words that field values are compared with.
enum Names {
    static let chunked: Keyword = "chunked"
    static let close: Keyword = "close"
    static let keepAlive: Keyword = "keep-alive"
    static let upgrade: Keyword = "upgrade"
    static let continue100: Keyword = "100-continue"
    static let websocket: Keyword = "websocket"
}

extension Range<Int> {
    @inline(__always)
    func shifted(by offset: Int) -> Range<Int> { (lowerBound &+ offset)..<(upperBound &+ offset) }
}
