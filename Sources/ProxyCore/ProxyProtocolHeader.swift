internal import Wire

/// What a balancer in front says of a connection before the client's own bytes, in text (version 1) or binary (version 2), as
/// HAProxy's specification of the PROXY protocol has it.
package final class ProxyProtocolHeader: Sendable {
    package enum Progress {
        /// More has to come.
        case partial
        /// The header's length in bytes; `nil` where it says nothing of a client: the balancer's own checks, and families
        /// other than TCP over IP.
        case whole(Int, ProxyProtocolHeader?)
        /// What is wrong, in nginx's words.
        case broken(String)
    }

    /// One end of the connection that the balancer has accepted.
    package struct End: Sendable, Equatable {
        /// Numeric text, as it came in version 1.
        package var address: [UInt8]
        package var port: UInt16
    }

    /// `$proxy_protocol_addr`, `$proxy_protocol_port`.
    package let client: End
    /// `$proxy_protocol_server_addr`, `$proxy_protocol_server_port`.
    package let server: End
    /// What version 2 carries besides, as it came: `$proxy_protocol_tlv_…`.
    let values: [UInt8]

    init(client: End, server: End, values: [UInt8] = []) {
        self.client = client
        self.server = server
        self.values = values
    }

    /// No longer header is taken, be it for what it carries besides the addresses.
    package static let maxLength = 4096
    /// The longest line of version 1, its end included.
    private static let maxLine = 107
    private static let linePrefix = Array("PROXY ".utf8)
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]

    /// - Parameter bytes: the first of the connection, `maxLength` of them suffice.
    /// - Returns: what they come to.
    package static func read(_ bytes: Span<UInt8>) -> Progress {
        if begins(bytes, with: signature) { return bytes.count < 16 ? .partial : readBinary(bytes) }
        return readLine(bytes)
    }

    /// As far as there are bytes.
    private static func begins(_ bytes: Span<UInt8>, with prefix: [UInt8]) -> Bool {
        for index in 0..<min(bytes.count, prefix.count) where bytes[index] != prefix[index] { return false }
        return true
    }

    // MARK: Version 1

    private static func readLine(_ bytes: Span<UInt8>) -> Progress {
        var end = 0
        while end < bytes.count, bytes[end] != ByteText.carriageReturn, bytes[end] != ByteText.lineFeed {
            end += 1
        }
        let mayGoOn = end + 1 >= bytes.count && bytes.count < maxLine && begins(bytes, with: linePrefix)
        guard end + 1 < bytes.count, bytes[end] == ByteText.carriageReturn,
            bytes[end + 1] == ByteText.lineFeed
        else { return mayGoOn ? .partial : broken(bytes, lineEnd: end) }
        guard end + 2 <= maxLine, begins(bytes, with: linePrefix), end >= linePrefix.count
        else { return broken(bytes, lineEnd: end) }
        var line: [UInt8] = []
        line.append(copying: bytes, linePrefix.count..<end)
        if line.starts(with: "UNKNOWN".utf8) { return .whole(end + 2, nil) }
        guard let header = header(line) else { return broken(bytes, lineEnd: end) }
        return .whole(end + 2, header)
    }

    /// Of version 1; `line` is what follows `PROXY `.
    private static func header(_ line: [UInt8]) -> ProxyProtocolHeader? {
        let words = line.split(separator: ByteText.space, omittingEmptySubsequences: false)
        guard words.count == 5, words[0].elementsEqual("TCP4".utf8) || words[0].elementsEqual("TCP6".utf8),
            let client = end(words[1], words[3]), let server = end(words[2], words[4])
        else { return nil }
        return ProxyProtocolHeader(client: client, server: server)
    }

    private static func end(_ address: ArraySlice<UInt8>, _ port: ArraySlice<UInt8>) -> End? {
        let isOfAddress = { (byte: UInt8) in
            byte == ByteText.dot || byte == ByteText.colon || ASCII.hexadecimalDigit(byte) != nil
        }
        guard !address.isEmpty, address.allSatisfy(isOfAddress),
            let number = ASCII.decimal(Array(port)), let port = UInt16(exactly: number)
        else { return nil }
        return End(address: Array(address), port: port)
    }

    private static func broken(_ bytes: Span<UInt8>, lineEnd: Int) -> Progress {
        var line: [UInt8] = []
        line.append(copying: bytes, 0..<min(lineEnd, maxLine))
        return .broken("broken header: \"\(String(decoding: line, as: UTF8.self))\"")
    }

    // MARK: Version 2

    private static func readBinary(_ bytes: Span<UInt8>) -> Progress {
        let version = bytes[12] >> 4
        guard version == 2 else { return .broken("unknown PROXY protocol version: \(version)") }
        let length = 16 + number(bytes, at: 14)
        guard length <= maxLength else { return .broken("header is too large") }
        guard length <= bytes.count else { return .partial }
        switch bytes[12] & 0x0F {
        case 0: return .whole(length, nil)
        case 1: break
        case let command: return .broken("unknown PROXY protocol command: \(command)")
        }
        let size: Int
        switch bytes[13] {
        case 0x11: size = 4
        case 0x21: size = 16
        default: return .whole(length, nil)
        }
        guard length >= 16 + 2 * size + 4 else { return .broken("header is too short for its addresses") }
        let ports = 16 + 2 * size
        var header: [UInt8] = []
        header.append(copying: bytes, 0..<length)
        if let fault = fault(in: header, from: ports + 4) { return .broken(fault) }
        return .whole(
            length,
            ProxyProtocolHeader(
                client: end(bytes.extracting(16..<(16 + size)), port: number(bytes, at: ports)),
                server: end(bytes.extracting((16 + size)..<ports), port: number(bytes, at: ports + 2)),
                values: Array(header[(ports + 4)...])))
    }

    private static func end(_ address: Span<UInt8>, port: Int) -> End {
        var binary: [UInt8] = []
        binary.append(copying: address, 0..<address.count)
        var text: [UInt8] = []
        AddressText.append(binary, to: &text)
        return End(address: text, port: UInt16(port))
    }

    private static func number(_ bytes: Span<UInt8>, at place: Int) -> Int {
        Int(bytes[place]) << 8 | Int(bytes[place + 1])
    }
}
