internal import Wire

/// Where an upstream peer is reached, with the text that `$upstream_addr` and logs show.
package struct PeerAddress: Sendable, Hashable {
    package enum Endpoint: Sendable, Hashable {
        /// Four bytes in network order.
        case ipv4(UInt32, port: UInt16)
        /// Sixteen bytes in network order.
        case ipv6([UInt8], port: UInt16)
        case unix(path: [UInt8])
    }

    package let endpoint: Endpoint
    /// As nginx prints it: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
    package let text: [UInt8]

    package init(_ endpoint: Endpoint) {
        self.endpoint = endpoint
        switch endpoint {
        case .ipv4(let address, let port):
            var text = Self.text(ipv4: address)
            text.append(ByteText.colon)
            ASCII.appendDecimal(Int(port), to: &text)
            self.text = text
        case .ipv6(let bytes, let port):
            var text: [UInt8] = [ByteText.openBracket]
            text += Self.text(ipv6: bytes)
            text += [ByteText.closeBracket, ByteText.colon]
            ASCII.appendDecimal(Int(port), to: &text)
            self.text = text
        case .unix(let path):
            text = Array("unix:".utf8) + path
        }
    }

    /// The same with bytes of its own, which another thread may count references to.
    package init(copying other: PeerAddress) {
        switch other.endpoint {
        case .ipv4: self.init(other.endpoint)
        case .ipv6(let bytes, let port): self.init(.ipv6(bytes.map { $0 }, port: port))
        case .unix(let path): self.init(.unix(path: path.map { $0 }))
        }
    }

    /// The address alone, without brackets; a UNIX socket's path with `unix:` before it.
    package var host: [UInt8] {
        switch endpoint {
        case .ipv4(let address, _): Self.text(ipv4: address)
        case .ipv6(let bytes, _): Self.text(ipv6: bytes)
        case .unix: text
        }
    }

    /// From a numeric address, IPv6 with or without brackets; `nil` when it is anything else.
    package init?(numericHost host: [UInt8], port: UInt16) {
        if let address = Self.parseIPv4(host, 0..<host.count) {
            self.init(.ipv4(address, port: port))
            return
        }
        var range = 0..<host.count
        if host.first == ByteText.openBracket, host.last == ByteText.closeBracket, host.count > 2 {
            range = 1..<host.count - 1
        }
        guard let bytes = Self.parseIPv6(host, range) else { return nil }
        self.init(.ipv6(bytes, port: port))
    }

    /// Dotted decimal, four parts without leading zeros in excess of what `inet_pton` takes.
    static func parseIPv4(_ text: [UInt8], _ range: Range<Int>) -> UInt32? {
        var address: UInt32 = 0
        var parts = 0
        var start = range.lowerBound
        while parts < 4 {
            var end = start
            while end < range.upperBound, text[end] != ByteText.dot { end += 1 }
            guard end - start <= 3, let part = ASCII.decimal(text.span, start..<end), part < 256,
                end - start == 1 || text[start] != ByteText.zero
            else { return nil }
            address = address << 8 | UInt32(part)
            parts += 1
            if parts == 4 { return end == range.upperBound ? address : nil }
            guard end < range.upperBound else { return nil }
            start = end + 1
        }
        return nil
    }

    /// The forms of RFC 4291 §2.2, `::` and a dotted end included, without a zone.
    static func parseIPv6(_ text: [UInt8], _ range: Range<Int>) -> [UInt8]? {
        var bytes: [UInt8] = []
        var gap: Int?
        var index = range.lowerBound
        guard range.count >= 2 else { return nil }
        if text[index] == ByteText.colon {
            guard text[index + 1] == ByteText.colon else { return nil }
            gap = 0
            index += 2
        }
        while index < range.upperBound {
            var end = index
            while end < range.upperBound, text[end] != ByteText.colon { end += 1 }
            if end == range.upperBound, let tail = parseIPv4(text, index..<end) {
                guard bytes.count <= 12 else { return nil }
                bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: tail >> $0) }
                break
            }
            guard (1...4).contains(end - index), bytes.count <= 14 else { return nil }
            var group: UInt16 = 0
            for position in index..<end {
                guard let digit = ASCII.hexadecimalDigit(text[position]) else { return nil }
                group = group << 4 | UInt16(digit)
            }
            bytes.append(UInt8(truncatingIfNeeded: group >> 8))
            bytes.append(UInt8(truncatingIfNeeded: group))
            guard end < range.upperBound else { break }
            index = end + 1
            guard index < range.upperBound else { return nil }
            if text[index] == ByteText.colon {
                guard gap == nil else { return nil }
                gap = bytes.count
                index += 1
            }
        }
        return AddressText.filled(bytes, gap)
    }

    private static func text(ipv4 address: UInt32) -> [UInt8] {
        var text: [UInt8] = []
        for shift in [24, 16, 8, 0] {
            if shift < 24 { text.append(ByteText.dot) }
            ASCII.appendDecimal(Int(address >> UInt32(shift) & 255), to: &text)
        }
        return text
    }

    private static func text(ipv6 bytes: [UInt8]) -> [UInt8] {
        guard bytes.count == 16 else { return [] }
        var text: [UInt8] = []
        AddressText.append(ipv6: bytes, dotted: false, to: &text)
        return text
    }
}
