/// Field names that the proxy itself looks at, recognised once while parsing (by length, then without case).
package enum FieldID: UInt8, Sendable, CaseIterable {
    case other
    case host, connection, keepAlive, proxyConnection, te, trailer, transferEncoding, contentLength, upgrade
    case expect, userAgent, referer, cookie, setCookie, authorization, xForwardedFor, contentType, range
    case ifModifiedSince, ifUnmodifiedSince, ifMatch, ifNoneMatch, ifRange
    case secWebSocketKey, secWebSocketVersion, secWebSocketProtocol, secWebSocketAccept
    case secWebSocketExtensions
    case server, date, location, refresh, lastModified, etag, expires, cacheControl, link, status
    case contentEncoding, acceptRanges, xPad, xAccel, proxyAuthenticate, proxyAuthorization, http2Settings
    case maxForwards
    // `xAccel` is every name that starts with `X-Accel-`.

    /// The name in lower case; `nil` for `other` and `xAccel`.
    package var name: StaticString? {
        switch self {
        case .other, .xAccel: nil
        case .host: "host"
        case .connection: "connection"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .te: "te"
        case .trailer: "trailer"
        case .transferEncoding: "transfer-encoding"
        case .contentLength: "content-length"
        case .upgrade: "upgrade"
        case .expect: "expect"
        case .userAgent: "user-agent"
        case .referer: "referer"
        case .cookie: "cookie"
        case .setCookie: "set-cookie"
        case .authorization: "authorization"
        case .xForwardedFor: "x-forwarded-for"
        case .contentType: "content-type"
        case .range: "range"
        case .ifModifiedSince: "if-modified-since"
        case .ifUnmodifiedSince: "if-unmodified-since"
        case .ifMatch: "if-match"
        case .ifNoneMatch: "if-none-match"
        case .ifRange: "if-range"
        case .secWebSocketKey: "sec-websocket-key"
        case .secWebSocketVersion: "sec-websocket-version"
        case .secWebSocketProtocol: "sec-websocket-protocol"
        case .secWebSocketAccept: "sec-websocket-accept"
        case .secWebSocketExtensions: "sec-websocket-extensions"
        case .server: "server"
        case .date: "date"
        case .location: "location"
        case .refresh: "refresh"
        case .lastModified: "last-modified"
        case .etag: "etag"
        case .expires: "expires"
        case .cacheControl: "cache-control"
        case .link: "link"
        case .status: "status"
        case .contentEncoding: "content-encoding"
        case .acceptRanges: "accept-ranges"
        case .xPad: "x-pad"
        case .proxyAuthenticate: "proxy-authenticate"
        case .proxyAuthorization: "proxy-authorization"
        case .http2Settings: "http2-settings"
        case .maxForwards: "max-forwards"
        }
    }

    /// Recognises the name that stands at `range`.
    @inline(__always)
    package init(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        guard range.count >= FieldNameTable.minLength, range.count <= Keyword.maxLength else {
            // Names of X-Accel-* are matched by their beginning, however long they are.
            let isLong = range.count > Keyword.maxLength
            let start = range.lowerBound..<(range.lowerBound &+ (isLong ? 8 : 0))
            self = isLong && FieldNameTable.shared.accelPrefix.matches(bytes, start) ? .xAccel : .other
            return
        }
        self = FieldNameTable.shared.id(of: bytes, range)
    }

    /// Spelt out, so that the comparison is made where it stands rather than through the protocol.
    @inline(__always)
    package static func == (a: FieldID, b: FieldID) -> Bool { a.rawValue == b.rawValue }
    @inline(__always)
    package static func != (a: FieldID, b: FieldID) -> Bool { a.rawValue != b.rawValue }
}

/// A set of field names that have an id of their own.
package struct FieldIDSet: Sendable, Equatable, ExpressibleByArrayLiteral {
    private var bits: UInt64 = 0

    package init(arrayLiteral elements: FieldID...) {
        for element in elements { insert(element) }
    }

    @inline(__always)
    package func contains(_ id: FieldID) -> Bool { bits &>> UInt64(id.rawValue) & 1 != 0 }
    @inline(__always)
    package mutating func insert(_ id: FieldID) { bits |= 1 &<< UInt64(id.rawValue) }
    package mutating func formUnion(_ other: FieldIDSet) { bits |= other.bits }
    package mutating func subtract(_ other: FieldIDSet) { bits &= ~other.bits }
    package var isEmpty: Bool { bits == 0 }
}

/// The names of `FieldID`, ordered by length, so that a name is compared with those of its length only.
private struct FieldNameTable: Sendable {
    static let shared = FieldNameTable()
    static let minLength = 2

    /// The entries of length n are those from `starts[n]` up to `starts[n + 1]`.
    private let starts: InlineArray<26, UInt8>
    private let entries: [(name: Keyword, id: FieldID)]
    let accelPrefix: Keyword = "x-accel-"

    private init() {
        var entries: [(name: Keyword, id: FieldID)] = []
        for id in FieldID.allCases {
            guard let name = id.name else { continue }
            entries.append((Keyword(name.description), id))
        }
        entries.sort { $0.name.length < $1.name.length }
        var starts = InlineArray<26, UInt8>(repeating: 0)
        for length in starts.indices {
            starts[length] = UInt8(entries.count { $0.name.length < length })
        }
        self.entries = entries
        self.starts = starts
    }

    @inline(__always)
    func id(of bytes: Span<UInt8>, _ range: Range<Int>) -> FieldID {
        let length = range.count
        // Few names share their length and the first eight letters, so that the rest is seldom looked at in vain.
        let firstWord = Keyword.firstWord(bytes, range)
        var index = Int(starts[length])
        let end = Int(starts[length &+ 1])
        while index < end {
            if entries[index].name.words.0 == firstWord, entries[index].name.matchesRest(bytes, range) {
                return entries[index].id
            }
            index &+= 1
        }
        return length > 8 && firstWord == accelPrefix.words.0 ? .xAccel : .other
    }
}
