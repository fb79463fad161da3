/// Finds the end of a message body in a stream of bytes, and the payload in it.
///
/// Holds no bytes but a trailer section's: it says which range of the input is payload, so that the caller
/// can send that range on from where it lies. Chunk framing is removed here and made anew by
/// `ChunkedEncoding` where the other leg needs it.
package struct BodyDecoder: Sendable {
    package enum Event: Sendable, Equatable {
        /// All of the input is used up; more is needed.
        case needsMore
        /// Payload at this range of the input. Call again from its `upperBound` on.
        case payload(Range<Int>)
        /// The body ended in front of position `consumed` of the input, its trailer section included; what
        /// follows is the next message.
        case end(consumed: Int)
        /// The body is broken; every later call says the same.
        case invalid(BodyViolation)
    }

    private enum State {
        case sized(remaining: Int64)
        case untilClose
        case chunked(ChunkStage)
        case ended
        case failed(BodyViolation)
    }

    /// RFC 9112 §7.1, in the order of the bytes.
    private enum ChunkStage {
        case size(digits: Int, value: Int64)
        /// Blanks behind the size, which only an extension may follow.
        case blank(value: Int64)
        case extensions(value: Int64)
        case sizeLineFeed(value: Int64)
        case data(remaining: Int64)
        case dataCarriageReturn
        case dataLineFeed
        case trailers
    }

    /// Trailer fields, once `end` was returned; `bytes` holds their lines. `nil` when there are none.
    package private(set) var trailers: TrailerSection?
    /// Payload bytes seen so far.
    package private(set) var payloadBytes: Int64 = 0

    /// Whether nothing of the body is missing any more. Stored, because reading it copies nothing then.
    package private(set) var isComplete = false

    private var state: State
    private var trailerScanner = FieldSectionScanner()
    private var extensionBytesOfChunk = 0
    private var extensionBytes: Int64 = 0

    package init(_ framing: BodyFraming) {
        state =
            switch framing {
            case .none: .ended
            case .length(let length): length > 0 ? .sized(remaining: length) : .ended
            case .chunked: .chunked(.size(digits: 0, value: 0))
            case .untilClose: .untilClose
            }
        if case .ended = state { isComplete = true }
    }

    /// The connection ended. Whether that is a proper end of the body.
    package var endsWithConnection: Bool {
        switch state {
        case .ended, .untilClose: true
        case .sized, .chunked, .failed: false
        }
    }

    /// The next event in `input`, which is read from `offset` (0...count) on. Positions are those of `input`.
    package mutating func next(_ input: RawSpan, from offset: Int) -> Event {
        switch state {
        case .ended: return .end(consumed: offset)
        case .failed(let violation): return .invalid(violation)
        case .untilClose:
            guard offset < input.byteCount else { return .needsMore }
            return payload(offset..<input.byteCount)
        case .sized(let remaining):
            guard offset < input.byteCount else { return .needsMore }
            let count = Int(min(Int64(input.byteCount - offset), remaining))
            let left = remaining - Int64(count)
            state = left > 0 ? .sized(remaining: left) : .ended
            isComplete = left <= 0
            return payload(offset..<offset + count)
        case .chunked(let stage):
            return nextChunked(stage, input.octets, from: offset)
        }
    }

    /// What is wrong with the body as far as `input` goes, which is looked at and not read; `nil` also for one that was
    /// broken before.
    package func violation(ahead input: Span<UInt8>) -> BodyViolation? {
        if case .failed = state { return nil }
        var decoder = self
        var offset = 0
        while true {
            switch decoder.next(input.raw, from: offset) {
            case .payload(let range): offset = range.upperBound
            case .needsMore, .end: return nil
            case .invalid(let violation): return violation
            }
        }
    }

    private mutating func payload(_ range: Range<Int>) -> Event {
        payloadBytes &+= Int64(range.count)
        return .payload(range)
    }

    private mutating func fail(_ violation: BodyViolation) -> Event {
        state = .failed(violation)
        return .invalid(violation)
    }

    // MARK: Chunks

    private mutating func nextChunked(_ first: ChunkStage, _ input: Span<UInt8>, from offset: Int) -> Event {
        var stage = first
        var position = offset
        while position < input.count {
            let byte = input[position]
            switch stage {
            case .size(let digits, let value):
                if let digit = ASCII.hexadecimalDigit(byte) {
                    // Sixteen digits are enough for any size; more of them can only be zeros meant to
                    // confuse.
                    guard digits < 16, value <= Int64.max >> 4 else { return fail(.chunkSizeOverflow) }
                    stage = .size(digits: digits + 1, value: value << 4 | Int64(digit))
                } else {
                    guard digits > 0 else { return fail(.invalidChunkSize) }
                    extensionBytesOfChunk = 0
                    switch byte {
                    case .carriageReturn: stage = .sizeLineFeed(value: value)
                    case .lineFeed: return fail(.bareLineFeed)
                    case UInt8(ascii: ";"): stage = .extensions(value: value)
                    case .space, .tab: stage = .blank(value: value)
                    default: return fail(.invalidChunkSize)
                    }
                }
            case .blank(let value):
                guard countExtensionByte() else { return fail(.chunkExtensionTooLong) }
                if byte == UInt8(ascii: ";") {
                    stage = .extensions(value: value)
                } else if !byte.isBlank {
                    return fail(byte == .lineFeed ? .bareLineFeed : .invalidChunkSize)
                }
            case .extensions(let value):
                switch byte {
                case .carriageReturn: stage = .sizeLineFeed(value: value)
                case .lineFeed: return fail(.bareLineFeed)
                case .tab, 0x20..<0x7f, 0x80...0xff:
                    guard countExtensionByte() else { return fail(.chunkExtensionTooLong) }
                default: return fail(.invalidChunkSize)
                }
            case .sizeLineFeed(let value):
                guard byte == .lineFeed else { return fail(.bareCarriageReturn) }
                stage = value > 0 ? .data(remaining: value) : .trailers
            case .data(let remaining):
                let count = Int(min(Int64(input.count - position), remaining))
                let left = remaining - Int64(count)
                state = .chunked(left > 0 ? .data(remaining: left) : .dataCarriageReturn)
                return payload(position..<position + count)
            case .dataCarriageReturn:
                guard byte == .carriageReturn else {
                    return fail(byte == .lineFeed ? .bareLineFeed : .missingChunkEnd)
                }
                stage = .dataLineFeed
            case .dataLineFeed:
                guard byte == .lineFeed else { return fail(.bareCarriageReturn) }
                stage = .size(digits: 0, value: 0)
            case .trailers:
                return nextTrailer(input, from: position)
            }
            position &+= 1
        }
        state = .chunked(stage)
        return .needsMore
    }

    /// Bounds extensions, which are read and dropped: each chunk's, and all of them in proportion to the
    /// payload, lest a body of one-byte chunks makes us read hundreds of times what we send on.
    private mutating func countExtensionByte() -> Bool {
        extensionBytesOfChunk &+= 1
        extensionBytes &+= 1
        return extensionBytesOfChunk <= Self.maxChunkExtension
            && extensionBytes <= Self.freeExtensionBytes + payloadBytes
    }

    static let maxChunkExtension = 256
    static let freeExtensionBytes: Int64 = 16384

    // MARK: Trailers

    private mutating func nextTrailer(_ input: Span<UInt8>, from offset: Int) -> Event {
        var section = trailers ?? TrailerSection()
        trailers = nil
        let known = section.bytes.count
        let room = Self.maxTrailers - known
        let taken = min(room, input.count - offset)
        section.bytes.append(copying: input, offset..<offset + taken)
        let rules = FieldRules(maxLine: .max, allowsBareLineFeed: false)
        while true {
            switch trailerScanner.next(section.bytes.span, to: section.bytes.count, base: 0, rules: rules) {
            case .incomplete:
                guard taken < room else { return fail(.trailerTooLarge) }
                trailers = section
                state = .chunked(.trailers)
                return .needsMore
            case .field(let field):
                guard section.fields.count < Self.maxTrailerFields else { return fail(.trailerTooLarge) }
                if !TrailerSection.forbidden.contains(field.id) { section.fields.append(field) }
            case .end:
                state = .ended
                isComplete = true
                let consumed = offset + trailerScanner.cursor - known
                section.bytes.removeLast(section.bytes.count - trailerScanner.cursor)
                if !section.fields.isEmpty { trailers = section }
                return .end(consumed: consumed)
            case .invalid(let violation):
                return switch violation {
                case .bareLineFeed: fail(.bareLineFeed)
                case .bareCarriageReturn: fail(.bareCarriageReturn)
                case .lineTooLong: fail(.trailerTooLarge)
                case .invalidName, .invalidValue, .spaceBeforeColon, .obsoleteFolding: fail(.invalidTrailer)
                }
            }
        }
    }

    /// Bytes of a trailer section, and fields in it.
    package static let maxTrailers = 8192
    package static let maxTrailerFields = 100
}

package enum BodyViolation: String, Sendable, Error, CaseIterable {
    case invalidChunkSize, chunkSizeOverflow, chunkExtensionTooLong, missingChunkEnd, bareLineFeed
    case bareCarriageReturn, invalidTrailer, trailerTooLarge
}
