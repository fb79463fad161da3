import EventLoop

/// What a name server answers is refused, or comes to records whose names are names; with more behind it, it is the same.
enum DNSTarget {
    static let run: @Sendable ([UInt8]) -> Void = { input in
        guard let response = DNSMessage.Response(input) else { return }
        check(response.code < 16, "a code of more than four bits")
        for record in response.records {
            checkName(record.owner)
            check(record.timeToLive <= UInt32(Int32.max), "a time to live of more than 31 bits")
            if case .alias(let target) = record.data { checkName(target) }
        }
        // What is behind the answer's records is not looked at.
        check(response.isTruncated || DNSMessage.Response(input + [0xC0]) == response, "what follows counts")
        check(DNSMessage.Response(Array(input.prefix(11))) == nil, "half a header is a response")
    }

    /// RFC 1035 §3.1.
    private static func checkName(_ name: [UInt8]) {
        check(name.count <= 255, "a name of \(name.count) bytes")
        check(!name.contains { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }, "a name in upper case")
        var rest = name[...]
        while let length = rest.first, length > 0 {
            check(length < 64, "a label of \(length) bytes")
            rest = rest.dropFirst(1 + Int(length))
        }
        check(rest.count == 1, "a name does not end with the root's label")
    }
}
