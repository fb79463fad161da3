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
