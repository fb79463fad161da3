internal import Wire

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
            if isFound { RequestFields.append(separator: ByteText.comma, to: &out) }
            out.append(contentsOf: lines[value..<last])
            isFound = true
        }
        return isFound
    }
}
