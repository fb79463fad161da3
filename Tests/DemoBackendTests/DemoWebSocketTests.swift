import EventLoop
import Testing
import Wire

@testable import DemoBackend

@Suite("Demo backend over WebSocket", .timeLimit(.minutes(1)))
struct DemoWebSocketTests {
    let fixture: DemoFixture

    init() throws { fixture = try DemoFixture() }

    @Test("the key is answered as in RFC 6455 §1.3")
    func accept() throws {
        #expect(WebSocketAccept.value(forKey: "dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        let client = try fixture.connect()
        client.send(Array(DemoClient.handshake("/ws/echo").utf8))
        fixture.run { client.text.hasSuffix("\r\n\r\n") }
        #expect(client.text.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
        client.close()
    }

    @Test("the first protocol that is offered is chosen")
    func subprotocol() throws {
        let client = try fixture.connect()
        let request =
            DemoClient.handshake("/ws/echo").dropLast() + "Sec-WebSocket-Protocol: v2.demo, v1\r\n\r\n"
        client.send(Array(request.utf8))
        fixture.run { client.text.hasSuffix("\r\n\r\n") }
        #expect(client.text.contains("\r\nSec-WebSocket-Protocol: v2.demo\r\n"))
        client.close()
    }

    @Test(
        "a handshake that is wrong is refused",
        arguments: [
            ("Version: 13", "Version: 8", 426), ("GET ", "POST ", 400), ("Key: dGhl", "Key: dGhl*", 400),
            ("Sec-WebSocket-Key", "X-Key", 400),
            ("Connection: keep-alive, Upgrade", "Connection: close", 426),
            ("Upgrade: websocket", "Upgrade: other", 426),
        ])
    func refusedHandshake(original: String, replacement: String, status: Int) throws {
        let request = DemoClient.handshake("/ws/echo").split(
            separator: original, omittingEmptySubsequences: false
        )
        .joined(separator: replacement)
        let client = try fixture.connect()
        client.send(Array(request.utf8))
        fixture.run { client.text.contains("\r\n\r\n") }
        #expect(client.text.hasPrefix("HTTP/1.1 \(status) "))
        if status == 426 { #expect(client.text.contains("\r\nSec-WebSocket-Version: 13\r\n")) }
        client.close()
    }

    /// Fragments of two messages, with pings between and within them; and what they bring about.
    static let conversation: (sent: [UInt8], answered: [UInt8]) = {
        let euro = Array("€uro".utf8)
        let sent =
            DemoClient.frame(.text, Array(euro[..<1]), isFinal: false)
            + DemoClient.frame(.ping, [1, 2, 3])
            + DemoClient.frame(.continuation, Array(euro[1..<3]), isFinal: false)
            + DemoClient.frame(.continuation, [], isFinal: false)
            + DemoClient.frame(.pong, [9])
            + DemoClient.frame(.continuation, Array(euro[3...]))
            + DemoClient.frame(.ping, [])
            + DemoClient.frame(.binary, Array(repeating: 0xFF, count: 300))
            + DemoClient.frame(.text, [])
        let answered =
            DemoClient.serverFrame(.pong, [1, 2, 3]) + DemoClient.serverFrame(.text, euro)
            + DemoClient.serverFrame(.pong, [])
            + DemoClient.serverFrame(.binary, Array(repeating: 0xFF, count: 300))
            + DemoClient.serverFrame(.text, [])
        return (sent, answered)
    }()

    @Test("messages are echoed whole, and pings answered in between, wherever the stream is cut")
    func cuts() throws {
        let (sent, answered) = Self.conversation
        for cut in stride(from: 1, to: sent.count, by: 7) {
            let client = try fixture.webSocket("/ws/echo")
            client.send(Array(sent[..<cut]))
            fixture.loop.turn(wait: true)
            client.send(Array(sent[cut...]))
            fixture.run { client.received.count >= answered.count }
            #expect(client.received == answered, "cut at \(cut)")
            client.close()
        }
    }

    @Test("messages are echoed when they come a byte at a time")
    func byteByByte() throws {
        let (sent, answered) = Self.conversation
        let client = try fixture.webSocket("/ws/echo")
        for byte in sent {
            client.send([byte])
            fixture.loop.turn(wait: false)
        }
        fixture.run { client.received.count >= answered.count }
        #expect(client.received == answered)
        client.close()
    }

    @Test("what comes with the handshake is not lost")
    func earlyFrames() throws {
        let client = try fixture.connect()
        client.send(Array(DemoClient.handshake("/ws/echo").utf8) + DemoClient.frame(.text, [65]))
        fixture.run { client.received.suffix(3) == [0x81, 1, 65] }
        client.close()
    }

    struct Ending: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var frames: [UInt8]
        var code: UInt16?

        init(_ testDescription: String, _ frames: [UInt8], _ code: UInt16?) {
            self.testDescription = testDescription
            self.frames = frames
            self.code = code
        }
    }

    static let endings = [
        Ending("an unmasked frame", DemoClient.serverFrame(.text, [65]), 1002),
        Ending("a reserved bit", [0xC1, 0x80, 0, 0, 0, 0], 1002),
        Ending("a reserved opcode", [0x83, 0x80, 0, 0, 0, 0], 1002),
        Ending("a continuation of nothing", DemoClient.frame(.continuation, []), 1002),
        Ending(
            "a message in a message",
            DemoClient.frame(.text, [], isFinal: false) + DemoClient.frame(.text, []), 1002),
        Ending("a ping in fragments", DemoClient.frame(.ping, [], isFinal: false), 1002),
        Ending("text that is not UTF-8", DemoClient.frame(.text, [0xFF]), 1007),
        Ending("text that ends in mid-character", DemoClient.frame(.text, [0xE2, 0x82]), 1007),
        Ending("a surrogate in text", DemoClient.frame(.text, [0xED, 0xA0, 0x80]), 1007),
        Ending("a message over 16 MB", [0x82, 0xFF, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0], 1009),
        Ending("half a close code", DemoClient.frame(.close, [3]), 1002),
        Ending("a close code that may not be sent", DemoClient.frame(.close, [3, 0xED]), 1002),
        Ending("a close reason that is not UTF-8", DemoClient.frame(.close, [3, 0xE8, 0xFF]), 1007),
        Ending("a close without a code", DemoClient.frame(.close, []), nil),
        Ending("a close with a code", DemoClient.frame(.close, [3, 0xE8] + "bye".utf8), 1000),
        Ending("a close with a code of one's own", DemoClient.frame(.close, [0x0F, 0xA0]), 4000),
    ]

    @Test("a connection ends with the code that says why", arguments: endings)
    func closeCodes(ending: Ending) throws {
        let client = try fixture.webSocket("/ws/echo")
        client.send(ending.frames + DemoClient.frame(.text, Array("ignored".utf8)))
        fixture.run { client.hasEnded }
        let bytes = client.received
        try #require(bytes.count >= 2)
        #expect(bytes[0] == 0x88)
        #expect(Int(bytes[1]) == bytes.count - 2, "nothing follows a close frame")
        let code = bytes.count >= 4 ? UInt16(bytes[2]) << 8 | UInt16(bytes[3]) : nil
        #expect(code == ending.code)
    }

    @Test("a client that does not read its echoes is not read from for ever")
    func backpressure() throws {
        let client = try fixture.webSocket("/ws/echo")
        client.readsOn = false
        let message = [UInt8](repeating: 7, count: 1 << 20)
        let frame = DemoClient.frame(.binary, message)
        for _ in 0..<24 { client.send(frame) }
        for _ in 0..<500 { fixture.loop.turn(wait: false) }
        // What neither side's kernel nor the server takes stays here.
        #expect(client.unsentBytes > 8 << 20)
        client.readsOn = true
        client.scheduleRead()
        let echo = DemoClient.serverFrame(.binary, message)
        fixture.run { client.received.count == 24 * echo.count }
        #expect((0..<24).allSatisfy { client.received[($0 * echo.count)...].starts(with: echo) })
        client.close()
    }

    @Test("what one says in the chat, all hear, and how many they are")
    func chat() throws {
        func note(_ people: Int) -> [UInt8] {
            DemoClient.serverFrame(.text, Array(#"{"people":\#(people)}"#.utf8))
        }
        let first = try fixture.webSocket("/chat")
        fixture.run { first.received == note(1) }
        let second = try fixture.webSocket("/chat")
        fixture.run { first.received == note(1) + note(2) }
        fixture.run { second.received == note(2) }
        second.send(DemoClient.frame(.text, Array("hello".utf8)))
        let hello = DemoClient.serverFrame(.text, Array("hello".utf8))
        fixture.run { first.received == note(1) + note(2) + hello && second.received == note(2) + hello }
        second.close()
        fixture.run { first.received == note(1) + note(2) + hello + note(1) }
        #expect(fixture.server.connectionCount == 1)
        first.close()
    }

    @Test("a chat leaves behind who does not read")
    func slowMember() throws {
        let fast = try fixture.webSocket("/chat")
        let slow = try fixture.webSocket("/chat")
        slow.readsOn = false
        let message = DemoClient.frame(.binary, [UInt8](repeating: 1, count: 60_000))
        var sent = 0
        while fixture.server.connectionCount == 2, sent < 1000 {
            let before = fast.received.count
            fast.send(message)
            sent += 1
            fixture.run { fast.received.count >= before + 60_000 }
            if String(decoding: fast.received[before...], as: UTF8.self).contains(#"{"people":1}"#) {
                slow.readsOn = true
                slow.scheduleRead()
            }
        }
        #expect(sent < 1000)
        fixture.run { slow.hasEnded }
        fast.close()
    }
}
