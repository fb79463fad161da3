internal import EventLoop
internal import Wire

/// What a load's WebSockets have in common: where they connect, and the message that they send.
final class WebSocketLoad {
    let run: BenchRun
    let address: SocketAddress
    let path: String
    let host: String
    /// Round trips that a connection keeps under way.
    let inFlight: Int
    /// As many frames as may be under way, one after another: what is due is sent with one call.
    let frames: [UInt8]
    let frameLength: Int
    let payload: [UInt8]
    let tls: BenchTLS?
    /// Where messages are compressed, what inflaters of connections borrow from.
    let deflatePool: DeflatePool?

    /// With `deflates`, messages are text, compressed without reference to those before. What returns may refer.
    init(
        run: BenchRun, endpoint: Endpoint, path: String, size: Int, inFlight: Int, tls: BenchTLS? = nil,
        deflates: Bool = false
    ) {
        self.tls = tls
        self.run = run
        address = endpoint.address
        host = endpoint.host
        self.path = path
        self.inFlight = inFlight
        payload =
            deflates
            ? Self.text(ofLength: size) : (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        var content = payload
        let pool = DeflatePool()
        if deflates,
            let deflater = WebSocketDeflater(windowBits: 15, keepsContext: false, level: 6, pool: pool)
        {
            let text = content
            content = []
            deflater.append(message: text.span, to: &content)
        }
        deflatePool = deflates ? pool : nil
        // RFC 6455 §5.3 wants a new key for each frame, against content that an attacker chose; here it is ours.
        let key = WebSocketMaskKey(random: UInt32.random(in: 1 ... .max))
        var frame: [UInt8] = []
        WebSocketFrameHeader(
            .binary, payloadLength: Int64(content.count),
            reserved: deflates ? WebSocketFrameHeader.reserved1 : 0, maskKey: key
        ).append(to: &frame)
        let start = frame.count
        frame += content
        key.apply(to: &frame, in: start..<frame.count)
        frameLength = frame.count
        frames = Array((0..<inFlight).map { _ in frame }.joined())
    }

    /// As applications send it: records that resemble each other, of numbers that do not.
    private static func text(ofLength length: Int) -> [UInt8] {
        var text: [UInt8] = []
        var number: UInt32 = 1
        while text.count < length {
            number = number &* 1_664_525 &+ 1_013_904_223
            text += "{\"id\":\(number),\"price\":\(number % 9973),\"side\":\"buy\"},".utf8
        }
        return Array(text.prefix(length))
    }

    /// Further fields of a handshake, as lines.
    var extensions: String {
        deflatePool == nil ? "" : "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    }
}
