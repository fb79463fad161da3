/// Deflates short records (RFC 1951), each by itself: what a record has in common with a sample is referred to there.
///
/// Takes 44 KB, however much it has deflated.
package final class RecordDeflater {
    private let deflate = ZlibStream(.deflate(windowBits: windowBits, level: 6, memoryLevel: 4))
    private let inflate = ZlibStream(.inflate(windowBits: windowBits))

    /// As far as references go back.
    private static let windowBits = 12
    /// RFC 1951 §3.2.4: the empty block that a flush ends with.
    private static let flushEnd: [UInt8] = [0, 0, 0xff, 0xff]

    package init() {}

    package func append(deflating record: Span<UInt8>, after sample: Span<UInt8>, to output: inout [UInt8]) {
        deflate.reset()
        deflate.setDictionary(sample)
        deflate.deflate(record, flushes: true, to: &output)
        if output.suffix(Self.flushEnd.count).elementsEqual(Self.flushEnd) {
            output.removeLast(Self.flushEnd.count)
        }
    }

    /// Appends the record that was deflated to `bytes` after the same sample.
    package func append(inflating bytes: Span<UInt8>, after sample: Span<UInt8>, to output: inout [UInt8]) {
        inflate.reset()
        inflate.setDictionary(sample)
        var position = 0
        _ = inflate.inflate(bytes, from: &position, to: &output, limit: .max)
        position = 0
        _ = inflate.inflate(Self.flushEnd.span, from: &position, to: &output, limit: .max)
    }
}
