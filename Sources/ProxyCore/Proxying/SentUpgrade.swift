internal import Wire

/// An offer to change the protocol as it went to the upstream, kept until the answer is checked against it.
package struct SentUpgrade: Sendable, Equatable {
    /// The value of `Upgrade`.
    package private(set) var protocols: [UInt8] = []
    package private(set) var key: [UInt8] = []
    /// `Sec-WebSocket-Protocol` and `Sec-WebSocket-Extensions`, several fields joined.
    package private(set) var subprotocols: [UInt8] = []
    package private(set) var extensions: [UInt8] = []
    private var connection: [UInt8] = []

    /// Reads the offer out of the head that was made for the upstream.
    ///
    /// - Parameter head: the bytes from the request line to the empty line, lines ending in CRLF.
    /// - Returns: `nil` when the head has no `Upgrade` or no `Connection: upgrade`, so offers nothing.
    init?(head: [UInt8], from start: Int) {
        var lineStart = start
        while lineStart < head.count {
            var lineEnd = lineStart
            var colon: Int?
            while lineEnd < head.count, head[lineEnd] != 13 {
                if colon == nil, head[lineEnd] == 58 { colon = lineEnd }
                lineEnd += 1
            }
            // The request line may hold a colon too, but no name of interest stands before it.
            if let colon {
                take(head, name: lineStart..<colon, value: Octets.trimmed(head, colon + 1..<lineEnd))
            }
            lineStart = lineEnd + 2
        }
        guard !protocols.isEmpty,
            Octets.list(connection, 0..<connection.count, holds: Self.upgrade)
        else { return nil }
    }

    private mutating func take(_ head: [UInt8], name: Range<Int>, value: Range<Int>) {
        guard let field = Field.allCases.first(where: { Octets.equal(head, name, lowercase: $0.name) }) else { return }
        switch field {
        case .upgrade: Self.join(head[value], to: &protocols)
        case .connection: Self.join(head[value], to: &connection)
        case .key: Self.join(head[value], to: &key)
        case .subprotocol: Self.join(head[value], to: &subprotocols)
        case .extensions: Self.join(head[value], to: &extensions)
        }
    }

    private static func join(_ value: ArraySlice<UInt8>, to list: inout [UInt8]) {
        if !list.isEmpty { list += [44, 32] }
        list += value
    }

    func offers(_ bytes: [UInt8], _ protocolName: Range<Int>) -> Bool {
        Self.element(bytes, protocolName, in: protocols, ignoringCase: true)
    }

    func subprotocolOffered(_ bytes: [UInt8], _ value: Range<Int>) -> Bool {
        // RFC 6455 §4.1: names are compared as they stand, case included.
        Self.element(bytes, value, in: subprotocols, ignoringCase: false)
    }

    /// Whether the extension was offered, its parameters being its own affair.
    func extensionOffered(_ bytes: [UInt8], _ value: Range<Int>) -> Bool {
        let name = Self.extensionName(bytes, value)
        var position = 0
        while let element = Octets.nextElement(
            extensions, in: 0..<extensions.count, position: &position)
        {
            let offered = Self.extensionName(extensions, element)
            if bytes[name].elementsEqual(extensions[offered]) { return true }
        }
        return false
    }

    private static func extensionName(_ bytes: [UInt8], _ range: Range<Int>) -> Range<Int> {
        let end = range.first { bytes[$0] == 59 } ?? range.upperBound
        return Octets.trimmed(bytes, range.lowerBound..<end)
    }

    private static func element(
        _ bytes: [UInt8], _ range: Range<Int>, in list: [UInt8], ignoringCase: Bool
    ) -> Bool {
        guard !range.isEmpty else { return false }
        var position = 0
        while let element = Octets.nextElement(list, in: 0..<list.count, position: &position) {
            let same = bytes[range].elementsEqual(list[element]) { a, b in
                a == b || ignoringCase && Octets.lowercase(a) == Octets.lowercase(b)
            }
            if same { return true }
        }
        return false
    }

    private static let upgrade = Array("upgrade".utf8)

    private enum Field: CaseIterable {
        case upgrade, connection, key, subprotocol, extensions

        var name: [UInt8] {
            switch self {
            case .upgrade: SentUpgrade.upgrade
            case .connection: Self.connectionName
            case .key: Self.keyName
            case .subprotocol: Self.subprotocolName
            case .extensions: Self.extensionsName
            }
        }

        private static let connectionName = Array("connection".utf8)
        private static let keyName = Array("sec-websocket-key".utf8)
        private static let subprotocolName = Array("sec-websocket-protocol".utf8)
        private static let extensionsName = Array("sec-websocket-extensions".utf8)
    }
}
