package enum HTTPVersion: UInt8, Sendable, Comparable {
    /// `v2` is of requests alone, which are turned into the form of HTTP/1.1 for everything else.
    case v0_9, v1_0, v1_1, v2

    package static func < (a: HTTPVersion, b: HTTPVersion) -> Bool { a.rawValue < b.rawValue }
}
