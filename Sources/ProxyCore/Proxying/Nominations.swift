internal import Wire

/// Fields that a `Connection` field names (RFC 9110 §7.6.1): they concern only the connection they came on.
enum Nominations {
    /// False for what nearly every client sends, so that fields need not be compared.
    static func arePossible(in fields: [FieldLine], _ bytes: [UInt8]) -> Bool {
        for field in fields where field.id == .connection {
            let value = field.value
            var position = value.lowerBound
            while let option = Octets.nextElement(bytes, in: value, position: &position) {
                if !usual.contains(where: { Octets.equal(bytes, option, lowercase: $0) }) { return true }
            }
        }
        return false
    }

    static func include(_ field: FieldLine, in fields: [FieldLine], _ bytes: [UInt8]) -> Bool {
        for connection in fields where connection.id == .connection {
            let value = connection.value
            var position = value.lowerBound
            while let option = Octets.nextElement(bytes, in: value, position: &position) {
                if Octets.equalIgnoringCase(bytes, option, field.name) { return true }
            }
        }
        return false
    }

    private static let usual = ["keep-alive", "close", "upgrade"].map { Array($0.utf8) }
}
