/// The trailer fields of a chunked body, in the manner of a head.
package struct TrailerSection: Sendable {
    /// The lines as received, up to and with the empty one.
    package var bytes: [UInt8] = []
    /// Those of `forbidden` are left out.
    package var fields: [FieldLine] = []

    package init() {}

    /// Fields that mean something only in a head, for framing, routing, authentication or the reading of the
    /// content (RFC 9110 §6.5.1). In a trailer they are dropped, so that nobody merges them into the head.
    package static let forbidden: FieldIDSet = [
        .host, .connection, .keepAlive, .proxyConnection, .te, .trailer, .transferEncoding, .contentLength,
        .upgrade, .expect, .cookie, .setCookie, .authorization, .proxyAuthenticate, .proxyAuthorization,
        .contentType, .contentEncoding, .range, .ifModifiedSince, .ifUnmodifiedSince, .ifMatch, .ifNoneMatch,
        .ifRange, .cacheControl, .location, .http2Settings, .maxForwards,
    ]
}
