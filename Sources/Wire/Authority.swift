/// `host[:port]`, in the Host field and in targets (RFC 9110 §7.2, RFC 3986 §3.2).
package enum Authority {
    /// Whether the bytes at `range` name a host: a registered name, an IPv4 address or an address in
    /// brackets, and a port of 0...65535 or none. An empty host is invalid, and so is an empty label, as
    /// nginx has it.
    package static func isValid(_ bytes: Span<UInt8>, _ range: Range<Int>, requiresPort: Bool = false) -> Bool
    {
        guard !range.isEmpty else { return false }
        var position = range.lowerBound
        let end = range.upperBound
        if bytes[position] == UInt8(ascii: "[") {
            position &+= 1
            let start = position
            while position < end, ByteSet.addressLiteral.contains(bytes[position]) { position &+= 1 }
            guard position < end, bytes[position] == UInt8(ascii: "]"), position > start else { return false }
            position &+= 1
        } else {
            guard let nameEnd = registeredName(bytes, range) else { return false }
            position = nameEnd
        }
        guard position < end else { return !requiresPort }
        guard bytes[position] == UInt8(ascii: ":") else { return false }
        let port = (position &+ 1)..<end
        if port.isEmpty { return !requiresPort }
        guard port.count <= 5, let number = ASCII.decimal(bytes, port) else { return false }
        return number <= 65535
    }

    /// The end of the name that starts `range`, or `nil` when it is none.
    private static func registeredName(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int? {
        var position = range.lowerBound
        let end = range.upperBound
        while position < end {
            let byte = bytes[position]
            if ByteSet.hostName.contains(byte) {
                if byte == UInt8(ascii: "."), position &+ 1 < end, bytes[position &+ 1] == byte { return nil }
            } else if byte == UInt8(ascii: "%") {
                guard position &+ 2 < end,
                    ASCII.hexadecimalByte(bytes[position &+ 1], bytes[position &+ 2]) != nil
                else { return nil }
                position &+= 2
            } else {
                break
            }
            position &+= 1
        }
        return position > range.lowerBound ? position : nil
    }
}
