internal import Wire

/// Bytes that wait to be looked at, in the order in which they came.
///
/// What is taken of them is stepped over, and the rest moves to the front only where it is shorter than that: hooks may
/// wait with each of thousands of small messages, for which the rest would otherwise be moved as often.
struct WebSocketHeld {
    private(set) var bytes: [UInt8] = []
    private var start = 0
    /// What stands in front of this position in `bytes` has been searched for answers to pings.
    private var searched = 0

    var count: Int { bytes.count &- start }
    var isEmpty: Bool { bytes.count == start }
    var first: UInt8? { isEmpty ? nil : bytes[start] }

    var span: Span<UInt8> {
        @_lifetime(borrow self)
        get { bytes.span.extracting(start...) }
    }

    mutating func append(_ more: Span<UInt8>) { bytes.append(copying: more, more.indices) }

    mutating func append(_ more: consuming WebSocketHeld) {
        if isEmpty { self = more } else { append(more.span) }
    }

    /// Leaves it empty.
    mutating func take() -> WebSocketHeld {
        let taken = self
        self = WebSocketHeld()
        return taken
    }

    /// Steps over this many.
    mutating func dropFirst(_ count: Int) {
        start &+= count
        guard start < bytes.count else { return self = WebSocketHeld() }
        guard start > bytes.count / 2 else { return }
        bytes.removeSubrange(..<start)
        searched = max(0, searched &- start)
        start = 0
    }

    /// How many of them have been searched for answers to pings.
    var searchedCount: Int {
        get { max(0, searched &- start) }
        set { searched = start &+ newValue }
    }

    /// Leaves some out that have been searched, or whatever is searched next. What is shorter moves, that in front of them or
    /// that behind.
    mutating func remove(_ range: Range<Int>) {
        let (lower, upper) = (start &+ range.lowerBound, start &+ range.upperBound)
        guard range.lowerBound < bytes.count &- upper else {
            bytes.removeSubrange(lower..<upper)
            return searchedCount = range.lowerBound
        }
        var (from, to) = (lower, upper)
        while from > start {
            from &-= 1
            to &-= 1
            bytes[to] = bytes[from]
        }
        searched = upper
        dropFirst(range.count)
    }
}
