/// A part of the proxy that takes bytes from strangers, and what must hold of it whatever they are.
struct FuzzTarget: Sendable {
    let name: String
    let title: String
    /// Ends the process where a property does not hold.
    let run: @Sendable ([UInt8]) -> Void

    static let all = [
        FuzzTarget(name: "configuration", title: "configuration text", run: ConfigurationTarget.run),
        FuzzTarget(name: "request-heads", title: "request heads of HTTP/1", run: RequestHeadTarget.run),
        FuzzTarget(name: "response-heads", title: "response heads of HTTP/1", run: ResponseHeadTarget.run),
        FuzzTarget(name: "chunked", title: "bodies in chunks", run: ChunkedTarget.run),
        FuzzTarget(name: "frames", title: "frames of WebSockets", run: FrameTarget.run),
        FuzzTarget(name: "messages", title: "WebSockets through the proxy's plane", run: MessageTarget.run),
        FuzzTarget(name: "deflate", title: "permessage-deflate", run: DeflateTarget.run),
        FuzzTarget(name: "http2-heads", title: "heads between HTTP/2 and HTTP/1", run: HTTP2HeadTarget.run),
        FuzzTarget(name: "http2-session", title: "connections of HTTP/2", run: HTTP2SessionTarget.run),
        FuzzTarget(name: "dns", title: "answers of name servers", run: DNSTarget.run),
        FuzzTarget(
            name: "proxy-headers", title: "what a balancer says of a connection", run: ProxyHeaderTarget.run),
        FuzzTarget(name: "json", title: "JSON that scripts read", run: JSONTarget.run),
        FuzzTarget(name: "lua", title: "scripts in a proxy on a network in memory", run: LuaTarget.run),
    ]
}

/// What a target asserts. Ends the process, which libFuzzer takes for a find.
@inline(__always)
func check(_ condition: Bool, _ message: @autoclosure () -> String) {
    if !condition { fatalError("a property does not hold: \(message())") }
}

/// Choices that an input makes without bytes of its own for them, so that every input is nothing but what is parsed.
struct Choices {
    private var state: UInt64

    /// FNV-1a.
    init(_ input: [UInt8]) {
        state = 0xcbf2_9ce4_8422_2325
        for byte in input { state = (state ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }

    /// splitmix64
    private mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// 0..<limit; 0 for a limit of 0.
    mutating func below(_ limit: Int) -> Int { limit > 0 ? Int(truncatingIfNeeded: next() >> 1) % limit : 0 }
    mutating func oneIn(_ chances: Int) -> Bool { below(chances) == 0 }
    /// A place to cut `count` bytes at, 0...count.
    mutating func cut(_ count: Int) -> Int { below(count + 1) }
    mutating func pair() -> (UInt64, UInt64) { (next(), next()) }
}

extension [UInt8] {
    var text: String { String(decoding: self, as: UTF8.self) }

    init(_ text: String) { self = Array(text.utf8) }

    func holds(_ range: Range<Int>, equalTo other: [UInt8], _ otherRange: Range<Int>) -> Bool {
        guard range.count == otherRange.count else { return false }
        for (index, otherIndex) in zip(range, otherRange) where self[index] != other[otherIndex] {
            return false
        }
        return true
    }
}
