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
}
