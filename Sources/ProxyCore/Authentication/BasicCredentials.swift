internal import Wire

/// User name and password of `Authorization: Basic` (RFC 7617), as nginx reads them.
enum BasicCredentials {
    private static let scheme = Array("basic ".utf8)

    /// Appends the user's name, or returns false where the request carries none that can be read, or an empty one.
    static func appendUser(of request: RequestHead, to out: inout [UInt8]) -> Bool {
        guard let (text, colon) = decoded(of: request) else { return false }
        out.append(contentsOf: text[..<colon])
        return true
    }

    /// `nil` where the request carries none that can be read, or an empty name.
    static func read(from request: RequestHead) -> (user: [UInt8], password: [UInt8])? {
        guard let (text, colon) = decoded(of: request) else { return nil }
        return (Array(text[..<colon]), Array(text[(colon + 1)...]))
    }

    /// - Returns: name and password, and where the colon between them is.
    private static func decoded(of request: RequestHead) -> (text: [UInt8], colon: Int)? {
        guard let index = request.firstIndex(of: .authorization) else { return nil }
        let field = request.fields[index]
        var position = Int(field.valueStart)
        let end = position + Int(field.valueLength)
        guard ByteText.matchesIgnoringCase(request.bytes, at: position, scheme) else { return nil }
        position += scheme.count
        while position < end, request.bytes[position] == ByteText.space { position += 1 }

        var text: [UInt8] = []
        guard position < end,
            Base64.appendLeniently(request.bytes.span.extracting(position..<end), to: &text),
            let colon = text.firstIndex(of: ByteText.colon), colon > 0
        else { return nil }
        return (text, colon)
    }
}
