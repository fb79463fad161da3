internal import ProxyCore
internal import Wire

/// The `name=value` pairs of a query, escaped as the client wrote them.
enum QueryArguments {
    struct Pair {
        var name: Range<Int>
        /// Empty, too, without an equals sign.
        var value: Range<Int>
        /// Both, with what stands between them.
        var whole: Range<Int>
    }

    /// The pair at `position`, which moves behind it. Pairs without any text are passed over.
    static func next(_ query: Span<UInt8>, _ position: inout Int) -> Pair? {
        while position < query.count {
            let start = position
            var equals = -1
            while position < query.count, query[position] != UInt8(ascii: "&") {
                if query[position] == UInt8(ascii: "="), equals < 0 { equals = position }
                position += 1
            }
            let end = position
            position += 1
            guard end > start else { continue }
            return equals < 0
                ? Pair(name: start..<end, value: end..<end, whole: start..<end)
                : Pair(name: start..<equals, value: (equals + 1)..<end, whole: start..<end)
        }
        return nil
    }

    /// Whether the text at `range` is `name` once it is decoded.
    static func isDecoded(_ query: Span<UInt8>, _ range: Range<Int>, _ name: Span<UInt8>) -> Bool {
        var position = range.lowerBound
        var matched = 0
        while position < range.upperBound {
            guard matched < name.count, decode(query, &position, range.upperBound) == name[matched] else {
                return false
            }
            matched += 1
        }
        return matched == name.count
    }

    static func appendDecoded(_ query: Span<UInt8>, _ range: Range<Int>, to out: inout [UInt8]) {
        var position = range.lowerBound
        while position < range.upperBound { out.append(decode(query, &position, range.upperBound)) }
    }

    /// Pushes the decoded text, which in most cases is the text itself.
    static func push(_ query: Span<UInt8>, _ range: Range<Int>, on stack: LuaStack) {
        for position in range
        where query[position] == UInt8(ascii: "%") || query[position] == UInt8(ascii: "+") {
            var decoded: [UInt8] = []
            appendDecoded(query, range, to: &decoded)
            return stack.push(decoded)
        }
        stack.push(query.extracting(range))
    }

    /// The next byte: of an escape, a plus sign, which stands for a space, or itself. An escape that is none
    /// is text.
    private static func decode(_ query: Span<UInt8>, _ position: inout Int, _ end: Int) -> UInt8 {
        let byte = query[position]
        if byte == UInt8(ascii: "%"), position + 2 < end,
            let decoded = ASCII.hexadecimalByte(query[position + 1], query[position + 2])
        {
            position += 3
            return decoded
        }
        position += 1
        return byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte
    }

    /// The query with `value` as the only one of `name`, in the place of the first; `nil` takes them all out.
    static func replacing(_ name: Span<UInt8>, in query: [UInt8], with value: Span<UInt8>?) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(query.count)
        var isDone = value == nil
        var position = 0
        while let pair = next(query.span, &position) {
            if !isDecoded(query.span, pair.name, name) {
                if !result.isEmpty { result.append(UInt8(ascii: "&")) }
                result.append(contentsOf: query[pair.whole])
            } else if let value, !isDone {
                appendPair(name, value, to: &result)
                isDone = true
            }
        }
        if let value, !isDone { appendPair(name, value, to: &result) }
        return result
    }

    /// Appends a pair, or a name alone.
    static func appendPair(_ name: Span<UInt8>, _ value: Span<UInt8>?, to query: inout [UInt8]) {
        if !query.isEmpty { query.append(UInt8(ascii: "&")) }
        URIEscape.appendComponent(name, to: &query)
        guard let value else { return }
        query.append(UInt8(ascii: "="))
        URIEscape.appendComponent(value, to: &query)
    }
}
