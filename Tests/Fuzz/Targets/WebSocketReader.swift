import ProxyCore
import Wire

/// Reads frames by code that is not the product's.
struct WebSocketReader {
    struct Frame: Equatable {
        var isFinal: Bool
        var reserved: UInt8
        var opcode: UInt8
        var payload: [UInt8]
    }

    /// The frames that `bytes` begin with, up to one that is cut; `nil` where they are none.
    static func frames(_ bytes: [UInt8], isMasked: Bool) -> [Frame]? {
        var frames: [Frame] = []
        var position = 0
        while bytes.count - position >= 2 {
            let (first, second) = (bytes[position], bytes[position + 1])
            guard [0, 1, 2, 8, 9, 10].contains(first & 15), (second & 128 != 0) == isMasked else {
                return nil
            }
            var start = position + 2
            var length = Int(second & 127)
            if length >= 126 {
                let size = length == 126 ? 2 : 8
                guard bytes.count >= start + size else { break }
                guard size == 2 || bytes[start] < 128 else { return nil }
                length = bytes[start..<start + size].reduce(0) { $0 << 8 | Int($1) }
                guard length > (size == 2 ? 125 : 65535) else { return nil }
                start += size
            }
            if first & 8 != 0, first & 128 == 0 || length > 125 { return nil }
            let key = isMasked ? bytes[start...].prefix(4) : [0, 0, 0, 0]
            if isMasked { start += 4 }
            guard key.count == 4, bytes.count >= start, length <= bytes.count - start else { break }
            var payload = Array(bytes[start..<start + length])
            if isMasked { for index in payload.indices { payload[index] ^= key[key.startIndex + index & 3] } }
            frames.append(
                Frame(
                    isFinal: first & 128 != 0, reserved: first >> 4 & 7, opcode: first & 15, payload: payload)
            )
            position = start + length
        }
        return frames
    }

    /// Whether frames are in an order that a peer takes (RFC 6455 §5.4), with nothing behind a close frame.
    static func areInOrder(_ frames: [Frame], allowedReserved: UInt8) -> Bool {
        var isOpen = false
        for (index, frame) in frames.enumerated() {
            if frame.reserved & ~allowedReserved != 0 { return false }
            if frame.opcode >= 8 {
                if frame.reserved != 0 || frame.opcode == 8 && index < frames.count - 1 { return false }
                continue
            }
            guard (frame.opcode == 0) == isOpen, !isOpen || frame.reserved & 4 == 0 else { return false }
            isOpen = !frame.isFinal
        }
        return true
    }
}
