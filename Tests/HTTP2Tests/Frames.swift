/// Frames as a client would write them, and a reader of those that the session sends.
struct Frame: Equatable {
    var type: UInt8
    var flags: UInt8 = 0
    var stream: UInt32 = 0
    var payload: [UInt8] = []

    static let endStream: UInt8 = 1
    static let endHeaders: UInt8 = 4

    var bytes: [UInt8] {
        let length = payload.count
        var bytes = [UInt8(length >> 16 & 255), UInt8(length >> 8 & 255), UInt8(length & 255), type, flags]
        bytes += Self.word(stream)
        return bytes + payload
    }

    static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
    }

    static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 { bytes.reduce(0) { $0 << 8 | UInt32($1) } }

    /// All frames in `bytes`; `nil` when they do not end with a frame.
    static func read(_ bytes: [UInt8]) -> [Frame]? {
        var frames: [Frame] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            guard rest.count >= 9 else { return nil }
            let head = Array(rest.prefix(9))
            let length = Int(number(head[0..<3]))
            guard rest.count >= 9 + length else { return nil }
            let payload = Array(rest.dropFirst(9).prefix(length))
            frames.append(
                Frame(type: head[3], flags: head[4], stream: number(head[5..<9]), payload: payload))
            rest = rest.dropFirst(9 + length)
        }
        return frames
    }

    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    static func settings(_ entries: [(UInt16, UInt32)] = []) -> Frame {
        Frame(type: 4, payload: entries.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + word($0.1) })
    }
    static let settingsAck = Frame(type: 4, flags: 1)
    static func data(_ stream: UInt32, _ text: String, ends: Bool = false) -> Frame {
        Frame(type: 0, flags: ends ? 1 : 0, stream: stream, payload: Array(text.utf8))
    }
    static func reset(_ stream: UInt32, _ code: UInt32 = 8) -> Frame {
        Frame(type: 3, stream: stream, payload: word(code))
    }
    static func window(_ stream: UInt32, _ count: UInt32) -> Frame {
        Frame(type: 8, stream: stream, payload: word(count))
    }
    static let ping = Frame(type: 6, payload: Array(repeating: 7, count: 8))

    /// With literal fields that enter no table (RFC 7541 §6.2.2).
    static func headers(_ stream: UInt32, _ fields: [(String, String)], ends: Bool = true) -> Frame {
        Frame(
            type: 1, flags: endHeaders | (ends ? endStream : 0), stream: stream,
            payload: fields.flatMap { block(Array($0.0.utf8), Array($0.1.utf8)) })
    }

    static func block(_ name: [UInt8], _ value: [UInt8]) -> [UInt8] {
        [0] + string(name) + string(value)
    }

    private static func string(_ text: [UInt8]) -> [UInt8] {
        guard text.count >= 127 else { return [UInt8(text.count)] + text }
        var bytes: [UInt8] = [127]
        var rest = text.count - 127
        while rest >= 128 {
            bytes.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        return bytes + [UInt8(rest)] + text
    }

    static func get(_ stream: UInt32, _ path: String = "/", _ more: [(String, String)] = []) -> Frame {
        headers(
            stream,
            [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)] + more)
    }

    static func post(_ stream: UInt32, _ more: [(String, String)] = []) -> Frame {
        headers(
            stream,
            [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")] + more,
            ends: false)
    }
}
