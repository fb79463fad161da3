internal import Wire

/// Numeric addresses as they stand in fields of requests, read and written as nginx does.
///
/// It is more generous than the RFCs: `1..2.3` is `1.0.2.3`, and one colon may stand before an IPv6 address.
enum AddressText {
    /// An address of 4 or 16 bytes with the port behind it, 0 for none. An IPv6 address in brackets must have one.
    static func addressAndPort(_ text: ArraySlice<UInt8>) -> (address: [UInt8], port: UInt16)? {
        if let address = address(text) { return (address, 0) }
        let isBracketed = text.first == ByteText.openBracket
        var colon: Int
        var host: ArraySlice<UInt8>
        if isBracketed {
            guard let close = text.firstIndex(of: ByteText.closeBracket) else { return nil }
            colon = close + 1
            guard colon < text.endIndex, text[colon] == ByteText.colon else { return nil }
            host = text[(text.startIndex + 1)..<close]
        } else {
            guard let first = text.firstIndex(of: ByteText.colon) else { return nil }
            colon = first
            host = text[..<first]
        }
        guard let port = ASCII.decimal(Array(text[(colon + 1)...])), 1...65_535 ~= port,
            let address = address(host)
        else { return nil }
        return (address, UInt16(port))
    }

    /// An address alone, of 4 or 16 bytes.
    static func address(_ text: ArraySlice<UInt8>) -> [UInt8]? { ipv4(text) ?? ipv6(text) }

    private static func ipv4(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var address: [UInt8] = []
        var part = 0
        for byte in text {
            let digit = byte &- ByteText.zero
            if digit < 10 {
                part = part * 10 + Int(digit)
                if part > 255 { return nil }
            } else if byte == ByteText.dot {
                address.append(UInt8(part))
                part = 0
            } else {
                return nil
            }
        }
        guard address.count == 3 else { return nil }
        address.append(UInt8(part))
        // To nginx, the broadcast address is no address.
        return address == [255, 255, 255, 255] ? nil : address
    }

    private static func ipv6(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var address: [UInt8] = []
        /// Where a double colon stands for zeros.
        var gap: Int?
        /// Where the last part began.
        var part: Int?
        var word = 0
        var digits = 0
        let start = text.startIndex + (text.first == ByteText.colon ? 1 : 0)
        scan: for index in start..<max(start, text.endIndex) {
            let byte = text[index]
            if byte == ByteText.colon {
                if digits > 0 {
                    append(word, to: &address)
                    guard address.count < 16 else { return nil }
                    word = 0
                    digits = 0
                } else {
                    guard gap == nil else { return nil }
                    gap = address.count
                }
                part = index + 1
            } else if byte == ByteText.dot, digits > 0 {
                guard let part, address.count < 14, let last = ipv4(text[part...]) else { return nil }
                address += last
                return filled(address, gap)
            } else {
                digits += 1
                guard digits <= 4, let digit = ASCII.hexadecimalDigit(byte) else { return nil }
                word = word << 4 | Int(digit)
            }
        }
        if digits == 0, gap == nil { return nil }
        append(word, to: &address)
        return filled(address, gap)
    }

    private static func append(_ word: Int, to address: inout [UInt8]) {
        address.append(UInt8(truncatingIfNeeded: word >> 8))
        address.append(UInt8(truncatingIfNeeded: word))
    }

    /// With the zeros that a double colon stands for, of which there must be some.
    static func filled(_ address: [UInt8], _ gap: Int?) -> [UInt8]? {
        guard let gap else { return address.count == 16 ? address : nil }
        guard address.count < 16 else { return nil }
        return address[..<gap] + [UInt8](repeating: 0, count: 16 - address.count) + address[gap...]
    }

    /// Appends an address of 4 or 16 bytes as text.
    static func append(_ address: [UInt8], to text: inout [UInt8]) {
        if address.count == 16 {
            append(ipv6: address, dotted: true, to: &text)
        } else {
            append(ipv4: address[...], to: &text)
        }
    }

    private static func append(ipv4 address: ArraySlice<UInt8>, to text: inout [UInt8]) {
        for (index, byte) in address.enumerated() {
            if index > 0 { text.append(ByteText.dot) }
            ASCII.appendDecimal(Int(byte), to: &text)
        }
    }

    /// Appends the 16 bytes of `address`: lower case, the longest run of two or more zero groups as `::` (RFC 5952). Where
    /// it is `dotted`, what looks like an IPv4 address within one of IPv6 is written as that.
    static func append(ipv6 address: [UInt8], dotted: Bool, to text: inout [UInt8]) {
        let words = stride(from: 0, to: 16, by: 2).map { UInt64(address[$0]) << 8 | UInt64(address[$0 + 1]) }
        let gap = longestZeros(words)
        var end = 8
        if gap.lowerBound == 0, !gap.isEmpty {
            switch gap.count {
            case _ where !dotted: break
            case 5 where words[5] == 0xffff, 6: end = 6
            case 7 where address[14] != 0 && address[15] != 1: end = 6
            default: break
            }
            text.append(ByteText.colon)
        }
        var index = 0
        while index < end {
            if index == gap.lowerBound, !gap.isEmpty {
                text.append(ByteText.colon)
                index = gap.upperBound
                continue
            }
            ASCII.appendHexadecimal(words[index], to: &text)
            if index < 7 { text.append(ByteText.colon) }
            index += 1
        }
        if end == 6 { append(ipv4: address[12...], to: &text) }
    }

    /// The first of the longest runs of more than one zero.
    private static func longestZeros(_ words: [UInt64]) -> Range<Int> {
        var longest = 0..<0
        var start = 0
        for index in 0...words.count where index == words.count || words[index] != 0 {
            if index - start > max(longest.count, 1) { longest = start..<index }
            start = index + 1
        }
        return longest
    }
}
