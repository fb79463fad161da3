internal import Wire

/// `X-Accel-Redirect`.
extension Router {
    /// The value that the upstream's response has for it.
    package static func accelRedirect(_ exchange: Exchange) -> [UInt8]? { exchange.accelField(fieldName) }

    /// Goes on where an upstream's `X-Accel-Redirect` says: at a named location, which gets the request as it is, or
    /// at a path with or without a query, which is asked for by GET. Locations that are internal may be meant, too.
    ///
    /// The path is escaped. One that is not to be trusted, as nginx sees it, is answered with 404: it does not begin
    /// with a slash, holds a segment `..` or a NUL, or has a malformed escape, which nginx would make something of.
    package static func followAccelRedirect(_ exchange: Exchange, to target: [UInt8]) -> RouteDecision {
        if target.first == UInt8(ascii: "@") { return enter(exchange, named: target) }
        let end = target.firstIndex(of: ByteText.question) ?? target.endIndex
        guard let path = safePath(target[..<end]) else { return fail(exchange, status: 404) }
        asksByGet(exchange)
        return redirect(exchange, path: path[...], arguments: target[end...].dropFirst())
    }

    /// The path with its escapes decoded. It is not brought into a normal form, as nginx does not.
    private static func safePath(_ escaped: ArraySlice<UInt8>) -> [UInt8]? {
        guard escaped.first == ByteText.slash else { return nil }
        var path: [UInt8] = []
        var position = escaped.startIndex
        while position < escaped.endIndex {
            var byte = escaped[position]
            position += 1
            if byte == UInt8(ascii: "%") {
                guard position + 1 < escaped.endIndex,
                    let decoded = ASCII.hexadecimalByte(escaped[position], escaped[position + 1])
                else { return nil }
                byte = decoded
                position += 2
            }
            guard byte != 0 else { return nil }
            path.append(byte)
        }
        return path.split(separator: ByteText.slash).contains { $0.elementsEqual(parent) } ? nil : path
    }

    private static let fieldName = Array("x-accel-redirect".utf8)
    private static let parent = Array("..".utf8)
}

extension Exchange {
    /// The value that the upstream's response has for the field `X-Accel-…` of this name, in lower case.
    func accelField(_ name: [UInt8]) -> [UInt8]? {
        // One that a script has written is found as well.
        guard response.hasAccelFields || response.isEdited else { return nil }
        // Not the response itself, which would be copied with all it holds.
        let bytes = response.bytes
        let fields = response.fields
        let found = fields.first { field in
            field.id == .xAccel && ASCII.equalIgnoringCase(bytes.span.extracting(field.name), name.span)
        }
        return found.map { Array(bytes[$0.value]) }
    }
}
