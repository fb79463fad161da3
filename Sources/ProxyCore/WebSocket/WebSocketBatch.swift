internal import Wire

/// What becomes of one piece of input: parts of it go on where they lie, others are left out, and what is written anew
/// comes in between.
struct WebSocketBatch: ~Copyable {
    /// What goes out before the input from `start` on.
    var out: [UInt8] = []
    private var start = 0

    init() {}

    init(_ commons: WebSocketCommons) { out = commons.takeBuffer() }

    /// Sees to it that `out` has room from the worker's.
    @inline(__always)
    mutating func prepare(_ commons: WebSocketCommons) {
        if out.capacity == 0 { out = commons.takeBuffer() }
    }

    /// Takes what goes on up to `end` into `out`, so that something can be appended behind it.
    mutating func gather(
        _ bytes: Span<UInt8>, upTo end: Int, for plane: WebSocketPlane, _ side: TunnelSide
    ) {
        guard end > start else { return }
        let range = start..<end
        start = end
        guard !plane.isMute(side.other) else { return }
        if range.count >= WebSocketCommons.directSize {
            plane.transmit(out.span, then: bytes.extracting(range), to: side.other)
            out.clear()
        } else {
            prepare(plane.commons)
            out.append(copying: bytes, range)
        }
    }

    /// Leaves `range` out.
    @inline(__always)
    mutating func exclude(
        _ range: Range<Int>, _ bytes: Span<UInt8>, for plane: WebSocketPlane, _ side: TunnelSide
    ) {
        if start < range.lowerBound { gather(bytes, upTo: range.lowerBound, for: plane, side) }
        start = range.upperBound
    }

    /// Takes all that goes on of `bytes`; other input may follow.
    mutating func close(
        _ bytes: Span<UInt8>, upTo end: Int, for plane: WebSocketPlane, _ side: TunnelSide
    ) {
        gather(bytes, upTo: end, for: plane, side)
        start = 0
    }

    /// Sends everything, with one call.
    consuming func finish(
        _ bytes: Span<UInt8>, upTo end: Int, for plane: WebSocketPlane, _ side: TunnelSide
    ) {
        let rest = start < end && !plane.isMute(side.other) ? start..<end : 0..<0
        if !out.isEmpty || !rest.isEmpty {
            plane.transmit(out.span, then: bytes.extracting(rest), to: side.other)
        }
        if out.capacity > 0 { plane.commons.giveBack(&out) }
    }
}
