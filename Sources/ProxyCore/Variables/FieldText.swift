internal import Config
internal import Wire

/// Compares field names with the names of variables, in which `-` is written `_`.
enum FieldName {
    /// Whether the name in `range` is the one of `suffix`, which is in lower case, such as `user_agent`.
    @inline(__always)
    static func matches(_ bytes: [UInt8], _ range: Range<Int>, suffix: [UInt8]) -> Bool {
        guard range.count == suffix.count, range.upperBound <= bytes.count else { return false }
        var index = 0
        while index < suffix.count {
            let byte = ASCII.lowercased(bytes[range.lowerBound + index])
            if (byte == ByteText.dash ? UInt8(ascii: "_") : byte) != suffix[index] { return false }
            index += 1
        }
        return true
    }
}

/// Values of a head's fields by the name of a variable, fields of one name joined.
enum RequestFields {
    static let comma = Array(", ".utf8)
    static let semicolon = Array("; ".utf8)

    static func append(
        _ suffix: [UInt8], of exchange: Exchange, separator: [UInt8], to out: inout [UInt8]
    ) -> Bool {
        append(
            suffix, fields: exchange.request.fields, of: exchange.request.bytes,
            plainOnly: exchange.server.connection.ignoreInvalidHeaders, separator: separator, to: &out)
    }

    /// Where `plainOnly` is set, fields that `ignore_invalid_headers` drops are passed over.
    static func append(
        _ suffix: [UInt8], fields: [FieldLine], of bytes: [UInt8], plainOnly: Bool, separator: [UInt8],
        to out: inout [UInt8]
    ) -> Bool {
        var isFound = false
        for field in fields where Int(field.nameLength) == suffix.count {
            if plainOnly, !field.hasPlainName { continue }
            let name = Int(field.nameStart)
            guard FieldName.matches(bytes, name..<name + suffix.count, suffix: suffix) else { continue }
            if isFound { out.append(contentsOf: separator) }
            let value = Int(field.valueStart)
            out.append(copying: bytes.span, value..<value + Int(field.valueLength))
            isFound = true
        }
        return isFound
    }
}

/// Values of field lines that were written rather than parsed: a head or trailer section sent to the client.
enum WrittenFields {
    static func append(_ suffix: [UInt8], of lines: [UInt8], to out: inout [UInt8]) -> Bool {
        var isFound = false
        var start = 0
        while start < lines.count {
            let end = lines[start...].firstIndex(of: UInt8(ascii: "\n")) ?? lines.count
            defer { start = end + 1 }
            var last = end
            if last > start, lines[last - 1] == UInt8(ascii: "\r") { last -= 1 }
            // A status line holds no colon right after a name of this length, as it begins with `HTTP/`.
            let colon = start + suffix.count
            guard colon < last, lines[colon] == ByteText.colon,
                FieldName.matches(lines, start..<colon, suffix: suffix)
            else { continue }
            var value = colon + 1
            while value < last, lines[value] == ByteText.space { value += 1 }
            if isFound { out.append(contentsOf: RequestFields.comma) }
            out.append(contentsOf: lines[value..<last])
            isFound = true
        }
        return isFound
    }
}

/// `name=value` pairs of `Cookie` and `Set-Cookie` values.
enum CookieText {
    /// Appends the value of the cookie called `name` (lower case; names compare without case, as in nginx).
    ///
    /// Where `firstOnly` is set, only the first pair counts, the rest being attributes, as in `Set-Cookie`.
    static func append(_ name: [UInt8], in text: ArraySlice<UInt8>, firstOnly: Bool, to out: inout [UInt8])
        -> Bool
    {
        let bytes = text
        var position = bytes.startIndex
        let end = bytes.endIndex
        while position < end {
            while position < end, bytes[position] == ByteText.space { position += 1 }
            let pairEnd = bytes[position..<end].firstIndex(of: ByteText.semicolon) ?? end
            if let value = value(of: name, in: bytes[position..<pairEnd]) {
                out.append(contentsOf: value)
                return true
            }
            if firstOnly { return false }
            position = pairEnd + 1
        }
        return false
    }

    private static func value(of name: [UInt8], in pair: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard pair.count > name.count else { return nil }
        var position = pair.startIndex
        for byte in name {
            if ASCII.lowercased(pair[position]) != byte { return nil }
            position += 1
        }
        while position < pair.endIndex, pair[position] == ByteText.space { position += 1 }
        guard position < pair.endIndex, pair[position] == ByteText.equals else { return nil }
        position += 1
        while position < pair.endIndex, pair[position] == ByteText.space { position += 1 }
        return pair[position...]
    }
}

/// `name=value` pairs of a query string.
enum ArgumentText {
    /// Appends the value of the argument called `name` (lower case, compared without case), escapes left as they
    /// are.
    static func append(_ name: [UInt8], in arguments: [UInt8], to out: inout [UInt8]) -> Bool {
        var start = 0
        while start < arguments.count {
            let end = arguments[start...].firstIndex(of: ByteText.ampersand) ?? arguments.count
            let equals = start + name.count
            if equals < end, arguments[equals] == ByteText.equals,
                ByteText.matchesIgnoringCase(arguments, at: start, name)
            {
                out.append(contentsOf: arguments[(equals + 1)..<end])
                return true
            }
            start = end + 1
        }
        return false
    }
}
