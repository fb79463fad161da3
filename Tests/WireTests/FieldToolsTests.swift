import Testing
import Wire

@Suite("Field names, lists and numbers")
struct FieldToolsTests {
    @Test("each known name is recognised in any case, and nothing near it", arguments: FieldID.allCases)
    func fieldNames(id: FieldID) throws {
        guard let name = id.name?.description else { return }
        for spelling in [name, name.uppercased(), name.prefix(1).uppercased() + name.dropFirst()] {
            let bytes = [UInt8](spelling)
            #expect(FieldID(bytes.span, 0..<bytes.count) == id)
            let within = [UInt8]("a: " + spelling + ": b and something behind")
            #expect(FieldID(within.span, 3..<3 + bytes.count) == id)
        }
        for spelling in [
            "x" + name, name + "x", String(name.dropFirst()), name.replacing("-", with: "_") + "_",
        ] {
            let bytes = [UInt8](spelling)
            #expect(FieldID(bytes.span, 0..<bytes.count) != id)
        }
        var changed = [UInt8](name)
        for index in changed.indices {
            changed[index] ^= 0x40
            #expect(FieldID(changed.span, 0..<changed.count) != id)
            changed[index] ^= 0x40
        }
    }

    @Test("names of X-Accel are one family")
    func accel() {
        for name in [
            "X-Accel-Redirect", "x-accel-buffering", "X-ACCEL-a", "X-Accel-Something-Very-Long-Indeed",
        ] {
            let bytes = [UInt8](name)
            #expect(FieldID(bytes.span, 0..<bytes.count) == .xAccel)
        }
        for name in [
            "X-Accel-", "X-Accel", "Y-Accel-Redirect", "Y-Accel-Something-Very-Long-Indeed", "x", "",
        ] {
            let bytes = [UInt8](name)
            #expect(FieldID(bytes.span, 0..<bytes.count) == .other)
        }
    }

    @Test(
        "a list is split at its commas, but for those in quotes",
        arguments: [
            ("", []), (",, ,", []), ("a", ["a"]), ("a,b", ["a", "b"]), (" a ,\t b , ", ["a", "b"]),
            ("a;q=\"1,2\",b", ["a;q=\"1,2\"", "b"]), ("\"a\\\",b\",c", ["\"a\\\",b\"", "c"]),
            ("\"a,b", ["\"a,b"]), ("a\\,b", ["a\\", "b"]), ("\"a\\", ["\"a\\"]),
        ] as [(String, [String])])
    func lists(value: String, expected: [String]) {
        let bytes = [UInt8](value)
        var elements = ListElements(0..<bytes.count)
        var found: [String] = []
        while let element = elements.next(bytes.span) { found.append(text(bytes, element)) }
        #expect(found == expected)
    }

    @Test("an element's name ends at its parameters")
    func elementName() {
        let bytes = [UInt8]("permessage-deflate ; a=1;b")
        #expect(text(bytes, ListElements.name(of: 0..<bytes.count, in: bytes.span)) == "permessage-deflate")
    }

    @Test(
        "decimals are digits only and do not overflow",
        arguments: [
            ("0", 0), ("007", 7), ("9223372036854775807", .max), ("9223372036854775808", nil), ("", nil),
            ("+1", nil), ("-1", nil), (" 1", nil), ("1 ", nil), ("1a", nil), ("99999999999999999999", nil),
        ] as [(String, Int64?)])
    func decimals(digits: String, expected: Int64?) {
        #expect(ASCII.decimal([UInt8](digits)) == expected)
    }

    @Test("numbers are written as they are read")
    func writing() {
        let values: [Int64] = [0, 1, 9, 10, 99, 100, 65535, -1, -10, 1_000_000, .max, .min]
        for value in values {
            var output: [UInt8] = []
            ASCII.appendDecimal(value, to: &output)
            #expect(output.text == String(value))
        }
        for value in [0, 1, 9, 10, 15, 16, 255, 256, 4096, 0xdead_beef, UInt64.max] {
            var output: [UInt8] = []
            ASCII.appendHexadecimal(value, to: &output)
            #expect(output.text == String(value, radix: 16))
        }
    }

    @Test("comparison ignores the case of letters and of nothing else")
    func comparison() {
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let bothLetters = [first, second].allSatisfy {
                    (0x41...0x5a).contains($0 & 0xdf) && $0 < 0x80
                }
                let expected = first == second || bothLetters && first ^ second == 0x20
                #expect(ASCII.equalIgnoringCase([0x61, first], [0x41, second]) == expected)
            }
        }
        #expect(!ASCII.equalIgnoringCase([0x61], [0x61, 0x62]))
    }

    @Test("a keyword matches its letters in any case, at any length")
    func keywords() {
        let keyword: Keyword = "100-continue-long-names"
        let bytes = [UInt8]("100-CONTINUE-Long-Names")
        #expect(keyword.matches(bytes))
        for index in bytes.indices {
            var changed = bytes
            changed[index] = changed[index] == 0x2d ? 0x0d : changed[index] ^ 0x40
            #expect(!keyword.matches(changed))
        }
        #expect(!keyword.matches(Array(bytes.dropLast())))
        #expect(!keyword.matches(bytes + [0]))
        let bracket: Keyword = "{"
        #expect(!bracket.matches([UInt8]("[")))
    }
}

@Suite("Hop-by-hop fields")
struct HopByHopFieldsTests {
    /// The names that are sent on of a request with these fields.
    private func forwarded(_ fields: String) throws -> [String] {
        let head = try requestHead("POST / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\n")
        var hops = HopByHopFields()
        hops.prepare(head)
        return head.fields.filter { !hops.contains($0, in: head.bytes) }.map { text(head.bytes, $0.name) }
    }

    @Test(
        "are those of RFC 9110 and those that Connection nominates",
        arguments: [
            ("X: 1", ["Host", "X"]),
            ("Connection: close\r\nX: 1", ["Host", "X"]),
            ("Keep-Alive: 1\r\nProxy-Connection: 1\r\nTE: trailers\r\nUpgrade: a\r\nX: 1", ["Host", "X"]),
            ("Transfer-Encoding: chunked\r\nTrailer: X", ["Host", "Trailer"]),
            ("HTTP2-Settings: a\r\nConnection: Upgrade, HTTP2-Settings", ["Host"]),
            ("X-Foo: 1\r\nConnection: x-foo\r\nX-Foo2: 2\r\nx-FOO: 3", ["Host", "X-Foo2"]),
            (
                "X-A: 1\r\nX-B: 1\r\nConnection: X-A\r\nX-C: 1\r\nConnection: keep-alive , x-b",
                ["Host", "X-C"]
            ),
            ("Cookie: 1\r\nConnection: cookie\r\nAccept: a", ["Host", "Accept"]),
            (
                "Connection: X-Accel-Redirect\r\nX-Accel-Redirect: a\r\nX-Accel-Expires: b",
                ["Host", "X-Accel-Expires"]
            ),
            ("Connection: host, content-length\r\nContent-Length: 1", ["Host", "Content-Length"]),
            ("Connection: \"X-A\", X B, ;\r\nX-A: 1", ["Host", "X-A"]),
            ("Connection: close, close\r\nClose: 1", ["Host", "Close"]),
        ] as [(String, [String])])
    func requests(fields: String, expected: [String]) throws {
        #expect(try forwarded(fields) == expected)
    }

    @Test("of one message are forgotten with the next")
    func preparedAnew() throws {
        let first = try responseHead("HTTP/1.1 200\r\nConnection: X-A, Date\r\nX-A: 1\r\nDate: d\r\n\r\n")
        let second = try responseHead("HTTP/1.1 200\r\nX-A: 1\r\nDate: d\r\n\r\n")
        var hops = HopByHopFields()
        hops.prepare(first)
        #expect(first.fields.map { hops.contains($0, in: first.bytes) } == [true, true, true])
        hops.prepare(second)
        #expect(second.fields.map { hops.contains($0, in: second.bytes) } == [false, false])
    }
}
