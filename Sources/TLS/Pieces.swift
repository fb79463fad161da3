/// Bytes of up to three pieces, one after the other.
struct Pieces: ~Escapable {
    private var first: Span<UInt8>
    private var second: Span<UInt8>
    private var third: Span<UInt8>

    @_lifetime(copy first, copy second, copy third)
    init(_ first: Span<UInt8>, _ second: Span<UInt8>, _ third: Span<UInt8>) {
        self.first = first
        self.second = second
        self.third = third
    }

    var count: Int { first.count + second.count + third.count }

    @_lifetime(self: copy self)
    mutating func skip(_ count: Int) {
        var rest = count
        let ofFirst = min(rest, first.count)
        first = first.extracting(ofFirst...)
        rest -= ofFirst
        let ofSecond = min(rest, second.count)
        second = second.extracting(ofSecond...)
        rest -= ofSecond
        third = third.extracting(min(rest, third.count)...)
    }

    /// Calls `body` with the next `size` bytes, which are put together where they are of several pieces.
    func withNext(_ size: Int, gatheredIn scratch: TLSScratch, _ body: (Span<UInt8>) -> Int) -> Int {
        if first.count >= size { return body(first.extracting(..<size)) }
        if first.isEmpty, second.count >= size { return body(second.extracting(..<size)) }
        if first.isEmpty, second.isEmpty { return body(third.extracting(..<size)) }
        var gathered = scratch.pieces
        scratch.pieces = []
        gathered.removeAll(keepingCapacity: true)
        append(first, upTo: size, to: &gathered)
        append(second, upTo: size, to: &gathered)
        append(third, upTo: size, to: &gathered)
        let result = body(gathered.span)
        scratch.pieces = gathered
        return result
    }

    private func append(_ piece: Span<UInt8>, upTo size: Int, to gathered: inout [UInt8]) {
        let count = min(piece.count, size - gathered.count)
        // The bytes are used during the call alone.
        if count > 0 {
            unsafe piece.extracting(..<count).withUnsafeBufferPointer {
                unsafe gathered.append(contentsOf: $0)
            }
        }
    }
}
