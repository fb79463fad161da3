internal import Wire

/// What a header of version 2 carries besides the addresses: values, each with a type and a length.
extension ProxyProtocolHeader {
    /// Types with a meaning for the header itself. PP2_TYPE_… in HAProxy's specification.
    private static let checksumType: UInt8 = 0x03
    private static let uniqueIDType: UInt8 = 0x05
    private static let tlsType: UInt8 = 0x20
    private static let longestUniqueID = 128
    /// In front of the values inside that of TLS: what the client did, and how its certificate was found.
    private static let tlsHead = 5

    // MARK: Checks

    /// Holds all lengths against each other, and the checksum, where there is one, against the header.
    ///
    /// - Parameters:
    ///   - header: the whole of it.
    ///   - start: where its values begin.
    /// - Returns: what is wrong with it; `nil` for nothing.
    static func fault(in header: [UInt8], from start: Int) -> String? {
        var values = ValueReader(header[start...])
        var checksum: Range<Int>?
        while let (type, value) = values.next() {
            switch type {
            case checksumType:
                guard value.count == 4, checksum == nil else { return brokenValue }
                checksum = value.indices
            case uniqueIDType where value.count > longestUniqueID: return brokenValue
            case tlsType:
                guard value.count >= tlsHead else { return brokenValue }
                var inner = ValueReader(value.dropFirst(tlsHead))
                while inner.next() != nil {}
                guard inner.isAtEnd else { return brokenValue }
            default: break
            }
        }
        guard values.isAtEnd else { return brokenValue }
        guard let checksum else { return nil }
        var zeroed = header
        zeroed.replaceSubrange(checksum, with: [0, 0, 0, 0])
        return CRC32C.of(zeroed) == number(header[checksum]) ? nil : "wrong checksum of PROXY protocol header"
    }

    private static let brokenValue = "broken PROXY protocol TLV"

    // MARK: Values

    /// Why there is no value of a name.
    enum MissingValue: Error {
        /// The header has none.
        case absent
        /// The name stands for none; in nginx's words.
        case misnamed(String)
    }

    /// The first value that `name` stands for, which is what follows `$proxy_protocol_tlv_`.
    func value(named name: [UInt8]) throws(MissingValue) -> ArraySlice<UInt8> {
        guard name.starts(with: Self.tlsPrefix) else {
            return try Self.value(name, Self.types, in: values[...], named: name)
        }
        let tls = try Self.value(of: Int(Self.tlsType), in: values[...])
        let rest = Array(name.dropFirst(Self.tlsPrefix.count))
        if rest == Self.verification {
            var text: [UInt8] = []
            ASCII.appendDecimal(Int(Self.number(tls.dropFirst().prefix(4))), to: &text)
            return text[...]
        }
        return try Self.value(rest, Self.typesOfTLS, in: tls.dropFirst(Self.tlsHead), named: name)
    }

    private static let types: [[UInt8]: UInt8] = [
        Array("alpn".utf8): 0x01, Array("authority".utf8): 0x02, Array("unique_id".utf8): uniqueIDType,
        Array("ssl".utf8): tlsType, Array("netns".utf8): 0x30,
    ]
    private static let tlsPrefix = Array("ssl_".utf8)
    private static let verification = Array("verify".utf8)
    private static let typesOfTLS: [[UInt8]: UInt8] = [
        Array("version".utf8): 0x21, Array("cn".utf8): 0x22, Array("cipher".utf8): 0x23,
        Array("sig_alg".utf8): 0x24, Array("key_alg".utf8): 0x25,
    ]
    private static let numberPrefix = Array("0x".utf8)

    /// `name` is one of `types`, or a number; `fullName` has what stands in front, for messages.
    private static func value(
        _ name: [UInt8], _ types: [[UInt8]: UInt8], in values: ArraySlice<UInt8>, named fullName: [UInt8]
    ) throws(MissingValue) -> ArraySlice<UInt8> {
        if name.starts(with: numberPrefix) {
            guard let type = hexadecimal(name.dropFirst(numberPrefix.count))
            else {
                throw .misnamed("invalid PROXY protocol TLV \"\(String(decoding: fullName, as: UTF8.self))\"")
            }
            return try value(of: type, in: values)
        }
        guard let type = types[name]
        else {
            throw .misnamed("unknown PROXY protocol TLV \"\(String(decoding: fullName, as: UTF8.self))\"")
        }
        return try value(of: Int(type), in: values)
    }

    private static func value(
        of type: Int, in values: ArraySlice<UInt8>
    ) throws(MissingValue) -> ArraySlice<UInt8> {
        var reader = ValueReader(values)
        while let (found, value) = reader.next() {
            if found == type { return value }
        }
        throw .absent
    }

    /// What is above the largest type stays above it.
    private static func hexadecimal(_ text: ArraySlice<UInt8>) -> Int? {
        guard !text.isEmpty else { return nil }
        var number = 0
        for byte in text {
            guard let digit = ASCII.hexadecimalDigit(byte) else { return nil }
            number = min(number << 4 | Int(digit), 0x1000)
        }
        return number
    }

    /// Of four bytes.
    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }
}

/// Takes values one after the other, up to the end or to one that is cut.
private struct ValueReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func next() -> (type: UInt8, value: ArraySlice<UInt8>)? {
        let start = rest.startIndex
        guard rest.count >= 3 else { return nil }
        let length = Int(rest[start + 1]) << 8 | Int(rest[start + 2])
        guard rest.count - 3 >= length else { return nil }
        let value = rest[start + 3..<start + 3 + length]
        defer { rest = rest[value.endIndex...] }
        return (rest[start], value)
    }
}
