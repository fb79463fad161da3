/// Deflates short records (RFC 1951), each by itself: what a record has in common with a sample is referred to there.
///
/// Takes 44 KB, however much it has deflated.
package final class RecordDeflater {
    private let deflate = ZlibStream(.deflate(windowBits: windowBits, level: 6, memoryLevel: 4))
    private let inflate = ZlibStream(.inflate(windowBits: windowBits))

    /// As far as references go back.
    private static let windowBits = 12

    package init() {}

    package func append(deflating record: Span<UInt8>, after sample: Span<UInt8>, to output: inout [UInt8]) {
        deflate.reset()
        deflate.setDictionary(sample)
        deflate.deflate(record, flushes: true, to: &output)
        output.removeLast(ZlibStream.flushEnd.count)
    }

    /// Appends the record that was deflated to `bytes` after the same sample.
    package func append(inflating bytes: Span<UInt8>, after sample: Span<UInt8>, to output: inout [UInt8]) {
        inflate.reset()
        inflate.setDictionary(sample)
        var position = 0
        _ = inflate.inflate(bytes, from: &position, to: &output, limit: .max)
        position = 0
        let end = ZlibStream.flushEnd
        _ = inflate.inflate(end.span, from: &position, to: &output, limit: .max)
    }
}
