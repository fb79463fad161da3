internal import Wire

/// User name of `Authorization: Basic` (RFC 7617).
enum BasicCredentials {
    private static let scheme = Array("basic ".utf8)

    /// Appends the user's name, or returns false where the request carries none that can be read, or an empty one, as
    /// nginx has it.
    static func appendUser(of request: RequestHead, to out: inout [UInt8]) -> Bool {
        guard let index = request.firstIndex(of: .authorization) else { return false }
        let field = request.fields[index]
        var position = Int(field.valueStart)
        let end = position + Int(field.valueLength)
        guard ByteText.matchesIgnoringCase(request.bytes, at: position, scheme) else { return false }
        position += scheme.count
        while position < end, request.bytes[position] == ByteText.space { position += 1 }

        var decoded: [UInt8] = []
        guard position < end, decodeBase64(request.bytes[position..<end], into: &decoded),
            let colon = decoded.firstIndex(of: ByteText.colon), colon > 0
        else { return false }
        out.append(contentsOf: decoded[..<colon])
        return true
    }

    /// RFC 4648 §4; the padding may be left out.
    private static func decodeBase64(_ text: ArraySlice<UInt8>, into out: inout [UInt8]) -> Bool {
        var bits: UInt32 = 0
        var count = 0
        for byte in text {
            if byte == ByteText.equals { break }
            guard let digit = value(byte) else { return false }
            bits = (bits << 6 | digit) & 0xff_ffff
            count += 6
            if count >= 8 {
                count -= 8
                out.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return true
    }

    private static func value(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte - UInt8(ascii: "a") + 26)
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0") + 52)
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
