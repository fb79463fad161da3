import Testing

@testable import Config

@Suite struct ConfigValueTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test(
        "times are milliseconds, a number without a unit being seconds",
        arguments: [
            ("0", 0), ("1", 1000), ("60", 60_000), ("1ms", 1), ("1s", 1000), ("1m", 60_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000), ("1w", 604_800_000), ("1h30m", 5_400_000), ("1m30s5ms", 90_005),
            ("1h 30m", 5_400_000), ("1m30", 90_000), ("0s", 0), ("1d1", 86_401_000),
        ])
    func readsMilliseconds(_ text: String, _ expected: Int) {
        #expect(ConfigValue.milliseconds(bytes(text)) == expected)
    }

    @Test(
        "times beyond all use are long, and leave room for sums",
        arguments: ["106751991167d", "9223372036854775807ms"])
    func longestTime(_ text: String) throws {
        let time = try #require(ConfigValue.milliseconds(bytes(text)))
        #expect(time > 1000 * 365 * 86_400_000)
        #expect(!time.multipliedReportingOverflow(by: 1000).overflow)
    }

    @Test(
        "what is no time of milliseconds",
        arguments: [
            "", "s", "-1", "1x", "1y", "1M", "30m1h", "1s1s", "1ms1s", "1.5s", " 1s", "1S", "1mm",
            "99999999999999999999", "9223372036854775807s", "9223372036854775w",
        ])
    func refusesMilliseconds(_ text: String) {
        #expect(ConfigValue.milliseconds(bytes(text)) == nil)
    }

    @Test(
        "seconds know years and months, and no milliseconds",
        arguments: [
            ("1", 1), ("1y", 31_536_000), ("1M", 2_592_000), ("1y1M1w1d1h1m1s", 34_822_861), ("2h", 7200),
        ])
    func readsSeconds(_ text: String, _ expected: Int) {
        #expect(ConfigValue.seconds(bytes(text)) == expected)
    }

    @Test("what is no time of seconds", arguments: ["", "1ms", "1M1y", "y", "300000000000y"])
    func refusesSeconds(_ text: String) {
        #expect(ConfigValue.seconds(bytes(text)) == nil)
    }

    @Test(
        "sizes are bytes, kilobytes or megabytes",
        arguments: [("0", 0), ("17", 17), ("1k", 1024), ("1K", 1024), ("8m", 8 << 20), ("8M", 8 << 20)])
    func readsSizes(_ text: String, _ expected: Int) {
        #expect(ConfigValue.size(bytes(text)) == expected)
        #expect(ConfigValue.largeSize(bytes(text)) == expected)
    }

    @Test(
        "what is no size",
        arguments: ["", "k", "1g", "1kk", "1.5m", "-1", "1 k", "+", "9223372036854775807k", "1\u{4B}\u{B}"])
    func refusesSizes(_ text: String) {
        #expect(ConfigValue.size(bytes(text)) == nil)
    }

    @Test("large sizes know gigabytes as well")
    func readsLargeSizes() {
        #expect(ConfigValue.largeSize(bytes("2g")) == 2 << 30)
        #expect(ConfigValue.largeSize(bytes("2G")) == 2 << 30)
        #expect(ConfigValue.largeSize(bytes("9999999999g")) == nil)
    }

    @Test("numbers are digits that fit")
    func readsNumbers() {
        #expect(ConfigValue.number(bytes("0042")) == 42)
        #expect(ConfigValue.number(bytes("9223372036854775807")) == Int.max)
        #expect(ConfigValue.number(bytes("9223372036854775808")) == nil)
        #expect(ConfigValue.number(bytes("4 2")) == nil)
        #expect(ConfigValue.number(bytes("")) == nil)
    }

    @Test("flags are on or off in any case")
    func readsFlags() {
        #expect(ConfigValue.flag(bytes("on")) == true)
        #expect(ConfigValue.flag(bytes("OFF")) == false)
        #expect(ConfigValue.flag(bytes("yes")) == nil)
    }

    @Test("numeric addresses are read to their bytes")
    func readsAddresses() {
        #expect(NetworkAddress.ipv4(bytes("192.168.0.1")) == [192, 168, 0, 1])
        for wrong in ["1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2..4", "a.b.c.d", "", "1.2.3.0004"] {
            #expect(NetworkAddress.ipv4(bytes(wrong)) == nil, "\(wrong)")
        }
        #expect(NetworkAddress.ipv6(bytes("::")) == [UInt8](repeating: 0, count: 16))
        #expect(NetworkAddress.ipv6(bytes("::1")) == [UInt8](repeating: 0, count: 15) + [1])
        #expect(
            NetworkAddress.ipv6(bytes("2001:db8::ff:1"))
                == [0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0, 1])
        #expect(NetworkAddress.ipv6(bytes("1:2:3:4:5:6:7:8"))?.count == 16)
        #expect(NetworkAddress.ipv6(bytes("::ffff:10.0.0.1"))?.suffix(6) == [255, 255, 10, 0, 0, 1])
        for wrong in [
            "", ":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::g", "1::2::3", "12345::", "+1::",
            "1.2.3.4::", "1:1.2.3.4::", "-0::1", "::-0", "::1:", "::1.2.3.4:1",
        ] {
            #expect(NetworkAddress.ipv6(bytes(wrong)) == nil, "\(wrong)")
        }
    }

    @Test("hosts with wildcards stand for keys of the three tables")
    func readsHostPatterns() {
        #expect(HostPattern.forms(of: bytes("A.b")) == [.exact(bytes("a.b"))])
        #expect(HostPattern.forms(of: bytes("*.a.b")) == [.leadingWildcard(bytes(".a.b"))])
        #expect(HostPattern.forms(of: bytes("a.*")) == [.trailingWildcard(bytes("a."))])
        #expect(
            HostPattern.forms(of: bytes(".a.b")) == [.exact(bytes("a.b")), .leadingWildcard(bytes(".a.b"))])
        #expect(HostPattern.forms(of: []) == [.exact([])])
        for wrong in ["*", "*.", ".", "a*", "*a", "a.*.b", "*.a.*", ".*", "*.*"] {
            #expect(HostPattern.forms(of: bytes(wrong)) == nil, "\(wrong)")
        }
    }

    @Test("the nearest known word is one with few letters changed")
    func findsSpellings() {
        let known = ["proxy_pass", "proxy_method", "listen", "set"]
        #expect(Spelling.nearest(to: "proxy_pas", among: known) == "proxy_pass")
        #expect(Spelling.nearest(to: "lsiten", among: known) == "listen")
        #expect(Spelling.nearest(to: "completely_else", among: known) == nil)
        #expect(Spelling.nearest(to: "x", among: known) == nil)
    }
}
