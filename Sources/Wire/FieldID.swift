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
    package var isEmpty: Bool { bits == 0 }
}

/// The names of `FieldID`, each found by one look: no two of them have the same place in `places`.
private struct FieldNameTable: Sendable {
    static let shared = FieldNameTable()
    static let minLength = 2

    /// By `place`, the position in `entries` of the one name that can stand there. Places of no name lead to the
    /// first entry, which has another name then.
    private let places: [UInt8]
    private let multiplier: UInt64
    private let entries: [(name: Keyword, id: FieldID)]
    let accelPrefix: Keyword = "x-accel-"

    private init() {
        var entries: [(name: Keyword, id: FieldID)] = []
        for id in FieldID.allCases {
            guard let name = id.name else { continue }
            entries.append((Keyword(name.description), id))
        }
        self.entries = entries
        // About one multiplier in fifty keeps the names apart; any odd number does to begin with.
        var multiplier: UInt64 = 0x9e37_79b9_7f4a_7c15
        for _ in 0..<100_000 {
            if let places = Self.places(of: entries, multiplier) {
                self.places = places
                self.multiplier = multiplier
                return
            }
            multiplier = multiplier &* 0x5851_f42d_4c95_7f2d &+ 2
        }
        preconditionFailure("two field names agree in their first eight letters and their length")
    }

    /// `nil` when two names have the same place.
    private static func places(of entries: [(name: Keyword, id: FieldID)], _ multiplier: UInt64) -> [UInt8]? {
        var places = [UInt8](repeating: 0, count: 256)
        var taken = [Bool](repeating: false, count: 256)
        for (index, entry) in entries.enumerated() {
            let place = place(entry.name.words.0, entry.name.length, multiplier)
            if taken[place] { return nil }
            taken[place] = true
            places[place] = UInt8(index)
        }
        return places
    }

    /// 0...255, of a name's first word and length, which together tell all names apart.
    @inline(__always)
    private static func place(_ firstWord: UInt64, _ length: Int, _ multiplier: UInt64) -> Int {
        let product = (firstWord &+ UInt64(truncatingIfNeeded: length)) &* multiplier
        return Int(truncatingIfNeeded: product &>> 56)
    }

    @inline(__always)
    func id(of bytes: Span<UInt8>, _ range: Range<Int>) -> FieldID {
        let length = range.count
        let firstWord = Keyword.firstWord(bytes, range)
        let index = Int(places[Self.place(firstWord, length, multiplier)])
        if entries[index].name.words.0 == firstWord, entries[index].name.length == length,
            entries[index].name.matchesRest(bytes, range)
        {
            return entries[index].id
        }
        return length > 8 && firstWord == accelPrefix.words.0 ? .xAccel : .other
    }
}
