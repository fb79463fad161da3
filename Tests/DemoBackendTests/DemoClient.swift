import EventLoop
import Testing
import Wire

@testable import DemoBackend

/// A demo server and its loop, to which clients connect.
final class DemoFixture {
    let loop: EventLoop
    let server: DemoServer
    private let watchdog: Watchdog

    init() throws {
        loop = try EventLoop()
        watchdog = try Watchdog(loop: loop)
        server = try DemoServer(loop: loop, address: .ipv4(0x7F00_0001, port: 0))
    }

    deinit {
        server.close()
        watchdog.close()
        loop.close()
    }

    func connect() throws -> DemoClient {
        let client = DemoClient(loop: loop, descriptor: try Sockets.connect(to: server.address))
        try client.register()
        return client
    }

    /// Turns the loop until `condition` holds. One that never does fails the test rather than hold it up.
    func run(until condition: () -> Bool) {
        watchdog.setDeadline(loop.now + 20_000)
        while !condition() {
            loop.turn(wait: true)
            if watchdog.hasBarked {
                Issue.record("what was waited for did not come")
                return
            }
        }
    }

    /// Sends `request`, which is to close the connection, and returns all that comes back.
    func exchange(_ request: String) throws -> String {
        let client = try connect()
        client.send(Array(request.utf8))
        run { client.hasEnded }
        return client.text
    }

    /// A client that has completed a handshake, with nothing of it left in what it received.
    func webSocket(_ path: String) throws -> DemoClient {
        let client = try connect()
        client.send(Array(DemoClient.handshake(path).utf8))
        run { client.text.contains("\r\n\r\n") }
        try #require(client.text.hasPrefix("HTTP/1.1 101 "))
        let end = try #require(client.received.headEnd)
        client.received.removeFirst(end)
        return client
    }
}

/// A deadline without a connection.
private final class Watchdog: Channel {
    private(set) var hasBarked = false

    init(loop: EventLoop) throws {
        let descriptor = try Sockets.listen(on: .ipv4(0x7F00_0001, port: 0), options: Sockets.ListenOptions())
        super.init(loop: loop, descriptor: descriptor)
        try register()
    }

    override func deadlinePassed() { hasBarked = true }
}

/// The other side, which notes what it is sent.
final class DemoClient: StreamChannel {
    var received: [UInt8] = []
    private(set) var hasEnded = false
    var readsOn = true

    var text: String { String(decoding: received, as: UTF8.self) }

    override func readable() {
        let loop = loop
        while isOpen, mayRead, readsOn {
            switch read() {
            case .bytes(let count):
                loop.withReceived(count) { received.append(copying: $0, 0..<count) }
            case .wouldBlock: return
            case .end, .failed:
                hasEnded = true
                close()
            }
        }
    }

    override func writeFailed(_ error: Int32) {
        hasEnded = true
        close()
    }

    static func handshake(_ path: String) -> String {
        """
        GET \(path) HTTP/1.1\r
        Host: demo.test\r
        Upgrade: websocket\r
        Connection: keep-alive, Upgrade\r
        Sec-WebSocket-Version: 13\r
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
        \r

        """
    }

    /// A client's frame.
    static func frame(_ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool = true) -> [UInt8] {
        let key = WebSocketMaskKey(0x11, 0x82, 0xF3, 0x04)
        var bytes: [UInt8] = []
        WebSocketFrameHeader(opcode, payloadLength: Int64(payload.count), isFinal: isFinal, maskKey: key)
            .append(to: &bytes)
        let start = bytes.count
        bytes += payload
        key.apply(to: &bytes, in: start..<bytes.count)
        return bytes
    }

    /// A server's frame.
    static func serverFrame(_ opcode: WebSocketOpcode, _ payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        WebSocketFrameHeader(opcode, payloadLength: Int64(payload.count)).append(to: &bytes)
        return bytes + payload
    }
}

extension [UInt8] {
    /// Where the bytes behind a head start, `nil` when there is none.
    var headEnd: Int? {
        guard count >= 4 else { return nil }
        return (4...count).first { self[($0 - 4)..<$0] == [13, 10, 13, 10] }
    }
}
