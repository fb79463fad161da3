/// SHA-1, which RFC 6455 §4.2.2 asks for in `Sec-WebSocket-Accept`. Not for anything that needs secrecy.
package enum SHA1 {
    package typealias Digest = InlineArray<20, UInt8>

    /// The digest of `bytes`, or `nil` when the library's policy forbids SHA-1.
    package static func digest(_ bytes: Span<UInt8>) -> Digest? { MessageDigest.sha1.digest(bytes) }
}
