internal import Config
internal import Wire

/// Values of a head's fields by the name of a variable, fields of one name joined.
enum RequestFields {
    /// Appends what stands between two values: a comma or a semicolon, and a space.
    static func append(separator: UInt8, to out: inout [UInt8]) {
        out.append(separator)
        out.append(ByteText.space)
    }

    static func append(
        _ suffix: [UInt8], of exchange: Exchange, separator: UInt8, to out: inout [UInt8]
    ) -> Bool {
        append(
            suffix, fields: exchange.request.fields, of: exchange.request.bytes,
            within: exchange.server.connection.strangestFieldName, separator: separator, to: &out)
    }

    /// Fields with names stranger than `strangest` are passed over.
    static func append(
        _ suffix: [UInt8], fields: [FieldLine], of bytes: [UInt8], within strangest: FieldNameKind,
        separator: UInt8,
        to out: inout [UInt8]
    ) -> Bool {
        var isFound = false
        for field in fields where Int(field.nameLength) == suffix.count {
            guard field.nameKind.isWithin(strangest) else { continue }
            let name = Int(field.nameStart)
            guard FieldName.matches(bytes, name..<name + suffix.count, suffix: suffix) else { continue }
            if isFound { append(separator: separator, to: &out) }
            let value = Int(field.valueStart)
            out.append(copying: bytes.span, value..<value + Int(field.valueLength))
            isFound = true
        }
        return isFound
    }
}
