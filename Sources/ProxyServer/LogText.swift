internal import ProxyCore
internal import Wire

/// Messages of the error log, in which there may be what clients, upstreams or scripts said: nothing of it is to look
/// like a line of the log's own, or reach a terminal.
enum LogText {
    /// Each further line begins with a tab, as those of a traceback do; other control characters are shown as `\\x1B`.
    static func lines(_ text: String) -> String {
        guard text.utf8.contains(where: isHidden) else { return text }
        var output: [UInt8] = []
        var isAtStart = false
        for byte in text.utf8 {
            if isAtStart, byte != tab { output.append(tab) }
            isAtStart = byte == lineFeed
            if isAtStart { output.append(byte) } else { append(byte, to: &output) }
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// The same, cut where it would have more than `limit` bytes, and then saying so.
    static func lines(_ text: String, upTo limit: Int) -> String {
        let shown = lines(start(of: text, limit))
        let count = text.utf8.count
        if count <= limit, shown.utf8.count <= limit { return shown }
        return start(of: shown, limit) + LogBounds.remark(count)
    }

    /// The first `limit` bytes, or fewer, so that no character is cut.
    private static func start(of text: String, _ limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        let start = text.utf8.prefix(limit + 1)
        let end = start.lastIndex { $0 & 0xc0 != 0x80 } ?? start.startIndex
        return String(text[..<end])
    }

    /// All in one line: ends of lines are shown as other control characters are.
    static func line(_ text: String) -> String {
        guard text.utf8.contains(where: isHidden) else { return text }
        var output: [UInt8] = []
        for byte in text.utf8 { append(byte, to: &output) }
        return String(decoding: output, as: UTF8.self)
    }

    private static func append(_ byte: UInt8, to output: inout [UInt8]) {
        guard isHidden(byte) else { return output.append(byte) }
        output += [UInt8(ascii: "\\"), UInt8(ascii: "x")]
        Hexadecimal.append(byte, uppercase: true, to: &output)
    }

    private static func isHidden(_ byte: UInt8) -> Bool { byte < 32 && byte != tab || byte == 127 }

    private static let tab: UInt8 = 9
    private static let lineFeed: UInt8 = 10
}
