internal import Bytes
package import Wire

/// Fields on their way to an HTTP/2 peer, made of the lines of an HTTP/1 head or trailer section.
///
/// Recycled: `removeAll` keeps the storage.
package struct HTTP2FieldBlock {
    struct Entry {
        var nameStart: Int
        var nameLength: Int
        var valueStart: Int
        var valueLength: Int
    }

    /// Names in lower case, and values.
    private(set) var bytes: [UInt8] = []
    private(set) var entries: [Entry] = []

    private var request = Request(length: 0, isHead: false, framing: .none)
    private var isRequest = false

    package init() {}

    package mutating func removeAll() {
        request = Request(length: 0, isHead: false, framing: .none)
        isRequest = false
        bytes.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
    }

    /// Bytes that it can hold without allocating.
    var capacity: Int { bytes.capacity &+ entries.capacity &* MemoryLayout<Entry>.stride }

    package var isEmpty: Bool { entries.isEmpty }

    /// For tests: the fields as text.
    package var fields: [(name: String, value: String)] {
        entries.map { entry in
            (
                String(decoding: bytes[entry.nameStart..<entry.nameStart + entry.nameLength], as: UTF8.self),
                String(
                    decoding: bytes[entry.valueStart..<entry.valueStart + entry.valueLength], as: UTF8.self)
            )
        }
    }

    // MARK: Reading

    /// Reads the head of a response of our own writing, from its status line to its empty line.
    ///
    /// A 101 becomes what RFC 8441 §5 has in its place: a 200 without the fields of an upgrade.
    ///
    /// - Parameters:
    ///   - head: from its first byte on; more may follow it.
    ///   - toExtendedConnect: the request was one, so that any other success becomes a 502: it would say that the
    ///     WebSocket is open.
    /// - Returns: the status as it goes out and the bytes that the head took, or `nil` when it is not whole.
    package mutating func readResponse(
        _ head: Span<UInt8>, toExtendedConnect: Bool = false
    ) -> (status: Int, length: Int, isUpgrade: Bool)? {
        // "HTTP/1.1 200 " at least; more digits only ever come of a script.
        guard head.count > 12, let lineEnd = Self.lineEnd(head, from: 9) else { return nil }
        var end = 9
        while end < lineEnd, head[end] &- 0x30 < 10 { end &+= 1 }
        guard let status = ASCII.decimal(head, 9..<end) else { return nil }
        let isUpgrade = status == 101
        let isFalseSuccess = toExtendedConnect && (200..<300).contains(status)
        if isUpgrade {
            add(name: Text.status, value: Text.ok.span)
        } else if isFalseSuccess {
            add(name: Text.status, value: Text.badGateway.span)
        } else {
            add(name: Text.status, value: head.extracting(9..<end))
        }
        guard let length = readLines(head, from: lineEnd, isUpgrade: isUpgrade) else { return nil }
        return (isUpgrade ? 200 : isFalseSuccess ? 502 : Int(status), length, isUpgrade)
    }

    /// Reads the head of a request of our own writing, from its request line to its empty line. `Host` becomes
    /// `:authority`.
    ///
    /// - Parameters:
    ///   - head: from its first byte on; more may follow it.
    ///   - scheme: `http` or `https`.
    ///   - host: the authority of a request without `Host`, or with an empty one: HTTP/1.0 has such, HTTP/2 does not (RFC 9113
    ///     §8.3.1).
    /// - Returns: what there is to know of it, or `nil` when it is not whole.
    package mutating func readRequest(
        _ head: Span<UInt8>, scheme: [UInt8], host: [UInt8] = []
    ) -> Request? {
        guard let lineEnd = Self.lineEnd(head, from: 0) else { return nil }
        var methodEnd = 0
        while methodEnd < lineEnd, head[methodEnd] != 0x20 { methodEnd &+= 1 }
        var targetEnd = min(methodEnd &+ 1, lineEnd)
        while targetEnd < lineEnd, head[targetEnd] != 0x20 { targetEnd &+= 1 }
        guard targetEnd < lineEnd else { return nil }
        let method = 0..<methodEnd
        add(name: Text.method, value: head.extracting(method))
        // RFC 9113 §8.5: a CONNECT has neither.
        if !Method.connect.equals(head, method) {
            add(name: Text.scheme, value: scheme.span)
            add(name: Text.path, value: head.extracting((methodEnd &+ 1)..<targetEnd))
        }
        request = Request(length: 0, isHead: Method.head.equals(head, method), framing: .none)
        isRequest = true
        // With the others of its kind, before all other fields.
        addAuthority(head, from: lineEnd, else: host)
        guard let length = readLines(head, from: lineEnd, isUpgrade: false) else { return nil }
        request.length = length
        return request
    }

    /// Makes a request that opens a WebSocket (RFC 8441 §4).
    ///
    /// - Parameters:
    ///   - scheme: `http` or `https`.
    ///   - authority: as in `Host`.
    ///   - path: the request target.
    ///   - fields: what else there is to say, as lines of HTTP/1.1 with an empty one behind them.
    package mutating func makeWebSocketRequest(
        scheme: [UInt8], authority: [UInt8], path: [UInt8], fields: [UInt8]
    ) {
        removeAll()
        isRequest = true
        add(name: Text.method, value: Text.connect.span)
        add(name: Text.protocolName, value: Text.webSocket.span)
        add(name: Text.scheme, value: scheme.span)
        add(name: Text.path, value: path.span)
        add(name: Text.authority, value: authority.span)
        _ = readLines(fields.span, from: 0, isUpgrade: false)
    }

    package struct Request {
        package var length: Int
        package var isHead: Bool
        /// How the content that follows is delimited.
        package var framing: BodyFraming
    }

    private mutating func addAuthority(_ head: Span<UInt8>, from start: Int, else host: [UInt8]) {
        var position = start
        while let next = Self.lineEnd(head, from: position) {
            var colon = position
            while colon < next, head[colon] != UInt8(ascii: ":") { colon &+= 1 }
            if colon < next, Names.host.matches(head, position..<colon) {
                let value = Self.trimmed(head, (colon &+ 1)..<(next &- 1))
                if value.isEmpty { break }
                return add(name: Text.authority, value: head.extracting(value))
            }
            position = next
        }
        if !host.isEmpty { add(name: Text.authority, value: host.span) }
    }

    /// Without the blanks around it, and a CR.
    private static func trimmed(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        var start = range.lowerBound
        var end = range.upperBound
        while start < end, HTTP2RequestHead.isBlank(bytes[start]) { start &+= 1 }
        while start < end, HTTP2RequestHead.isBlank(bytes[end &- 1]) || bytes[end &- 1] == 0x0d { end &-= 1 }
        return start..<end
    }

    /// Reads a trailer section of our own writing, up to its empty line.
    package mutating func readTrailers(_ lines: Span<UInt8>) {
        _ = readLines(lines, from: 0, isUpgrade: false)
    }

    /// - Returns: the position behind the empty line.
    private mutating func readLines(_ head: Span<UInt8>, from start: Int, isUpgrade: Bool) -> Int? {
        var position = start
        // Nearly every line is plain, and is found in one go.
        let end = min(head.count, Int(Int32.max))
        while true {
            if let line = FieldLine(wholeLine: head, at: position, to: end, base: 0, maxLine: end) {
                addLine(head, line.name, line.value, line.id, isUpgrade: isUpgrade)
                position = line.value.upperBound &+ 2
                continue
            }
            guard let next = Self.lineEnd(head, from: position) else { return nil }
            var end = next &- 1
            if end > position, head[end &- 1] == 0x0d { end &-= 1 }
            if end == position { return next }
            addLine(head, position..<end, isUpgrade: isUpgrade)
            position = next
        }
    }

    /// The position behind the line's LF.
    private static func lineEnd(_ bytes: Span<UInt8>, from start: Int) -> Int? {
        var position = start
        while position < bytes.count {
            if bytes[position] == 0x0a { return position &+ 1 }
            position &+= 1
        }
        return nil
    }

    private mutating func addLine(_ head: Span<UInt8>, _ line: Range<Int>, isUpgrade: Bool) {
        var colon = line.lowerBound
        while colon < line.upperBound, head[colon] != UInt8(ascii: ":") { colon &+= 1 }
        let name = line.lowerBound..<colon
        guard colon < line.upperBound, isToken(head, name) else { return }
        let value = Self.trimmed(head, (colon &+ 1)..<line.upperBound)
        addLine(head, name, value, FieldID(head, name), isUpgrade: isUpgrade)
    }

    /// - Parameters:
    ///   - head: what the line is part of.
    ///   - name: where that stands: a token.
    ///   - value: where that stands, without the blanks around it.
    ///   - id: of the name.
    ///   - isUpgrade: the head is that of a 101.
    private mutating func addLine(
        _ head: Span<UInt8>, _ name: Range<Int>, _ value: Range<Int>, _ id: FieldID, isUpgrade: Bool
    ) {
        switch id {
        // RFC 9113 §8.2.2
        case .transferEncoding:
            request.framing = .chunked
            return
        case .connection, .keepAlive, .proxyConnection, .upgrade: return
        case .te: if !Keyword.trailers.matches(head, value) { return }
        case .host where isRequest: return
        case .secWebSocketAccept where isUpgrade: return
        case .contentLength where isRequest:
            if let length = ASCII.decimal(head, value) { request.framing = .length(length) }
        default: break
        }
        let start = bytes.count
        let (nameBytes, valueBytes) = (head.extracting(name), head.extracting(value))
        bytes.append(addingCapacity: name.count &+ value.count) { room in
            room.append(lowercasing: nameBytes)
            room.append(valueBytes)
        }
        entries.append(
            Entry(
                nameStart: start, nameLength: name.count, valueStart: start &+ name.count,
                valueLength: value.count))
    }

    private mutating func add(name: [UInt8], value: Span<UInt8>) {
        let start = bytes.count
        bytes.append(name.span)
        bytes.append(value)
        entries.append(
            Entry(
                nameStart: start, nameLength: name.count, valueStart: start &+ name.count,
                valueLength: value.count))
    }

    private enum Names {
        static let host: Keyword = "host"
    }

    private enum Text {
        static let method = Array(":method".utf8)
        static let connect = Array("CONNECT".utf8)
        static let protocolName = Array(":protocol".utf8)
        static let webSocket = Array("websocket".utf8)
        static let scheme = Array(":scheme".utf8)
        static let path = Array(":path".utf8)
        static let authority = Array(":authority".utf8)
        static let status = Array(":status".utf8)
        static let ok = Array("200".utf8)
        static let badGateway = Array("502".utf8)
    }
}
