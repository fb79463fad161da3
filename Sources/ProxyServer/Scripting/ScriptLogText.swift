internal import ProxyCore
internal import Wire

/// What scripts write to the error log, which may have come from clients: nothing of it is to look like a line of the
/// log's own, or reach a terminal.
enum ScriptLogText {
    /// Each further line begins with a tab, as those of a traceback do; other control characters are shown as `\\x1B`.
    static func lines(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 32 && $0 != tab || $0 == 127 }) else { return text }
        var output: [UInt8] = []
        var isAtStart = false
        for byte in text.utf8 {
            if isAtStart, byte != tab { output.append(tab) }
            isAtStart = byte == lineFeed
            if byte >= 32 && byte != 127 || byte == tab || byte == lineFeed {
                output.append(byte)
            } else {
                output += [UInt8(ascii: "\\"), UInt8(ascii: "x")]
                Hexadecimal.append(byte, uppercase: true, to: &output)
            }
        }
        return String(decoding: output, as: UTF8.self)
    }

    private static let tab: UInt8 = 9
    private static let lineFeed: UInt8 = 10
}
