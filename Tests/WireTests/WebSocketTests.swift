import Testing
import Wire

@Suite("A WebSocket handshake")
struct WebSocketHandshakeTests {
    private static let key = "dGhlIHNhbXBsZSBub25jZQ=="

    private static func request(
        line: String = "GET / HTTP/1.1", upgrade: String = "websocket", connection: String = "Upgrade",
        key: String? = key, version: String? = "13", more: String = ""
    ) -> String {
        var text = "\(line)\r\nHost: a\r\nUpgrade: \(upgrade)\r\nConnection: \(connection)\r\n"
        if let key { text += "Sec-WebSocket-Key: \(key)\r\n" }
        if let version { text += "Sec-WebSocket-Version: \(version)\r\n" }
        return text + more + "\r\n"
    }

    @Test("is accepted in any case and order of its options")
    func accepted() throws {
        for text in [
            Self.request(), Self.request(upgrade: "WebSocket"),
            Self.request(connection: "keep-alive, Upgrade"),
            Self.request(connection: "upgrade , x"), Self.request(more: "Content-Length: 0\r\n"),
        ] {
            let head = try requestHead(text)
            #expect(WebSocketHandshake.isRequested(by: head))
            #expect(WebSocketHandshake.violation(in: head) == nil)
        }
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        var text: String
        var violation: WebSocketHandshake.RequestViolation
        var testDescription: String { text.debugDescription }

        init(_ text: String, _ violation: WebSocketHandshake.RequestViolation) {
            self.text = text
            self.violation = violation
        }
    }

    @Test(
        "is refused when a part is wrong",
        arguments: [
            Refused(request(line: "POST / HTTP/1.1"), .methodNotGet),
            Refused(request(line: "HEAD / HTTP/1.1"), .methodNotGet),
            Refused(request(line: "GET / HTTP/1.0"), .versionNotHTTP1_1),
            Refused(request(connection: "close"), .noUpgradeOption),
            Refused(request(upgrade: "h2c"), .noUpgradeOption),
            Refused(request(upgrade: "websockets"), .noUpgradeOption),
            Refused(request(more: "Content-Length: 1\r\n"), .hasBody),
            Refused(request(more: "Transfer-Encoding: chunked\r\n"), .hasBody),
            Refused(request(version: nil), .unsupportedVersion),
            Refused(request(version: "8"), .unsupportedVersion),
            Refused(request(version: "013"), .unsupportedVersion),
            Refused(request(version: ""), .unsupportedVersion),
            Refused(request(version: "13, 8"), .unsupportedVersion),
            Refused(request(more: "Sec-WebSocket-Version: 13\r\n"), .unsupportedVersion),
            Refused(request(key: nil), .missingKey), Refused(request(key: ""), .invalidKey),
            Refused(request(key: "dGhlIHNhbXBsZSBub25jZQ="), .invalidKey),
            Refused(request(key: "dGhlIHNhbXBsZSBub25jZQ==="), .invalidKey),
            Refused(request(key: "dGhlIHNhbXBsZSBub25jZR=="), .invalidKey),
            Refused(request(key: "dGhlIHNhbXBsZSBub25jZ==="), .invalidKey),
            Refused(request(key: "dGhlIHNhbXBsZSBub25jZE=="), .invalidKey),
            Refused(request(key: "dGhlIHNhbXBsZSBub25jZI=="), .invalidKey),
            Refused(request(key: "dGhlIHNhbXBsZSBub25jZQAA"), .invalidKey),
            Refused(request(key: "dGhlIHNhbXBs-SBub25jZQ=="), .invalidKey),
            Refused(request(key: "dGhlIHNhbXBsZSB="), .invalidKey),
            Refused(request(more: "Sec-WebSocket-Key: \(key)\r\n"), .invalidKey),
        ])
    func refused(expected: Refused) throws {
        let head = try requestHead(expected.text)
        #expect(WebSocketHandshake.violation(in: head) == expected.violation)
        #expect(expected.violation.status == (expected.violation == .unsupportedVersion ? 426 : 400))
    }

    @Test("names its protocol with a version or without")
    func upgradeNames() throws {
        let head = try requestHead(Self.request(upgrade: "h2c, Foo/2"))
        for (name, expected) in [("foo", true), ("h2c", true), ("foo/2", false), ("websocket", false)] {
            let keyword = Keyword(stringLiteral: name)
            let found = WebSocketHandshake.upgradeNames(keyword, bytes: head.bytes, fields: head.fields)
            #expect(found == expected)
        }
    }

    /// SHA-1 of the sample key and the GUID: RFC 6455 §1.3 prints it.
    private static let digest: [UInt8] = [
        0xb3, 0x7a, 0x4f, 0x2c, 0xc0, 0x62, 0x4f, 0x16, 0x90, 0xf6, 0x46, 0x06, 0xcf, 0x38, 0x59, 0x45, 0xb2,
        0xbe,
        0xc4, 0xea,
    ]

    @Test("is answered from its key and the GUID")
    func acceptSource() throws {
        var source: [UInt8] = [1]
        #expect(try WebSocketHandshake.appendAcceptSource(of: requestHead(Self.request()), to: &source))
        #expect(source == [1] + [UInt8](Self.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
        #expect(
            try !WebSocketHandshake.appendAcceptSource(of: requestHead(Self.request(key: nil)), to: &source))
    }

    private static func response(
        upgrade: String = "websocket", connection: String = "Upgrade",
        accept: String? = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", more: String = ""
    ) -> String {
        var text = "HTTP/1.1 101 x\r\nUpgrade: \(upgrade)\r\nConnection: \(connection)\r\n"
        if let accept { text += "Sec-WebSocket-Accept: \(accept)\r\n" }
        return text + more + "\r\n"
    }

    struct Answer: Sendable, CustomTestStringConvertible {
        var text: String
        var violation: WebSocketHandshake.ResponseViolation?
        var testDescription: String { text.debugDescription }

        init(_ text: String, _ violation: WebSocketHandshake.ResponseViolation?) {
            self.text = text
            self.violation = violation
        }
    }

    @Test(
        "is checked in its answer",
        arguments: [
            Answer(response(), nil), Answer(response(upgrade: "WebSocket", connection: "x, upgrade"), nil),
            Answer(response(more: "Sec-WebSocket-Protocol: chat\r\n"), nil),
            Answer(response(more: "Sec-WebSocket-Protocol: v2\r\n"), nil),
            Answer(response(more: "Sec-WebSocket-Extensions: permessage-deflate; a=1\r\n"), nil),
            Answer(response(upgrade: "h2c"), .notWebSocket),
            Answer(response(upgrade: "a, websocket"), .notWebSocket),
            Answer(response(more: "Upgrade: websocket\r\n"), .notWebSocket),
            Answer(response(connection: "close"), .noUpgradeOption),
            Answer(response(accept: nil), .missingAccept),
            Answer(response(accept: "S3pPLMBiTxaQ9kYGzzhZRbK+xOo="), .wrongAccept),
            Answer(response(accept: ""), .wrongAccept),
            Answer(response(accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo"), .wrongAccept),
            Answer(response(more: "Sec-WebSocket-Accept: x\r\n"), .missingAccept),
            Answer(response(more: "Sec-WebSocket-Protocol: Chat\r\n"), .protocolNotOffered),
            Answer(response(more: "Sec-WebSocket-Protocol: other\r\n"), .protocolNotOffered),
            Answer(response(more: "Sec-WebSocket-Protocol: chat, v2\r\n"), .protocolNotOffered),
            Answer(response(more: "Sec-WebSocket-Protocol:\r\n"), .protocolNotOffered),
            Answer(
                response(more: "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n"),
                .protocolNotOffered),
            Answer(response(more: "Sec-WebSocket-Extensions: x-other\r\n"), .extensionNotOffered),
            Answer(
                response(more: "Sec-WebSocket-Extensions: permessage-deflate, y\r\n"), .extensionNotOffered),
        ])
    func answer(expected: Answer) throws {
        let request = try requestHead(
            Self.request(
                more: "Sec-WebSocket-Protocol: chat, v1\r\nSec-WebSocket-Protocol: v2\r\n"
                    + "Sec-WebSocket-Extensions: a, permessage-deflate; client_max_window_bits\r\n"))
        let response = try responseHead(expected.text)
        #expect(
            WebSocketHandshake.violation(in: response, to: request, digest: Self.digest) == expected.violation
        )
    }

    @Test("has no subprotocol in its answer when none was offered")
    func unofferedProtocol() throws {
        let response = try responseHead(Self.response(more: "Sec-WebSocket-Protocol: chat\r\n"))
        let request = try requestHead(Self.request())
        #expect(
            WebSocketHandshake.violation(in: response, to: request, digest: Self.digest)
                == .protocolNotOffered)
    }

    @Test(
        "writes base64 as RFC 4648 §10 does",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ])
    func base64(text: String, encoded: String) {
        #expect(Base64.encode([UInt8](text)).text == encoded)
    }
}

@Suite("A WebSocket frame header")
struct WebSocketFrameHeaderTests {
    private static let key = WebSocketMaskKey(1, 2, 3, 4)

    private static func parse(
        _ bytes: [UInt8], _ role: WebSocketRole, reserved: UInt8 = 0, pieces: [Range<Int>]
    ) -> WebSocketFrameHeaderParser.Progress {
        var parser = WebSocketFrameHeaderParser(role: role, allowedReserved: reserved)
        var progress = WebSocketFrameHeaderParser.Progress.needsMore
        for piece in pieces {
            progress = parser.parse(bytes.rawSpan.extracting(0..<piece.upperBound), from: piece.lowerBound)
            if progress != .needsMore { break }
        }
        return progress
    }

    /// Parses `bytes` in every delivery and returns what all of them came to.
    private static func parse(
        _ bytes: [UInt8], _ role: WebSocketRole, reserved: UInt8 = 0
    ) -> WebSocketFrameHeaderParser.Progress {
        let whole = parse(bytes, role, reserved: reserved, pieces: [0..<bytes.count])
        for pieces in Cuts.pieces(bytes.count) {
            #expect(parse(bytes, role, reserved: reserved, pieces: pieces) == whole)
        }
        return whole
    }

    @Test(
        "is read back as it was written, at every border of its length",
        arguments: [0, 1, 125, 126, 127, 65535, 65536, 1 << 32, .max] as [Int64])
    func roundTrip(length: Int64) {
        for opcode in WebSocketOpcode.allCases where !opcode.isControl || length <= 125 {
            for isFinal in opcode.isControl ? [true] : [true, false] {
                for (role, key) in [(WebSocketRole.server, Self.key), (.client, nil)] {
                    let header = WebSocketFrameHeader(
                        opcode, payloadLength: length, isFinal: isFinal, maskKey: key)
                    var bytes: [UInt8] = []
                    header.append(to: &bytes)
                    #expect(bytes.count == header.encodedLength)
                    #expect(bytes.count <= 14)
                    #expect(Self.parse(bytes + [9, 9], role) == .header(header, end: bytes.count))
                }
            }
        }
    }

    struct Encoded: Sendable {
        var bytes: [UInt8]
        var header: WebSocketFrameHeader
    }

    @Test(
        "has the bytes of RFC 6455 §5.7",
        arguments: [
            Encoded(bytes: [0x81, 0x05], header: .init(.text, payloadLength: 5)),
            Encoded(
                bytes: [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d],
                header: .init(.text, payloadLength: 5, maskKey: .init(0x37, 0xfa, 0x21, 0x3d))),
            Encoded(bytes: [0x01, 0x03], header: .init(.text, payloadLength: 3, isFinal: false)),
            Encoded(bytes: [0x80, 0x02], header: .init(.continuation, payloadLength: 2)),
            Encoded(bytes: [0x89, 0x05], header: .init(.ping, payloadLength: 5)),
            Encoded(bytes: [0x82, 0x7e, 0x01, 0x00], header: .init(.binary, payloadLength: 256)),
            Encoded(
                bytes: [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], header: .init(.binary, payloadLength: 65536)),
        ])
    func examples(expected: Encoded) {
        var bytes: [UInt8] = []
        expected.header.append(to: &bytes)
        #expect(bytes == expected.bytes)
    }

    @Test("may use the reserved bit of an extension that was agreed on, and of no other")
    func reserved() {
        let compressed = WebSocketFrameHeader(
            .text, payloadLength: 1, reserved: WebSocketFrameHeader.reserved1)
        #expect(Self.parse([0xc1, 1], .client, reserved: 0b100) == .header(compressed, end: 2))
        #expect(Self.parse([0xc1, 1], .client) == .invalid(.reservedBit))
        #expect(Self.parse([0xa1, 1], .client, reserved: 0b100) == .invalid(.reservedBit))
        #expect(Self.parse([0xc9, 1], .client, reserved: 0b100) == .invalid(.reservedBit))
    }

    struct Refused: Sendable {
        var bytes: [UInt8]
        var role = WebSocketRole.client
        var violation: WebSocketFrameViolation
    }

    @Test(
        "is refused when it breaks a rule",
        arguments: [
            Refused(bytes: [0x91, 0], violation: .reservedBit),
            Refused(bytes: [0xf1], violation: .reservedBit),
            Refused(bytes: [0x83], violation: .reservedOpcode),
            Refused(bytes: [0x87], violation: .reservedOpcode),
            Refused(bytes: [0x8b], violation: .reservedOpcode),
            Refused(bytes: [0x8f], violation: .reservedOpcode),
            Refused(bytes: [0x08, 0], violation: .fragmentedControl),
            Refused(bytes: [0x09, 0], violation: .fragmentedControl),
            Refused(bytes: [0x89, 126], violation: .controlTooLong),
            Refused(bytes: [0x88, 127], violation: .controlTooLong),
            Refused(bytes: [0x81, 126, 0, 125], violation: .lengthNotMinimal),
            Refused(bytes: [0x81, 126, 0, 0], violation: .lengthNotMinimal),
            Refused(bytes: [0x81, 127, 0, 0, 0, 0, 0, 0, 255, 255], violation: .lengthNotMinimal),
            Refused(bytes: [0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], violation: .lengthTooLarge),
            Refused(bytes: [0x81, 0x85], violation: .unexpectedMask),
            Refused(bytes: [0x81, 5], role: .server, violation: .missingMask),
            Refused(bytes: [0x47, 0x45], role: .server, violation: .reservedBit),
        ])
    func refused(expected: Refused) {
        #expect(Self.parse(expected.bytes, expected.role) == .invalid(expected.violation))
        #expect(expected.violation.closeCode == 1002)
    }

    @Test("after another is read by the same parser")
    func twoInARow() {
        var parser = WebSocketFrameHeaderParser(role: .client)
        let bytes: [UInt8] = [0x81, 0, 0x8a, 0, 0x82]
        let pong = WebSocketFrameHeader(.pong, payloadLength: 0)
        #expect(parser.parse(bytes.rawSpan, from: 0) == .header(.init(.text, payloadLength: 0), end: 2))
        #expect(parser.parse(bytes.rawSpan, from: 2) == .header(pong, end: 4))
        #expect(parser.parse(bytes.rawSpan, from: 4) == .needsMore)
    }

    @Test("comes in an order that makes messages")
    func sequence() {
        var sequence = WebSocketFrameSequence()
        let first = WebSocketFrameHeader(.text, payloadLength: 1, isFinal: false)
        let middle = WebSocketFrameHeader(.continuation, payloadLength: 1, isFinal: false)
        let last = WebSocketFrameHeader(.continuation, payloadLength: 1)
        let ping = WebSocketFrameHeader(.ping, payloadLength: 0)
        #expect(sequence.accept(last) == .continuationWithoutStart)
        #expect(sequence.accept(first) == nil)
        #expect(sequence.accept(first) == .messageWithinMessage)
        #expect(sequence.accept(ping) == nil)
        #expect(sequence.accept(middle) == nil)
        #expect(sequence.isWithinMessage)
        #expect(sequence.accept(.init(.continuation, payloadLength: 1, reserved: 4)) == .reservedBit)
        #expect(sequence.accept(last) == nil)
        #expect(!sequence.isWithinMessage)
        #expect(sequence.accept(middle) == .continuationWithoutStart)
        #expect(sequence.accept(.init(.binary, payloadLength: 1)) == nil)
    }

    @Test("has a payload masked byte by byte, from any place in it")
    func mask() {
        let original = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let key = WebSocketMaskKey(0x37, 0xfa, 0x21, 0x3d)
        for position in 0..<5 {
            for (start, end) in [(0, 300), (1, 64), (3, 67), (3, 68), (5, 200), (0, 0), (299, 300), (10, 13)]
            {
                var bytes = original
                key.apply(to: &bytes, in: start..<end, position: position)
                var expected = original
                for index in start..<end {
                    expected[index] ^= [0x37, 0xfa, 0x21, 0x3d][(index - start + position) % 4]
                }
                #expect(bytes == expected)
                key.apply(to: &bytes, in: start..<end, position: position)
                #expect(bytes == original)
            }
        }
    }

    @Test("has a key whose bytes stand in the order of the wire")
    func keyBytes() {
        let key = WebSocketMaskKey(random: 0x0403_0201)
        #expect(key == WebSocketMaskKey(1, 2, 3, 4))
        #expect((0..<6).map { key[$0] } == [1, 2, 3, 4, 1, 2])
    }

    @Test("of a close may carry the codes of RFC 6455 §7.4 and the registry")
    func closeCodes() {
        let valid = Set<UInt16>([1000, 1001, 1002, 1003] + Array(1007...1014) + Array(3000...4999))
        for code in UInt16.min...UInt16.max {
            if WebSocketCloseCode.isValidOnWire(code) != valid.contains(code) { Issue.record("\(code)") }
        }
    }
}
