internal import Wire

/// An offer to change the protocol as it went to the upstream, kept until the answer is checked against it.
package struct SentUpgrade: Sendable {
    /// The head that was sent, read back: the configuration may have changed any of its fields.
    let head: RequestHead

    /// Reads the head that was made for the upstream, which stands in `bytes` from `start` to the end. `nil` when
    /// it has no `Upgrade` or no `Connection: upgrade`, so offers nothing, or is one that no server would read.
    init?(head bytes: [UInt8], from start: Int) {
        var head = RequestHead()
        head.fields.reserveCapacity(32)
        var parser = RequestHeadParser()
        var limits = RequestHeadParser.Limits()
        limits.maxHead = max(limits.maxHead, bytes.count)
        limits.maxFieldLine = limits.maxHead
        limits.maxRequestLine = limits.maxHead
        let input = RawSpan(_elements: bytes.span.extracting(start..<bytes.count))
        guard case .complete = parser.parse(input, limits: limits, into: &head),
            head.upgradeIndex >= 0, head.connectionHasUpgrade
        else { return nil }
        self.head = head
    }

    /// Whether the protocol in `bytes[range]` was among those offered.
    func offers(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
        for field in head.fields where field.id == .upgrade {
            var offered = ListElements(field)
            while let element = offered.next(head.bytes.span) {
                let (a, b) = (bytes.span.extracting(range), head.bytes.span.extracting(element))
                if ASCII.equalIgnoringCase(a, b) { return true }
            }
        }
        return false
    }
}
