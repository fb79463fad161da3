package import Config
internal import Wire

/// Makes the lines of access logs.
package enum AccessLogRenderer {
    /// Appends the exchange's line, with its line feed.
    ///
    /// - Returns: false when the log's condition excludes the exchange; nothing is appended then.
    @discardableResult
    package static func append(_ log: AccessLog, _ exchange: Exchange, to out: inout [UInt8]) -> Bool {
        if let condition = log.condition, !exchange.isTrue(condition) { return false }
        for part in log.format.parts {
            switch part {
            case .literal(let bytes): out.append(contentsOf: bytes)
            case .variable(let variable):
                let start = out.count
                let isFound = exchange.append(variable, to: &out)
                escape(log.escape, from: start, isFound: isFound, in: &out)
            case .capture(let group):
                // A format of a configuration file has none.
                let start = out.count
                exchange.appendCapture(group, to: &out)
                escape(log.escape, from: start, isFound: true, in: &out)
            }
        }
        out.append(UInt8(ascii: "\n"))
        return true
    }

    /// The file that the exchange's line goes to, when the log's path has variables in it.
    package static func path(_ log: AccessLog, _ exchange: Exchange) -> [UInt8]? {
        log.pathTemplate.map(exchange.value(of:))
    }

    /// Escapes the value that begins at `start`.
    private static func escape(
        _ escape: AccessLog.Escape, from start: Int, isFound: Bool, in out: inout [UInt8]
    ) {
        switch escape {
        case .none: break
        case .default:
            // Only here a missing value shows.
            if isFound { escapeTail(&out, from: start, appendDefault) } else { out.append(ByteText.dash) }
        case .json: escapeTail(&out, from: start, appendJSON)
        }
    }

    /// Escapes what stands in `out` from `start` on. Most values need nothing done.
    private static func escapeTail(
        _ out: inout [UInt8], from start: Int, _ escape: (UInt8, inout [UInt8]) -> Bool
    ) {
        var index = start
        while index < out.count, !needsCare(out[index]) { index += 1 }
        guard index < out.count else { return }
        let tail = Array(out[index...])
        out.removeSubrange(index...)
        for byte in tail where !escape(byte, &out) { out.append(byte) }
    }

    private static func needsCare(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte > 0x7e || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    private static func appendDefault(_ byte: UInt8, to out: inout [UInt8]) -> Bool {
        guard needsCare(byte) else { return false }
        out.append(UInt8(ascii: "\\"))
        out.append(UInt8(ascii: "x"))
        Hexadecimal.append(byte, uppercase: true, to: &out)
        return true
    }

    /// RFC 8259 §7. Bytes above 0x7e stand as they are.
    private static func appendJSON(_ byte: UInt8, to out: inout [UInt8]) -> Bool {
        let short: UInt8
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): short = byte
        case UInt8(ascii: "\n"): short = UInt8(ascii: "n")
        case UInt8(ascii: "\r"): short = UInt8(ascii: "r")
        case UInt8(ascii: "\t"): short = UInt8(ascii: "t")
        case 0x08: short = UInt8(ascii: "b")
        case 0x0c: short = UInt8(ascii: "f")
        case ..<0x20:
            out.append(contentsOf: "\\u00".utf8)
            Hexadecimal.append(byte, uppercase: true, to: &out)
            return true
        default: return false
        }
        out.append(UInt8(ascii: "\\"))
        out.append(short)
        return true
    }
}
