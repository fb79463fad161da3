import Testing

@testable import ProxyCore

/// Headers of the PROXY protocol, each whole, cut and spoiled.
struct ProxyProtocolHeaderTests {
    private static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]
    private static let addresses: [UInt8] = [203, 0, 113, 9, 198, 51, 100, 7, 0x9C, 0x40, 1, 0xBB]

    private static func binary(_ payload: [UInt8], command: UInt8 = 0x21, family: UInt8 = 0x11) -> [UInt8] {
        signature + [command, family, UInt8(payload.count >> 8), UInt8(payload.count & 255)] + payload
    }

    private func read(_ bytes: [UInt8]) -> ProxyProtocolHeader.Progress {
        ProxyProtocolHeader.read(bytes.span)
    }

    private static let headers: [[UInt8]] = [
        Array("PROXY TCP4 203.0.113.9 198.51.100.7 40000 443\r\n".utf8),
        binary(addresses), binary(addresses + [4, 0, 2, 9, 9]),
        Array("PROXY UNKNOWN\r\n".utf8), Array("PROXY UNKNOWN a b\r\n".utf8),
        binary([], command: 0x20), binary([1, 2, 3], family: 0x31),
    ]

    @Test("a header is whole with its last byte and not before", arguments: headers)
    func cuts(_ header: [UInt8]) {
        for count in 1..<header.count {
            guard case .partial = read(Array(header[..<count])) else {
                Issue.record("\(count) of \(header.count) bytes")
                continue
            }
        }
        guard case .whole(header.count, _) = read(header + Array("GET / HTTP/1.1\r\n".utf8)) else {
            Issue.record("the whole")
            return
        }
    }

    @Test("text and binary say the same", arguments: headers[..<3])
    func ends(_ header: [UInt8]) throws {
        guard case .whole(_, let found?) = read(header) else {
            Issue.record("no ends")
            return
        }
        #expect(found.client == .init(address: Array("203.0.113.9".utf8), port: 40000))
        #expect(found.server == .init(address: Array("198.51.100.7".utf8), port: 443))
    }

    @Test("addresses of IPv6 are written in their short form")
    func ipv6() {
        let address: [UInt8] = [0x20, 1, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11)
        let header = Self.binary(address + [9] + address + [7, 0, 1, 0xFF, 0xFF], family: 0x21)
        guard case .whole(header.count, let found?) = read(header) else {
            Issue.record("no ends")
            return
        }
        #expect(found.client == .init(address: Array("2001:db8::9".utf8), port: 1))
        #expect(found.server == .init(address: Array("2001:db8::7".utf8), port: 65535))
    }

    @Test("what says nothing of a client has no ends", arguments: headers[3...])
    func unknown(_ header: [UInt8]) {
        guard case .whole(_, nil) = read(header) else {
            Issue.record("not without ends")
            return
        }
    }

    @Test(
        "anything else is said to be broken, with the line as far as it is one",
        arguments: [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1"), ("P\r\n", "P"), ("PROXX", "PROXX"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 1"),
            ("PROXY TCP4  1.2.3.4 1 1\r\n", "PROXY TCP4  1.2.3.4 1 1"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n\r", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rx", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1"),
        ])
    func broken(_ text: String, _ shown: String) {
        guard case .broken(let fault) = read(Array(text.utf8)) else {
            Issue.record("taken")
            return
        }
        #expect(fault == "broken header: \"\(shown)\"")
    }

    @Test("a line has an end within 107 bytes, a binary header within 4096")
    func tooLong() {
        let line = Array("PROXY UNKNOWN ".utf8) + [UInt8](repeating: UInt8(ascii: "x"), count: 91)
        guard case .partial = read(line), case .whole(107, nil) = read(line + [13, 10]),
            case .broken = read(line + [UInt8(ascii: "x"), 13, 10]), case .broken = read(line + [120, 120])
        else {
            Issue.record("lines")
            return
        }
        guard case .partial = read(Array(Self.binary([UInt8](repeating: 0, count: 4080))[..<20])),
            case .broken("header is too large") = read(Self.binary([UInt8](repeating: 0, count: 4081)))
        else {
            Issue.record("binary headers")
            return
        }
    }

    @Test("other versions, commands, and headers too short for their addresses are broken")
    func spoiled() {
        for (header, fault) in [
            (Self.binary(Self.addresses, command: 0x11), "unknown PROXY protocol version: 1"),
            (Self.binary(Self.addresses, command: 0x22), "unknown PROXY protocol command: 2"),
            (Self.binary(Array(Self.addresses.dropLast())), "header is too short for its addresses"),
        ] {
            guard case .broken(fault) = read(header) else {
                Issue.record("not \(fault)")
                continue
            }
        }
    }

    // MARK: Values

    private static func value(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
        [type, UInt8(value.count >> 8), UInt8(value.count & 255)] + value
    }

    private static func value(_ type: UInt8, _ text: String) -> [UInt8] { value(type, Array(text.utf8)) }

    private static let inner =
        value(0x21, "TLSv1.3") + value(0x22, "a.example") + value(0x23, "AES") + value(0x24, "RSA-SHA256")
        + value(0x25, "RSA2048") + value(0xE1, "own")
    private static let values =
        value(0x04, "padding") + value(0x01, "h2") + value(0x02, "sni.example") + value(0x05, "id\0\u{1}")
        + value(0x20, [7, 0, 0, 1, 2] + inner) + value(0x30, "blue") + value(0xEA, "vpce-1")
        + value(0xEA, "second") + value(0xEB, [UInt8](repeating: 9, count: 300)) + value(0xEC, "")

    private func fault(_ header: [UInt8]) -> String? {
        if case .broken(let fault) = read(header) { fault } else { nil }
    }

    /// With a checksum behind everything else.
    private static func checked(_ values: [UInt8], _ spoil: UInt32 = 0) -> [UInt8] {
        var header = binary(addresses + values + [3, 0, 4, 0, 0, 0, 0])
        let sum = CRC32C.of(header) ^ spoil
        for index in 0..<4 { header[header.count - 4 + index] = UInt8(sum >> (24 - 8 * index) & 255) }
        return header
    }

    @Test("the checksum is that of RFC 9260")
    func checksumOfDigits() {
        #expect(CRC32C.of(Array("123456789".utf8)) == 0xE306_9283)
        #expect(CRC32C.of([]) == 0)
        #expect(CRC32C.of([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    }

    @Test(
        "values have names and numbers",
        arguments: [
            ("alpn", "h2"), ("authority", "sni.example"), ("unique_id", "id\0\u{1}"), ("netns", "blue"),
            ("ssl_verify", "258"), ("ssl_version", "TLSv1.3"), ("ssl_cn", "a.example"),
            ("ssl_cipher", "AES"), ("ssl_sig_alg", "RSA-SHA256"), ("ssl_key_alg", "RSA2048"),
            ("0x4", "padding"), ("0xea", "vpce-1"), ("0x00ea", "vpce-1"), ("0xEC", ""), ("ssl_0xe1", "own"),
            ("ssl_0x22", "a.example"), ("0x21", nil), ("ssl_0xea", nil), ("0x1ea", nil),
            ("0xffffffffffffffffffea", nil), ("0x06", nil),
        ])
    func named(_ name: String, _ expected: String?) throws {
        for header in [Self.binary(Self.addresses + Self.values), Self.checked(Self.values)] {
            guard case .whole(header.count, let found?) = read(header) else {
                Issue.record("no header")
                return
            }
            let value = try? found.value(named: Array(name.utf8))
            #expect(value.map { String(decoding: $0, as: UTF8.self) } == expected)
        }
    }

    @Test("other names stand for nothing")
    func misnamed() {
        guard case .whole(_, let found?) = read(Self.binary(Self.addresses + Self.values)),
            case .whole(_, let bare?) = read(Self.binary(Self.addresses))
        else {
            Issue.record("no header")
            return
        }
        for (name, expected) in [
            ("noop", "unknown"), ("crc32c", "unknown"), ("version", "unknown"), ("ssl_", "unknown"),
            ("ssl_alpn", "unknown"), ("0x", "invalid"), ("0xg", "invalid"), ("ssl_0x-1", "invalid"),
        ] {
            do throws(ProxyProtocolHeader.MissingValue) {
                _ = try found.value(named: Array(name.utf8))
                Issue.record("\(name) has a value")
            } catch {
                guard case .misnamed("\(expected) PROXY protocol TLV \"\(name)\"") = error else {
                    Issue.record("\(name): \(error)")
                    continue
                }
            }
        }
        for name in ["alpn", "ssl_verify", "ssl_cn", "ssl_what", "0xea"] {
            #expect(throws: ProxyProtocolHeader.MissingValue.self) { try bare.value(named: Array(name.utf8)) }
        }
    }

    @Test("values that do not end where the header ends are broken")
    func cutValues() {
        // Where one value ends, the header may: those outside of the value of TLS.
        var ends: Set<Int> = [0]
        var end = 0
        while end < Self.values.count {
            end += 3 + Int(Self.values[end + 1]) << 8 + Int(Self.values[end + 2])
            ends.insert(end)
        }
        for count in 0...Self.values.count {
            let header = Self.binary(Self.addresses + Self.values[..<count])
            #expect(fault(header) == (ends.contains(count) ? nil : "broken PROXY protocol TLV"), "\(count)")
        }
    }

    @Test("a value's length of any other size than it has is broken")
    func wrongLengths() {
        for length in 0...0xFFFF where length != 5 {
            let header = Self.binary(
                Self.addresses + [0x02, UInt8(length >> 8), UInt8(length & 255)] + Array("hello".utf8))
            // What is left is shorter than a value, or begins with a length that is in no header.
            #expect(fault(header) == "broken PROXY protocol TLV", "\(length)")
        }
    }

    @Test("a value of TLS has its head, and values inside that end where it ends")
    func cutTLS() {
        var ends: Set<Int> = [5]
        var end = 0
        while end < Self.inner.count {
            end += 3 + Int(Self.inner[end + 2])
            ends.insert(5 + end)
        }
        let whole = [1, 0, 0, 0, 0] + Self.inner
        for count in 0...whole.count {
            let header = Self.binary(
                Self.addresses + Self.value(0x20, Array(whole[..<count])) + Self.value(1, "h2"))
            #expect(fault(header) == (ends.contains(count) ? nil : "broken PROXY protocol TLV"), "\(count)")
        }
    }

    @Test("a unique ID has 128 bytes at most, a checksum four, once")
    func ownLengths() {
        for (values, isBroken) in [
            (Self.value(5, [UInt8](repeating: 1, count: 128)), false),
            (Self.value(5, [UInt8](repeating: 1, count: 129)), true),
            (Self.value(3, []), true), (Self.value(3, [1, 2, 3]), true),
            (Self.value(3, [1, 2, 3, 4, 5]), true),
            (Self.value(3, [0, 0, 0, 0]) + Self.value(3, [0, 0, 0, 0]), true),
        ] {
            let found = fault(Self.binary(Self.addresses + values))
            #expect(found == (isBroken ? "broken PROXY protocol TLV" : nil), "\(values)")
        }
    }

    @Test("a checksum is one of the whole header")
    func checksum() {
        #expect(fault(Self.checked([])) == nil)
        #expect(fault(Self.checked(Self.values)) == nil)
        let wrong = "wrong checksum of PROXY protocol header"
        #expect(fault(Self.checked(Self.values, 1)) == wrong)
        #expect(fault(Self.checked(Self.values, 0x8000_0000)) == wrong)
        // Any bit of what it covers that does not make it another header.
        let header = Self.checked(Self.value(1, "h2"))
        for index in Array(16..<28) + Array(31..<33) + Array(36..<40) {
            for bit in 0..<8 {
                var spoilt = header
                spoilt[index] ^= 1 << bit
                #expect(fault(spoilt) == wrong, "bit \(bit) of \(index)")
            }
        }
        // It may be followed by others.
        var other = Self.binary(Self.addresses + Self.value(3, [0, 0, 0, 0]) + Self.value(1, "h2"))
        let sum = CRC32C.of(other)
        for index in 0..<4 { other[31 + index] = UInt8(sum >> (24 - 8 * index) & 255) }
        #expect(fault(other) == nil)
    }

    @Test("what says nothing of a client is not looked at any further")
    func valuesOfNobody() {
        #expect(fault(Self.binary([1, 0, 9], command: 0x20)) == nil)
        #expect(fault(Self.binary(Self.addresses + [1, 0, 9], family: 0x12)) == nil)
    }
}
