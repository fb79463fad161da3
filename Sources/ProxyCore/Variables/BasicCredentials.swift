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
        guard position < end,
            Base64.appendLeniently(request.bytes.span.extracting(position..<end), to: &decoded),
            let colon = decoded.firstIndex(of: ByteText.colon), colon > 0
        else { return false }
        out.append(contentsOf: decoded[..<colon])
        return true
    }
}
