import Testing

@testable import ProxyServer

@Suite("Messages of the error log")
struct LogTextTests {
    @Test(
        "further lines begin with a tab, and other control characters are shown",
        arguments: [
            ("plain, with a\ttab", "plain, with a\ttab"),
            (
                "one\n2026/01/01 00:00:00 [error] 1#1: forged",
                "one\n\t2026/01/01 00:00:00 [error] 1#1: forged"
            ),
            (
                "failed: x\nstack traceback:\n\ta.lua:1: in f",
                "failed: x\n\tstack traceback:\n\ta.lua:1: in f"
            ),
            ("a\r\n\nb\u{1b}[2J\0\u{7f}é", "a\\x0D\n\t\n\tb\\x1B[2J\\x00\\x7Fé"),
            ("end\n", "end\n"),
            ("", ""),
        ])
    func lines(_ text: String, _ expected: String) {
        #expect(LogText.lines(text) == expected)
    }

    @Test(
        "a message is cut where it is too long, never within a character, and says so",
        arguments: [
            ("0123456789", 10, "0123456789"),
            ("0123456789a", 10, "0123456789... (cut, 11 bytes in all)"),
            ("012345678é", 10, "012345678... (cut, 11 bytes in all)"),
            ("0123456789é", 11, "0123456789... (cut, 12 bytes in all)"),
            ("éé", 1, "... (cut, 4 bytes in all)"),
            // What is shown of it counts.
            ("\0\0\0", 8, "\\x00\\x00... (cut, 3 bytes in all)"),
            ("a\nb\nc", 5, "a\n\tb\n... (cut, 5 bytes in all)"),
            ("", 10, ""),
        ])
    func cut(_ text: String, _ limit: Int, _ expected: String) {
        #expect(LogText.lines(text, upTo: limit) == expected)
    }

    @Test(
        "what is to be one line is one, and control characters are shown",
        arguments: [
            ("plain, with a\ttab", "plain, with a\ttab"),
            (
                "one\n2026/01/01 00:00:00 [error] 1#1: forged",
                "one\\x0A2026/01/01 00:00:00 [error] 1#1: forged"
            ),
            ("a\r\n\tb\u{1b}[2J\0\u{7f}é", "a\\x0D\\x0A\tb\\x1B[2J\\x00\\x7Fé"),
        ])
    func line(_ text: String, _ expected: String) {
        #expect(LogText.line(text) == expected)
    }
}
