internal import Wire

/// Copies fields of one head into another.
///
/// Lines that stand side by side and need no change are copied in one go, which is most of them in most heads.
struct FieldCopier {
    /// Bytes that wait to be copied.
    private var run = Range<Int>.empty

    /// Appends the line of `field`, of the head that `bytes` are, sooner or later.
    mutating func append(_ field: FieldLine, of bytes: [UInt8], to output: inout [UInt8]) {
        let name = field.name
        let value = field.value
        let lineEnd = value.upperBound + 2
        if value.lowerBound == name.upperBound + 2, lineEnd <= bytes.count, bytes[lineEnd - 1] == 10,
            bytes[lineEnd - 2] == 13, bytes[name.upperBound + 1] == 32
        {
            if name.lowerBound == run.upperBound, !run.isEmpty {
                run = run.lowerBound..<lineEnd
            } else {
                flush(bytes, to: &output)
                run = name.lowerBound..<lineEnd
            }
            return
        }
        flush(bytes, to: &output)
        output.append(contentsOf: bytes[name])
        output.append(contentsOf: ResponseHeadWriter.Text.colonSpace)
        output.append(contentsOf: bytes[value])
        output.append(contentsOf: ResponseHeadWriter.Text.lineEnd)
    }

    /// Appends what waits; to be called before anything else is written to `output`, and at the end.
    mutating func flush(_ bytes: [UInt8], to output: inout [UInt8]) {
        if run.isEmpty { return }
        output.append(contentsOf: bytes[run])
        run = .empty
    }
}
