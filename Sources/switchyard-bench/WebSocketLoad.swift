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

    init(run: BenchRun, endpoint: Endpoint, path: String, size: Int, inFlight: Int, tls: BenchTLS? = nil) {
        self.tls = tls
        self.run = run
        address = endpoint.address
        host = endpoint.host
        self.path = path
        self.inFlight = inFlight
        payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        // RFC 6455 §5.3 wants a new key for each frame, against content that an attacker chose; here it is ours.
        let key = WebSocketMaskKey(random: UInt32.random(in: 1 ... .max))
        var frame: [UInt8] = []
        WebSocketFrameHeader(.binary, payloadLength: Int64(size), maskKey: key).append(to: &frame)
        let start = frame.count
        frame += payload
        key.apply(to: &frame, in: start..<frame.count)
        frameLength = frame.count
        frames = Array((0..<inFlight).map { _ in frame }.joined())
    }
}
