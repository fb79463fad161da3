import Testing

@testable import ProxyServer

@Suite("Messages between nodes")
struct NodeTelegramTests {
    private static let telegram = NodeTelegram(
        node: Array(1...16), tag: Array("room".utf8), isText: true, payload: Array("hello".utf8))

    @Test("what is sent is what is read", arguments: [0, 1, 255, 256, 65535])
    func roundTrip(length: Int) {
        var telegram = Self.telegram
        telegram.tag = [UInt8](repeating: 7, count: length)
        #expect(NodeTelegram(telegram.bytes) == telegram)
        telegram.isText = false
        telegram.payload = []
        #expect(NodeTelegram(telegram.bytes) == telegram)
    }

    @Test("what no node has sent is nothing")
    func others() {
        let bytes = Self.telegram.bytes
        for length in 0..<(bytes.count - Self.telegram.payload.count) {
            #expect(NodeTelegram(Array(bytes[..<length])) == nil)
        }
        #expect(NodeTelegram([2] + bytes.dropFirst()) == nil)
        #expect(NodeTelegram([1, 2] + bytes.dropFirst(2)) == nil)
    }
}
