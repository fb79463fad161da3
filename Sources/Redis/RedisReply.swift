/// What Redis answers (RESP2).
package enum RedisReply: Equatable, Sendable {
    /// A short text, such as `OK`.
    case status([UInt8])
    case error([UInt8])
    case integer(Int64)
    case string([UInt8])
    case array([RedisReply])
    /// There is no such thing.
    case null
}

/// How commands are written (RESP2): arrays of strings.
package enum RedisCommand {
    package static func append(_ words: [[UInt8]], to output: inout [UInt8]) {
        appendCount(UInt8(ascii: "*"), words.count, to: &output)
        for word in words {
            appendCount(UInt8(ascii: "$"), word.count, to: &output)
            output += word
            output += [13, 10]
        }
    }

    private static func appendCount(_ kind: UInt8, _ count: Int, to output: inout [UInt8]) {
        output.append(kind)
        output += Array(String(count).utf8)
        output += [13, 10]
    }
}
