import Wire

/// What is inflated does not depend on the cuts and keeps to its limit, and what is deflated comes back.
///
/// The first byte says how: bits 0...2 the window (9 bits and more), bit 3 whether messages refer to those before, and
/// the rest the level and where the input is cut into two messages.
enum DeflateTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        guard let mode = input.first else { return }
        let bytes = Array(input.dropFirst())
        var choices = Choices(input)
        let windowBits = 9 + Int(mode & 7) % 7
        let keepsContext = mode & 8 != 0
        let limit = choices.oneIn(2) ? 1 << 16 : choices.below(300)
        let cut = choices.cut(bytes.count)
        let pool = DeflatePool()
        let whole = inflate([bytes[...]], windowBits, keepsContext, limit, pool)
        let parts = inflate([bytes[..<cut], bytes[cut...]], windowBits, keepsContext, limit, pool)
        check(
            whole.isSame(as: parts, windowBits: windowBits),
            "cut at \(cut) it is \(parts.outcome), whole \(whole.outcome)")
        let single = inflate(bytes.indices.map { bytes[$0...$0] }, windowBits, keepsContext, limit, pool)
        check(
            bytes.count > 500 || whole.isSame(as: single, windowBits: windowBits),
            "byte by byte it is \(single.outcome)")
        check(whole.output.count <= limit, "\(whole.output.count) bytes where \(limit) are allowed")
        roundTrip([Array(bytes[..<cut]), Array(bytes[cut...]), bytes], mode, windowBits, keepsContext, pool)
    }

    private struct Result {
        var output: [UInt8] = []
        var outcome = WebSocketInflater.Outcome.ok

        /// How much came out before a failure does not matter. Nor does it whether zlib notices that data refer to what is
        /// beyond the window: it does so only where that is no longer in the buffer that it writes to.
        func isSame(as other: Result, windowBits: Int) -> Bool {
            if outcome == .ok, other.outcome == .ok { return output == other.output }
            let isNoticed = outcome == .corrupt || other.outcome == .corrupt
            return outcome == other.outcome || isNoticed && windowBits < 15
        }
    }

    /// The input as one message's payload, and again as another's.
    private static func inflate(
        _ pieces: [ArraySlice<UInt8>], _ windowBits: Int, _ keepsContext: Bool, _ limit: Int,
        _ pool: DeflatePool
    ) -> Result {
        let inflater = WebSocketInflater(windowBits: windowBits, keepsContext: keepsContext, pool: pool)
        var result = Result()
        for piece in pieces where result.outcome == .ok {
            result.outcome = inflater.append(Array(piece).span, to: &result.output, limit: limit)
        }
        if result.outcome == .ok { result.outcome = inflater.endMessage(to: &result.output, limit: limit) }
        guard result.outcome == .ok else {
            var more: [UInt8] = []
            check(
                inflater.append([0, 0].span, to: &more, limit: limit) == result.outcome,
                "a failure that passes")
            check(inflater.memory == 0, "memory that is kept behind a failure")
            return result
        }
        var again: [UInt8] = []
        if inflater.append(Array(pieces.joined()).span, to: &again, limit: limit) == .ok,
            inflater.endMessage(to: &again, limit: limit) == .ok, !keepsContext
        {
            check(again == result.output, "without context, the second message is another")
        }
        check(keepsContext || inflater.memory == 0, "memory that is kept between messages")
        return result
    }

    private static func roundTrip(
        _ messages: [[UInt8]], _ mode: UInt8, _ windowBits: Int, _ keepsContext: Bool, _ pool: DeflatePool
    ) {
        guard
            let deflater = WebSocketDeflater(
                windowBits: windowBits, keepsContext: keepsContext, level: 1 + Int(mode >> 4) % 9,
                memoryLevel: 1 + Int(mode >> 4) % 9, pool: pool)
        else { return check(false, "no deflater for \(windowBits) bits") }
        let inflater = WebSocketInflater(windowBits: windowBits, keepsContext: keepsContext, pool: pool)
        for message in messages {
            var deflated: [UInt8] = []
            let middle = message.count / 2
            deflater.append(piece: message.span.extracting(0..<middle), isLast: false, to: &deflated)
            deflater.append(
                piece: message.span.extracting(middle..<message.count), isLast: true, to: &deflated)
            var inflated: [UInt8] = []
            check(
                inflater.append(deflated.span, to: &inflated, limit: message.count) == .ok
                    && inflater.endMessage(to: &inflated, limit: message.count) == .ok,
                "what was deflated is not taken")
            check(inflated == message, "what was deflated comes back as another message")
        }
    }
}
