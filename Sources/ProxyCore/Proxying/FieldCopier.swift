internal import Wire

/// Copies fields of one head into another.
///
/// Lines that stand side by side and need no change are copied in one go, which is most of them in most heads.
struct FieldCopier {
    /// The bytes from here to `runEnd` wait to be copied.
    private var runStart = 0
    private var runEnd = 0

    /// Appends the line of `field`, of the head that `bytes` are, sooner or later.
    @inline(__always)
    mutating func append(_ field: FieldLine, of bytes: [UInt8], to output: inout [UInt8]) {
        guard field.isTidy else { return appendAnew(field, of: bytes, to: &output) }
        let start = Int(field.nameStart)
        let end = Int(field.valueStart) &+ Int(field.valueLength) &+ 2
        if start == runEnd {
            runEnd = end
        } else {
            flush(bytes, to: &output)
            runStart = start
            runEnd = end
        }
    }

    private mutating func appendAnew(_ field: FieldLine, of bytes: [UInt8], to output: inout [UInt8]) {
        flush(bytes, to: &output)
        output.append(contentsOf: bytes[field.name])
        output.append(copying: ResponseHeadWriter.Text.colonSpace)
        output.append(contentsOf: bytes[field.value])
        output.append(copying: ResponseHeadWriter.Text.lineEnd)
    }

    /// Appends what waits; to be called before anything else is written to `output`, and at the end.
    mutating func flush(_ bytes: [UInt8], to output: inout [UInt8]) {
        if runStart == runEnd { return }
        output.append(copying: bytes.span, runStart..<runEnd)
        runStart = 0
        runEnd = 0
    }
}
