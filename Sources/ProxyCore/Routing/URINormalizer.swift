internal import Wire

/// Brings a request's path into its normal form.
///
/// Escapes are decoded once; an escaped slash or dot counts as one. `.` and `..` segments are resolved and, unless
/// `merge_slashes` is off, repeated slashes become one.
struct URINormalizer {
    /// The path held a percent escape.
    private(set) var hadEscapes = false
    /// The path held a plus sign, escaped or not.
    private(set) var hadPlus = false

    private let mergeSlashes: Bool

    private enum State { case usual, slash, dot, dotDot }

    init(mergeSlashes: Bool) { self.mergeSlashes = mergeSlashes }

    /// Appends the normal form of the path to `uri`, which must be empty.
    ///
    /// - Returns: false when the path does not begin with a slash, an escape is malformed or stands for NUL, or
    ///   `..` leads above the root. What was appended is of no use then.
    mutating func normalize(_ path: ArraySlice<UInt8>, into uri: inout [UInt8]) -> Bool {
        guard path.first == ByteText.slash else { return false }
        if isNormal(path) {
            uri.append(contentsOf: path)
            return true
        }
        return resolve(path, into: &uri)
    }

    /// Whether the path, as most are, is in its normal form already. Notes a plus sign.
    private mutating func isNormal(_ path: ArraySlice<UInt8>) -> Bool {
        var previous: UInt8 = 0
        for byte in path {
            switch byte {
            case ByteText.percent: return false
            case ByteText.slash, ByteText.dot: if previous == ByteText.slash { return false }
            case UInt8(ascii: "+"): hadPlus = true
            default: break
            }
            previous = byte
        }
        return true
    }

    private mutating func resolve(_ path: ArraySlice<UInt8>, into uri: inout [UInt8]) -> Bool {
        var state = State.usual
        var index = path.startIndex
        while index < path.endIndex {
            var byte = path[index]
            index += 1
            if byte == ByteText.percent {
                guard index + 1 < path.endIndex,
                    let decoded = ASCII.hexadecimalByte(path[index], path[index + 1])
                else { return false }
                index += 2
                hadEscapes = true
                byte = decoded
                if byte == 0 { return false }
            }
            switch (byte, state) {
            case (ByteText.slash, .slash):
                if !mergeSlashes { uri.append(byte) }
            case (ByteText.slash, .dot):
                uri.removeLast()
                state = .slash
            case (ByteText.slash, .dotDot):
                guard Self.removeSegment(&uri) else { return false }
                state = .slash
            case (ByteText.slash, .usual):
                uri.append(byte)
                state = .slash
            case (ByteText.dot, .slash):
                uri.append(byte)
                state = .dot
            case (ByteText.dot, .dot):
                uri.append(byte)
                state = .dotDot
            default:
                if byte == UInt8(ascii: "+") { hadPlus = true }
                uri.append(byte)
                state = .usual
            }
        }
        switch state {
        case .usual, .slash: return true
        case .dot:
            uri.removeLast()
            return true
        case .dotDot: return Self.removeSegment(&uri)
        }
    }

    /// Takes `/..` off the end, and the segment before it up to its slash, which stays.
    private static func removeSegment(_ uri: inout [UInt8]) -> Bool {
        uri.removeLast(3)
        while let last = uri.last {
            if last == ByteText.slash { return true }
            uri.removeLast()
        }
        return false
    }
}
